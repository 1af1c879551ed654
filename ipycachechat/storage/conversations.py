"""What outlives the kernel: conversations with all their versions, unfinished answers, what is warm, what was paid.

One SQLite file for all notebooks and kernels of a user. Each kernel writes to a conversation of its own, so that none
has to wait for another for longer than one small transaction takes.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from ipycachechat.billing.records import RequestRecord
from ipycachechat.caching.snapshot import dump_tracker, load_tracker
from ipycachechat.caching.tracker import CacheTracker
from ipycachechat.conversation.history import Branch, History, Version
from ipycachechat.conversation.placement import Placement, place_turn
from ipycachechat.conversation.turns import CellRef, Conversation, Turn
from ipycachechat.errors import BadInput
from ipycachechat.storage import serialization, usage_log
from ipycachechat.storage.discovery import StoredSummary, newest
from ipycachechat.storage.usage_log import SpendRow

PATIENCE = 2.0
"""Seconds that a transaction waits for those of other kernels, which take milliseconds. The network waits with it."""
LONG = 1000
"""Characters of a file's data from which it is kept apart, once for all turns that have it."""

# One script for each form of the file; a file of an older form is given those that it lacks.
MIGRATIONS = (
    """
    CREATE TABLE meta(name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
    CREATE TABLE conversations(
        id INTEGER PRIMARY KEY, notebook TEXT, name TEXT, began REAL, changed REAL,
        branch TEXT, turns INTEGER, settings TEXT, source INTEGER,
        away TEXT);
    CREATE INDEX newest ON conversations(notebook, changed);
    CREATE TABLE turns(digest BLOB PRIMARY KEY, said TEXT) WITHOUT ROWID;
    CREATE TABLE files(digest TEXT PRIMARY KEY, data TEXT) WITHOUT ROWID;
    CREATE TABLE versions(
        conversation INTEGER, number INTEGER, parent INTEGER, system TEXT, tools TEXT,
        start INTEGER, removed INTEGER, inserted BLOB, PRIMARY KEY(conversation, number)) WITHOUT ROWID;
    CREATE TABLE branches(
        conversation INTEGER, place INTEGER, name TEXT, tip INTEGER, at INTEGER, parent TEXT, since INTEGER,
        PRIMARY KEY(conversation, place)) WITHOUT ROWID;
    CREATE TABLE growing(conversation INTEGER PRIMARY KEY, turn TEXT, place TEXT);
    CREATE TABLE warm(conversation INTEGER, scope TEXT, state TEXT, PRIMARY KEY(conversation, scope)) WITHOUT ROWID;
    """,
    """
    CREATE TABLE requests(
        at REAL, notebook TEXT, model TEXT, input INTEGER, read INTEGER, written INTEGER, written_1h INTEGER,
        output INTEGER, thinking INTEGER, paid REAL, saved REAL);
    """,
    """
    CREATE TABLE held(id INTEGER PRIMARY KEY, at REAL, dollars REAL);
    CREATE INDEX times ON requests(at);
    """,
    "ALTER TABLE requests ADD COLUMN at_least INTEGER DEFAULT 0",
)
DIGEST = 16  # bytes


@dataclass(frozen=True, slots=True)
class StoredConversation:
    """All that is kept of a conversation."""

    history: History
    name: str
    settings: dict[str, Any]
    memories: tuple[tuple[tuple[str, ...], CacheTracker], ...]
    written: int
    """How many of the versions the file has; one more is there if an answer was under way."""


class Store:
    """The file. Raises sqlite3.Error or OSError where it cannot be used, BadInput if it is of a newer form."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Made by us, so that nobody else may read it at any moment; what SQLite puts beside it takes its mode over. A
        # file that is there is not opened here: to close it would take the locks away from another connection of ours.
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            path.chmod(0o600)  # whatever the umask takes away
        except FileExistsError:
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path)) from None
            if path.stat().st_mode & 0o077:
                for one in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
                    with suppress(OSError):
                        one.chmod(0o600)
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
        try:
            self._log_ahead()
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._update()
        except BaseException:
            self._db.close()
            raise

    def _log_ahead(self) -> None:
        """Have readers and writers not wait for each other. For this change SQLite itself waits for nobody."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                self._db.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError:  # another kernel makes the file at this moment
                if time.monotonic() > end:
                    raise
            time.sleep(0.01)

    def _update(self) -> None:
        """Bring the file to the newest form."""
        if self._form() == len(MIGRATIONS):
            return
        with self._writing() as db:
            form = self._form()  # another kernel may have been first
            if form > len(MIGRATIONS):
                raise BadInput(
                    f"{self.path} was written by a newer ipycachechat (form {form}; this one knows {len(MIGRATIONS)})",
                    'Update ipycachechat, or choose another file: %config ChatMagics.store = "PATH"',
                )
            for step in MIGRATIONS[form:]:
                for statement in step.split(";"):
                    db.execute(statement)
            db.execute(f"PRAGMA user_version={len(MIGRATIONS)}")
            db.execute("INSERT OR IGNORE INTO meta VALUES('secret', ?)", (secrets.token_bytes(32),))

    def _form(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, all or nothing."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # where the disk is full, SQLite has ended it already
                    self._db.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()

    @property
    def secret(self) -> bytes:
        """By which fingerprints of keys are made, the same in every kernel."""
        return bytes(self._all("SELECT value FROM meta WHERE name='secret'")[0][0])

    def _all(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(query, values).fetchall()

    def begin(self, notebook: str, name: str, now: float) -> int:
        """A new conversation's number."""
        with self._writing() as db:
            row = db.execute(
                "INSERT INTO conversations(notebook, name, began, changed, turns, settings)"
                " VALUES(?, ?, ?, ?, 0, '{}')",
                (notebook, name, now, now),
            )
            return int(row.lastrowid or 0)

    def take_up(self, found: int, notebook: str, now: float) -> tuple[int, StoredConversation]:
        """All that is kept of a conversation, and the number of a new one that begins so.

        At once, since that one's kernel may still be there. Raises BadInput if it is not whole.
        """
        with self._writing() as db:
            kept = self.load(found)
            return self._copied(db, found, notebook, now), kept

    def copy(self, found: int, notebook: str, now: float) -> int:
        """A new conversation's number, which begins as another one is; that one's kernel may still be there."""
        with self._writing() as db:
            return self._copied(db, found, notebook, now)

    @staticmethod
    def _copied(db: sqlite3.Connection, found: int, notebook: str, now: float) -> int:
        row = db.execute(
            "INSERT INTO conversations(notebook, name, began, changed, branch, turns, settings, source, away)"
            " SELECT ?, name, began, ?, branch, turns, settings, id, away FROM conversations WHERE id=?",
            (notebook, now, found),
        )
        for table in ("versions", "branches", "warm"):
            columns = [column[1] for column in db.execute(f"PRAGMA table_info({table})")][1:]
            db.execute(
                f"INSERT INTO {table} SELECT ?, {', '.join(columns)} FROM {table} WHERE conversation=?",
                (row.lastrowid, found),
            )
        return int(row.lastrowid or 0)

    def changed(
        self, conversation: int, history: History, since: int, settings: dict[str, Any], now: float
    ) -> None:
        """Keep the versions from number `since` on, and where the branches are."""
        with self._writing() as db:
            for number, version in enumerate(history.versions[since:], since):
                parent = (
                    history.versions[version.parent].conversation if version.parent >= 0 else Conversation()
                )
                start, removed, inserted = _difference(parent.all_turns, version.conversation.all_turns)
                digests = b"".join([self._turn(db, turn) for turn in inserted])
                told = version.conversation
                head = (conversation, number, version.parent, json.dumps(told.system), json.dumps(told.tools))
                row = (*head, start, removed, digests)
                db.execute("INSERT INTO versions VALUES(?, ?, ?, ?, ?, ?, ?, ?)", row)
            db.executemany(
                "INSERT OR REPLACE INTO branches VALUES(?, ?, ?, ?, ?, ?, ?)",
                [
                    (conversation, n, one.name, one.redo_tip, one.at, one.parent, one.forked_at)
                    for n, one in enumerate(history.branches)
                ],
            )
            db.execute("DELETE FROM growing WHERE conversation=?", (conversation,))
            away = json.dumps(history.deleted_cells)
            db.execute(
                "UPDATE conversations SET changed=?, branch=?, turns=?, settings=?, away=? WHERE id=?",
                (
                    now,
                    history.current_branch,
                    len(history.current.turns),
                    json.dumps(settings),
                    away,
                    conversation,
                ),
            )

    def save_draft(self, conversation: int, turn: Turn, place: Placement, now: float) -> None:
        """Keep an unfinished turn, as far as it has come, until the next change."""
        where: dict[str, Any] = {"rerun": place.rerun, "order": place.order}
        if place.replaces is not None:
            where["again"] = [place.replaces.asked_at, place.replaces.digest.hex()]
        if place.cell is not None:
            where["cell"] = [place.cell.id, place.cell.run, place.cell.client_session]
        with self._writing() as db:
            told = json.dumps(serialization.dump_turn(turn, lambda data: self._file(db, data)))
            row = (conversation, told, json.dumps(where))
            db.execute("INSERT OR REPLACE INTO growing VALUES(?, ?, ?)", row)
            db.execute("UPDATE conversations SET changed=? WHERE id=?", (now, conversation))

    def dropped(self, conversation: int) -> None:
        """Keep nothing of an unfinished turn."""
        with self._writing() as db:
            db.execute("DELETE FROM growing WHERE conversation=?", (conversation,))

    def warm(self, conversation: int, scope: Sequence[str], memory: CacheTracker) -> None:
        """Keep what one model's provider should still hold."""
        with self._writing() as db:
            row = (conversation, json.dumps(scope), json.dumps(dump_tracker(memory)))
            db.execute("INSERT OR REPLACE INTO warm VALUES(?, ?, ?)", row)

    def billed(self, notebook: str, requests: Iterable[RequestRecord]) -> None:
        """Keep what requests were billed."""
        with self._writing() as db:
            usage_log.add(db, notebook, requests)

    def _turn(self, db: sqlite3.Connection, turn: Turn) -> bytes:
        told = json.dumps(serialization.dump_turn(turn, lambda data: self._file(db, data)))
        digest = blake2b(told.encode(), digest_size=DIGEST).digest()
        db.execute("INSERT OR IGNORE INTO turns VALUES(?, ?)", (digest, told))
        return digest

    @staticmethod
    def _file(db: sqlite3.Connection, data: str) -> str:
        """What stands in the turn for a file's data: itself, or where it is."""
        if len(data) < LONG:
            return f"={data}"
        digest = blake2b(data.encode(), digest_size=DIGEST).hexdigest()
        db.execute("INSERT OR IGNORE INTO files VALUES(?, ?)", (digest, data))
        return digest

    def newest(self, notebook: str, besides: Collection[int] = ()) -> StoredSummary | None:
        """The conversation of a notebook that was changed last and has something in it; none of those `besides`."""
        with self._lock:
            return newest(self._db, notebook, besides)

    def sources(self, conversation: int) -> Iterator[int]:
        """The conversation, and those that it was taken up from, one after the other."""
        number: int | None = conversation
        while number is not None:
            yield number
            rows = self._all("SELECT source FROM conversations WHERE id=?", number)
            number = rows[0][0] if rows else None

    def notebooks(self) -> list[str]:
        """All of which something is kept, the newest first."""
        rows = self._all("SELECT notebook FROM conversations GROUP BY notebook ORDER BY max(changed) DESC")
        return [str(row[0]) for row in rows]

    def load(self, conversation: int) -> StoredConversation:
        """All that is kept of a conversation. Raises BadInput if it is not whole."""
        try:
            return self._load(conversation)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise serialization.corrupt_file_error(error) from None

    def _load(self, conversation: int) -> StoredConversation:
        (name, current, settings, away), *_ = self._all(
            "SELECT name, branch, settings, away FROM conversations WHERE id=?", conversation
        )
        rows = self._all(
            "SELECT parent, system, tools, start, removed, inserted FROM versions WHERE conversation=? ORDER BY number",
            conversation,
        )
        needed = {row[5][n : n + DIGEST] for row in rows for n in range(0, len(row[5]), DIGEST)}
        turns = {
            digest: serialization.load_turn(json.loads(told), self._data)
            for digest, told in self._some(needed)
        }
        versions: list[Version] = []
        for parent, system, tools, start, removed, inserted in rows:
            before = versions[parent].conversation.all_turns if parent >= 0 else ()
            new = [turns[inserted[n : n + DIGEST]] for n in range(0, len(inserted), DIGEST)]
            placed = (*before[:start], *new, *before[start + removed :])
            versions.append(
                Version(Conversation(json.loads(system), placed, tuple(json.loads(tools))), parent)
            )
        branches = [
            Branch(*row)
            for row in self._all(
                "SELECT name, tip, at, parent, since FROM branches WHERE conversation=? ORDER BY place",
                conversation,
            )
        ]
        gone = tuple((str(cell), float(at)) for cell, at in json.loads(away or "[]"))
        history = History(tuple(versions), tuple(branches), current, gone) if versions else History()
        for told, where in self._all("SELECT turn, place FROM growing WHERE conversation=?", conversation):
            turn = serialization.load_turn(json.loads(told), self._data)
            history = history.change(
                place_turn(history.current, turn, _place(json.loads(where), history.current))
            )
        memories = [
            (tuple(json.loads(scope)), load_tracker(json.loads(scope), json.loads(state)))
            for scope, state in self._all("SELECT scope, state FROM warm WHERE conversation=?", conversation)
        ]
        return StoredConversation(history, name, json.loads(settings), tuple(memories), len(versions))

    def _some(self, digests: set[bytes]) -> Iterator[tuple[bytes, str]]:
        some = list(digests)
        for n in range(0, len(some), 500):
            part = some[n : n + 500]
            marks = ", ".join("?" * len(part))
            yield from self._all(f"SELECT digest, said FROM turns WHERE digest IN ({marks})", *part)

    def _data(self, told: str) -> str:
        if told.startswith("="):
            return told[1:]
        found = self._all("SELECT data FROM files WHERE digest=?", told)
        return str(found[0][0])

    def spent(self, now: float) -> float:
        """Dollars of all kernels on that day (local time): bills, and what is held back."""
        with self._lock:
            return usage_log.spent(self._db, now)

    def reserve(self, dollars: float, limit: float, now: float) -> tuple[int | None, float]:
        """Hold back so much of a day's budget: its number, or None if it is more than is left, and what is left."""
        with self._writing() as db:
            left = max(0.0, limit - usage_log.spent(db, now))
            return (None if dollars > left else usage_log.reserve(db, dollars, now)), left

    def settle(self, held: int | None, dollars: float, now: float) -> None:
        """Hold back so much in place of that number; for good, unless it is nothing."""
        with self._writing() as db:
            usage_log.release(db, held)
            if dollars:
                usage_log.reserve(db, dollars, now)

    def spending(self) -> list[SpendRow]:
        """What was paid, by notebook, model and day, the newest day first."""
        with self._lock:
            return usage_log.spending(self._db)


def _difference(before: Sequence[Turn], after: Sequence[Turn]) -> tuple[int, int, Sequence[Turn]]:
    """Where the two part, how many turns are taken out there, and those that are put in."""
    least, start, end = min(len(before), len(after)), 0, 0
    while start < least and before[start] is after[start]:
        start += 1
    while end < least - start and before[-1 - end] is after[-1 - end]:
        end += 1
    return start, len(before) - start - end, after[start : len(after) - end]


def _place(told: dict[str, Any], now: Conversation) -> Placement:
    """The place of an unfinished turn: that of the turn which is asked again, if one is."""
    cell = CellRef(*told["cell"]) if "cell" in told else None
    again = next(
        (one for one in now.all_turns if [one.asked_at, one.digest.hex()] == told.get("again")), None
    )
    return Placement(cell, told["rerun"], tuple(told["order"]), again)
