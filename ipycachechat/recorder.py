"""Writes one kernel's conversation into the store. What is wrong with the file is told once, and stops nothing else."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipycachechat.core.conversation import Turn
from ipycachechat.core.errors import BadInput
from ipycachechat.core.history import History
from ipycachechat.core.placing import Place

if TYPE_CHECKING:
    from ipycachechat.core.memory import Memory
    from ipycachechat.engine import Booked
    from ipycachechat.model.provider import Identity, Target
    from ipycachechat.store import Kept, Spent, Store


class Recorder:
    """Hears of every change, of every piece of an unfinished answer, and of every bill."""

    def __init__(self, notebook: str) -> None:
        """`notebook`: under which name to find it again."""
        self._notebook = notebook
        self._store: Store | None = None
        self._failed: Path | None = None
        self._problem = ""
        self._name = ""
        self._conversation: int | None = None
        self._written = 0
        """Versions that are kept already."""
        self.rest()

    def work(self, where: Callable[[], Path | None], settings: Callable[[], dict[str, Any]]) -> None:
        """Keep what is heard from now on.

        `where`: the file, or None where nothing is to be kept. `settings`: what is to hold again when the
        conversation is taken up.
        """
        self._where, self._settings = where, settings

    def rest(self) -> None:
        """Keep nothing, until told to."""
        self.work(lambda: None, dict)

    @property
    def problem(self) -> str:
        """What went wrong since somebody asked last, "" if nothing did."""
        told, self._problem = self._problem, ""
        return told

    @contextmanager
    def _store_of(self) -> Iterator[Store | None]:
        """The store, None where there is none or it cannot be used."""
        path = self._where()
        try:
            yield None if path is None or path == self._failed else self._opened(path)
        except (sqlite3.Error, OSError, BadInput) as error:
            self._failed = path
            why = error.what if isinstance(error, BadInput) else f"{path}: {error}"
            self._problem = f"ipycachechat: the conversation goes on, but is no longer kept ({why})"

    def _opened(self, path: Path) -> Store:
        if self._store is None or self._store.path != path:
            from ipycachechat.store import Store

            self._conversation, self._written = None, 0
            self._store = Store(path)
        return self._store

    def identity(self) -> Identity:
        """Who asks in this conversation."""
        from ipycachechat.model.provider import Identity

        who = Identity()
        with self._store_of() as store:
            if store is not None:
                who = Identity(self._name, store.secret) if self._name else Identity(secret=store.secret)
        self._name = who.name
        return who

    def changed(self, history: History) -> None:
        """Keep the versions that are new, and where the branches are."""
        with self._store_of() as store:
            if store is not None and (self._conversation is not None or history.now.placed):
                number = self._begun(store)
                store.changed(number, history, self._written, self._settings(), time.time())
                self._written = len(history.versions)

    def growing(self, turn: Turn, place: Place) -> None:
        """Keep an unfinished turn as far as it has come."""
        with self._store_of() as store:
            if store is not None:
                store.growing(self._begun(store), turn, place, time.time())

    def billed(self, booked: Booked, to: Target, memory: Memory) -> None:
        """Keep a bill, and what the provider holds by now."""
        with self._store_of() as store:
            if store is not None:
                store.billed(self._notebook, booked.model, booked.at, booked.usage, booked.bill)
                store.warm(self._begun(store), to.scope, memory)

    def _begun(self, store: Store) -> int:
        if self._conversation is None:
            self._conversation = store.begin(self._notebook, self._name, time.time())
        return self._conversation

    def resume(self, notebook: str = "") -> Kept:
        """The newest conversation of this notebook, or of another, to be gone on with. Raises BadInput."""
        path, kept = self._where(), None
        if path is None:
            raise BadInput(
                "Nothing is kept", "%config ChatMagics.keep = True keeps what is asked from now on."
            )
        with self._store_of() as store:
            if store is not None:
                names = [name for name in store.notebooks() if not notebook or notebook in name]
                found = store.newest(self._notebook if not notebook else names[0] if names else notebook)
                if found is None or found.id == self._conversation:
                    raise BadInput(*_nothing(notebook, store.notebooks(), again=found is not None))
                kept = store.load(found.id)
                self._conversation = store.copy(found.id, self._notebook, time.time())
                self._written, self._name = kept.written, kept.name
        if kept is None:
            told = self.problem.partition("(")[2].removesuffix(")") or f"{path} could not be used before"
            raise BadInput(f"The store cannot be read: {told}", "Nothing was changed.")
        return kept

    def spending(self) -> list[Spent]:
        """What was paid by notebook, model and day. Raises BadInput where nothing is kept."""
        with self._store_of() as store:
            if store is not None:
                return store.spending()
        raise BadInput(self.problem or "Nothing is kept", "See %config ChatMagics.keep and ChatMagics.store.")


def _nothing(notebook: str, there: list[str], *, again: bool) -> tuple[str, str]:
    if again:
        return (
            "This conversation is the newest one that is kept of this notebook",
            "There is nothing to take up.",
        )
    what = f"Nothing is kept of {notebook!r}" if notebook else "Nothing is kept of this notebook"
    listed = ", ".join(there[:5])
    return (
        what,
        f"%chat resume NAME takes up another's: {listed}" if there else "Every chat cell is, from now on.",
    )
