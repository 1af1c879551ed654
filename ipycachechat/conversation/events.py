"""What is told while a prompt is on its way: progress, then for each request sending, perhaps
pauses, pieces and calls, then done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ipycachechat.caching.breakdown import Row
from ipycachechat.caching.miss_reasons import Reason
from ipycachechat.caching.state import Outcome
from ipycachechat.conversation.turns import Message, ToolCall, Turn
from ipycachechat.conversation.usage import Cost, Timing
from ipycachechat.errors import ChatError


@dataclass(frozen=True, slots=True)
class Progress:
    """What is being waited for; `done` and `total` in bytes, or prompts; None where nobody knows."""

    what: str
    done: int | None = None
    total: int | None = None


@dataclass(frozen=True, slots=True)
class Sending:
    """The request is on its way: what a placeholder tells."""

    model: str
    tokens: int
    """An estimate."""
    turns: int
    expected: Outcome | None = None
    """None before the model has been looked up."""
    warning: str = ""
    """What will be paid again, if that is much."""


@dataclass(frozen=True, slots=True)
class Pausing:
    """The request failed, and the same will be asked again: a countdown."""

    why: str
    seconds: float
    tries: int
    """So far."""
    most: int


@dataclass(frozen=True, slots=True)
class Broken:
    """An answer broke off, and the same is asked again: so much of it had come."""

    text: str


@dataclass(frozen=True, slots=True)
class Piece:
    """What has arrived: of the answer, of what is thought before it, or neither."""

    text: str = ""
    thought: str = ""
    chunk: object = None
    """As litellm gave it."""
    last: bool = False
    """Whether the provider has said that this is the end; the bill may still take a while."""


@dataclass(frozen=True, slots=True)
class Called:
    """A tool is about to be called."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class Returned:
    """A tool has returned, or failed; in the order of the calls."""

    call: ToolCall
    result: Message


@dataclass(frozen=True, slots=True)
class Do:
    """Work for the thread of whoever asked, a plain function that is used as a tool, say. It raises nothing but
    KeyboardInterrupt and the like."""

    work: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Done:
    """The end: a turn if there is one to show, what it cost, and what went wrong."""

    turn: Turn | None
    bill: Cost = Cost()
    error: ChatError | None = None
    number: int = 0
    """The turn's place in the conversation, from 1."""
    expected: Outcome | None = None
    """What the bill should have been."""
    reason: Reason | None = None
    """Why less was read from the cache than could have been."""
    promised: bool = True
    """Whether the provider promises anything of its cache, so that something can be said to be missed."""
    warm_until: float | None = None
    """In seconds of the clock; None: unknown."""
    replaced: bool = False
    """Whether it took the place of another."""
    stale: tuple[int, ...] = ()
    """Later turns, by number, that answered an older version."""
    lost: int = 0
    """Tokens that were warm behind the turn and will have to be sent anew."""
    left: tuple[Turn, ...] = ()
    """Turns that have been detached since the last answer."""
    requests: int = 1
    """How many there were on the way to the answer."""
    rows: tuple[Row, ...] = ()
    """The prefix of the last of them, and what of it is warm now, in a few lines."""
    timing: Timing | None = None
    request_id: str = ""
    """The provider's name for the last of them."""
    notes: tuple[str, ...] = ()
    """What else is to be said of the prompt."""
    response: object = None
    """The last answer as litellm has it."""


Waiting = Progress | Sending | Pausing
Event = Waiting | Broken | Piece | Called | Returned | Do | Done
