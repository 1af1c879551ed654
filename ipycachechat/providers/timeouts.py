"""Time limits of a request, and the number of retries."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLimits:
    """Timeouts of a request in seconds, and the number of retries."""

    retries: int = 3
    """Maximum number of retries after a temporary error."""
    retry_time: float = 120.0
    """Time for all tries with their pauses: no pause starts that would end later."""
    connect_timeout: float = 10.0
    first_token_timeout: float = 600.0
    """Time until the first token; a thinking model may be silent for long."""
    read_timeout: float = 120.0
    """Longest silence within an answer."""
    total_timeout: float = 0.0
    """Time for the whole answer; 0 for no limit."""


DEFAULT_LIMITS = RequestLimits()
NO_RETRIES = RequestLimits(retries=0)


class ResponseClock:
    """The time that a request has taken and may still take."""

    def __init__(self, limits: RequestLimits, sends_pings: bool) -> None:
        """`sends_pings`: the provider sends keep-alive events while it works."""
        self.limits = limits
        self._sends_pings = sends_pings
        self.started_at = 0.0
        """`time.monotonic()` when the request was sent."""

    def start(self) -> None:
        """Start now."""
        self.started_at = time.monotonic()

    @property
    def socket_timeout(self) -> float:
        """Longest silence of the connection. With pings, a silent connection is a lost one, even while it thinks."""
        return self.limits.read_timeout if self._sends_pings else self.limits.first_token_timeout

    def max_silence(self, answering: bool) -> float | None:
        """Return the longest time until the next token; None where the socket timeout is enough."""
        if not answering:
            return self.limits.first_token_timeout
        return None if self._sends_pings else self.limits.read_timeout

    def remaining(self, answering: bool) -> float | None:
        """Return the seconds from now until the request is given up; None for no limit."""
        total = self.limits.total_timeout
        left = self.started_at + total - time.monotonic() if total else None
        seconds = [limit for limit in (self.max_silence(answering), left) if limit is not None]
        return min(seconds, default=None)

    @property
    def total_is_over(self) -> bool:
        """True if the whole answer has taken longer than `total_timeout`."""
        total = self.limits.total_timeout
        return bool(total) and time.monotonic() - self.started_at >= total
