"""Show the state, the turns, the next request and its cost; change nothing."""

from __future__ import annotations

import json
from dataclasses import replace

from ipycachechat.conversation.placement import Placement
from ipycachechat.engine.turn_request import TurnRequest
from ipycachechat.errors import ChatError, Interrupted
from ipycachechat.notebook import frontend
from ipycachechat.notebook.chat_cells import CellChat
from ipycachechat.notebook.commands._common import fail, print_lines, show_report, turn_number
from ipycachechat.rendering import history_table, reports
from ipycachechat.rendering.format import budget_lines, totals_text
from ipycachechat.rendering.spend_report import SpendReport
from ipycachechat.text.format import plural


def status(cell_chat: CellChat, _: str) -> None:
    """Show the current model, turns, cost and cache status."""
    chat = cell_chat.chat
    history, conversation = chat.history, chat.history.current
    stale, detached = len(conversation.stale), len(conversation.all_turns) - len(conversation.turns)
    notes = [f"{stale} out of date"] * bool(stale) + [f"{detached} from deleted cells"] * bool(detached)
    line = f"{cell_chat.model_in_use()}, {plural(len(conversation.turns), 'turn')}"
    line += f" ({', '.join(notes)})" * bool(notes)
    print_lines(line + f", on branch {history.current_branch}" * (len(history.branches) > 1))
    print_lines(*totals_text(chat.client.ledger))
    if budget := cell_chat.settings.budgets()[0]:
        print_lines(budget_lines(chat.client.budgets.state, budget, 0.0, None)[0])
    if result := chat.answer():
        print_lines(reports.cache_status(result.warm_until, cell_chat.now, chat.client.prediction_totals))
    if keepalive := chat.keepalive:
        print_lines(reports.keepalive_status(keepalive.refreshed, keepalive.until, keepalive.ended))


def history(cell_chat: CellChat, _: str) -> None:
    """List the turns: cell, state, tokens, cost, cached or not; click one to unfold it."""
    chat = cell_chat.chat
    if not chat.history.current.all_turns:
        return print_lines("No turns yet")
    warm: dict[int, float] = {}
    if chat.client.trackers:
        try:
            forecast = cell_chat.session.runner.wait(lambda emit: chat.plan(cell_chat.next_request(""), emit))
            warm = history_table.warm_until_by_turn(forecast.rows)
        except Interrupted:
            raise
        except ChatError:  # the model has no key, for example: show the turns anyway
            pass
    rows = history_table.history_rows(chat.history.current, warm, cache_known=bool(chat.client.trackers))
    from IPython.display import display

    display({"text/html": history_table.to_html(rows), "text/plain": history_table.to_text(rows)}, raw=True)


def plan(cell_chat: CellChat, text: str) -> None:
    """Predict what this prompt (default: the next one) will read, write and cost, block by block."""
    request = _next_request(cell_chat, text)
    forecast = cell_chat.session.runner.wait(lambda emit: cell_chat.chat.plan(request, emit))
    show_report(cell_chat, reports.plan(forecast), reports.plan_html(forecast))


def show(cell_chat: CellChat, argument: str) -> None:
    """Show exactly what the next request (with TEXT as its prompt), or that of turn N, contains, with its tokens.

    --wire: as the JSON that is passed to litellm.
    """
    wire = "--wire" in argument.split()
    if wire:
        argument = argument.replace("--wire", "", 1).strip()
    if argument.isdecimal():
        turn = cell_chat.chat.history.current.turns[turn_number(cell_chat, "show", argument) - 1]
        request = replace(
            cell_chat.next_request(turn.prompt, turn.cell_runs),
            placement=Placement(replaces=turn),
            system=turn.system,
        )
    else:
        request = _next_request(cell_chat, argument)
    preview = cell_chat.session.runner.wait(lambda emit: cell_chat.chat.contents(request, emit))
    if wire:
        text = json.dumps(preview.wire, indent=2, ensure_ascii=False)
        return show_report(cell_chat, text, reports.wire_html(text))
    show_report(cell_chat, reports.contents(preview), reports.contents_html(preview))


def _next_request(cell_chat: CellChat, text: str) -> TurnRequest:
    """Return the request that a new chat cell with this text would send."""
    prompt = cell_chat.prompt(text, raw=not cell_chat.settings.interpolate)
    return cell_chat.next_request(prompt.content, prompt.cell_runs)


def why(cell_chat: CellChat, argument: str) -> None:
    """Explain what turn N (default: the last) read from the cache.

    Shows expected and billed tokens, why less was read, the first difference, and what to do.
    """
    chat = cell_chat.chat
    number = turn_number(cell_chat, "why", argument) if argument else 0
    if not number and chat.last_error is not None:
        return print_lines(reports.failure(chat.last_error))
    result = chat.answer(number)
    if result is None and chat.history.current.turns:
        return print_lines("That turn was answered in an earlier kernel; its cache details were not stored")
    show_report(cell_chat, reports.why(result), reports.why_html(result))


def usage(cell_chat: CellChat, argument: str) -> SpendReport | None:
    """Show the inspector: tokens, cost and savings by turn, what is cached until when, and cache details by turn.

    It is updated after every chat and stays in the saved notebook. --all: costs by notebook, model and day, over
    all kernels.
    """
    if argument not in ("", "--all"):
        fail(f"%chat usage {argument}: there is no such option", "The only option is --all.")
    if argument:
        return SpendReport(cell_chat.session.recorder.spending())
    if frontend.can_update_displays(cell_chat.shell):
        cell_chat.session.inspector.show(live=frontend.stdin_available(cell_chat.shell))
    else:
        print_lines(*totals_text(cell_chat.chat.client.ledger))
    return None
