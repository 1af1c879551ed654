"""Change the conversation. Every change makes a version, and none is lost."""

from __future__ import annotations

from dataclasses import replace

from ipycachechat.conversation.placement import Placement
from ipycachechat.errors import Interrupted
from ipycachechat.notebook import notebook_file
from ipycachechat.notebook.chat_cells import CellChat
from ipycachechat.notebook.commands._common import (
    fail,
    print_lines,
    show_report,
    turn_number,
    turns,
    unquoted,
)
from ipycachechat.rendering import panels, reports
from ipycachechat.rendering.format import one_line, time_of_day
from ipycachechat.text.format import money, percent


def undo(cells: CellChat, _: str) -> None:
    """Go back to before the last change."""
    before = cells.chat.history.current.turns
    if not cells.chat.versions.undo():
        fail("There is nothing to undo")
    now = cells.chat.history.current.turns
    kept = {id(turn) for turn in now}
    gone = [turn for turn in before if id(turn) not in kept]
    undone = f"Undid “{one_line(gone[-1].prompt_text, 40)}”" if len(gone) == 1 else "Undone"
    remain = f"{turns(len(now))} remain" + "s" * (len(now) == 1)
    print_lines(f"{undone}. {remain}; %chat redo restores it.")


def redo(cells: CellChat, _: str) -> None:
    """Restore what was undone last."""
    if not cells.chat.versions.redo():
        fail("There is nothing to redo")
    print_lines(f"Redone; the conversation has {turns(len(cells.chat.history.current.turns))}")


def reset(cells: CellChat, _: str) -> None:
    """Start a new conversation."""
    cells.chat.versions.reset()
    print_lines("Started a new conversation (%chat undo restores the old one)")


def fork(cells: CellChat, name: str) -> None:
    """Continue from here on a new branch."""
    if not name:
        fail("%chat fork: what is the branch called?", "%chat fork NAME")
    before = cells.chat.history.current_branch
    cells.chat.versions.change(lambda history: history.fork(unquoted(name)))
    print_lines(f"{_branch(cells)} so far; %chat switch {before} goes back")


def switch(cells: CellChat, name: str) -> None:
    """Continue with another branch; with no name, show the branches."""
    if name:
        cells.chat.versions.change(lambda history: history.switch(unquoted(name)))
        return print_lines(_branch(cells))
    history = cells.chat.history
    show_report(cells, "\n".join(reports.branch_tree(history)), panels.branches(history))


def _branch(cells: CellChat) -> str:
    history = cells.chat.history
    return f"on the branch {history.current_branch}: {turns(len(history.current.turns))}"


def pin(cells: CellChat, which: str) -> None:
    """Keep a cache checkpoint after a turn."""
    count = len(cells.chat.history.current.turns)
    if not count:
        fail("%chat pin: there are no turns yet")
    if which == "off":
        cells.chat.versions.pin(None)
        return print_lines("no turn is pinned")
    number = turn_number(cells, "pin", which) if which else count
    cells.chat.versions.pin(number)
    print_lines(f"Pinned: a cache checkpoint will stay after turn {number}")


def sync(cells: CellChat, _: str) -> None:
    """Match the saved notebook's order and drop the turns of deleted cells."""
    saved, chat = notebook_file.read(cells.session.notebook), cells.chat
    before = chat.history.current
    history = chat.history.reordered(saved.cells, saved.saved_at, cells.now)
    after = history.current
    print_lines(f"as the notebook was saved at {time_of_day(saved.saved_at)}:")
    if after == before:
        return print_lines("the conversation has this order already")
    print_lines(*reports.turn_changes(before, after))
    newer = [
        turn
        for turn in after.turns
        if turn.cell and turn.cell.id not in saved.cells and turn.asked_at >= saved.saved_at
    ]
    if newer:
        print_lines(f"{turns(len(newer))} of newer cells stay where they are: save, and sync again")
    chat.history = history
    print_lines("done (%chat undo takes it back)")


def replay(cells: CellChat, _: str) -> None:
    """Ask the stale turns again, in order, in their own cells' outputs where the front end knows them."""
    session, chat, last, count = cells.session, cells.chat, 0, 0
    while later := [number for number in chat.history.current.stale if number > last]:
        last = min(later)
        turn = chat.history.current.turns[last - 1]
        request = replace(
            cells.next_request(turn.prompt, turn.cell_runs),
            model=turn.model or cells.model_in_use(),
            system=turn.system,
            placement=Placement(turn.cell, replaces=turn),
            approve_tool_call=cells.approve(),
        )
        redraws = session.runner.can_redraw(turn)
        if not redraws:
            print_lines(f"turn {last}: {one_line(turn.prompt_text)}")
        before = chat.history.current
        try:
            result = session.ask(request, turn)
        except Interrupted as error:  # a partial answer would replace a whole one
            chat.versions.change(lambda history, before=before: history.change(before))  # type: ignore[misc]
            raise Interrupted(error.message, f"Turn {last} is unchanged. %chat replay goes on.") from None
        count += 1
        if redraws:
            answer = one_line(result.turn.answer_text if result.turn else "", 40)
            paid = (
                f"{percent(result.turn.usage.share_read)} read, {money(result.cost.paid)}"
                if result.turn
                else ""
            )
            print_lines(f"turn {last}: {one_line(turn.prompt_text, 40)} → {answer} ({paid})")
    print_lines(f"{turns(count)} asked again" if count else "no turn is stale")
