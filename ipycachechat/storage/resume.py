"""Find and load what an earlier kernel left of a notebook."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

from ipycachechat.errors import BadInput
from ipycachechat.storage.connection import Store
from ipycachechat.storage.conversations import StoredConversation

MAX_LISTED = 5
"""Notebooks that an error names."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """An earlier conversation, and the new one that continues it."""

    conversation: int
    """Number of the new conversation, a copy of the earlier one."""
    notebook: str
    """Notebook of the earlier one."""
    stored: StoredConversation


def fork_newest(store: Store, wanted: str, own: str, exclude: Collection[int], now: float) -> Resumed:
    """Fork the newest conversation of a notebook for the notebook `own`.

    `wanted`: path, name or part of the path of the notebook, "" for `own`. `exclude`: numbers of conversations that
    this kernel has in its history already. Raises BadInput if there is none, or if it is damaged.
    """
    notebooks = store.conversations.notebooks()
    notebook = _match(wanted, notebooks) if wanted else own
    summary = store.conversations.newest(notebook, exclude)
    if summary is None:
        raise _nothing_stored(wanted, notebook, notebooks)
    number, stored = store.conversations.fork(summary.id, own, now)
    # A local model's server ended with its kernel, and its cache with it.
    trackers = tuple((scope, tracker) for scope, tracker in stored.trackers if scope[0] != "llama.cpp")
    return Resumed(number, notebook, replace(stored, trackers=trackers))


def _match(wanted: str, notebooks: list[str]) -> str:
    """Return the notebook of this path, else of this name, else with this in its path; of several the first."""
    tests: tuple[Callable[[str], bool], ...] = (
        lambda path: path == wanted,
        lambda path: wanted in (Path(path).name, Path(path).stem),
        lambda path: wanted in path,
    )
    return next((path for test in tests for path in notebooks if test(path)), wanted)


def _nothing_stored(wanted: str, notebook: str, notebooks: list[str]) -> BadInput:
    name = repr(wanted) if wanted else "this notebook"
    message = f"No {'other ' if notebook in notebooks else ''}conversation is saved for {name}"
    if not notebooks:
        return BadInput(message, "Chat cells are saved from now on.")
    return BadInput(
        message, f"%chat resume NAME continues that of another notebook: {', '.join(notebooks[:MAX_LISTED])}"
    )
