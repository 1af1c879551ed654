"""Each interrupt is reported once, at whatever line it comes."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import FrameType
from typing import Any

import pytest

from ipycachechat.conversation.events import Event, StreamChunk
from ipycachechat.conversation.messages import Message
from ipycachechat.conversation.turns import Turn, TurnStatus
from ipycachechat.engine.events import TurnResult
from ipycachechat.errors import Interrupted
from ipycachechat.notebook import cell_runner
from ipycachechat.notebook.display.screen import Outputs
from ipycachechat.runtime import interrupts, streaming
from ipycachechat.runtime.event_loop import BackgroundLoop
from ipycachechat.runtime.interrupts import InterruptGuard, deferred_interrupts


@pytest.fixture(autouse=True)
def _as_in_a_cell() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press() -> None:
    signal.raise_signal(signal.SIGINT)


def test_only_the_first_interrupt_raises() -> None:
    with InterruptGuard() as button, button.interruptible():
        with pytest.raises(KeyboardInterrupt):
            press()
        press()
        assert button.interrupted


def test_the_first_interrupt_stops_the_work_and_raises_nothing() -> None:
    ended = []
    with InterruptGuard() as button:
        button.on_interrupt(lambda: ended.append(1))
        press()
        press()
    assert button.interrupted and ended == [1]


def test_an_interrupt_before_the_work_stops_it_as_soon_as_it_starts() -> None:
    ended = []
    with InterruptGuard() as button:
        press()
        button.on_interrupt(lambda: ended.append(1))
    assert ended == [1]


def test_in_a_tool_each_interrupt_raises_and_the_work_stops_after_the_tool() -> None:
    ended = []
    with InterruptGuard() as button:
        button.on_interrupt(lambda: ended.append(1))
        with button.passthrough():
            for _ in range(2):
                with pytest.raises(KeyboardInterrupt):
                    press()
            assert not ended
    assert ended == [1]


def test_an_interrupt_raised_by_a_tool_stops_the_work_once() -> None:
    ended = []
    with InterruptGuard() as button:
        button.on_interrupt(lambda: ended.append(1))
        with pytest.raises(KeyboardInterrupt), button.passthrough():
            press()
        button.interrupt()
        press()
    assert ended == [1]


def test_an_interrupt_right_after_interrupted_work_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    with InterruptGuard():
        press()
    press()
    monkeypatch.setattr("ipycachechat.runtime.interrupts.QUIET_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        press()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_right_after_the_last_work_of_a_cell_is_ignored() -> None:
    with InterruptGuard(last=True):
        pass
    press()
    with InterruptGuard() as button:
        press()
        assert button.interrupted


def test_without_an_interrupt_the_handler_is_restored() -> None:
    with InterruptGuard():
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_another_library_stays() -> None:
    def other(*_: object) -> None:
        pass

    signal.signal(signal.SIGINT, other)
    with InterruptGuard():
        assert signal.getsignal(signal.SIGINT) is other


def test_an_interrupt_while_the_handler_is_set_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def put(*args: Any) -> None:
        real(*args)
        press()

    real = signal.signal
    with monkeypatch.context() as patch:
        patch.setattr(signal, "signal", put)
        button = InterruptGuard().__enter__()
    with pytest.raises(KeyboardInterrupt):
        button.raise_if_interrupted()


class Shown:
    """A screen that knows how it was left."""

    def __init__(self) -> None:
        self.outputs: Outputs | None = None
        self.end: TurnResult | None = None
        self.closed = False

    def show_status(self, *_: object) -> None: ...

    def on_event(self, *_: object) -> None: ...

    def tick(self) -> None: ...

    def before_other_output(self) -> None: ...

    def finish(self, result: TurnResult) -> None:
        self.end = result

    def close(self) -> None:
        self.closed = True


async def answer(tell: Callable[[Event], None]) -> TurnResult:
    """One that comes at once, whole or as far as it came."""
    done = TurnResult(turn=Turn("?", (Message("assistant", "!"),)))
    try:
        tell(StreamChunk("!"))
        await asyncio.sleep(0.001)
    except asyncio.CancelledError:
        done = replace(done, turn=replace(done.turn or Turn("", ()), status=TurnStatus.INTERRUPTED))
        raise
    finally:
        tell(done)
    return done


def ours() -> bool:
    """Whether presses still come to a button that waits for them."""
    return getattr(signal.getsignal(signal.SIGINT), "__name__", "") == "_on_signal"


class Line:
    """A press at one line, of those that are run once work has begun and until the handler is back."""

    FILES = (cell_runner.__file__, streaming.__file__, interrupts.__file__, contextlib.__file__)

    def __init__(self, number: int) -> None:
        self.left = number
        self.at = ""

    def begin(self) -> None:
        """From now on lines count."""
        sys.settrace(self._called)
        sys._getframe(1).f_trace = self._passed

    def _called(self, frame: FrameType, event: str, _: object) -> Any:
        return self._passed if frame.f_code.co_filename in self.FILES else None

    def _passed(self, frame: FrameType, event: str, _: object) -> Any:
        self.left -= ours()
        if self.left == 0 and not self.at:
            self.at = f"{frame.f_code.co_qualname}:{frame.f_lineno}"
            sys.settrace(None)
            press()
        return self._passed


@pytest.mark.parametrize("run", [cell_runner.run, cell_runner.wait])
def test_an_interrupt_at_any_line_of_a_cell_shows_and_reports_the_end(run: Callable[..., TurnResult]) -> None:
    loop, number, before = BackgroundLoop(), 0, sys.gettrace()
    try:
        while True:
            number += 1
            screen, line = Shown(), Line(number)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raised: BaseException | None = None
            try:
                run(answer, loop.submit, screen, line.begin)
            except BaseException as error:
                raised = error
            finally:
                sys.settrace(before)
            if not line.at:
                break
            assert isinstance(raised, Interrupted), line.at
            assert screen.end is not None and screen.closed, line.at
            assert not ours(), line.at
    finally:
        loop.stop()
    assert number > 20


def test_an_interrupt_at_any_line_reaches_a_caller_from_python() -> None:
    loop, number, before = BackgroundLoop(), 0, sys.gettrace()
    try:
        while True:
            number += 1
            line, stopped = Line(number), False
            signal.signal(signal.SIGINT, signal.default_int_handler)
            try:
                line.begin()
                for _ in streaming.iter_events(loop, answer):
                    pass
            except KeyboardInterrupt:
                stopped = True
            finally:
                sys.settrace(before)
            if not line.at:
                break
            assert stopped, line.at
            assert not ours(), line.at
    finally:
        loop.stop()
    assert number > 10


def test_the_handler_of_an_event_loop_is_replaced() -> None:
    async def cell() -> None:
        before = signal.getsignal(signal.SIGINT)
        with InterruptGuard():
            pass
        assert signal.getsignal(signal.SIGINT) is before is not signal.default_int_handler
        with InterruptGuard() as button:
            for _ in range(2):
                with button.passthrough(), pytest.raises(KeyboardInterrupt):
                    press()
            assert button.interrupted

    asyncio.run(cell())


def test_a_handler_that_is_set_between_two_uses_stays() -> None:
    button = InterruptGuard()
    with button:
        pass

    def other(*_: object) -> None:
        pass

    signal.signal(signal.SIGINT, other)
    with button:
        pass
    assert signal.getsignal(signal.SIGINT) is other


def test_a_deferred_interrupt_is_raised_after_the_block() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt):
        with deferred_interrupts():
            press()
            done.append("all of it")
    assert done
