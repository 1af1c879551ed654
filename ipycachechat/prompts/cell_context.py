"""Select the cell runs that are new to a conversation, and merge those of turns that are replaced."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ipycachechat.conversation.cell_runs import CellRun

if TYPE_CHECKING:
    from ipycachechat.conversation.turns import Turn


def new_cell_runs(ran: Iterable[CellRun], turns: Iterable[Turn]) -> list[CellRun]:
    """Return the runs that these turns do not contain; a cell whose code and output are as last sent is not new."""
    last = {run.cell_id: run.digest for turn in turns for run in turn.cell_runs}
    return [run for run in ran if last.get(run.cell_id) != run.digest]


def merge_cell_runs(before: Iterable[Turn], new: Iterable[CellRun]) -> tuple[CellRun, ...]:
    """Return the runs for a turn that replaces others: theirs and the new ones, each cell as it ran last."""
    latest: dict[str, CellRun] = {}
    for run in (*(run for turn in before for run in turn.cell_runs), *new):
        earlier = latest.get(run.cell_id)
        if earlier is not None and earlier.digest == run.digest:
            continue  # it keeps its position and its number, so that the cached prefix stays the same
        latest.pop(run.cell_id, None)
        latest[run.cell_id] = run
    return tuple(latest.values())
