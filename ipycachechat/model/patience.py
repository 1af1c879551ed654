"""A limit on the time that somebody else's code may take."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import TypeVar

T = TypeVar("T")
AGAIN = 0.05  # seconds; code that catches whatever is raised in it is told once more


class TimeUp(BaseException):
    """The time is over. No Exception, so that `except Exception` does not end it."""


def within(seconds: float, work: Callable[[], T]) -> T:
    """The work's result. Raises TimeUp when it takes longer.

    Only the main thread of a system with timers can be interrupted; elsewhere there is no limit.
    """
    timers = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if not timers or signal.getitimer(signal.ITIMER_REAL)[0]:  # somebody else's timer is left alone
        return work()

    def over(_: int, __: FrameType | None) -> None:
        raise TimeUp

    before = signal.signal(signal.SIGALRM, over)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
        return work()
    finally:
        with suppress(TimeUp):  # it may be over just now
            signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
