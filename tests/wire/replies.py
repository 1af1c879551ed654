"""The server's answers: a `Reply`, perhaps with a `Fault`, or a function from the request to one."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from .calls import Call
from .tokens import canonical, count

Finish = Literal["stop", "length", "tools", "refusal"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call. If `arguments` is text, it is sent unchanged, valid JSON or not."""

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict)
    id: str = ""

    @property
    def json(self) -> str:
        """The arguments as they are sent."""
        return self.arguments if isinstance(self.arguments, str) else canonical(self.arguments)


@dataclass(frozen=True, slots=True)
class HttpError:
    """An error status instead of an answer; by default the body has the provider's own form."""

    status: int
    message: str = "Overloaded"
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stall:
    """Silence before the headers, after them, or after `after` content chunks. `seconds=None`: forever."""

    stage: Literal["headers", "first", "chunk"] = "chunk"
    after: int = 1
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Drop:
    """A TCP reset: before the headers, after them, or after `after` content chunks."""

    stage: Literal["headers", "first", "chunk"] = "chunk"
    after: int = 1


@dataclass(frozen=True, slots=True)
class Malformed:
    """A line of the stream that is not valid JSON, after `after` content chunks; the stream then continues."""

    after: int = 1


@dataclass(frozen=True, slots=True)
class Truncated:
    """A body that ends in the middle of a JSON value, without an error of TCP or HTTP.

    In a stream: in the middle of the event that follows `after` content chunks.
    """

    after: int = 1


@dataclass(frozen=True, slots=True)
class StreamError:
    """The provider's own error event in the stream, after `after` content chunks."""

    after: int = 1
    message: str = "Overloaded"
    status: int = 529


@dataclass(frozen=True, slots=True)
class Body:
    """Status 200 with a body that is not an answer: a proxy's page, or bytes that are not text."""

    data: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UsageTwice:
    """The events that report the usage at the end of a stream are sent twice."""


@dataclass(frozen=True, slots=True)
class NoUsage:
    """No event of the stream reports usage."""


@dataclass(frozen=True, slots=True)
class Counts:
    """The events that report usage report these counts instead, by their names in the provider's protocol."""

    counts: Mapping[str, Any]


Fault = HttpError | Stall | Drop | Malformed | Truncated | StreamError | Body | UsageTwice | NoUsage | Counts


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. Delays are real seconds; a tuple of texts is streamed in exactly these chunks."""

    text: str | tuple[str, ...] = ""
    thinking: str | tuple[str, ...] = ""
    tool_calls: tuple[ToolCall, ...] = ()
    first_delay: float = 0.0  # before the headers
    chunk_delay: float = 0.0  # between content chunks
    hold: threading.Event | None = None  # content chunks after the first wait for it
    rate: float | None = None  # content chunks per second; sets chunk_delay
    finish: Finish | None = None  # None: "tools" if there are tool calls, else "stop"
    output_tokens: int | None = None  # None: counted
    headers: Mapping[str, str] = field(default_factory=dict)
    report_cache: bool = True  # False: usage without any cache counter (OpenAI protocol, Gemini)
    report_usage: bool = True  # False: no usage at all, as some local servers do (OpenAI protocol)
    fault: Fault | None = None

    @property
    def pause(self) -> float:
        """Seconds between two content chunks."""
        return 1 / self.rate if self.rate else self.chunk_delay

    @property
    def text_chunks(self) -> tuple[str, ...]:
        """The text as it is streamed."""
        return chunks(self.text)

    @property
    def thinking_chunks(self) -> tuple[str, ...]:
        """The thinking as it is streamed."""
        return chunks(self.thinking)

    @property
    def thinking_tokens(self) -> int:
        """Output tokens spent on thinking."""
        return sum(map(count, self.thinking_chunks))

    @property
    def tokens(self) -> int:
        """Output tokens, thinking included."""
        if self.output_tokens is not None:
            return self.output_tokens
        calls = sum(count(call.name) + count(call.json) for call in self.tool_calls)
        return self.thinking_tokens + sum(map(count, self.text_chunks)) + calls

    @property
    def ending(self) -> Finish:
        """The reason why the model stopped."""
        return self.finish or ("tools" if self.tool_calls else "stop")

    def named(self, prefix: str, serial: int) -> Reply:
        """The same reply, with an id for each tool call that has none."""
        calls = (
            call if call.id else replace(call, id=f"{prefix}{serial:06d}{i:02d}")
            for i, call in enumerate(self.tool_calls)
        )
        return replace(self, tool_calls=tuple(calls))

    def fitted(self, limit: int | None) -> Reply:
        """The reply cut at a token limit: whole chunks, then finish "length"."""
        if limit is None or self.output_tokens is not None or self.tokens <= limit:
            return self
        thinking, remaining = within(self.thinking_chunks, limit)
        text, _ = within(self.text_chunks, remaining)
        return replace(self, thinking=thinking, text=text, tool_calls=(), finish="length")


Script = Reply | Callable[[Call], Reply]


def within(text_chunks: tuple[str, ...], limit: int) -> tuple[tuple[str, ...], int]:
    """The first chunks that fit in `limit` tokens, and the remaining tokens of the limit."""
    fitting: list[str] = []
    for chunk in text_chunks:
        if count(chunk) > limit:
            return tuple(fitting), 0
        fitting.append(chunk)
        limit -= count(chunk)
    return tuple(fitting), limit


def chunks(text: str | tuple[str, ...]) -> tuple[str, ...]:
    """Chunks of a text: a given tuple, or one for each word with the white space after it."""
    return (
        text
        if isinstance(text, tuple)
        else tuple(re.findall(r"\s*\S+\s*", text)) or ((text,) if text else ())
    )


def default_reply(call: Call) -> Reply:
    """The reply when none is scripted: the number of the turn and the user's last text, shortened."""
    text = " ".join(call.user_text.split())
    return Reply(f"Reply {call.turns}: you said {text if len(text) <= 40 else text[:39] + '…'}")
