"""Cell runs that are new to the conversation, and those of replaced turns merged with them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ipycachechat.conversation.cell_runs import CellRun

if TYPE_CHECKING:
    from ipycachechat.conversation.turns import Turn


def new_cell_runs(ran: Iterable[CellRun], turns: Iterable[Turn]) -> list[CellRun]:
    """The runs that these turns do not tell of: a cell that gave the same as when they last told of it is none."""
    last = {one.cell: one.digest for turn in turns for one in turn.cell_runs}
    return [one for one in ran if last.get(one.cell) != one.digest]


def merge_cell_runs(before: Iterable[Turn], new: Iterable[CellRun]) -> tuple[CellRun, ...]:
    """What the turn tells that stands in for others: what they told, and each cell as it ran last."""
    found: dict[str, CellRun] = {}
    for one in (*(one for turn in before for one in turn.cell_runs), *new):
        old = found.get(one.cell)
        if old is not None and old.digest == one.digest:
            continue  # it keeps its place and its number, so that the cache knows all of it
        found.pop(one.cell, None)
        found[one.cell] = one
    return tuple(found.values())
