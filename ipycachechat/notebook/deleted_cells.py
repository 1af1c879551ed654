"""Detach the turns of deleted cells, and attach them again when a cell is back."""

from __future__ import annotations

import time
from typing import Any

from ipycachechat.conversation.placement import moved_cells
from ipycachechat.engine.session import ChatSession
from ipycachechat.errors import BadInput
from ipycachechat.notebook import frontend, notebook_file
from ipycachechat.notebook.notebook_file import NotebookFile


class DeletedCellTracker:
    """Detaches the turns of cells reported as deleted; attaches those whose cells are in the saved notebook."""

    def __init__(self, shell: Any, chat: ChatSession) -> None:
        self._shell, self._chat = shell, chat
        self._notebook = frontend.notebook(shell)
        self._last_start = time.time()
        """Time at which the previous cell started."""
        self._last_read = 0.0
        """Modification time of the notebook file when it was last read."""
        self._doubtful: frozenset[str] = frozenset()
        """Ids of cells reported as deleted that were elsewhere in the notebook saved since."""

    def on_cell_start(self, *_: object) -> None:
        """Look for deleted and restored cells."""
        since, self._last_start = self._last_start, time.time()
        if deleted := frontend.deleted(self._shell):
            pasted = self._pasted(deleted, since)
            self._doubtful |= pasted
            self._chat.versions.detach(deleted - pasted, time.time())
        self._check_saved_notebook()

    def _pasted(self, deleted: frozenset[str], since: float) -> frozenset[str]:
        """Return the cells that were cut and pasted elsewhere, judging by the notebook saved since then.

        This may be wrong if they were dragged before; the next save corrects it.
        """
        saved = self._read()
        if saved is None or saved.saved_at <= since:
            return frozenset()
        return moved_cells(self._chat.history.current, deleted, saved.cells)

    def _check_saved_notebook(self) -> None:
        """Attach turns whose cells are in the notebook saved since they were detached; detach doubtful ones."""
        detached = {
            turn.cell.id: turn.detached
            for turn in self._chat.history.current.all_turns
            if turn.cell and turn.detached is not None
        }
        if self._notebook is None or not (detached or self._doubtful):
            return
        try:
            modified = self._notebook.stat().st_mtime
        except OSError:
            return
        newer = self._doubtful or any(modified > detached_at for detached_at in detached.values())
        if modified == self._last_read or not newer:
            return
        saved = self._read()
        if saved is None:  # it is being written, or was moved: try again at the next cell
            return
        self._last_read = modified
        present = {*saved.cells}
        self._chat.versions.detach(self._doubtful - present, time.time())
        self._doubtful &= present
        self._chat.versions.attach(
            {cell for cell, since in detached.items() if cell in present and modified > since}
        )

    def _read(self) -> NotebookFile | None:
        """Return the saved notebook, or None if it cannot be read."""
        try:
            return notebook_file.read(self._notebook)
        except BadInput:
            return None
