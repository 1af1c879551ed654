"""Look, and change nothing: where we stand, the turns, what will be sent, what it cost."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from ipycachechat.errors import ChatError, Interrupted
from ipycachechat.notebook import frontend
from ipycachechat.notebook.commands._common import chosen, say, tell, turns, wrong
from ipycachechat.rendering import reports
from ipycachechat.rendering.format import budgets, totals

if TYPE_CHECKING:
    from ipycachechat.engine.turn_request import TurnRequest
    from ipycachechat.notebook.magics import ChatMagics
    from ipycachechat.rendering.spend_report import SpendReport


def status(magics: ChatMagics, _: str) -> None:
    """Where we stand."""
    session = magics.session
    dialogue = session.dialogue
    history, now = dialogue.history, dialogue.history.current
    away = len(now.all_turns) - len(now.turns)
    more = [f"{len(now.stale)} stale"] * bool(now.stale) + [f"{away} detached"] * bool(away)
    told = f"{magics.model_in_use()}, {turns(len(now.turns))}" + f" ({', '.join(more)})" * bool(more)
    say(told + f", on the branch {history.current_branch}" * (len(history.branches) > 1))
    say(*totals(dialogue.ledger))
    spending = dialogue.client.budgets
    if spending.limits()[0]:
        say(budgets(spending.state, spending.limits()[0], 0.0, None)[0])
    done = dialogue.answer()
    if done is not None:
        say(reports.foretold(done.warm_until, session.now, dialogue.client.prediction_totals))
    if kept := dialogue.keepalive:
        say(reports.kept(kept.refreshed, kept.until, kept.ended))


def history(magics: ChatMagics, _: str) -> None:
    """The turns, each with what it cost and whether it is warm; a click unfolds one."""
    from IPython.display import display

    from ipycachechat.rendering import history_table

    session = magics.session
    dialogue = session.dialogue
    if not dialogue.history.current.all_turns:
        return say("no turns yet")
    warm: dict[int, float] = {}
    if dialogue.client.remembers:
        try:
            forecast = session.wait(lambda tell: dialogue.plan(magics.next(""), tell))
            warm = history_table.warm(forecast.rows)
        except Interrupted:
            raise
        except ChatError:  # a model that is not there, say: the turns are there all the same
            pass
    told = history_table.rows(dialogue.history.current, warm, known=dialogue.client.remembers)
    display({"text/html": history_table.to_html(told), "text/plain": history_table.to_text(told)}, raw=True)


def plan(magics: ChatMagics, text: str) -> None:
    """What this prompt, else the next one, will read, write and cost."""
    from ipycachechat.rendering import panels

    session, ask = magics.session, _asking(magics, text)
    forecast = session.wait(lambda tell: session.dialogue.plan(ask, tell))
    tell(magics, reports.plan(forecast), panels.plan(forecast))


def show(magics: ChatMagics, what: str) -> None:
    """Exactly what the next request, or that of a turn, contains; `--wire`: as JSON."""
    from ipycachechat.conversation.placement import Placement
    from ipycachechat.rendering import panels

    session = magics.session
    words = what.split()
    if wire := "--wire" in words:
        what = what.replace("--wire", "", 1).strip()
    if what.isdecimal():
        turn = session.dialogue.history.current.turns[chosen(magics, "show", what) - 1]
        ask = replace(
            magics.next(turn.prompt, turn.cell_runs), placement=Placement(replaces=turn), system=turn.system
        )
    else:
        ask = _asking(magics, what)
    found = session.wait(lambda tell: session.dialogue.contents(ask, tell))
    if wire:
        told = json.dumps(found.wire, indent=2, ensure_ascii=False)
        return tell(magics, told, panels.as_json(told))
    tell(magics, reports.contents(found), panels.contents(found))


def _asking(magics: ChatMagics, text: str) -> TurnRequest:
    """What the next cell would ask with this text."""
    made = magics.prompt(text, raw=not magics.interpolate)
    return magics.next(made.content, made.cell_runs)


def why(magics: ChatMagics, which: str) -> None:
    """What a turn was expected to read, what it did read, and why less."""
    dialogue = magics.session.dialogue
    number = chosen(magics, "why", which) if which else 0
    if not number and dialogue.failed is not None:
        return say(reports.failure(dialogue.failed))
    done = dialogue.answer(number)
    if done is None and dialogue.history.current.turns:
        return say("that turn was answered in an earlier kernel: what was expected of it is not kept")
    from ipycachechat.rendering import panels

    tell(magics, reports.why(done), panels.why(done))


def usage(magics: ChatMagics, which: str) -> SpendReport | None:
    """The inspector: what each turn and this kernel was billed; `--all`: all kernels, by notebook, model and day."""
    if which not in ("", "--all"):
        wrong(f"%chat usage {which}: there is only --all")
    if not which:
        if frontend.draws(magics.shell):
            magics.session.inspector.show(live=frontend.somebody_is_there(magics.shell))
        else:
            say(*totals(magics.session.dialogue.ledger))
        return None
    from ipycachechat.rendering.spend_report import SpendReport

    return SpendReport(magics.session.recorder.spending())
