"""Where a new turn goes in the conversation, by the cell that asks it.

Nothing is thrown away by what a notebook reports: a turn whose cell is said to be gone keeps its place, detached.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ipycachechat.conversation.turns import CellRef, Conversation, Turn

Rerun = Literal["replace", "rewind", "append"]
"""Effect of rerunning a cell on its turn: replace it, rewind to before it, or leave it."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a prompt goes."""

    cell: CellRef | None = None
    """The cell that asks; None: the end."""
    rerun: Rerun = "replace"
    order: tuple[str, ...] = ()
    """The cells of the notebook, if it is they that tell the place."""
    replaces: Turn | None = None
    """The very turn that is asked again."""


END = Placement()


def past_for(conversation: Conversation, place: Placement) -> Conversation:
    """The conversation that a prompt continues there: the turns before its place."""
    at, gone = _insertion_index(conversation.all_turns, place)
    kept = [t for n, t in enumerate(conversation.all_turns[:at]) if n not in gone and t.detached is None]
    return replace(conversation, all_turns=tuple(kept))


def split_at(conversation: Conversation, place: Placement) -> tuple[list[Turn], list[Turn]]:
    """The turns that are sent when a prompt goes there, sooner or later, and those that it stands in for."""
    _, gone = _insertion_index(conversation.all_turns, place)
    stay = [t for n, t in enumerate(conversation.all_turns) if n not in gone and t.detached is None]
    return stay, [t for n, t in enumerate(conversation.all_turns) if n in gone]


def place_turn(conversation: Conversation, turn: Turn, place: Placement) -> Conversation:
    """With the turn in its place, and without those it replaces. Later turns stay, unless the rule is to rewind."""
    placed = conversation.all_turns
    at, gone = _insertion_index(placed, place)
    own = [n for n in gone if place.replaces is not None or _same_cell(placed[n], place.cell)]
    if any(placed[n].pinned for n in own):
        turn = replace(turn, pinned=True)
    if place.rerun == "append":  # a cell shows one answer, and owns the turn of that
        placed = tuple(replace(t, cell=None) if _other_run(t, place.cell) else t for t in placed)
    earlier = [t for n, t in enumerate(placed[:at]) if n not in gone]
    later = [t for n, t in enumerate(placed[at:], at) if n not in gone]
    return replace(conversation, all_turns=(*earlier, turn, *later))


def replaced(conversation: Conversation, place: Placement) -> int:
    """How many turns a prompt replaces there; those that a rewind takes back are not replaced."""
    _, gone = _insertion_index(conversation.all_turns, place)
    return sum(place.replaces is not None or _same_cell(conversation.all_turns[n], place.cell) for n in gone)


def _insertion_index(placed: Sequence[Turn], place: Placement) -> tuple[int, Collection[int]]:
    """The index at which a turn goes, and those of the turns that go away for it."""
    if place.replaces is not None:
        at = next((n for n, turn in enumerate(placed) if turn.same_as(place.replaces)), None)
        return (len(placed), ()) if at is None else (at, (at,))
    same_run = [n for n, turn in enumerate(placed) if turn.cell is not None and turn.cell == place.cell]
    own = [n for n, turn in enumerate(placed) if _other_run(turn, place.cell)]
    if same_run:  # a loop asks many times in one run
        at = same_run[-1] + 1
    elif place.rerun == "append":
        return len(placed), ()
    elif place.order and place.cell is not None:
        return _by_order(placed, place.cell, place.order), own
    else:
        at = own[0] if own else len(placed)
    return at, range(at, len(placed)) if place.rerun == "rewind" else own


def _by_order(placed: Sequence[Turn], cell: CellRef, order: Sequence[str]) -> int:
    """After the turns of the nearest cell above that has any, else before those of the nearest below."""
    where = {turn.cell.id: n for n, turn in enumerate(placed) if turn.cell}
    here = order.index(cell.id) if cell.id in order else len(order)
    for above in reversed(order[:here]):
        if above in where:
            return where[above] + 1
    first = {turn.cell.id: n for n, turn in reversed([*enumerate(placed)]) if turn.cell}
    return next((first[below] for below in order[here + 1 :] if below in first), len(placed))


def attach(conversation: Conversation, cells: Collection[str]) -> Conversation:
    """With the turns of these cells sent again."""
    return replace(
        conversation,
        all_turns=tuple(
            replace(turn, detached=None) if turn.detached is not None and _is_of(turn, cells) else turn
            for turn in conversation.all_turns
        ),
    )


def moved_cells(conversation: Conversation, cells: Collection[str], order: Sequence[str]) -> frozenset[str]:
    """Those of these cells that stand below another cell in the notebook than their turns do in the conversation."""
    asked = dict.fromkeys(turn.cell.id for turn in conversation.turns if turn.cell)
    was, now = _above(asked, cells), _above([cell for cell in order if cell in asked], cells)
    return frozenset(cell for cell in now if now[cell] != was[cell])


def _above(names: Iterable[str], cells: Collection[str]) -> dict[str, str]:
    """For each of these cells the nearest of the others above it; "": none."""
    found, last = {}, ""
    for name in names:
        if name in cells:
            found[name] = last
        else:
            last = name
    return found


def _is_of(turn: Turn, cells: Collection[str]) -> bool:
    return turn.cell is not None and turn.cell.id in cells


def reorder_to_notebook(
    conversation: Conversation, order: Sequence[str], saved: float, now: float
) -> Conversation:
    """With the turns in the order of a notebook's cells, as it was saved at that time.

    A turn of no cell, or of one that the notebook does not hold, stays behind the turn that it follows. The latter is
    detached, unless it is newer than the notebook, or of another notebook on the same kernel. One whose cell the
    notebook, saved since, still holds, comes back.
    """
    there = {cell: n for n, cell in enumerate(order)}
    pages = {
        turn.cell.client_session for turn in conversation.all_turns if turn.cell and turn.cell.id in there
    }
    groups: list[tuple[int, list[Turn]]] = [(-1, [])]
    for turn in conversation.all_turns:
        at = there.get(turn.cell.id) if turn.cell else None
        if at is not None:
            back = turn.detached is not None and saved > turn.detached
            groups.append((at, [replace(turn, detached=None) if back else turn]))
        else:
            elsewhere = turn.cell is not None and bool(pages) and turn.cell.client_session not in pages
            gone = turn.cell is not None and not elsewhere and turn.asked_at < saved and turn.detached is None
            groups[-1][1].append(replace(turn, detached=now) if gone else turn)
    groups.sort(key=lambda group: group[0])
    return replace(conversation, all_turns=tuple(turn for _, group in groups for turn in group))


def _same_cell(turn: Turn, cell: CellRef | None) -> bool:
    return turn.cell is not None and cell is not None and turn.cell.id == cell.id


def _other_run(turn: Turn, cell: CellRef | None) -> bool:
    """Return True if an earlier run of the cell left this turn."""
    return _same_cell(turn, cell) and turn.cell != cell
