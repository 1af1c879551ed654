"""Write each change and each bill of one kernel to the store, resume what an earlier kernel wrote, reserve budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ipycachechat.billing.budget import BudgetCharge
from ipycachechat.billing.records import RequestRecord
from ipycachechat.caching.tracker import CacheTracker
from ipycachechat.conversation.history import History
from ipycachechat.conversation.placement import Placement
from ipycachechat.conversation.turns import Turn
from ipycachechat.errors import BadInput, OverBudget
from ipycachechat.providers.endpoint import CallerIdentity, ModelEndpoint
from ipycachechat.storage.connection import Connection, Store
from ipycachechat.storage.conversations import ConversationTable, StoredConversation
from ipycachechat.storage.discovery import to_sqlite_text
from ipycachechat.storage.usage_log import SpendRow

MAX_LISTED = 5
"""Maximum number of notebooks that an error lists."""


class Recorder:
    """Observer of one conversation and of its requests. Without a usable file it writes nothing and raises nothing.

    Written are: each new version of the conversation, with branches and settings, when it is made; an unfinished turn
    while it arrives (engine/autosave.py says how often); the bill of each request and the state of its cache after it;
    with a budget of the day, a reservation before it.

    Once the file can be used again, `save` writes all missing versions.
    """

    def __init__(self, notebook: str) -> None:
        """`notebook`: name under which the conversation is found again, usually the path of the notebook."""
        self._notebook = to_sqlite_text(notebook)
        self._connection = Connection()
        self._settings: Callable[[], dict[str, Any]] = dict
        self._store: Store | None = None
        """The store that contains the conversation: another file gets a conversation of its own."""
        self._conversation: int | None = None
        self._saved_versions = 0
        self._merged: set[int] = set()
        """Numbers of the conversations that it wrote before it resumed another; their turns are in its history."""
        self._identity_name = ""
        self._unsaved_bills: list[RequestRecord] = []
        self.resumed_notebook = ""
        """Notebook whose conversation was resumed; "" if none was."""

    def start(self, find_path: Callable[[], Path | None], settings: Callable[[], dict[str, Any]]) -> None:
        """Write from now on to the file that `find_path` returns (None: nothing is saved).

        `settings` returns the settings that are saved with the conversation, to apply again when it is resumed.
        """
        self._settings = settings
        self._connection.set_path(find_path)

    def stop(self) -> None:
        """Write nothing until `start` is called again."""
        self.start(lambda: None, dict)

    @property
    def problem(self) -> str:
        """The last error of the file since this was last read, in one line; "" if there was none."""
        return self._connection.pop_problem()

    @contextmanager
    def _use(self) -> Iterator[Store | None]:
        with self._connection.use() as store:
            if store is not None and store is not self._store:
                self._store, self._conversation, self._saved_versions = store, None, 0
            yield store

    def identity(self) -> CallerIdentity:
        """Return the identity under which this conversation sends its requests; it survives a resume."""
        identity = CallerIdentity()
        if self._identity_name:
            identity = replace(identity, name=self._identity_name)
        with self._use() as store:
            if store is not None:
                identity = replace(identity, secret=store.database.secret)
        self._identity_name = identity.name
        return identity

    def save(self, history: History) -> None:
        """Save the new versions, and the branches."""
        with self._use() as store:
            if store is not None and (self._conversation is not None or history.current.all_turns):
                number, settings = self._number(store), self._settings()
                store.conversations.save_history(number, history, self._saved_versions, settings, time.time())
                self._saved_versions = len(history.versions)
                self._write_bills(store)

    def flush(self, history: History) -> None:
        """Try for the last time to write what could not be written. A forked process writes nothing."""
        if self._connection.failing:
            self._connection.retry_now(report=False)
            self.save(history)

    def save_draft(self, turn: Turn, placement: Placement) -> None:
        """Save an unfinished turn."""
        with self._use() as store:
            if store is not None:
                store.conversations.save_draft(self._number(store), turn, placement, time.time())

    def delete_draft(self) -> None:
        """Delete the unfinished turn."""
        with self._use() as store:
            if store is not None and self._conversation is not None:
                store.conversations.delete_draft(self._conversation)

    def save_bill(self, record: RequestRecord, endpoint: ModelEndpoint, tracker: CacheTracker) -> None:
        """Save a bill, now or as soon as possible, and what the provider's cache holds after the request."""
        self._unsaved_bills.append(record)
        with self._use() as store:
            if store is not None:
                self._write_bills(store)
                store.conversations.save_tracker(self._number(store), endpoint.cache_scope, tracker)
            elif not self._connection.enabled:
                self._unsaved_bills.clear()

    def reserve(self, dollars: float, limit: float, now: float) -> tuple[int | None, float]:
        """Reserve dollars of the day's budget `limit`.

        Return the number of the reservation (None if less is left) and the dollars that were left before it.
        Raises OverBudget if nothing is stored, so that the spending of other kernels is unknown.
        """
        with self._use() as store:
            if store is not None:
                return store.usage.reserve(dollars, limit, now)
        raise self._unknown_spending()

    def settle(self, reservation: int | None, charge: BudgetCharge, now: float) -> None:
        """End a reservation (None: there was none). The charge stays reserved unless its exact bill is in the log."""
        with self._use() as store:
            if store is not None:
                logged = charge.exact and not self._unsaved_bills
                store.usage.settle(reservation, 0.0 if logged else charge.dollars, now)

    def spent(self, now: float) -> float:
        """Return the dollars that all kernels spent on the day of `now`. Raises OverBudget if nothing is stored."""
        with self._use() as store:
            if store is not None:
                return store.usage.spent(now)
        raise self._unknown_spending()

    def _unknown_spending(self) -> OverBudget:
        return OverBudget(
            f"The day's budget cannot be checked ({self._connection.unavailable_reason()})",
            "Nothing was sent. Save what is spent (%config ChatMagics.keep, store), or: %chat budget off --day",
        )

    def spending(self) -> list[SpendRow]:
        """Return the spending by day, notebook and model. Raises BadInput if nothing is stored."""
        self._connection.retry_now(report=True)
        with self._use() as store:
            if store is not None:
                self._write_bills(store)
                return store.usage.by_day()
        raise BadInput(
            self._connection.unavailable_reason(), "See %config ChatMagics.keep and ChatMagics.store."
        )

    def resume(self, wanted: str = "") -> StoredConversation:
        """Continue the newest conversation of an earlier kernel, in a copy of it.

        `wanted`: path, name or part of the path of a notebook; "" for this one. The caller must save the merged history
        next, whose first versions are those of the result. Raises BadInput; then nothing has changed.
        """
        self._connection.retry_now(report=True)
        stored: StoredConversation | None = None
        with self._use() as store:
            if store is not None:
                exclude = {*self._merged}
                if self._conversation is not None:
                    exclude |= {*store.conversations.ancestors(self._conversation)}
                notebook, newest = _find_newest(store.conversations, wanted, self._notebook, exclude)
                self._conversation, stored = store.conversations.fork(newest, self._notebook, time.time())
                self._merged, self.resumed_notebook = exclude, notebook
                self._saved_versions, self._identity_name = stored.saved_versions, stored.name
        if stored is None:
            raise BadInput(self._connection.unavailable_reason(), "Nothing was changed.")
        # A local model's server ended with its kernel, and its cache with it.
        trackers = tuple((scope, tracker) for scope, tracker in stored.trackers if scope[0] != "llama.cpp")
        return replace(stored, trackers=trackers)

    def _number(self, store: Store) -> int:
        """Return the number of the conversation, which is created when something is first written."""
        if self._conversation is None:
            self._conversation = store.conversations.create(self._notebook, self._identity_name, time.time())
        return self._conversation

    def _write_bills(self, store: Store) -> None:
        if self._unsaved_bills:
            store.usage.add(self._notebook, self._unsaved_bills)
            self._unsaved_bills.clear()


def _find_newest(
    table: ConversationTable, wanted: str, own: str, exclude: Collection[int]
) -> tuple[str, int]:
    """Return a notebook and the number of its newest conversation. Raises BadInput if there is none.

    `wanted`: path, name or part of the path of the notebook, "" for `own`. `exclude`: conversations to skip.
    """
    notebooks = table.notebooks()
    notebook = _match(wanted, notebooks) if wanted else own
    if newest := table.newest(notebook, exclude):
        return notebook, newest.id
    other = "other " if notebook in notebooks else ""
    message = f"No {other}conversation is saved for {repr(wanted) if wanted else 'this notebook'}"
    if not notebooks:
        raise BadInput(message, "Chat cells are saved from now on.")
    names = ", ".join(notebooks[:MAX_LISTED])
    raise BadInput(message, f"%chat resume NAME continues that of another notebook: {names}")


def _match(wanted: str, notebooks: list[str]) -> str:
    """Return the notebook with this path, else with this name, else with this in its path; of several the first."""
    tests: tuple[Callable[[str], bool], ...] = (
        lambda path: path == wanted,
        lambda path: wanted in (Path(path).name, Path(path).stem),
        lambda path: wanted in path,
    )
    return next((path for test in tests for path in notebooks if test(path)), wanted)
