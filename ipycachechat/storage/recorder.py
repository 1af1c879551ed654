"""Writes one kernel's conversation into the store. What is wrong with the file is told once, and stops nothing else."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipycachechat.conversation.history import History
from ipycachechat.conversation.placement import Placement
from ipycachechat.conversation.turns import Turn
from ipycachechat.errors import BadInput, OverBudget
from ipycachechat.runtime.interrupts import deferred_interrupts
from ipycachechat.storage.discovery import printable

if TYPE_CHECKING:
    from ipycachechat.billing.cost_bound import BudgetCharge
    from ipycachechat.billing.records import RequestRecord
    from ipycachechat.caching.tracker import CacheTracker
    from ipycachechat.engine.session import ChatSession
    from ipycachechat.providers.endpoint import CallerIdentity, ModelEndpoint
    from ipycachechat.storage.conversations import Store, StoredConversation
    from ipycachechat.storage.usage_log import SpendRow


LATER = 30.0
"""Seconds after which a file that could not be used is tried again; what it lacks is then written."""


# ValueError: a path that is none; also UnicodeEncodeError, since SQLite takes no lone surrogates.
UNUSABLE = (sqlite3.Error, OSError, ValueError, RuntimeError)


NO_DAY = "Nothing was sent. Keep what is spent (%config ChatMagics.keep, store), or: %chat budget off --day"


class Recorder:
    """Hears of every change, of every piece of an unfinished answer, and of every bill."""

    def __init__(self, notebook: str) -> None:
        """`notebook`: under which name to find it again."""
        self._notebook = printable(notebook)
        self._store: Store | None = None
        self._abandoned: Store | None = None
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._failed: Path | None = None
        self._again = 0.0
        """Before this the file that failed is not tried again, in seconds of the monotonic clock."""
        self._problem, self._told = "", False
        self._name = ""
        self._conversation: int | None = None
        self._left: set[int] = set()
        """Those that it has written to before, and whose turns it has."""
        self._written = 0
        """Versions that are kept already."""
        self._bills: list[RequestRecord] = []
        """Those that are still to be written."""
        self.resumed = ""
        """The notebook whose conversation was taken up, "" if none was."""
        self.stop()

    def start(self, where: Callable[[], Path | None], settings: Callable[[], dict[str, Any]]) -> None:
        """Keep what is heard from now on.

        `where`: the file, or None where nothing is to be kept. `settings`: what is to hold again when the
        conversation is taken up.
        """
        self._where, self._settings = where, settings

    def stop(self) -> None:
        """Keep nothing, until told to."""
        self.start(lambda: None, dict)

    @property
    def problem(self) -> str:
        """What went wrong since somebody asked last, "" if nothing did."""
        told, self._problem = self._problem, ""
        return told

    @contextmanager
    def _store_of(self) -> Iterator[Store | None]:
        """The store, None where there is none or it cannot be used; it is tried again after a while."""
        with deferred_interrupts(), self._lock:
            yield from self._using()

    def _using(self) -> Iterator[Store | None]:
        path: Path | None = None
        store: Store | None = None
        try:
            path = self._where()
            if path is not None and (path != self._failed or time.monotonic() >= self._again):
                store = self._opened(path)
        except (*UNUSABLE, BadInput) as error:
            self._fail(path, error)
        try:
            yield store
        except UNUSABLE as error:
            self._fail(path, error)
        else:
            self._told = self._told and store is None

    def _fail(self, path: Path | None, error: Exception) -> None:
        if path != self._failed:
            self._told = False
        self._failed, self._again = path, time.monotonic() + LATER
        if not self._told:
            why = error.message if isinstance(error, BadInput) else f"{path}: {error}"
            self._problem = f"ipycachechat: the conversation goes on, but is not kept ({why})"
        self._told = True

    def _opened(self, path: Path) -> Store:
        same = self._store is not None and self._store.path == path and path.exists()
        if self._store is None or not same or self._process != os.getpid():
            from ipycachechat.storage.conversations import Store

            if self._process == os.getpid() and self._store is not None:
                self._store.close()
            else:
                self._abandoned = self._store  # a fork's connection is its parent's, and is left alone
            self._process, self._conversation, self._written = os.getpid(), None, 0
            self._store = Store(path)
        return self._store

    def attach(self, dialogue: ChatSession) -> None:
        """Hear of all that happens in a conversation, which asks under a name of its own."""
        dialogue.client.identity = self._identity()
        dialogue.observer, dialogue.client.on_record = self, self.billed
        dialogue.client.budgets.day = self

    def resume(self, dialogue: ChatSession, notebook: str = "") -> tuple[dict[str, Any], float]:
        """Have a conversation go on where an earlier kernel left this notebook's, or another's.

        What this one has said by now stays, as a branch. The settings that held, and until when something is warm
        (0: nothing). Raises BadInput.
        """
        found: list[StoredConversation] = []

        def join(history: History) -> History:
            found.append(self._resume(notebook))
            return history.merge(found[0].history)

        dialogue.change(join)
        (kept,), until = found, 0.0
        dialogue.client.identity = self._identity()
        for scope, memory in kept.memories:
            if scope[0] != "llama.cpp":  # it ended with its kernel
                dialogue.client.restore_tracker(scope, memory)
                until = max([until, *(entry.expires for entry in memory.state.entries.values())])
        return kept.settings, until

    def _identity(self) -> CallerIdentity:
        """Who asks in this conversation."""
        from ipycachechat.providers.endpoint import CallerIdentity

        who = CallerIdentity()
        with self._store_of() as store:
            if store is not None:
                who = (
                    CallerIdentity(self._name, store.secret)
                    if self._name
                    else CallerIdentity(secret=store.secret)
                )
        self._name = who.name
        return who

    def changed(self, history: History) -> None:
        """Keep the versions that are new, and where the branches are."""
        with self._store_of() as store:
            if store is not None and (self._conversation is not None or history.current.all_turns):
                number = self._begun(store)
                store.changed(number, history, self._written, self._settings(), time.time())
                self._written = len(history.versions)
                self._write_bills(store)

    def flush(self, history: History) -> None:
        """Write what could not be written before, if there is such, for the last time; a fork has nothing to write."""
        if self._told and self._process == os.getpid():
            self._again = 0.0
            self.changed(history)

    def dropped(self) -> None:
        """Nothing is to stay of the unfinished turn."""
        with self._store_of() as store:
            if store is not None and self._conversation is not None:
                store.dropped(self._conversation)

    def save_draft(self, turn: Turn, place: Placement) -> None:
        """Keep an unfinished turn as far as it has come."""
        with self._store_of() as store:
            if store is not None:
                store.save_draft(self._begun(store), turn, place, time.time())

    def billed(self, booked: RequestRecord, to: ModelEndpoint, memory: CacheTracker) -> None:
        """Keep a bill, now or as soon as it can be, and what the provider holds by now."""
        self._bills.append(booked)
        with self._store_of() as store:
            if store is not None:
                self._write_bills(store)
                store.warm(self._begun(store), to.cache_scope, memory)
            elif self._where() is None:
                self._bills.clear()

    def reserve(self, dollars: float, limit: float, now: float) -> tuple[int | None, float]:
        """Hold back so much of a day's budget: a number, or None if it is more than is left, and what is left.

        Raises OverBudget where nobody can tell, since nothing is kept.
        """
        with self._store_of() as store:
            if store is not None:
                return store.reserve(dollars, limit, now)
        raise OverBudget(f"The day's budget cannot be told ({self._why_not})", NO_DAY)

    def settle(self, held: int | None, paid: BudgetCharge, now: float) -> None:
        """That request, or one that was not held back, is over: of its bill, if it is exact, is told elsewhere."""
        with self._store_of() as store:
            if store is not None:
                store.settle(held, paid.dollars if self._bills or not paid.exact else 0.0, now)

    def spent(self, now: float) -> float:
        """Dollars of all kernels on that day. Raises OverBudget."""
        with self._store_of() as store:
            if store is not None:
                return store.spent(now)
        raise OverBudget(f"The day's budget cannot be told ({self._why_not})", NO_DAY)

    def _write_bills(self, store: Store) -> None:
        if self._bills:
            store.billed(self._notebook, self._bills)
            self._bills.clear()

    def _begun(self, store: Store) -> int:
        if self._conversation is None:
            self._conversation = store.begin(self._notebook, self._name, time.time())
        return self._conversation

    def _resume(self, notebook: str) -> StoredConversation:
        kept: StoredConversation | None = None
        self._again, self._told = 0.0, False
        with self._store_of() as store:
            if store is not None:
                mine = {*self._left}
                if self._conversation is not None:
                    mine |= {*store.sources(self._conversation)}
                whose = _named(notebook, store.notebooks()) if notebook else self._notebook
                found = store.newest(whose, mine)
                if found is None:
                    raise BadInput(*_nothing(notebook, store.notebooks(), whose))
                number, kept = store.take_up(found.id, self._notebook, time.time())
                self._left, self.resumed = mine, whose
                self._conversation, self._written, self._name = number, kept.written, kept.name
        if kept is None:
            raise BadInput(self._why_not, "Nothing was changed.")
        return kept

    @property
    def _why_not(self) -> str:
        """Why there is no store."""
        return (
            self.problem.removeprefix("ipycachechat: ") or "Nothing is kept (%config ChatMagics.keep = True)"
        )

    def spending(self) -> list[SpendRow]:
        """What was paid by notebook, model and day. Raises BadInput where nothing is kept."""
        self._again, self._told = 0.0, False
        with self._store_of() as store:
            if store is not None:
                self._write_bills(store)
                return store.spending()
        raise BadInput(self._why_not, "See %config ChatMagics.keep and ChatMagics.store.")


def _named(notebook: str, there: list[str]) -> str:
    """The notebook that is meant: of this path, else of this name, else with it in its path; the newest first."""
    tests: tuple[Callable[[str], bool], ...] = (
        lambda path: path == notebook,
        lambda path: notebook in (Path(path).name, Path(path).stem),
        lambda path: notebook in path,
    )
    return next((path for test in tests for path in there if test(path)), notebook)


def _nothing(notebook: str, there: list[str], whose: str) -> tuple[str, str]:
    name = repr(notebook) if notebook else "this notebook"
    what = f"Nothing {'else ' if whose in there else ''}is kept of {name}"
    listed = ", ".join(there[:5])
    return (
        what,
        f"%chat resume NAME takes up another's: {listed}" if there else "Chat cells are, from now on.",
    )
