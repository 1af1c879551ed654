"""The notebook as it was saved: its cells, in order."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ipycachechat.errors import BadInput


@dataclass(frozen=True, slots=True)
class NotebookFile:
    """A notebook's cells by id, in order, and when it was saved, in seconds of the clock."""

    cells: tuple[str, ...]
    at: float


def read(path: Path) -> NotebookFile:
    """The notebook that was saved there. Raises BadInput."""
    try:
        at = path.stat().st_mtime
        cells = json.loads(path.read_bytes())["cells"]
        if not isinstance(cells, list):
            raise TypeError("cells")
        ids = tuple(str(cell["id"]) for cell in cells if cell.get("id"))
    except OSError as error:
        raise BadInput(f"The saved notebook cannot be read: {error}", "Save it, and try again.") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BadInput(f"{path} is no notebook", "Save the notebook, and try again.") from None
    if cells and not ids:
        raise BadInput(
            f"{path.name} was saved in a format of notebooks that gives its cells no ids (before 4.5)",
            "Save it in today's format: nbformat.v4.upgrade, or copy its cells to a new notebook.",
        )
    return NotebookFile(ids, at)
