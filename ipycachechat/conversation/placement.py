"""Where a new turn goes in the conversation, by the cell that asks it.

Nothing that a notebook reports removes a turn: if its cell was deleted, the turn keeps its place, detached.
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
    """Ids of the notebook's cells in order, if that order determines the place."""
    replaces: Turn | None = None
    """The turn that is asked again."""


END = Placement()


def past_for(conversation: Conversation, placement: Placement) -> Conversation:
    """Return the conversation that a prompt placed there continues: the turns before it."""
    index, removed = _locate(conversation.all_turns, placement)
    turns = enumerate(conversation.all_turns[:index])
    kept = tuple(t for n, t in turns if n not in removed and t.detached is None)
    return replace(conversation, all_turns=kept)


def split_at(conversation: Conversation, placement: Placement) -> tuple[list[Turn], list[Turn]]:
    """Return the turns that are still sent once a prompt is placed there, and those that it removes."""
    _, removed = _locate(conversation.all_turns, placement)
    turns = [*enumerate(conversation.all_turns)]
    kept = [t for n, t in turns if n not in removed and t.detached is None]
    return kept, [t for n, t in turns if n in removed]


def place_turn(conversation: Conversation, turn: Turn, placement: Placement) -> Conversation:
    """Return the conversation with the turn in its place. Later turns stay, unless the rule is to rewind."""
    turns = conversation.all_turns
    index, removed = _locate(turns, placement)
    own = [n for n in removed if placement.replaces is not None or _same_cell(turns[n], placement.cell)]
    if any(turns[n].pinned for n in own):
        turn = replace(turn, pinned=True)
    if placement.rerun == "append":  # a cell shows one answer, and only that turn belongs to it
        turns = tuple(replace(t, cell=None) if _is_earlier_run(t, placement.cell) else t for t in turns)
    earlier = [t for n, t in enumerate(turns[:index]) if n not in removed]
    later = [t for n, t in enumerate(turns[index:], index) if n not in removed]
    return replace(conversation, all_turns=(*earlier, turn, *later))


def count_replaced(conversation: Conversation, placement: Placement) -> int:
    """Return how many turns a prompt placed there replaces, not counting those that a rewind removes."""
    turns = conversation.all_turns
    _, removed = _locate(turns, placement)
    return sum(placement.replaces is not None or _same_cell(turns[n], placement.cell) for n in removed)


def _locate(turns: Sequence[Turn], placement: Placement) -> tuple[int, Collection[int]]:
    """Return the index at which a turn goes, and the indices of the turns that it removes."""
    if placement.replaces is not None:
        index = next((n for n, turn in enumerate(turns) if turn.same_as(placement.replaces)), None)
        return (len(turns), ()) if index is None else (index, (index,))
    same_run = [n for n, turn in enumerate(turns) if turn.cell is not None and turn.cell == placement.cell]
    own = [n for n, turn in enumerate(turns) if _is_earlier_run(turn, placement.cell)]
    if same_run:  # a loop asks many times in one run
        index = same_run[-1] + 1
    elif placement.rerun == "append":
        return len(turns), ()
    elif placement.order and placement.cell is not None:
        return _index_by_order(turns, placement.cell, placement.order), own
    else:
        index = own[0] if own else len(turns)
    return index, range(index, len(turns)) if placement.rerun == "rewind" else own


def _index_by_order(turns: Sequence[Turn], cell: CellRef, order: Sequence[str]) -> int:
    """Return the index after the turns of the nearest cell above, or else before those of the nearest below."""
    last = {turn.cell.id: n for n, turn in enumerate(turns) if turn.cell}
    position = order.index(cell.id) if cell.id in order else len(order)
    for above in reversed(order[:position]):
        if above in last:
            return last[above] + 1
    first = {turn.cell.id: n for n, turn in reversed([*enumerate(turns)]) if turn.cell}
    return next((first[below] for below in order[position + 1 :] if below in first), len(turns))


def attach(conversation: Conversation, cells: Collection[str]) -> Conversation:
    """Return the conversation with the detached turns of these cells attached again."""
    turns = tuple(
        replace(turn, detached=None)
        if turn.detached is not None and turn.cell and turn.cell.id in cells
        else turn
        for turn in conversation.all_turns
    )
    return replace(conversation, all_turns=turns)


def moved_cells(conversation: Conversation, cells: Collection[str], order: Sequence[str]) -> frozenset[str]:
    """Return those of `cells` that follow another cell in the notebook than their turns do in the conversation."""
    asked = dict.fromkeys(turn.cell.id for turn in conversation.turns if turn.cell)
    before = _cell_above(asked, cells)
    after = _cell_above([cell for cell in order if cell in asked], cells)
    return frozenset(cell for cell in after if after[cell] != before[cell])


def _cell_above(ids: Iterable[str], cells: Collection[str]) -> dict[str, str]:
    """Return for each of `cells` the nearest id above it that is not one of them; "" if there is none."""
    above, last = {}, ""
    for cell_id in ids:
        if cell_id in cells:
            above[cell_id] = last
        else:
            last = cell_id
    return above


def reorder_to_notebook(
    conversation: Conversation, order: Sequence[str], saved_at: float, now: float
) -> Conversation:
    """Return the conversation in the order of a notebook's cells, as it was saved at `saved_at`.

    A turn without a cell, or whose cell is not in the notebook, stays behind the turn that it follows. The latter is
    detached, unless it is newer than the saved notebook or belongs to another notebook on the same kernel. A detached
    turn is attached again if the notebook was saved since and still has its cell.
    """
    positions = {cell: n for n, cell in enumerate(order)}
    turns = conversation.all_turns
    sessions = {turn.cell.client_session for turn in turns if turn.cell and turn.cell.id in positions}
    groups: list[tuple[int, list[Turn]]] = [(-1, [])]
    for turn in turns:
        position = positions.get(turn.cell.id) if turn.cell else None
        if position is not None:
            back = turn.detached is not None and saved_at > turn.detached
            groups.append((position, [replace(turn, detached=None) if back else turn]))
        else:
            deleted = (
                turn.cell is not None
                and (not sessions or turn.cell.client_session in sessions)
                and turn.asked_at < saved_at
                and turn.detached is None
            )
            groups[-1][1].append(replace(turn, detached=now) if deleted else turn)
    groups.sort(key=lambda group: group[0])
    return replace(conversation, all_turns=tuple(turn for _, group in groups for turn in group))


def _same_cell(turn: Turn, cell: CellRef | None) -> bool:
    return turn.cell is not None and cell is not None and turn.cell.id == cell.id


def _is_earlier_run(turn: Turn, cell: CellRef | None) -> bool:
    """Return True if an earlier run of the cell left this turn."""
    return _same_cell(turn, cell) and turn.cell != cell
