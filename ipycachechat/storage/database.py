"""The SQLite file: open it, bring it to the newest schema, run transactions.

All notebooks and kernels of a user share one file. Each kernel writes to its own conversation, so that kernels wait
for each other only for one small transaction.
"""

from __future__ import annotations

import errno
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ipycachechat.errors import BadInput

BUSY_TIMEOUT = 2.0
"""Seconds that a transaction waits for those of other kernels, which take milliseconds. Requests wait meanwhile."""

# One script for each schema version. A file with an older schema gets the scripts that it lacks.
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
    """
    ALTER TABLE growing RENAME TO drafts;
    ALTER TABLE held RENAME TO reservations;
    """,
)


class Database:
    """One connection to the file, which the threads of this process share.

    Raises sqlite3.Error or OSError if the file cannot be used, BadInput if its schema is newer than ours.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        _create_private_file(path)
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(
            path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
        )
        try:
            self._use_write_ahead_log()
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._migrate()
        except BaseException:
            self._connection.close()
            raise

    def _use_write_ahead_log(self) -> None:
        """Switch to write-ahead logging, in which readers and writers do not wait for each other."""
        deadline = time.monotonic() + BUSY_TIMEOUT
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError:  # another kernel creates it; SQLite's own timeout does not apply
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.01)

    def _migrate(self) -> None:
        if self._schema_version() == len(MIGRATIONS):
            return
        with self.transaction() as connection:
            version = self._schema_version()  # another kernel may have migrated the file meanwhile
            if version > len(MIGRATIONS):
                raise BadInput(
                    f"{self.path} was written by a newer ipycachechat "
                    f"(format {version}; this one knows {len(MIGRATIONS)})",
                    'Update ipycachechat, or choose another file: %config ChatMagics.store = "PATH"',
                )
            for script in MIGRATIONS[version:]:
                for statement in script.split(";"):
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version={len(MIGRATIONS)}")
            connection.execute("INSERT OR IGNORE INTO meta VALUES('secret', ?)", (secrets.token_bytes(32),))

    def _schema_version(self) -> int:
        return int(self.fetch("PRAGMA user_version")[0][0])

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write in one transaction, which is undone if the block raises."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # if the disk is full, SQLite has ended it already
                    self._connection.execute("ROLLBACK")
                raise

    def fetch(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    @property
    def secret(self) -> bytes:
        """The secret with which all kernels make fingerprints of API keys."""
        return bytes(self.fetch("SELECT value FROM meta WHERE name='secret'")[0][0])

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()


def _create_private_file(path: Path) -> None:
    """Create the file and its folder if they are missing; make both readable for the user alone.

    SQLite's own files beside it take over its mode. An existing file is not opened here: closing it would release the
    locks of another connection of this process.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        path.chmod(0o600)  # whatever the umask takes away
    except FileExistsError:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path)) from None
        if path.stat().st_mode & 0o077:
            for file in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
                with suppress(OSError):
                    file.chmod(0o600)
