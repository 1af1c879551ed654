"""SIGINT handling while a chat waits: no interrupt is lost, and none breaks the clean-up.

Who asks from Python needs it, too: the standard library is all that this imports.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

QUIET_SECONDS = 0.5
"""Seconds after the end of what was stopped, or of the cell's last work, in which a press means that and nothing else:
where it comes while the kernel tells of the end, ipykernel loses its reply, and the cell never ends."""


LOOPS = ("asyncio.runners", "ipykernel.ipkernel")
"""Modules whose handlers only cancel the task that runs, as of a cell that awaits: it waits here, and hears nothing."""


class InterruptGuard:
    """While it is entered, no press is lost: the first ends what runs, or raises KeyboardInterrupt where it may.

    Only on the main thread, where signals arrive, and only in the place of Python's own handler or an event loop's: who
    has set another one means it.
    """

    def __init__(self, *, last: bool = False) -> None:
        """`last`: whether nothing follows in the cell that could still be stopped."""
        self.pressed = False
        self._last = last
        self._raises = False
        self._stop: Callable[[], object] = _nothing
        self._ended = 0.0
        self._before: Any = None

    def __enter__(self) -> Self:
        now = signal.getsignal(signal.SIGINT)
        if getattr(now, "__func__", None) is InterruptGuard._late:
            now = now.__self__._before  # type: ignore[union-attr]
        module = getattr(getattr(now, "func", now), "__module__", "")
        own = now is signal.default_int_handler or module in LOOPS
        self._before = now if own and threading.current_thread() is threading.main_thread() else None
        if self._before is not None:
            signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop = _nothing
        self._ended = time.monotonic()
        if self._before is not None:
            # A kernel puts its own handler back when the cell has ended.
            signal.signal(signal.SIGINT, self._late if self.pressed or self._last else self._before)

    def on_interrupt(self, stop: Callable[[], object]) -> None:
        """From now on the first press calls this, as one does that has been, and nothing is raised.

        What would be raised while something is drawn, or in a callback of the garbage collector's, would be lost there.
        """
        self._stop = stop
        if self.pressed:
            stop()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """In here the first press raises KeyboardInterrupt, as one does that has been."""
        self._raises = True
        try:
            self.raise_if_interrupted()
            yield
        finally:
            self._raises = False

    def raise_if_interrupted(self) -> None:
        """Raise KeyboardInterrupt if it was pressed."""
        if self.pressed:
            raise KeyboardInterrupt

    def press(self) -> None:
        """A press that has arrived as a KeyboardInterrupt, perhaps of a tool."""
        if not self.pressed:
            self.pressed = True
            self._stop()

    @contextmanager
    def passthrough(self) -> Iterator[None]:
        """In here each press raises, as in any other cell. Whoever catches that comes to its end, and so do we then."""
        pressed = False

        def press(_: int, frame: FrameType | None) -> None:
            nonlocal pressed
            pressed = True
            raise KeyboardInterrupt

        if self._before is not None:
            signal.signal(signal.SIGINT, press)
        try:
            yield
        finally:
            if self._before is not None:
                signal.signal(signal.SIGINT, self._press)
            if pressed:
                self.press()

    def _press(self, _: int, frame: FrameType | None) -> None:
        first = not self.pressed
        self.press()
        if first and self._raises:
            raise KeyboardInterrupt

    def _late(self, number: int, frame: FrameType | None) -> None:
        """Pressed after the end."""
        if time.monotonic() - self._ended > QUIET_SECONDS:
            signal.signal(signal.SIGINT, self._before)
            self._before(number, frame)


@contextmanager
def deferred_interrupts() -> Iterator[None]:
    """In here nothing is stopped, lest a half of it or a lock stay; a press is told after it."""
    with InterruptGuard() as button:
        yield
    button.raise_if_interrupted()


def _nothing() -> None:
    """Where nothing runs yet, or any more."""
