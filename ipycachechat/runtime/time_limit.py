"""Stop code of others after so many seconds."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

from ipycachechat.errors import TimeLimitExceeded

T = TypeVar("T")
AGAIN = 0.05  # seconds; code that catches whatever is raised in it is told once more


def run_with_time_limit(seconds: float, work: Callable[[], T]) -> T:
    """The work's result. Raises TimeUp when it takes longer.

    Only the main thread of a system with timers can be interrupted; elsewhere there is no limit.
    """
    timers = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if not timers or signal.getitimer(signal.ITIMER_REAL)[0]:  # somebody else's timer is left alone
        return work()

    def over(_: int, frame: FrameType | None) -> None:
        # Not in here: raised where the timer is being ended, it would leave it running.
        if frame is None or frame.f_code in (run_with_time_limit.__code__, over.__code__):
            return
        if _is_called_from_here(frame):
            raise TimeLimitExceeded
        signal.setitimer(signal.ITIMER_REAL, 0)  # an interrupt came before it was ended
        signal.signal(signal.SIGALRM, before)

    before = signal.signal(signal.SIGALRM, over)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
        return work()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)  # first: what `before` is may end the process
        signal.signal(signal.SIGALRM, before)


def _is_called_from_here(frame: FrameType) -> bool:
    """Return True if the work is still going on."""
    one: FrameType | None = frame
    while one is not None and one.f_code is not run_with_time_limit.__code__:
        one = one.f_back
    return one is not None
