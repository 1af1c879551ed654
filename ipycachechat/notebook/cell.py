"""A chat cell while it runs: its own thread waits for what the background loop tells, and draws."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import TypeVar

from ipycachechat.core.errors import Interrupted
from ipycachechat.core.events import (
    Broken,
    Called,
    Do,
    Done,
    Event,
    Pausing,
    Piece,
    Progress,
    Returned,
    Waiting,
)
from ipycachechat.notebook.screen import SOONEST, Screen

# How long the connection may take to close after the stop button.
CLOSING = 5.0  # seconds

T = TypeVar("T")
Start = Callable[[Callable[[Event], None]], "Future[Done]"]


def run(start: Start, screen: Screen) -> Done:
    """Show a prompt's way from `start` to its end. Raises the ChatError that ended it, if one did.

    KeyboardInterrupt cancels the request and becomes Interrupted; what has arrived is kept.
    """
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    future: Future[Done] | None = None
    try:
        future = start(events.put)
        done = _follow(events, future, screen)
    except KeyboardInterrupt:
        done = Done(None)
        if future is not None:
            future.cancel()
            done = _last(events)
        _show(screen, done)
        kept = "What arrived is kept, marked." if done.turn else "The conversation is as it was."
        raise Interrupted("Stopped.", f"{kept} Run the cell again to ask again.") from None
    except BaseException:
        if future is not None:  # a mistake in drawing costs no answer that was paid for
            future.cancel()
            with suppress(Exception):
                screen.done(_last(events))
        raise
    finally:
        screen.close()
    if done.error is not None:
        raise done.error from None
    return future.result()  # which raises what no event tells: a mistake of ours


def wait(start: Callable[[Callable[[Event], None]], Future[T]], screen: Screen) -> T:
    """The result of what `start` begins, with its progress shown meanwhile. Raises what it raises.

    KeyboardInterrupt cancels it and becomes Interrupted.
    """
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    future: Future[T] | None = None
    try:
        future = start(events.put)
        while not future.done():
            with suppress(queue.Empty):
                event = events.get(timeout=SOONEST)
                if isinstance(event, Progress):
                    screen.waiting(event, 0)
        return future.result()
    except KeyboardInterrupt:
        if future is not None:
            future.cancel()
        raise Interrupted("Stopped.", "The conversation is as it was.") from None
    finally:
        screen.done(Done(None))
        screen.close()


def _show(screen: Screen, done: Done) -> None:
    """The end of what was stopped, however often stop is pressed."""
    while True:
        try:
            return screen.done(done)
        except KeyboardInterrupt:
            continue


def _follow(events: queue.SimpleQueue[Event], future: Future[Done], screen: Screen) -> Done:
    started = time.monotonic()
    on: Waiting | None = None
    arrived, told, drawn = False, 0, 0.0
    while True:
        try:
            event = events.get(timeout=SOONEST)
        except queue.Empty:
            if future.done() and events.empty():
                return _unexpected(future)
            passed = time.monotonic() - started
            if not arrived and on is not None and int(passed) > told:
                told = int(passed)
                screen.waiting(on, passed)
            screen.tick()
            continue
        match event:
            case Do(work):
                screen.aside()
                work()
            case Piece() | Called() | Returned() | Broken():
                if not isinstance(event, Piece) or event.text or event.thought or event.last:
                    arrived = True
                    screen.more(event)
            case Done():
                screen.done(event)
                return event
            case _:
                # A download tells its progress hundreds of times.
                arrived = False
                if isinstance(event, Pausing) or isinstance(on, Pausing):
                    started, told = time.monotonic(), 0
                same = isinstance(event, Progress) and isinstance(on, Progress) and event.what == on.what
                on = event
                if not same or time.monotonic() - drawn >= SOONEST:
                    drawn = time.monotonic()
                    screen.waiting(event, drawn - started)


def _unexpected(future: Future[Done]) -> Done:
    """The task ended without a word: its own error, which is a fault of ours."""
    with suppress(CancelledError):
        return future.result()
    return Done(None)


def _last(events: queue.SimpleQueue[Event]) -> Done:
    """The `Done` that a cancelled request still tells."""
    end = time.monotonic() + CLOSING
    while (left := end - time.monotonic()) > 0:
        try:
            event = events.get(timeout=left)
        except (queue.Empty, KeyboardInterrupt):  # stop pressed twice: no reason to leave half-way
            continue
        if isinstance(event, Done):
            return event
    return Done(None)
