"""Run a turn request in the running cell: its thread waits for the background loop's events and draws them."""

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
from ipycachechat.conversation.turns import CellRef, Turn, TurnStatus
from ipycachechat.engine.events import RequestStarted, TurnResult, Waiting
from ipycachechat.engine.session import ChatSession
from ipycachechat.engine.turn_request import TurnRequest
from ipycachechat.errors import UNCHANGED, Interrupted
from ipycachechat.notebook import frontend
from ipycachechat.notebook.display import terminal
from ipycachechat.notebook.display.live_badges import LiveBadges
from ipycachechat.notebook.display.screen import MIN_INTERVAL, NotebookScreen, Outputs, Screen
from ipycachechat.notebook.idle_tasks import import_all
from ipycachechat.runtime.event_loop import BackgroundLoop
from ipycachechat.runtime.interrupts import InterruptGuard

CLOSE_TIMEOUT = 2.0
"""Seconds that the connection may take to close after the stop button."""
POLL_INTERVAL = 0.01
"""Seconds between checks for cancelled work that has ended without an event, since it had not started."""
MAX_REDRAWABLE = 1000
"""Number of answers, the latest, that can be redrawn in their own outputs when they are rerun."""

T = TypeVar("T")
Work = Callable[[Callable[[Event], None]], Coroutine[Any, Any, T]]
Submit = Callable[[Coroutine[Any, Any, T]], "Future[T]"]


class CellRunner:
    """Runs turn requests in the running cell and draws their answers, in a notebook or a terminal."""

    def __init__(self, shell: Any, chat: ChatSession, loop: BackgroundLoop) -> None:
        self.badges = LiveBadges()
        self._shell, self._chat, self._loop = shell, chat, loop
        self._outputs: dict[tuple[CellRef | None, float], Outputs] = {}
        """Outputs of each turn, by its cell and the time at which it was asked."""

    def ask(self, request: TurnRequest, redraw: Turn | None = None) -> TurnResult:
        """Send a request, draw the answer and return the result; `redraw`: draw it in the outputs of this turn."""
        screen = self._screen(self._outputs.get((redraw.cell, redraw.asked_at)) if redraw else None)

        def prepare() -> None:
            screen.show_status(self._chat.sending(request), 0)
            import_all()

        result = run(
            lambda emit: self._chat.send(request, emit),
            self._loop.submit,
            screen,
            prepare,
            last=frontend.is_chat(self._shell),
        )
        if result.turn is not None and screen.outputs is not None:
            self._outputs[result.turn.cell, result.turn.asked_at] = screen.outputs
            if len(self._outputs) > MAX_REDRAWABLE:
                del self._outputs[next(iter(self._outputs))]
        return result

    def can_redraw(self, turn: Turn) -> bool:
        """Return True if a turn's own outputs can be redrawn."""
        return (turn.cell, turn.asked_at) in self._outputs

    def wait(self, work: Work[T]) -> T:
        """Run work that only shows its progress; return its result. The stop button cancels it."""
        return wait(work, self._loop.submit, self._screen(), import_all)

    def _screen(self, outputs: Outputs | None = None) -> Screen:
        if not frontend.can_update_displays(self._shell):
            return terminal.screen()
        live = frontend.stdin_available(self._shell)
        return NotebookScreen(
            lambda result, name: self.badges.show(result, name, live=live),
            outputs,
            alone=frontend.is_only_output(self._shell),
        )


class _EventQueue:
    """Events from the background loop; the result is kept if a wait is interrupted."""

    def __init__(self) -> None:
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._result: TurnResult | None = None
        self._ended = threading.Event()

    def emit(self, event: Event) -> None:
        if isinstance(event, TurnResult):
            self._result = event
            self._ended.set()
        self.events.put(event)

    def result(self, work: Coroutine[Any, Any, TurnResult]) -> TurnResult | None:
        """Return the result of cancelled work, an empty one if it ends without; None if it does not end."""
        end = time.monotonic() + CLOSE_TIMEOUT
        while not self._ended.is_set() and time.monotonic() < end:
            if inspect.getcoroutinestate(work) == inspect.CORO_CLOSED:
                return self._result or TurnResult()
            with suppress(KeyboardInterrupt):  # stop was pressed where it cannot be deferred
                self._ended.wait(POLL_INTERVAL)
        return self._result


def run(
    work: Work[TurnResult],
    submit: Submit[TurnResult],
    screen: Screen,
    prepare: Callable[[], None],
    *,
    last: bool = False,
) -> TurnResult:
    """Submit work to the background loop, draw its events until it ends, and return its result.

    `prepare`: called first; it may take long, and can be interrupted. `last`: True if the cell ends with this work.
    Raises the ChatError that ended the work, if any. KeyboardInterrupt cancels it and becomes Interrupted; what has
    arrived is kept.
    """
    events = _EventQueue()
    future: Future[TurnResult] | None = None
    result: TurnResult | None
    with InterruptGuard(last=last) as guard:
        try:
            with guard.interruptible():
                prepare()
            coroutine = work(events.emit)
            future = submit(coroutine)
            guard.on_interrupt(future.cancel)
            result = _follow(events, coroutine, future, screen, guard)
        except KeyboardInterrupt:
            guard.interrupt()
            result = events.result(coroutine) if future is not None else TurnResult()
        except BaseException:
            if future is not None:  # a bug in drawing must not lose an answer that was paid for
                future.cancel()
                with suppress(Exception):
                    screen.finish(events.result(coroutine) or TurnResult())
            screen.close()
            raise
        try:
            _draw_result(screen, result or TurnResult())
        finally:
            screen.close()
    if guard.interrupted or result is None:
        raise _interrupted(result) from None
    if result.error is not None:
        raise result.error from None
    # Raises what no event reports: a bug of ours.
    return future.result() if future is not None else result


def _interrupted(result: TurnResult | None) -> Interrupted:
    """Return the error for a chat that was stopped with this result; None: it has not ended yet."""
    if result is None:
        todo = "It has not ended yet (a blocking async tool?); what arrived is kept once it does."
    elif result.turn is None:
        todo = f"{UNCHANGED} Rerun the cell to retry."
    elif result.turn.status is TurnStatus.INTERRUPTED:
        todo = "The partial answer is kept; rerun the cell to retry."
    else:
        todo = "The answer was complete and is kept."
    return Interrupted("Stopped.", todo)


def wait(work: Work[T], submit: Submit[T], screen: Screen, prepare: Callable[[], None]) -> T:
    """Submit work to the background loop, show its progress and return its result.

    Raises what the work raises. KeyboardInterrupt cancels it and becomes Interrupted.
    """
    events = _EventQueue()
    future: Future[T] | None = None
    with InterruptGuard() as guard:
        try:
            guard.raise_if_interrupted()
            with guard.interruptible():
                prepare()
            future = submit(work(events.emit))
            future.add_done_callback(lambda _: events.emit(TurnResult()))  # wakes the loop below
            guard.on_interrupt(future.cancel)
            while not future.done():
                with suppress(queue.Empty):
                    event = events.events.get(timeout=MIN_INTERVAL)
                    if isinstance(event, Progress):
                        screen.show_status(event, 0)
        except KeyboardInterrupt:
            guard.interrupt()
        finally:
            if future is not None:
                future.cancel()  # does nothing once it is done
            screen.finish(TurnResult())
            screen.close()
    if future is None or future.cancelled():
        raise Interrupted("Stopped.", UNCHANGED)
    if guard.interrupted:
        raise Interrupted("Stopped.", "The command had already finished.")
    return future.result()


def _draw_result(screen: Screen, result: TurnResult) -> None:
    """Draw the result, however often stop is pressed where it cannot be deferred."""
    while True:
        try:
            return screen.finish(result)
        except KeyboardInterrupt:
            continue


def _follow(
    events: _EventQueue,
    work: Coroutine[Any, Any, TurnResult],
    future: Future[TurnResult],
    screen: Screen,
    guard: InterruptGuard,
) -> TurnResult | None:
    """Draw events until the result comes and return it; None if stopped work does not end."""
    started, drawn_at, shown_seconds = time.monotonic(), 0.0, 0
    status: Waiting | None = None
    arrived = False
    while not guard.interrupted:
        try:
            event = events.events.get(timeout=MIN_INTERVAL)
        except queue.Empty:
            if future.done() and events.events.empty():
                break
            passed = time.monotonic() - started
            if not arrived and status is not None and int(passed) > shown_seconds:
                shown_seconds = int(passed)
                screen.show_status(status, passed)
            screen.tick()
            continue
        match event:
            case RunOnCallerThread(function):
                screen.before_other_output()
                with guard.passthrough():
                    function()
            case StreamChunk() | ToolCallStarted() | ToolCallFinished() | StreamBroken():
                if not isinstance(event, StreamChunk) or event.text or event.thinking or event.last:
                    arrived = True
                    screen.on_event(event)
            case TurnResult():
                return event
            case Progress() | RequestStarted() | RetryScheduled():
                arrived = False
                if isinstance(event, RetryScheduled) or isinstance(status, RetryScheduled):
                    started, shown_seconds = time.monotonic(), 0
                same = (
                    isinstance(event, Progress)
                    and isinstance(status, Progress)
                    and event.label == status.label
                )
                status = event
                # A download reports its progress hundreds of times.
                if not same or time.monotonic() - drawn_at >= MIN_INTERVAL:
                    drawn_at = time.monotonic()
                    screen.show_status(event, drawn_at - started)
    return events.result(work)
