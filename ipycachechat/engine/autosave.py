"""What is written down while a conversation goes on: every change of it, and what has come of an unfinished answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from ipycachechat.conversation.events import Event, StreamChunk, ToolCallFinished
from ipycachechat.conversation.history import History
from ipycachechat.conversation.placement import Placement
from ipycachechat.conversation.turns import Turn
from ipycachechat.engine.turn_runner import TurnRunner

SOON = 0.4
"""Seconds after which what has arrived is written down: with the writing itself less than one."""


class ConversationObserver(Protocol):
    """Writes down; raises nothing, since no conversation is to end for want of a disk."""

    def changed(self, history: History) -> None:
        """The conversation is another one."""

    def save_draft(self, turn: Turn, place: Placement) -> None:
        """So much has come of an answer that is under way; the next change has all of it."""

    def dropped(self) -> None:
        """Nothing is to stay of it."""


class AutoSaver:
    """Hears what is told of an answer, and has it written down as far as it has come."""

    def __init__(
        self, keeper: ConversationObserver | None, place: Placement, tell: Callable[[Event], None]
    ) -> None:
        self._keeper, self._place, self._tell = keeper, place, tell
        self._rounds: TurnRunner | None = None
        self._timer: asyncio.TimerHandle | None = None

    def of(self, rounds: TurnRunner) -> None:
        """Where the answer is."""
        self._rounds = rounds

    def on_event(self, event: Event) -> None:
        """Pass on what is told; what has arrived is written down soon, also if nothing follows."""
        self._tell(event)
        if (
            self._keeper is not None
            and self._timer is None
            and isinstance(event, StreamChunk | ToolCallFinished)
        ):
            self._timer = asyncio.get_running_loop().call_later(SOON, self._write)

    def _write(self) -> None:
        self._timer = None
        turn = self._rounds.partial if self._rounds is not None else None
        if turn is not None and self._keeper is not None:
            self._keeper.save_draft(turn, self._place)

    def end(self) -> None:
        """The answer is over."""
        if self._timer is not None:
            self._timer.cancel()
        self._keeper = None
