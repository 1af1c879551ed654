"""How long a request may take, and how often it is tried."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Seconds, but for `retries`."""

    retries: int = 3
    """How often the same is asked again after an error that may go away."""
    retry_time: float = 120.0
    """For all tries of a request, with the pauses between them: no pause begins that would end later."""
    connect_timeout: float = 10.0
    first_token_timeout: float = 600.0
    """Until something of the answer comes: thinking may be silent."""
    read_timeout: float = 120.0
    """In which nothing comes once the answer has begun."""
    total_timeout: float = 0.0
    """For all of an answer; 0: as long as it takes."""


LIMITS = RequestLimits()
ONCE = RequestLimits(retries=0)


Sleep = Callable[[float], Awaitable[None]]
