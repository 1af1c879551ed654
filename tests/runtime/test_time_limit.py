"""Work that takes too long is stopped, and no timer is left, at whatever line it strikes."""

from __future__ import annotations

import gc
import signal
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from ipycachechat.errors import TimeLimitExceeded
from ipycachechat.runtime.time_limit import run_with_time_limit


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = signal.getsignal(signal.SIGALRM)
    yield
    time.sleep(0.1)
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def forever() -> None:
    while True:
        pass


def test_work_within_the_limit_returns_its_result() -> None:
    assert run_with_time_limit(1, lambda: 3) == 3


def test_work_beyond_the_limit_is_stopped() -> None:
    with pytest.raises(TimeLimitExceeded):
        run_with_time_limit(0.02, forever)


def test_a_slow_destructor_is_stopped_once() -> None:
    def much() -> None:
        held = [[number] for number in range(2_000_000)]
        while held:
            pass

    gc.disable()  # what is raised in a callback of its is only printed
    try:
        with pytest.raises(TimeLimitExceeded):
            run_with_time_limit(0.3, much)
    finally:
        gc.enable()


def test_an_alarm_while_the_timer_is_stopped_raises_nothing() -> None:
    def done() -> int:
        over = signal.getsignal(signal.SIGALRM)
        assert callable(over)
        over(signal.SIGALRM, sys._getframe(1))
        return 3

    assert run_with_time_limit(5, done) == 3


def test_an_interrupt_before_the_timer_is_stopped_leaves_no_timer() -> None:
    begin = signal.setitimer

    def interrupted(which: signal._Itimer | int, *times: float) -> tuple[float, float]:
        if times == (0,):
            patch.undo()
            raise KeyboardInterrupt
        return begin(which, *times)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signal, "setitimer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_with_time_limit(0.02, lambda: 3)
    time.sleep(0.1)


def test_another_thread_has_no_limit() -> None:
    found: list[None] = []
    thread = threading.Thread(
        target=lambda: found.append(run_with_time_limit(0.001, lambda: time.sleep(0.02)))
    )
    thread.start()
    thread.join()
    assert found == [None]


def test_nested_work_has_the_outer_limit() -> None:
    with pytest.raises(TimeLimitExceeded):
        run_with_time_limit(0.02, lambda: run_with_time_limit(60, forever))
