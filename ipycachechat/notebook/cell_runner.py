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
from ipycachechat.errors import Interrupted
from ipycachechat.notebook import frontend
from ipycachechat.notebook.display import terminal
from ipycachechat.notebook.display.live_badges import LiveBadges
from ipycachechat.notebook.display.screen import SOONEST, NotebookScreen, Outputs, Screen
from ipycachechat.notebook.idle_tasks import import_all
from ipycachechat.runtime.event_loop import BackgroundLoop
from ipycachechat.runtime.interrupts import InterruptGuard

CLOSING = 2.0
"""Seconds that the connection may take to close after the stop button."""
POLL = 0.01
"""Seconds between checks whether cancelled work has ended without an event, since it had not started."""
REDRAWABLE = 1000
"""The latest answers that are redrawn in their own outputs when they are asked again."""

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
        """Send a request, draw the answer and return the result; `redraw`: the turn whose outputs show it."""
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
            if len(self._outputs) > REDRAWABLE:
                del self._outputs[next(iter(self._outputs))]
        return result

    def can_redraw(self, turn: Turn) -> bool:
        """Return True if a turn's own outputs can be redrawn."""
        return (turn.cell, turn.asked_at) in self._outputs

    def wait(self, work: Work[T]) -> T:
        """Run work that shows its progress only; return its result. The stop button cancels it."""
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
    """Events from the background loop, and the result, which outlives an interrupted wait."""

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
        """Return the result of cancelled work, empty if it ends without one; None if it does not end."""
        end = time.monotonic() + CLOSING
        while not self._ended.is_set() and time.monotonic() < end:
            if inspect.getcoroutinestate(work) == inspect.CORO_CLOSED:
                return self._result or TurnResult()
            with suppress(KeyboardInterrupt):  # stop was pressed where it cannot be held back
                self._ended.wait(POLL)
        return self._result


def run(
    work: Work[TurnResult],
    submit: Submit[TurnResult],
    screen: Screen,
    prepare: Callable[[], None],
    *,
    last: bool = False,
) -> TurnResult:
    """Submit work to the background loop and draw its events until it ends.

    `prepare`: what takes long before, and can be stopped. `last`: True if the cell ends with it.
    Raises the ChatError that ended it, if one did. KeyboardInterrupt cancels the request and becomes Interrupted;
    what has arrived is kept.
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
            guard.press()
            result = events.result(coroutine) if future is not None else TurnResult()
        except BaseException:
            if future is not None:  # a mistake in drawing must not lose an answer that was paid for
                future.cancel()
                with suppress(Exception):
                    screen.done(events.result(coroutine) or TurnResult())
            screen.close()
            raise
        try:
            _draw_result(screen, result or TurnResult())
        finally:
            screen.close()
    if guard.pressed or result is None:
        raise _interrupted(result) from None
    if result.error is not None:
        raise result.error from None
    return (
        future.result() if future is not None else result
    )  # raises what no event reports: a mistake of ours


def _interrupted(result: TurnResult | None) -> Interrupted:
    """Return the error for a chat that was stopped with this result; None: it has not ended yet."""
    if result is None:
        return Interrupted(
            "Stopped.", "It has not ended yet (a blocking async tool?); what arrived is kept once it does."
        )
    if result.turn is None:
        return Interrupted("Stopped.", "The conversation is unchanged. Rerun the cell to retry.")
    if result.turn.status is TurnStatus.INTERRUPTED:
        return Interrupted("Stopped.", "The partial answer is kept; rerun the cell to retry.")
    return Interrupted("Stopped.", "The answer was complete and is kept.")


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
            future.add_done_callback(lambda _: events.emit(TurnResult()))  # which wakes the loop below
            guard.on_interrupt(future.cancel)
            while not future.done():
                with suppress(queue.Empty):
                    event = events.events.get(timeout=SOONEST)
                    if isinstance(event, Progress):
                        screen.show_status(event, 0)
        except KeyboardInterrupt:
            guard.press()
        finally:
            if future is not None:
                future.cancel()  # which does nothing once it is done
            screen.done(TurnResult())
            screen.close()
    if future is None or future.cancelled():
        raise Interrupted("Stopped.", "The conversation is unchanged.")
    if guard.pressed:
        raise Interrupted("Stopped.", "The command was complete.")
    return future.result()


def _draw_result(screen: Screen, result: TurnResult) -> None:
    """Draw the end, however often stop is pressed where it cannot be held back."""
    while True:
        try:
            return screen.done(result)
        except KeyboardInterrupt:
            continue


def _follow(
    events: _EventQueue,
    work: Coroutine[Any, Any, TurnResult],
    future: Future[TurnResult],
    screen: Screen,
    guard: InterruptGuard,
) -> TurnResult | None:
    """Draw events until the result, which is returned; None if stopped work does not end."""
    started = time.monotonic()
    status: Waiting | None = None
    arrived, shown_seconds, drawn_at = False, 0, 0.0
    while not guard.pressed:
        try:
            event = events.events.get(timeout=SOONEST)
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
                # A download reports its progress hundreds of times.
                arrived = False
                if isinstance(event, RetryScheduled) or isinstance(status, RetryScheduled):
                    started, shown_seconds = time.monotonic(), 0
                same = (
                    isinstance(event, Progress)
                    and isinstance(status, Progress)
                    and event.label == status.label
                )
                status = event
                if not same or time.monotonic() - drawn_at >= SOONEST:
                    drawn_at = time.monotonic()
                    screen.show_status(event, drawn_at - started)
    return events.result(work)
