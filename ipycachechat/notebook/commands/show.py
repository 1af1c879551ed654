"""Look, and change nothing: where we stand, the turns, what will be sent, what it cost."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from ipycachechat.errors import ChatError, Interrupted
from ipycachechat.notebook import frontend
from ipycachechat.notebook.commands._common import fail, print_lines, show_report, turn_number, turns
from ipycachechat.rendering import reports
from ipycachechat.rendering.format import budgets, totals

if TYPE_CHECKING:
    from ipycachechat.engine.turn_request import TurnRequest
    from ipycachechat.notebook.magics import ChatMagics
    from ipycachechat.rendering.spend_report import SpendReport


def status(magics: ChatMagics, _: str) -> None:
    """Where we stand."""
    session = magics.session
    dialogue = session.chat
    history, now = dialogue.history, dialogue.history.current
    away = len(now.all_turns) - len(now.turns)
    more = [f"{len(now.stale)} stale"] * bool(now.stale) + [f"{away} detached"] * bool(away)
    told = f"{magics.model_in_use()}, {turns(len(now.turns))}" + f" ({', '.join(more)})" * bool(more)
    print_lines(told + f", on the branch {history.current_branch}" * (len(history.branches) > 1))
    print_lines(*totals(dialogue.ledger))
    spending = dialogue.client.budgets
    if spending.limits()[0]:
        print_lines(budgets(spending.state, spending.limits()[0], 0.0, None)[0])
    done = dialogue.answer()
    if done is not None:
        print_lines(reports.cache_status(done.warm_until, session.now, dialogue.client.prediction_totals))
    if kept := dialogue.keepalive:
        print_lines(reports.keepalive_status(kept.refreshed, kept.until, kept.ended))


def history(magics: ChatMagics, _: str) -> None:
    """The turns, each with what it cost and whether it is warm; a click unfolds one."""
    from IPython.display import display

    from ipycachechat.rendering import history_table

    session = magics.session
    dialogue = session.chat
    if not dialogue.history.current.all_turns:
        return print_lines("no turns yet")
    warm: dict[int, float] = {}
    if dialogue.client.remembers:
        try:
            forecast = session.wait(lambda tell: dialogue.plan(magics.next_request(""), tell))
            warm = history_table.warm(forecast.rows)
        except Interrupted:
            raise
        except ChatError:  # a model that is not there, say: the turns are there all the same
            pass
    told = history_table.history_rows(dialogue.history.current, warm, known=dialogue.client.remembers)
    display({"text/html": history_table.to_html(told), "text/plain": history_table.to_text(told)}, raw=True)


def plan(magics: ChatMagics, text: str) -> None:
    """What this prompt, else the next one, will read, write and cost."""
    from ipycachechat.rendering import panels

    session, ask = magics.session, _asking(magics, text)
    forecast = session.wait(lambda tell: session.chat.plan(ask, tell))
    show_report(magics, reports.plan(forecast), panels.plan(forecast))


def show(magics: ChatMagics, what: str) -> None:
    """Exactly what the next request, or that of a turn, contains; `--wire`: as JSON."""
    from ipycachechat.conversation.placement import Placement
    from ipycachechat.rendering import panels

    session = magics.session
    words = what.split()
    if wire := "--wire" in words:
        what = what.replace("--wire", "", 1).strip()
    if what.isdecimal():
        turn = session.chat.history.current.turns[turn_number(magics, "show", what) - 1]
        ask = replace(
            magics.next_request(turn.prompt, turn.cell_runs),
            placement=Placement(replaces=turn),
            system=turn.system,
        )
    else:
        ask = _asking(magics, what)
    found = session.wait(lambda tell: session.chat.contents(ask, tell))
    if wire:
        told = json.dumps(found.wire, indent=2, ensure_ascii=False)
        return show_report(magics, told, panels.as_json(told))
    show_report(magics, reports.contents(found), panels.contents(found))


def _asking(magics: ChatMagics, text: str) -> TurnRequest:
    """What the next cell would ask with this text."""
    made = magics.prompt(text, raw=not magics.interpolate)
    return magics.next_request(made.content, made.cell_runs)


def why(magics: ChatMagics, which: str) -> None:
    """What a turn was expected to read, what it did read, and why less."""
    dialogue = magics.session.chat
    number = turn_number(magics, "why", which) if which else 0
    if not number and dialogue.failed is not None:
        return print_lines(reports.failure(dialogue.failed))
    done = dialogue.answer(number)
    if done is None and dialogue.history.current.turns:
        return print_lines("that turn was answered in an earlier kernel: what was expected of it is not kept")
    from ipycachechat.rendering import panels

    show_report(magics, reports.why(done), panels.why(done))


def usage(magics: ChatMagics, which: str) -> SpendReport | None:
    """The inspector: what each turn and this kernel was billed; `--all`: all kernels, by notebook, model and day."""
    if which not in ("", "--all"):
        fail(f"%chat usage {which}: there is only --all")
    if not which:
        if frontend.can_update_displays(magics.shell):
            magics.session.inspector.show(live=frontend.stdin_available(magics.shell))
        else:
            print_lines(*totals(magics.session.chat.ledger))
        return None
    from ipycachechat.rendering.spend_report import SpendReport

    return SpendReport(magics.session.recorder.spending())
