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


@dataclass(frozen=True, slots=True)
class RequestStarted(Event):
    """The request is on its way: what a placeholder tells."""

    model: str
    tokens: int
    """An estimate."""
    turns: int
    expected: ExpectedUsage | None = None
    """None before the model has been looked up."""
    warning: str = ""
    """What will be paid again, if that is much."""


@dataclass(frozen=True, slots=True)
class TurnResult(Event):
    """The end: a turn if there is one to show, what it cost, and what went wrong."""

    turn: Turn | None
    cost: Cost = Cost()
    error: ChatError | None = None
    number: int = 0
    """The turn's place in the conversation, from 1."""
    expected: ExpectedUsage | None = None
    """What the bill should have been."""
    reason: MissReason | None = None
    """Why less was read from the cache than could have been."""
    cache_is_promised: bool = True
    """Whether the provider promises anything of its cache, so that something can be said to be missed."""
    warm_until: float | None = None
    """In seconds of the clock; None: unknown."""
    replaced: bool = False
    """Whether it took the place of another."""
    stale: tuple[int, ...] = ()
    """Later turns, by number, that answered an older version."""
    uncached_tokens: int = 0
    """Tokens that were warm behind the turn and will have to be sent anew."""
    detached_turns: tuple[Turn, ...] = ()
    """Turns that have been detached since the last answer."""
    requests: int = 1
    """How many there were on the way to the answer."""
    rows: tuple[BlockRow, ...] = ()
    """The prefix of the last of them, and what of it is warm now, in a few lines."""
    timing: Timing | None = None
    request_id: str = ""
    """The provider's name for the last of them."""
    notes: tuple[str, ...] = ()
    """What else is to be said of the prompt."""
    response: object = None
    """The last answer as litellm has it."""


Waiting = Progress | RequestStarted | RetryScheduled
