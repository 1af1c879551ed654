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

FIRST_PAUSE, MAX_PAUSE = 0.5, 30.0
"""Seconds; a provider may ask for a longer pause."""
MAX_JITTER = 0.5
"""Seconds that are added at random, so that refused clients do not all retry at the same time."""
_BACKOFF = wait_exponential(FIRST_PAUSE, MAX_PAUSE)


def retrying(
    limits: RequestLimits,
    sleep: Callable[[float], Awaitable[object]],
    on_pause: Callable[[ModelError, float, int], None],
) -> AsyncRetrying:
    """Return a caller that retries temporary errors as long as `limits` allow, then raises the last error.

    `on_pause` is called before each pause, with the error, the seconds of the pause, and the number of tries so far.
    """
    jitter = random.Random()  # the state of the user's random numbers stays as it is

    async def pause(seconds: float) -> None:
        await sleep(seconds)

    return AsyncRetrying(
        retry=retry_if_exception(lambda error: isinstance(error, ModelError) and error.retryable),
        stop=stop_after_attempt(limits.retries + 1) | stop_before_delay(limits.retry_time),
        wait=lambda state: _pause(state) + jitter.uniform(0, MAX_JITTER),
        before_sleep=lambda state: on_pause(_error(state), state.upcoming_sleep, state.attempt_number),
        sleep=pause,
        reraise=True,
    )


def _pause(state: RetryCallState) -> float:
    """Return the seconds that the provider asked for, or else an exponentially growing pause."""
    seconds = _error(state).retry_after
    return _BACKOFF(state) if seconds is None else seconds


def _error(state: RetryCallState) -> ModelError:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, ModelError)
    return error
