"""The retry policy; litellm's own retries and those of the providers' clients are switched off."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_exponential,
)

from ipycachechat.errors import ModelError
from ipycachechat.providers.timeouts import RequestLimits

FIRST, LONGEST = 0.5, 30.0
"""Seconds of the first pause, and of the longest that no provider has asked for."""
JITTER = 0.5
"""Seconds more, at most, so that not all who were refused come back at once."""
_BACKOFF = wait_exponential(FIRST, LONGEST)


def retrying(
    limits: RequestLimits,
    sleep: Callable[[float], Awaitable[object]],
    pausing: Callable[[ModelError, float, int], None],
) -> AsyncRetrying:
    """Tries until it works, or the error will not go away, or it is too late; then raises the last error.

    `pausing` hears of each pause: the error before it, its seconds, and how many tries there were.
    """

    chance = random.Random()  # of its own: the user's random numbers stay as they were

    async def slept(seconds: float) -> None:
        await sleep(seconds)

    def told(state: RetryCallState) -> None:
        pausing(_error(state), state.upcoming_sleep, state.attempt_number)

    return AsyncRetrying(
        retry=retry_if_exception(lambda error: isinstance(error, ModelError) and error.retryable),
        stop=stop_after_attempt(limits.retries + 1) | stop_before_delay(limits.retry_time),
        wait=lambda state: _pause(state) + chance.uniform(0, JITTER),
        before_sleep=told,
        sleep=slept,
        reraise=True,
    )


def _pause(state: RetryCallState) -> float:
    """As long as the provider says, or ever longer."""
    after = _error(state).retry_after
    return _BACKOFF(state) if after is None else after


def _error(state: RetryCallState) -> ModelError:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, ModelError)
    return error
