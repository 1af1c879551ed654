"""Which chat cells are still in the notebook, by what the front end reports as deleted and by what was saved."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from ipycachechat.conversation.placement import moved_cells
from ipycachechat.errors import BadInput
from ipycachechat.notebook import notebook_file
from ipycachechat.notebook.notebook_file import NotebookFile

if TYPE_CHECKING:
    from ipycachechat.engine.session import ChatSession


class DeletedCellTracker:
    """Detaches the turns of cells that are reported as deleted, and has those back that are there all the same."""

    def __init__(self, notebook: Path | None) -> None:
        self._notebook = notebook
        self._looked = 0.0
        """When the notebook had been saved that was looked at last."""
        self._doubted: frozenset[str] = frozenset()
        """Cells that were reported as deleted, and yet stood elsewhere in the notebook saved since."""

    def on_cell_start(self, dialogue: ChatSession, deleted: frozenset[str], since: float) -> None:
        """A cell starts; `deleted` are the cells reported to have been deleted since the last one did, at `since`."""
        if deleted:
            pasted = self._pasted(dialogue, deleted, since)
            self._doubted |= pasted
            dialogue.detach(deleted - pasted, time.time())
        self._look(dialogue)

    def _pasted(self, dialogue: ChatSession, deleted: frozenset[str], since: float) -> frozenset[str]:
        """Those that were cut and pasted elsewhere, which the notebook, saved since, tells by their places.

        Where an earlier drag has moved them, it may err; the next save tells.
        """
        told = self._read()
        if told is None or told.at <= since:
            return frozenset()
        return moved_cells(dialogue.history.current, deleted, told.cells)

    def _look(self, dialogue: ChatSession) -> None:
        """Attach the turns whose cells the notebook, saved since they were detached, still holds.

        Those of which that was doubted are detached, if it no longer does.
        """
        away = {
            t.cell.id: t.detached
            for t in dialogue.history.current.all_turns
            if t.cell and t.detached is not None
        }
        if self._notebook is None or not (away or self._doubted):
            return
        try:
            at = self._notebook.stat().st_mtime
        except OSError:
            return
        if at == self._looked or not (self._doubted or any(at > detached for detached in away.values())):
            return
        told = self._read()
        if told is None:  # it is being written, or was moved: the next cell looks again
            return
        self._looked = at
        there = {*told.cells}
        dialogue.detach(self._doubted - there, time.time())
        self._doubted &= there
        dialogue.attach({cell for cell, detached in away.items() if cell in there and at > detached})

    def _read(self) -> NotebookFile | None:
        """The notebook as it was saved, if it can be read."""
        try:
            return notebook_file.read(self._notebook) if self._notebook is not None else None
        except BadInput:
            return None
