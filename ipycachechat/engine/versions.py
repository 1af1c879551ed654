"""Thread-safe holder of a conversation's history, which reports each change to an observer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Protocol

from ipycachechat.conversation.history import History
from ipycachechat.conversation.placement import Placement
from ipycachechat.conversation.turns import Conversation, Turn
from ipycachechat.runtime.interrupts import deferred_interrupts


class ConversationObserver(Protocol):
    """Saves a conversation. Its methods must not raise: a full disk is no reason to end a conversation."""

    def save(self, history: History) -> None:
        """Save the new history."""

    def save_draft(self, turn: Turn, place: Placement) -> None:
        """Save an unfinished turn as far as it has arrived; the next change contains all of it."""

    def delete_draft(self) -> None:
        """Forget the unfinished turn."""


class Versions:
    """All versions of one conversation. Cells, tools and answers change it from several threads."""

    def __init__(self, conversation: Conversation, observer: ConversationObserver | None = None) -> None:
        self.history = History.starting_with(conversation)
        self.observer = observer
        self.lock = threading.RLock()
        """Held during a change; hold it to read and change in one step."""

    @property
    def current(self) -> Conversation:
        """The current version."""
        return self.history.current

    def connect(self, observer: ConversationObserver) -> None:
        """Report every change from now on."""
        self.observer = observer

    def change(self, update: Callable[[History], History]) -> bool:
        """Replace the history by `update(history)` and report it; return False if that is the same object."""
        with deferred_interrupts(), self.lock:
            new = update(self.history)
            changed = new is not self.history
            self.history = new
            if changed and self.observer is not None:
                self.observer.save(new)
        return changed

    def drop_draft(self) -> None:
        """Report that nothing of the unfinished turn is kept."""
        if self.observer is not None:
            self.observer.delete_draft()

    def undo(self) -> bool:
        """Go back to the version before the last change; return False if there is none."""
        return self.change(History.undo)

    def redo(self) -> bool:
        """Go forward to the version that was undone last; return False if there is none."""
        return self.change(History.redo)

    def detach(self, cells: Collection[str], now: float) -> None:
        """Leave the turns of these cells out of every request, on all branches; they keep their places."""
        self.change(lambda history: history.mark_deleted(cells, now))

    def attach(self, cells: Collection[str]) -> None:
        """Include the turns of these cells again."""
        self.change(lambda history: history.mark_restored(cells))

    def reset(self) -> None:
        """Remove all turns and keep the system prompt; can be undone."""
        self.change(lambda history: history.change(replace(history.current, all_turns=())))

    def set_system(self, text: str) -> None:
        """Set the system prompt of all later requests; can be undone."""
        self.change(lambda history: history.change(replace(history.current, system=text)))

    def pin(self, number: int | None) -> None:
        """Keep a checkpoint after this turn, too (from 1), or after none if None; can be undone."""

        def pinned(history: History) -> History:
            now = history.current
            chosen = now.turns[number - 1] if number and number <= len(now.turns) else None
            pins = [number is not None and (turn.pinned or turn is chosen) for turn in now.all_turns]
            pairs = zip(now.all_turns, pins, strict=True)
            turns = tuple(turn if turn.pinned == pin else replace(turn, pinned=pin) for turn, pin in pairs)
            return history.change(replace(now, all_turns=turns))

        self.change(pinned)
