"""Usage, Cost and Timing: what a request or a turn was billed. Unknown is None, never 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

Number = TypeVar("Number", int, float)

MIN_WRITING = 0.1
"""Seconds that writing an answer must take to have a speed; one that arrives in one piece has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of a request, or of several added up, as the provider billed them; None is unknown.

    `read`, `written` and `fresh` add up to `input`. `written_1h` is the part of `written` with the longer TTL.
    """

    input: int | None = None
    read: int | None = None
    written: int | None = None
    written_1h: int = 0
    output: int | None = None
    thinking: int | None = None
    """The part of `output` that is thinking; None if it is not reported separately."""
    bills_writes: bool = True
    """True if writes are reported and billed; if not, written tokens count as fresh."""
    at_least: bool = False
    """True if `output` is a lower bound, since an answer broke off before its end was billed."""

    def __post_init__(self) -> None:
        if self.fresh is not None and self.fresh < 0:
            raise ValueError("more tokens were read and written than were sent")

    @property
    def fresh(self) -> int | None:
        """Input tokens neither read nor written."""
        if self.input is None or self.read is None or self.written is None:
            return None
        return self.input - self.read - self.written

    @property
    def share_read(self) -> float | None:
        """The part of the input that came from the cache, 0 to 1."""
        return self.read / self.input if self.input and self.read is not None else None

    def __add__(self, other: Usage) -> Usage:
        """Add two requests; a count that is unknown in one is unknown in the sum."""
        return Usage(
            input=sum_if_known(self.input, other.input),
            read=sum_if_known(self.read, other.read),
            written=sum_if_known(self.written, other.written),
            written_1h=self.written_1h + other.written_1h,
            output=sum_if_known(self.output, other.output),
            thinking=sum_if_known(self.thinking, other.thinking),
            bills_writes=self.bills_writes or other.bills_writes,
            at_least=self.at_least or other.at_least,
        )


def sum_if_known(*parts: Number | None) -> Number | None:
    """Return the sum; None if a part is unknown."""
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


NOTHING_REPORTED = Usage()


@dataclass(frozen=True, slots=True)
class Timing:
    """How fast an answer arrived, in seconds."""

    first: float
    """From the request to the first token."""
    writing: float
    """From the first token to the last."""
    tokens: int | None
    """Tokens that arrived meanwhile; hidden thinking is not counted."""

    def __add__(self, other: Timing) -> Timing:
        """Add two successive requests; the first token is that of the first one."""
        return Timing(self.first, self.writing + other.writing, sum_if_known(self.tokens, other.tokens))

    @property
    def rate(self) -> float | None:
        """Tokens per second; None if unknown, or if everything arrived at once."""
        return self.tokens / self.writing if self.tokens and self.writing >= MIN_WRITING else None


@dataclass(frozen=True, slots=True)
class Cost:
    """US dollars of one request, and what the cache saved; None is unknown."""

    paid: float | None = None
    saved: float | None = None
    """Cost of the same tokens without a cache, minus their actual cost."""
    at_least: bool = False
    """True if more may have been charged: an answer broke off before its tokens were reported."""

    def __add__(self, other: Cost) -> Cost:
        """Add two requests; unknown if one of them is."""
        at_least = self.at_least or other.at_least
        return Cost(sum_if_known(self.paid, other.paid), sum_if_known(self.saved, other.saved), at_least)
