"""Stream events: Progress, StreamChunk, tool calls, retries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ipycachechat.conversation.messages import Message, ToolCall


class Event:
    """Base of everything that is emitted while a prompt is being answered."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Progress(Event):
    """Progress of a wait; `done` and `total` in bytes or prompts, None if unknown."""

    label: str
    done: int | None = None
    total: int | None = None


@dataclass(frozen=True, slots=True)
class RetryScheduled(Event):
    """The request failed and will be sent again in `seconds`."""

    reason: str
    seconds: float
    tries: int
    """Number of tries so far."""
    max_tries: int


@dataclass(frozen=True, slots=True)
class StreamBroken(Event):
    """An answer broke off after `text`, and the request is sent again."""

    text: str


@dataclass(frozen=True, slots=True)
class StreamChunk(Event):
    """A piece of a streamed answer: text, thinking, or neither."""

    text: str = ""
    thinking: str = ""
    chunk: object = None
    """The chunk as litellm returned it."""
    last: bool = False
    """True if the provider has marked this as the end; the usage may still follow."""


@dataclass(frozen=True, slots=True)
class ToolCallStarted(Event):
    """A tool is about to be called."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class ToolCallFinished(Event):
    """A tool has returned or failed."""

    call: ToolCall
    result: Message


@dataclass(frozen=True, slots=True)
class RunOnCallerThread(Event):
    """Ask the caller's thread to run a function (a sync tool, a question to the user).

    `work` raises nothing but KeyboardInterrupt and other exceptions of that kind.
    """

    work: Callable[[], None]
