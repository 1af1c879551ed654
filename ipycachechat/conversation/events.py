"""Stream events: Progress, StreamChunk, tool calls, retries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ipycachechat.conversation.messages import Message, ToolCall


class Event:
    """Base of all that is emitted while a prompt is on its way."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Progress(Event):
    """Progress of what is being waited for; `done` and `total` in bytes or prompts, None if unknown."""

    what: str
    done: int | None = None
    total: int | None = None


@dataclass(frozen=True, slots=True)
class RetryScheduled(Event):
    """The request failed, and the same will be asked again: a countdown."""

    reason: str
    seconds: float
    tries: int
    """So far."""
    max_tries: int


@dataclass(frozen=True, slots=True)
class StreamBroken(Event):
    """An answer broke off, and the same is asked again: so much of it had come."""

    text: str


@dataclass(frozen=True, slots=True)
class StreamChunk(Event):
    """A piece of a streamed answer: text, thinking, or neither."""

    text: str = ""
    thought: str = ""
    chunk: object = None
    """As litellm gave it."""
    last: bool = False
    """True if the provider has said that this is the end; the bill may still take a while."""


@dataclass(frozen=True, slots=True)
class ToolCallStarted(Event):
    """A tool is about to be called."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class ToolCallFinished(Event):
    """A tool has returned, or failed; in the order of the calls."""

    call: ToolCall
    result: Message


@dataclass(frozen=True, slots=True)
class RunOnCallerThread(Event):
    """Ask the caller's thread to run a function (a sync tool, a question to the user). It raises nothing but
    KeyboardInterrupt and the like."""

    work: Callable[[], None]
