"""Save an unfinished turn while it streams."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from ipycachechat.conversation.events import Event, StreamChunk, ToolCallFinished
from ipycachechat.engine.turn_draft import TurnDraft
from ipycachechat.engine.versions import ConversationObserver

DELAY = 0.4
"""Seconds between the arrival of text and its saving; with the writing itself less than a second."""


class AutoSaver:
    """Passes a turn's events on and saves the draft soon after something has arrived, while it is entered."""

    def __init__(
        self, observer: ConversationObserver | None, draft: TurnDraft, emit: Callable[[Event], None]
    ) -> None:
        self._observer, self._draft, self._emit = observer, draft, emit
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._observer = None

    def on_event(self, event: Event) -> None:
        """Pass an event on; save the draft soon, even if no other event follows."""
        self._emit(event)
        arrived = isinstance(event, StreamChunk | ToolCallFinished)
        if arrived and self._observer is not None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(DELAY, self._save)

    def _save(self) -> None:
        self._timer = None
        turn = self._draft.partial
        if turn is not None and self._observer is not None:
            self._observer.save_draft(turn, self._draft.request.placement)
