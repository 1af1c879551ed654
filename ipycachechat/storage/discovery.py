"""Find the newest stored conversation of a notebook. `%load_ext` does so, so this imports only the standard library."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Fetch = Callable[[str, tuple[Any, ...]], Iterable[tuple[Any, ...]]]
"""Run a query with its values and return the rows."""


@dataclass(frozen=True, slots=True)
class StoredSummary:
    """A stored conversation in short."""

    id: int
    turns: int
    changed: float
    """Time of the last change, in seconds since the epoch."""
    has_draft: bool
    """True if its kernel ended in the middle of an answer."""

    @property
    def sentence(self) -> str:
        """One line for the user."""
        turns = f"{self.turns} turn{'s' * (self.turns != 1)}"
        cut = " and the beginning of an answer" if self.has_draft else ""
        today = time.strftime("%x") == time.strftime("%x", time.localtime(self.changed))
        changed = time.strftime("%H:%M" if today else "%Y-%m-%d %H:%M", time.localtime(self.changed))
        return f"An earlier conversation was found ({turns}{cut}, {changed}). %chat resume continues it."


def find_stored(path: Path, notebook: str) -> StoredSummary | None:
    """Return the newest stored conversation of a notebook. Creates no file, waits for no other process.

    Raises sqlite3.Error if the file cannot be read.
    """
    if not path.is_file():
        return None
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=0.1)
    try:
        db.execute("BEGIN")  # another kernel may rename the tables between two queries
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type='table'")}
        drafts = "drafts" if "drafts" in tables else "growing"  # its name up to schema version 4
        return newest(db.execute, notebook, drafts=drafts) if "conversations" in tables else None
    finally:
        db.close()


def newest(
    fetch: Fetch, notebook: str, exclude: Collection[int] = (), drafts: str = "drafts"
) -> StoredSummary | None:
    """Return the newest conversation of a notebook that is not empty and not one of those to `exclude`.

    `drafts`: the table of unfinished turns.
    """
    rows = fetch(
        f"SELECT id, turns, changed, EXISTS(SELECT 1 FROM {drafts} WHERE conversation=id) AS has_draft"
        " FROM conversations"
        " WHERE notebook=? AND (has_draft OR EXISTS(SELECT 1 FROM versions WHERE conversation=id))"
        " ORDER BY changed DESC LIMIT ?",
        (to_sqlite_text(notebook), len(exclude) + 1),
    )
    summaries = (StoredSummary(number, turns, changed, bool(draft)) for number, turns, changed, draft in rows)
    return next((summary for summary in summaries if summary.id not in exclude), None)


def to_sqlite_text(path: str) -> str:
    """Return a path as text that SQLite accepts: the name of a folder may not be valid Unicode."""
    return path.encode("utf-8", "backslashreplace").decode()
