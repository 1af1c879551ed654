"""SIGINT handling while a chat waits: no interrupt is lost, and none breaks the clean-up."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

QUIET_SECONDS = 0.5
"""Seconds after the end of interrupted work, or of the last work of a cell, in which further interrupts are ignored.
If one came while the kernel reports the end, ipykernel would lose its reply, and the cell would never end."""

LOOP_MODULES = ("asyncio.runners", "ipykernel.ipkernel")
"""Modules whose SIGINT handlers only cancel the running task, which waits here and would not notice."""


class InterruptGuard:
    """A context in which the first SIGINT stops the work, or raises KeyboardInterrupt where that is allowed.

    It acts only on the main thread, where signals arrive, and only in place of Python's own handler or an event
    loop's: any other handler was set on purpose.
    """

    def __init__(self, *, last: bool = False) -> None:
        """`last`: nothing that could be interrupted follows in the cell."""
        self.interrupted = False
        self._last = last
        self._raises = False
        self._stop: Callable[[], object] = _do_nothing
        self._ended_at = 0.0
        self._previous_handler: Any = None

    def __enter__(self) -> Self:
        handler = signal.getsignal(signal.SIGINT)
        if getattr(handler, "__func__", None) is InterruptGuard._on_late_signal:
            handler = handler.__self__._previous_handler  # type: ignore[union-attr]
        module = getattr(getattr(handler, "func", handler), "__module__", "")
        replaceable = handler is signal.default_int_handler or module in LOOP_MODULES
        on_main_thread = threading.current_thread() is threading.main_thread()
        self._previous_handler = handler if replaceable and on_main_thread else None
        if self._previous_handler is not None:
            signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop = _do_nothing
        self._ended_at = time.monotonic()
        if self._previous_handler is not None:
            # A kernel puts its own handler back when the cell has ended.
            ignore_for_now = self.interrupted or self._last
            signal.signal(signal.SIGINT, self._on_late_signal if ignore_for_now else self._previous_handler)

    def on_interrupt(self, stop: Callable[[], object]) -> None:
        """Call `stop` at the first interrupt, or now if it has come already; nothing is raised.

        An exception would be lost if it were raised while output is drawn, or in a callback of the garbage collector.
        """
        self._stop = stop
        if self.interrupted:
            stop()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """In this block the first interrupt raises KeyboardInterrupt, and so does one that has come already."""
        self._raises = True
        try:
            self.raise_if_interrupted()
            yield
        finally:
            self._raises = False

    def raise_if_interrupted(self) -> None:
        """Raise KeyboardInterrupt if there was an interrupt."""
        if self.interrupted:
            raise KeyboardInterrupt

    def interrupt(self) -> None:
        """Report an interrupt that arrived as a KeyboardInterrupt, for instance out of a tool."""
        if not self.interrupted:
            self.interrupted = True
            self._stop()

    @contextmanager
    def passthrough(self) -> Iterator[None]:
        """In this block (a tool, say) each interrupt raises, as in any other cell. The work stops after the block."""
        interrupted = False

        def on_signal(_: int, frame: FrameType | None) -> None:
            nonlocal interrupted
            interrupted = True
            raise KeyboardInterrupt

        if self._previous_handler is not None:
            signal.signal(signal.SIGINT, on_signal)
        try:
            yield
        finally:
            if self._previous_handler is not None:
                signal.signal(signal.SIGINT, self._on_signal)
            if interrupted:
                self.interrupt()

    def _on_signal(self, _: int, frame: FrameType | None) -> None:
        first = not self.interrupted
        self.interrupt()
        if first and self._raises:
            raise KeyboardInterrupt

    def _on_late_signal(self, number: int, frame: FrameType | None) -> None:
        """Ignore an interrupt shortly after the end."""
        if time.monotonic() - self._ended_at > QUIET_SECONDS:
            signal.signal(signal.SIGINT, self._previous_handler)
            self._previous_handler(number, frame)


@contextmanager
def deferred_interrupts() -> Iterator[None]:
    """Run a block to its end, then raise KeyboardInterrupt if there was an interrupt meanwhile."""
    with InterruptGuard() as guard:
        yield
    guard.raise_if_interrupted()


def _do_nothing() -> None:
    pass
