"""Consume the events of background work, from a thread or from another event loop."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ipycachechat.conversation.events import Event, RunOnCallerThread
from ipycachechat.runtime.event_loop import BackgroundLoop
from ipycachechat.runtime.interrupts import InterruptGuard

T = TypeVar("T")
Work = Callable[[Callable[[Event], None]], Coroutine[Any, Any, T]]
CLOSING = 5.0
"""Seconds that work may take to end once it is no longer waited for."""
LOOK = 1.0
"""Seconds between looks at whether the loop is still there."""


@dataclass(frozen=True, slots=True)
class Result(Generic[T]):
    """The result of the work; the last event."""

    value: T


def iter_events(loop: BackgroundLoop, work: Work[T]) -> Generator[Event | Result[T], None, None]:
    """The events of the work and its `Result`; what is to be done on the thread that waits is done here.

    Leaving early cancels the work and waits for its end, which no further press cuts short. Raises what it raises.
    """
    events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
    button = InterruptGuard()
    future = loop.submit(_to_its_end(work, events.put))
    try:
        while not button.pressed:  # which whatever was called may have swallowed
            try:
                with button, button.interruptible():
                    event = events.get(timeout=LOOK)
                    if isinstance(event, RunOnCallerThread):
                        with button.passthrough():
                            event.work()
            except queue.Empty:
                if future.done() or not loop.running:
                    break
                continue
            if event is None:
                break
            if not isinstance(event, RunOnCallerThread):
                yield event
        button.raise_if_interrupted()
        yield Result(future.result(timeout=CLOSING))
    finally:
        if not future.done():
            with button, suppress(queue.Empty):
                future.cancel()
                while events.get(timeout=CLOSING) is not None:
                    pass


async def aiter_events(loop: BackgroundLoop, work: Work[T]) -> AsyncGenerator[Event | Result[T], None]:
    """The same for who waits on another event loop; what is to be done there is done on that loop's thread."""
    events: asyncio.Queue[Event | None] = asyncio.Queue()
    mine = asyncio.get_running_loop()

    def tell(event: Event | None) -> None:
        mine.call_soon_threadsafe(events.put_nowait, event)

    future = loop.submit(_to_its_end(work, tell))
    try:
        while (event := await events.get()) is not None:
            if isinstance(event, RunOnCallerThread):
                event.work()
            else:
                yield event
        yield Result(await asyncio.wrap_future(future))
    finally:
        if not future.done():
            future.cancel()
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSING):
                    while await events.get() is not None:
                        pass


async def _to_its_end(work: Work[T], tell: Callable[[Any], None]) -> T:
    """The work; None is told when it is over, however it ended."""
    try:
        return await work(tell)
    finally:
        tell(None)
