"""Show the state, the turns, the next request and its cost; change nothing."""

from __future__ import annotations

import json
from dataclasses import replace

from ipycachechat.conversation.placement import Placement
from ipycachechat.engine.turn_request import TurnRequest
from ipycachechat.errors import ChatError, Interrupted
from ipycachechat.notebook import frontend
from ipycachechat.notebook.chat_cells import CellChat
from ipycachechat.notebook.commands._common import fail, print_lines, show_report, turn_number, turns
from ipycachechat.rendering import history_table, panels, reports
from ipycachechat.rendering.format import budget_lines, totals_text
from ipycachechat.rendering.spend_report import SpendReport


def status(cells: CellChat, _: str) -> None:
    """Show the current model, turns, cost and cache status."""
    chat = cells.chat
    history, now = chat.history, chat.history.current
    detached = len(now.all_turns) - len(now.turns)
    more = [f"{len(now.stale)} stale"] * bool(now.stale) + [f"{detached} detached"] * bool(detached)
    line = f"{cells.model_in_use()}, {turns(len(now.turns))}" + f" ({', '.join(more)})" * bool(more)
    print_lines(line + f", on the branch {history.current_branch}" * (len(history.branches) > 1))
    print_lines(*totals_text(chat.ledger))
    if budget := cells.settings.budgets()[0]:
        print_lines(budget_lines(chat.client.budgets.state, budget, 0.0, None)[0])
    result = chat.answer()
    if result is not None:
        print_lines(reports.cache_status(result.warm_until, cells.now, chat.client.prediction_totals))
    if keepalive := chat.keepalive:
        print_lines(reports.keepalive_status(keepalive.refreshed, keepalive.until, keepalive.ended))


def history(cells: CellChat, _: str) -> None:
    """Show the turns, each with its cost and whether it is cached; a click unfolds one."""
    chat = cells.chat
    if not chat.history.current.all_turns:
        return print_lines("no turns yet")
    warm: dict[int, float] = {}
    if chat.client.trackers:
        try:
            forecast = cells.session.runner.wait(lambda emit: chat.plan(cells.next_request(""), emit))
            warm = history_table.warm_until_by_turn(forecast.rows)
        except Interrupted:
            raise
        except ChatError:  # no key for the model, say: the turns are there all the same
            pass
    rows = history_table.history_rows(chat.history.current, warm, cache_known=bool(chat.client.trackers))
    from IPython.display import display

    display({"text/html": history_table.to_html(rows), "text/plain": history_table.to_text(rows)}, raw=True)


def plan(cells: CellChat, text: str) -> None:
    """Show what this prompt, else the next one, will read, write and cost."""
    request = _next_request(cells, text)
    forecast = cells.session.runner.wait(lambda emit: cells.chat.plan(request, emit))
    show_report(cells, reports.plan(forecast), panels.plan(forecast))


def show(cells: CellChat, what: str) -> None:
    """Show exactly what the next request, or that of a turn, contains; `--wire`: as JSON."""
    words = what.split()
    if wire := "--wire" in words:
        what = what.replace("--wire", "", 1).strip()
    if what.isdecimal():
        turn = cells.chat.history.current.turns[turn_number(cells, "show", what) - 1]
        request = replace(
            cells.next_request(turn.prompt, turn.cell_runs),
            placement=Placement(replaces=turn),
            system=turn.system,
        )
    else:
        request = _next_request(cells, what)
    preview = cells.session.runner.wait(lambda emit: cells.chat.contents(request, emit))
    if wire:
        text = json.dumps(preview.wire, indent=2, ensure_ascii=False)
        return show_report(cells, text, panels.request_json(text))
    show_report(cells, reports.contents(preview), panels.contents(preview))


def _next_request(cells: CellChat, text: str) -> TurnRequest:
    """Return the request that the next cell would send with this text."""
    prompt = cells.prompt(text, raw=not cells.settings.interpolate)
    return cells.next_request(prompt.content, prompt.cell_runs)


def why(cells: CellChat, which: str) -> None:
    """Show what a turn was expected to read from the cache, what it did read, and why less."""
    chat = cells.chat
    number = turn_number(cells, "why", which) if which else 0
    if not number and chat.failed is not None:
        return print_lines(reports.failure(chat.failed))
    result = chat.answer(number)
    if result is None and chat.history.current.turns:
        return print_lines(
            "That turn was answered in an earlier kernel; what was expected of it is not stored"
        )
    show_report(cells, reports.why(result), panels.why(result))


def usage(cells: CellChat, which: str) -> SpendReport | None:
    """Show the inspector; with `--all` return what all kernels were billed."""
    if which not in ("", "--all"):
        fail(f"%chat usage {which}: the only option is --all")
    if which:
        return SpendReport(cells.session.recorder.spending())
    if frontend.can_update_displays(cells.shell):
        cells.session.inspector.show(live=frontend.stdin_available(cells.shell))
    else:
        print_lines(*totals_text(cells.chat.ledger))
    return None
