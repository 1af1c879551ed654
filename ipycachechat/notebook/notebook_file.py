"""The notebook as it was saved: its cells, in order."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ipycachechat.errors import BadInput


@dataclass(frozen=True, slots=True)
class NotebookFile:
    """A saved notebook."""

    cells: tuple[str, ...]
    """Ids of its cells, in order."""
    saved_at: float
    """Modification time, in seconds of the clock."""


def read(path: Path | None) -> NotebookFile:
    """Return the notebook saved at `path`; None: the front end reports none. Raises BadInput."""
    if path is None:
        raise BadInput(
            "This kernel does not know which notebook it belongs to",
            "JupyterLab, Notebook and VS Code report it; a terminal has no notebook.",
        )
    try:
        saved_at = path.stat().st_mtime
        cells = json.loads(path.read_bytes())["cells"]
        if not isinstance(cells, list):
            raise TypeError("cells")
        ids = tuple(str(cell["id"]) for cell in cells if cell.get("id"))
    except OSError as error:
        raise BadInput(f"The saved notebook cannot be read: {error}", "Save it and try again.") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BadInput(f"{path} is not a notebook", "Save the notebook and try again.") from None
    if cells and not ids:
        raise BadInput(
            f"{path.name} was saved in an older notebook format without cell ids (before 4.5)",
            "Save it in the current format: nbformat.v4.upgrade, or copy its cells to a new notebook.",
        )
    return NotebookFile(ids, saved_at)
