"""Facts that the front end reports: the cell id, deleted cells, and whether the user can be asked."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ipycachechat.conversation.turns import CellRef


_SILENT = ("IPython.core.", "ipykernel.", "ipycachechat.")
"""Modules whose callbacks show nothing."""


def cell(shell: Any) -> CellRef | None:
    """The notebook cell that is running; None where the front end names none."""
    parent = _parent(shell)
    from ipycachechat.conversation.turns import CellRef  # not while the extension loads

    name, header = parent.get("metadata", {}).get("cellId"), parent.get("header", {})
    return CellRef(str(name), str(header.get("msg_id", "")), str(header.get("session", ""))) if name else None


def deleted(shell: Any) -> frozenset[str]:
    """The cells that the front end reports as deleted, by id: a hint, since one that was cut and pasted is, too."""
    metadata = _parent(shell).get("metadata", {})
    found = metadata.get("deletedCells") or ()
    return frozenset(str(one) for one in found) - {str(metadata.get("cellId"))}


def notebook(shell: Any) -> Path | None:
    """Where the notebook of this kernel is saved; None if unknown."""
    name = os.environ.get("JPY_SESSION_NAME") or shell.user_ns.get("__vsc_ipynb_file__") or ""
    return Path(str(name)).absolute() if str(name).endswith(".ipynb") else None


def stdin_available(shell: Any) -> bool:
    """Return True if the user could answer a question: nbclient and its like cannot."""
    if getattr(shell, "kernel", None) is None:
        return sys.stdin is not None and sys.stdin.isatty()
    return bool(_parent(shell).get("content", {}).get("allow_stdin", False))


def confirm(question: str) -> bool:
    """Return True if the user who is asked says yes."""
    return input(question).strip().lower() in ("y", "yes")


def is_only_output(shell: Any) -> bool:
    """Return True if the running cell shows nothing else: it is a chat in which no expression is filled in,
    and nobody else has anything called before a cell runs, autoreload say.
    """
    called = [one for name in ("pre_execute", "pre_run_cell") for one in shell.events.callbacks[name]]
    known = all(str(getattr(one, "__module__", "")).startswith(_SILENT) for one in called)
    return known and is_chat(shell) and "{{" not in _code(shell)


def is_chat(shell: Any) -> bool:
    """Return True if the running cell of a kernel is a chat and nothing else."""
    return re.match(r"\s*%%chat\b", _code(shell)) is not None


def can_update_displays(shell: Any) -> bool:
    """Return True if outputs can be redrawn: not in a terminal, nor in a console that prints one after the other."""
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return False
    # Servers name the connection file after a uuid, `jupyter console` and qtconsole after their process.
    file = Path(str(getattr(getattr(kernel, "parent", None), "connection_file", "") or "")).name
    return not re.fullmatch(r"kernel-\d+\.json", file)


def _code(shell: Any) -> str:
    return str(_parent(shell).get("content", {}).get("code", ""))


def _parent(shell: Any) -> dict[str, Any]:
    kernel = getattr(shell, "kernel", None)
    return (kernel.get_parent("shell") or {}) if kernel is not None else {}
