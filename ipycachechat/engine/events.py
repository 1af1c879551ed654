"""Events that carry a forecast or a bill."""

from __future__ import annotations

from dataclasses import dataclass

from ipycachechat.caching.breakdown import BlockRow
from ipycachechat.caching.miss_reasons import MissReason
from ipycachechat.caching.state import ExpectedUsage
from ipycachechat.conversation.events import Event, Progress, RetryScheduled
from ipycachechat.conversation.turns import Turn
from ipycachechat.conversation.usage import Cost, Timing
from ipycachechat.errors import ChatError


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestStarted(Event):
    """A request is being sent; its expected usage is shown until the answer begins."""

    model: str
    tokens: int
    """Estimated size of the prompt."""
    turns: int
    """Number of turns in front of the prompt."""
    expected: ExpectedUsage | None = None
    """None before the model has been looked up."""
    warning: str = ""
    """Tokens that will be charged again, if they are many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnResult(Event):
    """The end of a prompt: its turn if one was kept, its cost, and its error."""

    turn: Turn | None = None
    cost: Cost = Cost()
    error: ChatError | None = None
    number: int = 0
    """Number of the turn in the conversation, from 1."""
    expected: ExpectedUsage | None = None
    """Usage that was predicted."""
    reason: MissReason | None = None
    """Why less was read from the cache than possible."""
    cache_is_promised: bool = True
    """False if the provider does not guarantee caching, so that nothing counts as a miss."""
    warm_until: float | None = None
    """Expiry of the cached prefix, in seconds of the client's clock; None: unknown."""
    replaced: bool = False
    """True if the turn replaced another."""
    stale: tuple[int, ...] = ()
    """Numbers of later turns that answered an older version."""
    uncached_tokens: int = 0
    """Tokens after the turn that were cached and will be charged again."""
    detached_turns: tuple[Turn, ...] = ()
    """Turns left out since the last answer because their cells were deleted."""
    requests: int = 1
    """Number of requests that the answer took."""
    rows: tuple[BlockRow, ...] = ()
    """The prefix of the last request and when its blocks expire, in a few rows."""
    timing: Timing | None = None
    request_id: str = ""
    """The provider's id of the last request."""
    notes: tuple[str, ...] = ()
    """Sentences on the prompt to show under the answer."""
    response: object = None
    """The last response as a litellm object."""


Waiting = Progress | RequestStarted | RetryScheduled
