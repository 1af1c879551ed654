"""Import litellm and the like while the kernel is idle: callbacks of the kernel's own loop, on the main thread."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress

from ipycachechat.providers import litellm_import

IDLE = 1.0
"""Seconds after a cell before idle work starts."""
PAUSE = 0.01
"""Seconds between two steps, so that a waiting cell runs first."""


class IdleWork:
    """Imports step by step, then prepares litellm's first request; pauses while a cell runs.

    Nothing is done without a running loop, as in the IPython terminal.
    """

    def __init__(self) -> None:
        self._steps: Iterator[str] | None = import_steps()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def arm(self, *_: object) -> None:
        """Start or continue in a second: a cell has ended."""
        self._schedule(IDLE)

    def pause(self, *_: object) -> None:
        """Pause: a cell starts."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def stop(self) -> None:
        """Stop for good."""
        self.pause()
        self._steps = None
        if self._task is not None:
            self._task.cancel()

    def _schedule(self, seconds: float) -> None:
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
            self._task = asyncio.get_running_loop().create_task(litellm_import.warm_up())
        except Exception:  # an import error is reported by the first chat, which needs the import
            self._steps = None
        else:
            self._schedule(PAUSE)


def import_steps() -> Iterator[str]:
    """Import step by step the modules that would make `%load_ext` slow."""
    yield from litellm_import.import_in_portions()
    from ipycachechat.rendering import markdown

    markdown.to_html("")
    yield "markdown"
    from ipycachechat.text import redaction  # noqa: F401 # compiling its patterns takes a moment

    yield "redaction"


def import_all() -> None:
    """Import now what has not been imported yet."""
    for _ in import_steps():
        pass
