"""Open the store when it is first needed. If its file cannot be used, report it once and try again later."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ipycachechat.errors import BadInput
from ipycachechat.runtime.interrupts import deferred_interrupts
from ipycachechat.storage.conversations import ConversationTable
from ipycachechat.storage.database import Database
from ipycachechat.storage.usage_log import UsageLog

RETRY_DELAY = 30.0
"""Seconds after which a file that could not be used is tried again."""
# ValueError: a path with a NUL, or (as UnicodeEncodeError) lone surrogates in a text, which SQLite rejects.
FILE_ERRORS = (sqlite3.Error, OSError, ValueError, RuntimeError)


class Store:
    """An open database and its tables."""

    def __init__(self, path: Path) -> None:
        self.database = Database(path)
        self.conversations = ConversationTable(self.database)
        self.usage = UsageLog(self.database)

    def close(self) -> None:
        """Close the file."""
        self.database.close()


class Connection:
    """The store of this process. It raises no errors of the file; `pop_problem` returns them for the user."""

    def __init__(self) -> None:
        self._find_path: Callable[[], Path | None] = lambda: None
        self._store: Store | None = None
        self._abandoned: Store | None = None
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._failed_path: Path | None = None
        self._retry_at = 0.0
        """Time before which the failed path is not tried again, in seconds of the monotonic clock."""
        self._problem, self._reported = "", False

    def set_path(self, find_path: Callable[[], Path | None]) -> None:
        """Use the file that this function returns at each use; None: store nothing."""
        self._find_path = find_path

    @property
    def enabled(self) -> bool:
        """True if there is a path, even if its file cannot be used."""
        return self._find_path() is not None

    @property
    def failing(self) -> bool:
        """True if the file could not be used by this process when it was last needed."""
        return self._reported and self._process == os.getpid()

    def pop_problem(self) -> str:
        """Return what went wrong since the last call, in one line; "" if nothing did."""
        problem, self._problem = self._problem, ""
        return problem

    def unavailable_reason(self) -> str:
        """Return why there is no store, as the first line of an error."""
        reason = self.pop_problem().removeprefix("ipycachechat: ")
        return reason or "Conversations are not saved (%config ChatMagics.keep = True)"

    def retry_now(self, *, report: bool) -> None:
        """Try a failed file again at the next use; `report`: report its problem again, too."""
        self._retry_at = 0.0
        if report:
            self._reported = False

    @contextmanager
    def use(self) -> Iterator[Store | None]:
        """Lend the store; None if nothing is stored or the file cannot be used. Errors of the file are not raised."""
        with deferred_interrupts(), self._lock:
            path: Path | None = None
            store: Store | None = None
            try:
                path = self._find_path()
                if path is not None and (path != self._failed_path or time.monotonic() >= self._retry_at):
                    store = self._open(path)
            except (*FILE_ERRORS, BadInput) as error:
                self._fail(path, error)
            try:
                yield store
            except FILE_ERRORS as error:
                self._fail(path, error)
            else:
                self._reported = self._reported and store is None

    def _open(self, path: Path) -> Store:
        same_process = self._process == os.getpid()
        store = self._store
        if store is not None and same_process and store.database.path == path and path.exists():
            return store
        self._store = None
        if store is not None and same_process:
            store.close()
        else:
            self._abandoned = store  # after a fork it belongs to the parent process and must stay open
        self._process = os.getpid()
        self._store = Store(path)
        return self._store

    def _fail(self, path: Path | None, error: Exception) -> None:
        if path != self._failed_path:
            self._reported = False
        self._failed_path, self._retry_at = path, time.monotonic() + RETRY_DELAY
        if not self._reported:
            reason = error.message if isinstance(error, BadInput) else f"{path}: {error}"
            self._problem = f"ipycachechat: the conversation continues, but is not saved ({reason})"
        self._reported = True
