"""Facts about the front end: the running cell, deleted cells, input, and whether outputs can be redrawn."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipycachechat.text.sanitize import clean

if TYPE_CHECKING:
    from ipycachechat.conversation.turns import CellRef


_SILENT_PACKAGES = ("IPython.core.", "ipykernel.", "ipycachechat.")
"""Packages whose callbacks display nothing."""


def cell(shell: Any) -> CellRef | None:
    """Return the running notebook cell, or None if the front end does not report its id."""
    parent = _parent(shell)
    from ipycachechat.conversation.turns import CellRef  # not while the extension loads

    cell_id, header = parent.get("metadata", {}).get("cellId"), parent.get("header", {})
    if not cell_id:
        return None
    return CellRef(str(cell_id), str(header.get("msg_id", "")), str(header.get("session", "")))


def deleted(shell: Any) -> frozenset[str]:
    """Return the ids of cells that the front end reports as deleted; it also reports those cut and pasted."""
    metadata = _parent(shell).get("metadata", {})
    return frozenset(map(str, metadata.get("deletedCells") or ())) - {str(metadata.get("cellId"))}


def notebook(shell: Any) -> Path | None:
    """Return the path of this kernel's notebook, or None if it is unknown."""
    name = os.environ.get("JPY_SESSION_NAME") or shell.user_ns.get("__vsc_ipynb_file__") or ""
    return Path(str(name)).absolute() if str(name).endswith(".ipynb") else None


def stdin_available(shell: Any) -> bool:
    """Return True if the user can be asked; nbclient, for example, has no input."""
    if getattr(shell, "kernel", None) is None:
        return sys.stdin is not None and sys.stdin.isatty()
    return bool(_parent(shell).get("content", {}).get("allow_stdin", False))


def confirm(question: str) -> bool:
    """Ask the user a question; return True if the answer is yes."""
    return input(clean(question)).strip().lower() in ("y", "yes")


def is_only_output(shell: Any) -> bool:
    """Return True if the answer is all that the running cell displays.

    It must be a chat cell without expressions, and no other extension (such as autoreload) may run before cells.
    """
    callbacks = [*shell.events.callbacks["pre_execute"], *shell.events.callbacks["pre_run_cell"]]
    silent = all(
        str(getattr(callback, "__module__", "")).startswith(_SILENT_PACKAGES) for callback in callbacks
    )
    return silent and is_chat(shell) and "{{" not in _code(shell)


def is_chat(shell: Any) -> bool:
    """Return True if the running cell is a chat cell."""
    return re.match(r"\s*%%chat\b", _code(shell)) is not None


def can_update_displays(shell: Any) -> bool:
    """Return True if the front end can update outputs; terminals and Jupyter consoles cannot."""
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return False
    # Jupyter servers name the connection file after a uuid, `jupyter console` and qtconsole after their process.
    file = Path(str(getattr(getattr(kernel, "parent", None), "connection_file", "") or "")).name
    return not re.fullmatch(r"kernel-\d+\.json", file)


def _code(shell: Any) -> str:
    return str(_parent(shell).get("content", {}).get("code", ""))


def _parent(shell: Any) -> dict[str, Any]:
    kernel = getattr(shell, "kernel", None)
    return (kernel.get_parent("shell") or {}) if kernel is not None else {}
