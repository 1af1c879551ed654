"""The stop button while a chat waits: no press is lost, and none of them ends the clean-up half-way."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

QUIET = 0.5
"""Seconds after the end of what was stopped, or of the cell's last work, in which a press means that and nothing else:
where it comes while the kernel tells of the end, ipykernel loses its reply, and the cell never ends."""


class StopButton:
    """While it is entered, the first press raises KeyboardInterrupt, and those that follow are only noted.

    Only on the main thread, where signals arrive, and only in the place of Python's own handler: who has set another
    one means it.
    """

    def __init__(self, *, last: bool = False) -> None:
        """`last`: whether nothing follows in the cell that could still be stopped."""
        self.pressed = False
        self._last = last
        self._held = False
        self._ended = 0.0
        self._before: Any = None

    def __enter__(self) -> Self:
        now = signal.getsignal(signal.SIGINT)
        own = now is signal.default_int_handler or getattr(now, "__func__", None) is StopButton._late
        if own and threading.current_thread() is threading.main_thread():
            self._before = signal.default_int_handler
            self.hold()  # what is raised before the end of this would leave the handler there for ever
            signal.signal(signal.SIGINT, self._press)
            self._held = False
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hold()
        self._ended = time.monotonic()
        if self._before is not None:
            # A kernel puts its own handler back when the cell has ended.
            signal.signal(signal.SIGINT, self._late if self.pressed or self._last else self._before)

    def heard(self) -> None:
        """A press has arrived, as a KeyboardInterrupt, perhaps of a tool: from now on there is only clean-up."""
        self.pressed = True

    def heed(self) -> None:
        """Raise KeyboardInterrupt if the button was pressed where that could not be heard."""
        if self.pressed:
            raise KeyboardInterrupt

    def hold(self) -> None:
        """From now on presses are only noted."""
        self._held = True

    @contextmanager
    def held(self) -> Iterator[None]:
        """In here presses are only noted."""
        self.hold()
        try:
            yield
        finally:
            self._held = False

    @contextmanager
    def released(self) -> Iterator[None]:
        """In here the button is as in any other cell: each press raises, and whoever catches that may go on."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
        try:
            yield
        finally:
            if self._before is not None:
                signal.signal(signal.SIGINT, self._press)

    def _press(self, _: int, frame: FrameType | None) -> None:
        first, self.pressed = not self.pressed, True
        if first and not self._held:
            raise KeyboardInterrupt

    def _late(self, number: int, frame: FrameType | None) -> None:
        """Pressed after the end."""
        if time.monotonic() - self._ended > QUIET:
            signal.signal(signal.SIGINT, self._before)
            self._before(number, frame)
