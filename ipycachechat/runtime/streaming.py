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
"""A coroutine function that is given a function to emit events with."""
CLOSE_TIMEOUT = 5.0
"""Seconds that cancelled work may take to end."""
POLL_INTERVAL = 1.0
"""Seconds between checks that the loop is still alive."""


@dataclass(frozen=True, slots=True)
class Result(Generic[T]):
    """The result of the work; the last event."""

    value: T


def iter_events(loop: BackgroundLoop, work: Work[T]) -> Generator[Event | Result[T], None, None]:
    """Yield the events of the work, then its `Result`; run functions meant for the caller's thread on this one.

    Leaving early cancels the work and waits for its end, which no further interrupt cuts short. Raises what it raises.
    """
    events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
    guard = InterruptGuard()
    future = loop.submit(_emit_to_end(work, events.put))
    try:
        while not guard.interrupted:  # a function that was called may have caught the KeyboardInterrupt
            try:
                with guard, guard.interruptible():
                    event = events.get(timeout=POLL_INTERVAL)
                    if isinstance(event, RunOnCallerThread):
                        with guard.passthrough():
                            event.work()
            except queue.Empty:
                if future.done() or not loop.running:
                    break
                continue
            if event is None:
                break
            if not isinstance(event, RunOnCallerThread):
                yield event
        guard.raise_if_interrupted()
        yield Result(future.result(timeout=CLOSE_TIMEOUT))
    finally:
        if not future.done():
            with guard, suppress(queue.Empty):
                future.cancel()
                while events.get(timeout=CLOSE_TIMEOUT) is not None:
                    pass


async def aiter_events(loop: BackgroundLoop, work: Work[T]) -> AsyncGenerator[Event | Result[T], None]:
    """Do the same as `iter_events` for a caller on another event loop."""
    events: asyncio.Queue[Event | None] = asyncio.Queue()
    caller_loop = asyncio.get_running_loop()

    def emit(event: Event | None) -> None:
        caller_loop.call_soon_threadsafe(events.put_nowait, event)

    future = loop.submit(_emit_to_end(work, emit))
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
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    while await events.get() is not None:
                        pass


async def _emit_to_end(work: Work[T], emit: Callable[[Any], None]) -> T:
    """Run the work, and emit None when it has ended in any way."""
    try:
        return await work(emit)
    finally:
        emit(None)
