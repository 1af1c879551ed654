"""Work on an event loop, and what it tells on the way, for whoever waits for it: another thread, or the same loop."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any, TypeVar

from ipycachechat.core.events import Do, Done, Event, Piece
from ipycachechat.model.loop import BackgroundLoop

T = TypeVar("T")
Work = Callable[[Callable[[Event], None]], Coroutine[Any, Any, T]]
CLOSING = 5.0
"""Seconds that work may take to end once nobody waits for it any more."""


def drive(loop: BackgroundLoop, work: Work[T]) -> Generator[Event, None, T]:
    """The events of the work, which goes on in the loop's thread; tools run here, in the thread that waits.

    Leaving early cancels the work and waits for its end. Raises what it raises.
    """
    events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()

    async def whole() -> T:
        try:
            return await work(events.put)
        finally:
            events.put(None)

    future = loop.submit(whole())
    try:
        while (event := events.get()) is not None:
            if isinstance(event, Do):
                event.work()
            else:
                yield event
        return future.result()
    finally:
        if not future.done():
            future.cancel()
            with suppress(queue.Empty):
                while events.get(timeout=CLOSING) is not None:
                    pass


async def pieces(work: Work[Done], here: Callable[[Event], None]) -> AsyncIterator[Any]:
    """The chunks that the work tells of, then its `Done`. Leaving early cancels it and waits for its end."""
    events: asyncio.Queue[Event | None] = asyncio.Queue()

    def tell(event: Event) -> None:
        here(event)
        events.put_nowait(event)

    task = asyncio.create_task(work(tell))
    task.add_done_callback(lambda _: events.put_nowait(None))
    try:
        while (event := await events.get()) is not None:
            if isinstance(event, Piece) and event.chunk is not None:
                yield event.chunk
        yield task.result()
    finally:
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError, CancelledError):
                await task
