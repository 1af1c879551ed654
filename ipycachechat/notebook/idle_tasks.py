"""Work for when the kernel has been idle for a second: callbacks of its own loop, on the main thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any

IDLE = 1.0  # seconds


class IdleWork:
    """Takes one step of `steps` at a time, then runs `last` as a task; pauses while a cell runs.

    Without a running loop (the IPython terminal) nothing is done.
    """

    def __init__(self, steps: Iterator[object], last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._steps: Iterator[object] | None = steps
        self._last = last
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def arm(self, *_: object) -> None:
        """A cell has ended: begin or go on after a second."""
        self._later(IDLE)

    def pause(self, *_: object) -> None:
        """A cell starts."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def stop(self) -> None:
        """Never again."""
        self.pause()
        self._steps = None
        if self._task is not None:
            self._task.cancel()

    def _later(self, seconds: float) -> None:
        self.pause()
        if self._steps is not None:
            with suppress(RuntimeError):
                self._timer = asyncio.get_running_loop().call_later(seconds, self._step)

    def _step(self) -> None:
        self._timer = None
        if self._steps is None:
            return
        try:
            next(self._steps)
        except StopIteration:
            self._steps = None
            self._task = asyncio.get_running_loop().create_task(self._last())
        except Exception:  # what is wrong with the import is told by the first chat, which needs it
            self._steps = None
        else:
            self._later(0.01)  # so that a cell that waits comes first
