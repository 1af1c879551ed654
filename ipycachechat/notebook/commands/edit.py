"""Change the conversation. Every change makes a version, and none is forgotten."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ipycachechat.conversation.placement import Placement
from ipycachechat.errors import Interrupted
from ipycachechat.notebook.commands._common import (
    fail,
    print_lines,
    short,
    show_report,
    turn_number,
    turns,
    unquoted,
)
from ipycachechat.rendering import reports
from ipycachechat.rendering.format import clock
from ipycachechat.text.format import money, share

if TYPE_CHECKING:
    from ipycachechat.conversation.turns import Conversation
    from ipycachechat.engine.session import ChatSession
    from ipycachechat.notebook.magics import ChatMagics


def undo(magics: ChatMagics, _: str) -> None:
    """Back to before the last change."""
    dialogue = magics.session.chat
    if not dialogue.undo():
        fail("There is nothing to undo")
    print_lines(f"undone: {turns(len(dialogue.history.current.turns))} (%chat redo)")


def redo(magics: ChatMagics, _: str) -> None:
    """Forward to what was undone last."""
    dialogue = magics.session.chat
    if not dialogue.redo():
        fail("There is nothing to redo")
    print_lines(f"done again: {turns(len(dialogue.history.current.turns))}")


def reset(magics: ChatMagics, _: str) -> None:
    """Begin anew."""
    magics.session.chat.reset()
    print_lines("begun anew (%chat undo brings the turns back)")


def fork(magics: ChatMagics, name: str) -> None:
    """Go on from here on a branch."""
    dialogue = magics.session.chat
    if not name:
        fail("%chat fork: under which name?", "%chat fork NAME")
    before = dialogue.history.current_branch
    dialogue.change(lambda history: history.fork(unquoted(name)))
    said = f"{turns(len(dialogue.history.current.turns))} so far; %chat switch {before} goes back"
    print_lines(f"on the branch {dialogue.history.current_branch}: {said}")


def switch(magics: ChatMagics, name: str) -> None:
    """Go on with another branch; with no name: the branches."""
    dialogue = magics.session.chat
    if name:
        dialogue.change(lambda history: history.switch(unquoted(name)))
        return print_lines(
            f"on the branch {dialogue.history.current_branch}: {turns(len(dialogue.history.current.turns))}"
        )
    from ipycachechat.rendering import panels

    text = "\n".join(reports.branches(dialogue.history))
    show_report(magics, text, panels.branches(dialogue.history))


def pin(magics: ChatMagics, which: str) -> None:
    """Keep a checkpoint after a turn."""
    dialogue = magics.session.chat
    there = dialogue.history.current.turns
    if not there:
        fail("%chat pin: there are no turns yet")
    if which == "off":
        dialogue.pin(None)
        return print_lines("no turn is pinned")
    number = turn_number(magics, "pin", which) if which else len(there)
    dialogue.pin(number)
    print_lines(f"a checkpoint stays after turn {number}, from the next request on")


def sync(magics: ChatMagics, _: str) -> None:
    """Put the turns in the order of the saved notebook's cells, without those whose cell is gone."""
    session = magics.session
    dialogue, saved = session.chat, session.saved()
    before, history = dialogue.history.current, dialogue.history.reordered(saved.cells, saved.at, session.now)
    after = history.current
    print_lines(f"as the notebook was saved at {clock(saved.at)}:")
    if after == before:
        return print_lines("the conversation has its order already")
    print_lines(*reports.changes(before, after))
    newer = [t for t in after.turns if t.cell and t.cell.id not in saved.cells and t.asked_at >= saved.at]
    if newer:
        print_lines(
            f"{turns(len(newer))} of cells that are newer than that stay where they are: save, and sync again"
        )
    dialogue.history = history
    print_lines("done (%chat undo takes it back)")


def replay(magics: ChatMagics, _: str) -> None:
    """Ask the stale turns again, in order, into their own cells' outputs where the front end knows them."""
    session = magics.session
    dialogue, last, asked = session.chat, 0, 0
    while later := [number for number in dialogue.history.current.stale if number > last]:
        last = min(later)
        turn = dialogue.history.current.turns[last - 1]
        ask = replace(
            magics.next_request(turn.prompt, turn.cell_runs),
            model=turn.model or magics.model_in_use(),
            system=turn.system,
            placement=Placement(turn.cell, replaces=turn),
            approve_tool_call=magics.allow(),
        )
        known = session.can_redraw(turn)
        if not known:
            print_lines(f"turn {last}: {short(turn.prompt_text)}")
        before = dialogue.history.current
        try:
            done = session.ask(ask, turn)
        except Interrupted as error:  # half an answer would stand where a whole one was
            _back(dialogue, before)
            raise Interrupted(error.message, f"Turn {last} is as it was. %chat replay goes on.") from None
        asked += 1
        if known:
            answer = short(done.turn.answer_text if done.turn else "", 40)
            paid = f"{share(done.turn.usage.share_read)} read, {money(done.cost.paid)}" if done.turn else ""
            print_lines(f"turn {last}: {short(turn.prompt_text, 40)} → {answer} ({paid})")
    print_lines(f"{turns(asked)} asked again" if asked else "no turn is stale")


def _back(dialogue: ChatSession, to: Conversation) -> None:
    dialogue.change(lambda history: history.change(to))
