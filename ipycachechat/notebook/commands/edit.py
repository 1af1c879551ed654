"""Change the conversation. Every change makes a version, and none is lost."""

from __future__ import annotations

from dataclasses import replace

from ipycachechat.conversation.placement import Placement
from ipycachechat.errors import Interrupted
from ipycachechat.notebook import notebook_file
from ipycachechat.notebook.chat_cells import CellChat
from ipycachechat.notebook.commands._common import (
    NO_TURNS,
    fail,
    print_lines,
    show_report,
    turn_number,
    unquoted,
)
from ipycachechat.rendering import history_table
from ipycachechat.rendering.format import one_line, time_of_day
from ipycachechat.text.format import money, percent, plural


def undo(cell_chat: CellChat, _: str) -> None:
    """Go back to before the last change."""
    before = cell_chat.chat.history.current.turns
    if not cell_chat.chat.versions.undo():
        fail("There is nothing to undo", "%chat history lists the turns.")
    after = cell_chat.chat.history.current.turns
    kept = {id(turn) for turn in after}
    removed = [turn for turn in before if id(turn) not in kept]
    undone = f"Undid “{one_line(removed[-1].prompt_text, 40)}”" if len(removed) == 1 else "Undone"
    remain = "remains" if len(after) == 1 else "remain"
    print_lines(f"{undone}. {plural(len(after), 'turn')} {remain}; %chat redo reverses this.")


def redo(cell_chat: CellChat, _: str) -> None:
    """Restore what was undone last."""
    if not cell_chat.chat.versions.redo():
        fail("There is nothing to redo", "%chat redo restores what %chat undo has just undone.")
    count = len(cell_chat.chat.history.current.turns)
    print_lines(f"Redone; the conversation has {plural(count, 'turn')}")


def reset(cell_chat: CellChat, _: str) -> None:
    """Start a new conversation (%chat undo restores the old one)."""
    cell_chat.chat.versions.reset()
    print_lines("Started a new conversation (%chat undo restores the old one)")


def fork(cell_chat: CellChat, name: str) -> None:
    """Continue from here on a new branch."""
    if not name:
        fail("%chat fork: what is the branch called?", "%chat fork NAME")
    previous = cell_chat.chat.history.current_branch
    cell_chat.chat.versions.change(lambda history: history.fork(unquoted(name)))
    print_lines(f"{_branch(cell_chat)}; %chat switch {previous} goes back")


def switch(cell_chat: CellChat, name: str) -> None:
    """Continue with another branch; without a name: list the branches."""
    if name:
        cell_chat.chat.versions.change(lambda history: history.switch(unquoted(name)))
        return print_lines(_branch(cell_chat))
    history = cell_chat.chat.history
    show_report(
        cell_chat, "\n".join(history_table.branch_tree(history)), history_table.branches_html(history)
    )


def _branch(cell_chat: CellChat) -> str:
    history = cell_chat.chat.history
    return f"On branch {history.current_branch} ({plural(len(history.current.turns), 'turn')})"


def pin(cell_chat: CellChat, argument: str) -> None:
    """Keep a cache checkpoint after turn N (default: the last), for example after a long document; off: remove it."""
    count = len(cell_chat.chat.history.current.turns)
    if not count:
        fail("%chat pin: there are no turns yet", NO_TURNS)
    if argument == "off":
        cell_chat.chat.versions.pin(None)
        return print_lines("No turn is pinned")
    number = turn_number(cell_chat, "pin", argument) if argument else count
    cell_chat.chat.versions.pin(number)
    print_lines(f"Pinned: a cache checkpoint will stay after turn {number}")


def sync(cell_chat: CellChat, _: str) -> None:
    """Put the turns in the saved notebook's order; those of deleted cells are no longer sent."""
    saved, chat = notebook_file.read(cell_chat.session.notebook), cell_chat.chat
    before = chat.history.current
    after = chat.history.reordered(saved.cells, saved.saved_at, cell_chat.now).current
    if after == before:
        return print_lines(
            f"The conversation already matches the notebook saved at {time_of_day(saved.saved_at)}"
        )
    print_lines(
        f"Matching the notebook saved at {time_of_day(saved.saved_at)}:",
        *history_table.turn_changes(before, after),
    )
    newer = sum(
        turn.cell is not None and turn.cell.id not in saved.cells and turn.asked_at >= saved.saved_at
        for turn in after.turns
    )
    if newer:
        stay = "stays" if newer == 1 else "stay"
        print_lines(f"{plural(newer, 'turn')} from newer cells {stay} in place; save and sync again")
    chat.versions.change(lambda latest: latest.reordered(saved.cells, saved.saved_at, cell_chat.now))
    print_lines("Done (%chat undo reverts it)")


def replay(cell_chat: CellChat, _: str) -> None:
    """Rerun the turns that are out of date, in order, each in its own cell."""
    session, chat, last, count = cell_chat.session, cell_chat.chat, 0, 0
    while later := [number for number in chat.history.current.stale if number > last]:
        last = min(later)
        before = chat.history.current
        turn = before.turns[last - 1]
        request = replace(
            cell_chat.next_request(turn.prompt, turn.cell_runs),
            model=turn.model or cell_chat.model_in_use(),
            system=turn.system,
            placement=Placement(turn.cell, replaces=turn),
            approve_tool_call=cell_chat.approval(),
        )
        redraws = session.runner.can_redraw(turn)
        if not redraws:
            print_lines(f"Turn {last}: {one_line(turn.prompt_text)}")
        try:
            result = session.ask(request, turn)
        except Interrupted as error:  # a partial answer would replace a complete one
            chat.versions.change(lambda history, before=before: history.change(before))  # type: ignore[misc]
            todo = f"Turn {last} is unchanged. %chat replay continues."
            raise Interrupted(error.message, todo) from None
        count += 1
        if redraws and result.turn:
            answer = one_line(result.turn.answer_text, 40)
            cost = f"{percent(result.turn.usage.share_read)} from cache, {money(result.cost.paid)}"
            print_lines(f"Turn {last}: {one_line(turn.prompt_text, 40)} → {answer} ({cost})")
    print_lines(f"Reran {plural(count, 'turn')}" if count else "No turn is out of date")
