"""A validated request, and the error a provider answers to one that is not valid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .cache import Block

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One request after validation, in the form all providers share."""

    provider: str
    model: str
    stream: bool
    body: Json
    blocks: tuple[Block, ...]
    turns: int  # user messages that are not merely tool results
    said: str  # text of the last such message
    max_tokens: int | None = None
    seeds: tuple[str, str, str] = ("", "", "")  # settings that invalidate tools, system, messages
    answers: tuple[str, ...] = ()  # texts of the tool results at the end of the prompt

    @property
    def prompt(self) -> int:
        """Tokens of the prompt."""
        return sum(block.tokens for block in self.blocks)


class ApiError(Exception):
    """A request refused. `kind` and `extra` go into the provider's own error body."""

    def __init__(self, status: int, message: str, kind: str = "invalid_request_error", **extra: Any) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.extra = status, message, kind, extra


@dataclass(frozen=True, slots=True)
class Event:
    """One write to a stream. `content` marks what a user would see; `tokens` is the output it stands for."""

    data: bytes
    content: bool = False
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What is common to the answers of one request: its number, id, and the time of the provider's clock."""

    serial: int
    now: float
    headers: Mapping[str, str] = field(default_factory=dict)


def need(condition: object, message: str, **extra: Any) -> None:
    """Refuse the request with status 400 unless the condition holds."""
    if not condition:
        raise ApiError(400, message, **extra)
