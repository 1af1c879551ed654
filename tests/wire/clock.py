"""The clock of the providers' caches."""

from __future__ import annotations

import time

START = 1_800_000_000.0


class Clock:
    """A clock that moves only when a test advances it, or with `real=True` also by itself."""

    def __init__(self, start: float | None = None, real: bool = False) -> None:
        self.real = real
        self._base = 0.0
        self.now = start if start is not None else time.time() if real else START

    @property
    def now(self) -> float:
        """Seconds since the epoch."""
        return self._base + (time.monotonic() if self.real else 0.0)

    @now.setter
    def now(self, value: float) -> None:
        self._base = value - (time.monotonic() if self.real else 0.0)

    def run(self) -> None:
        """Set the clock to the real time and let it run."""
        self.real = True
        self.now = time.time()

    def stand_still(self) -> None:
        """Set the clock to its start and stop it."""
        self.real = False
        self.now = START

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self._base += seconds
