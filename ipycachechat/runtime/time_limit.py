"""Stop code of the user or of a library after so many seconds."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

from ipycachechat.errors import TimeLimitExceeded

T = TypeVar("T")
REPEAT_INTERVAL = 0.05
"""Seconds after which the exception is raised again, in case the code has caught it."""


def run_with_time_limit(seconds: float, work: Callable[[], T]) -> T:
    """Return the work's result. Raises TimeLimitExceeded if it takes longer.

    Only the main thread of a system with timers can be interrupted; elsewhere there is no limit.
    """
    has_timers = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if not has_timers or signal.getitimer(signal.ITIMER_REAL)[0]:  # a timer that is in use is left alone
        return work()

    def on_timer(_: int, frame: FrameType | None) -> None:
        # An exception in this function itself, where the timer is stopped, would leave it running.
        if frame is None or frame.f_code in (run_with_time_limit.__code__, on_timer.__code__):
            return
        if _is_called_from_here(frame):
            raise TimeLimitExceeded
        signal.setitimer(signal.ITIMER_REAL, 0)  # an interrupt came before the timer was stopped
        signal.signal(signal.SIGALRM, previous_handler)

    previous_handler = signal.signal(signal.SIGALRM, on_timer)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, REPEAT_INTERVAL)
        return work()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)  # before the previous handler is back: it may end the process
        signal.signal(signal.SIGALRM, previous_handler)


def _is_called_from_here(frame: FrameType | None) -> bool:
    """Return True if the work is still running."""
    while frame is not None and frame.f_code is not run_with_time_limit.__code__:
        frame = frame.f_back
    return frame is not None
