"""A chat cell while it runs: its own thread waits for what the background loop tells, and draws."""

from __future__ import annotations

import inspect
import queue
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from ipycachechat.conversation.events import (
    Event,
    Progress,
    RetryScheduled,
    RunOnCallerThread,
    StreamBroken,
    StreamChunk,
    ToolCallFinished,
    ToolCallStarted,
)
from ipycachechat.conversation.turns import TurnStatus
from ipycachechat.engine.events import RequestStarted, TurnResult, Waiting
from ipycachechat.errors import Interrupted
from ipycachechat.notebook.display.screen import SOONEST, Screen
from ipycachechat.runtime.interrupts import InterruptGuard

# How long the connection may take to close after the stop button.
CLOSING = 2.0  # seconds
LOOK = 0.01
"""Seconds between looks at whether what was cancelled has ended without a word, since it had not begun."""

T = TypeVar("T")
Work = Callable[[Callable[[Event], None]], Coroutine[Any, Any, T]]
Submit = Callable[[Coroutine[Any, Any, T]], "Future[T]"]


class _EventQueue:
    """What the background loop tells, and its last word, which is not lost with who was about to read it."""

    def __init__(self) -> None:
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._done: TurnResult | None = None
        self._over = threading.Event()

    def tell(self, event: Event) -> None:
        if isinstance(event, TurnResult):
            self._done = event
            self._over.set()
        self.events.put(event)

    def end(self, coming: Coroutine[Any, Any, TurnResult]) -> TurnResult | None:
        """The `Done` that what was cancelled still tells, empty if it ends without a word; None if it does not end."""
        end = time.monotonic() + CLOSING
        while not self._over.is_set() and time.monotonic() < end:
            if inspect.getcoroutinestate(coming) == inspect.CORO_CLOSED:
                return self._done or TurnResult(None)
            with suppress(KeyboardInterrupt):  # pressed where presses cannot be held back
                self._over.wait(LOOK)
        return self._done


def run(
    work: Work[TurnResult],
    submit: Submit[TurnResult],
    screen: Screen,
    prepare: Callable[[], None],
    *,
    last: bool = False,
) -> TurnResult:
    """Show a prompt's way to its end: what is submitted. Raises the ChatError that ended it, if one did.

    `prepare`: what takes long before, and can be stopped. `last`: whether the cell ends with it.
    KeyboardInterrupt cancels the request and becomes Interrupted; what has arrived is kept.
    """
    told = _EventQueue()
    future: Future[TurnResult] | None = None
    done: TurnResult | None
    with InterruptGuard(last=last) as button:
        try:
            with button.interruptible():
                prepare()
            coming = work(told.tell)
            future = submit(coming)
            button.on_interrupt(future.cancel)
            done = _follow(told, coming, future, screen, button)
        except KeyboardInterrupt:
            button.press()
            done = told.end(coming) if future is not None else TurnResult(None)
        except BaseException:
            if future is not None:  # a mistake in drawing costs no answer that was paid for
                future.cancel()
                with suppress(Exception):
                    screen.done(told.end(coming) or TurnResult(None))
            screen.close()
            raise
        try:
            _show(screen, done or TurnResult(None))
        finally:
            screen.close()
    if button.pressed or done is None:
        raise _interrupted(done) from None
    if done.error is not None:
        raise done.error from None
    return future.result() if future is not None else done  # raises what no event tells: a mistake of ours


def _interrupted(done: TurnResult | None) -> Interrupted:
    """What is said of a chat that was stopped with this; None: what was cancelled goes on."""
    if done is None:
        return Interrupted(
            "Stopped.",
            "It has not ended yet (an async tool that blocks?): what arrived is kept once it does.",
        )
    if done.turn is None:
        return Interrupted("Stopped.", "The conversation is as it was. Run the cell again to ask again.")
    if done.turn.status is TurnStatus.INTERRUPTED:
        return Interrupted("Stopped.", "What arrived is kept, marked. Run the cell again to ask again.")
    return Interrupted("Stopped.", "The answer had come to its end, and is kept.")


def wait(work: Work[T], submit: Submit[T], screen: Screen, prepare: Callable[[], None]) -> T:
    """The result of the work, with its progress shown meanwhile. Raises what it raises.

    KeyboardInterrupt cancels it and becomes Interrupted.
    """
    told = _EventQueue()
    future: Future[T] | None = None
    with InterruptGuard() as button:
        try:
            button.raise_if_interrupted()
            with button.interruptible():
                prepare()
            future = submit(work(told.tell))
            future.add_done_callback(lambda _: told.tell(TurnResult(None)))  # which wakes whoever waits below
            button.on_interrupt(future.cancel)
            while not future.done():
                with suppress(queue.Empty):
                    event = told.events.get(timeout=SOONEST)
                    if isinstance(event, Progress):
                        screen.show_status(event, 0)
        except KeyboardInterrupt:
            button.press()
        finally:
            if future is not None:
                future.cancel()  # which does nothing once it is done
            screen.done(TurnResult(None))
            screen.close()
    if future is None or future.cancelled():
        raise Interrupted("Stopped.", "The conversation is as it was.")
    if button.pressed:
        raise Interrupted("Stopped.", "What was asked for is done.")
    return future.result()


def _show(screen: Screen, done: TurnResult) -> None:
    """The end, however often stop is pressed where presses cannot be held back."""
    while True:
        try:
            return screen.done(done)
        except KeyboardInterrupt:
            continue


def _follow(
    told_of: _EventQueue,
    coming: Coroutine[Any, Any, TurnResult],
    future: Future[TurnResult],
    screen: Screen,
    button: InterruptGuard,
) -> TurnResult | None:
    """Draw what is told, up to the end, which is returned; None if what was stopped does not end."""
    events = told_of.events
    started = time.monotonic()
    on: Waiting | None = None
    arrived, told, drawn = False, 0, 0.0
    while not button.pressed:
        try:
            event = events.get(timeout=SOONEST)
        except queue.Empty:
            if future.done() and events.empty():
                break
            passed = time.monotonic() - started
            if not arrived and on is not None and int(passed) > told:
                told = int(passed)
                screen.show_status(on, passed)
            screen.tick()
            continue
        match event:
            case RunOnCallerThread(work):
                screen.before_other_output()
                with button.passthrough():
                    work()
            case StreamChunk() | ToolCallStarted() | ToolCallFinished() | StreamBroken():
                if not isinstance(event, StreamChunk) or event.text or event.thought or event.last:
                    arrived = True
                    screen.on_event(event)
            case TurnResult():
                return event
            case Progress() | RequestStarted() | RetryScheduled():
                # A download tells its progress hundreds of times.
                arrived = False
                if isinstance(event, RetryScheduled) or isinstance(on, RetryScheduled):
                    started, told = time.monotonic(), 0
                same = isinstance(event, Progress) and isinstance(on, Progress) and event.what == on.what
                on = event
                if not same or time.monotonic() - drawn >= SOONEST:
                    drawn = time.monotonic()
                    screen.show_status(event, drawn - started)
    return told_of.end(coming)
