"""A validated request, and the error that a provider returns for one that is not valid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .cache import Block

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One request after validation, in one form for all providers."""

    provider: str
    model: str
    stream: bool
    body: Json
    blocks: tuple[Block, ...]
    turns: int  # user messages that are not merely tool results
    user_text: str  # text of the last such message
    max_tokens: int | None = None
    seeds: tuple[str, str, str] = ("", "", "")  # settings that invalidate tools, system, messages
    answers: tuple[str, ...] = ()  # texts of the tool results at the end of the prompt

    @property
    def prompt(self) -> int:
        """Tokens of the prompt."""
        return sum(block.tokens for block in self.blocks)


class ApiError(Exception):
    """The request is refused. `kind` and `extra` go into the provider's own error body."""

    def __init__(self, status: int, message: str, kind: str = "invalid_request_error", **extra: Any) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.extra = status, message, kind, extra


@dataclass(frozen=True, slots=True)
class Event:
    """One write to a stream. `content`: True if a user would see it; `tokens`: output tokens that it carries."""

    data: bytes
    content: bool = False
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """Number of a request, the time on the provider's clock, and headers: parts of every answer to it."""

    serial: int
    now: float
    headers: Mapping[str, str] = field(default_factory=dict)


def need(condition: object, message: str, **extra: Any) -> None:
    """Refuse the request with status 400 unless the condition holds."""
    if not condition:
        raise ApiError(400, message, **extra)
