"""What an earlier kernel left of a notebook: looked for when the extension loads, so it imports next to nothing."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class StoredSummary:
    """A conversation that is kept."""

    id: int
    turns: int
    changed: float
    """In seconds of the clock."""
    growing: bool
    """Whether an answer was under way when it was left."""

    @property
    def told(self) -> str:
        """What was found, in one line."""
        turns = f"{self.turns} turn{'s' * (self.turns != 1)}"
        cut = ", the beginning of an answer" if self.growing else ""
        today = time.strftime("%x") == time.strftime("%x", time.localtime(self.changed))
        at = time.strftime("%H:%M" if today else "%Y-%m-%d %H:%M", time.localtime(self.changed))
        return f"kept of this notebook: {turns}{cut}, last at {at} (%chat resume)"


def find_stored(path: Path, notebook: str) -> StoredSummary | None:
    """The conversation of a notebook that was changed last; no file is made, and none is waited for.

    Raises sqlite3.Error if there is a file that cannot be read.
    """
    if not path.is_file():
        return None
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=0.1)
    try:
        made = db.execute("SELECT 1 FROM sqlite_master WHERE name='conversations'").fetchone()
        return newest(db, notebook) if made else None
    finally:
        db.close()


def newest(db: sqlite3.Connection, notebook: str, besides: Collection[int] = ()) -> StoredSummary | None:
    """The conversation of a notebook that was changed last and has something in it; none of those `besides`."""
    rows = db.execute(
        "SELECT id, turns, changed, EXISTS(SELECT 1 FROM growing WHERE conversation=id) AS grew FROM conversations"
        " WHERE notebook=? AND (grew OR EXISTS(SELECT 1 FROM versions WHERE conversation=id))"
        " ORDER BY changed DESC LIMIT ?",
        (printable(notebook), len(besides) + 1),
    )
    found = (StoredSummary(number, turns, changed, bool(grew)) for number, turns, changed, grew in rows)
    return next((one for one in found if one.id not in besides), None)


def printable(name: str) -> str:
    """A path as SQLite takes it: a folder's name may be no text."""
    return name.encode("utf-8", "backslashreplace").decode()
