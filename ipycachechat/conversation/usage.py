"""Usage, Cost and Timing: what a request or a turn was billed. Unknown is None, never 0."""

from __future__ import annotations

from dataclasses import dataclass

AT_ONCE = 0.1
"""Seconds in which an answer comes that has no speed: what was sent in one piece, say."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a request, or of several added up, as the provider billed them; None is unknown.

    `read`, `written` and `fresh` add up to `input`. `written_1h` is the part of `written` with the longer life.
    """

    input: int | None = None
    read: int | None = None
    written: int | None = None
    written_1h: int = 0
    output: int | None = None
    thinking: int | None = None
    """The part of `output` that was thought; None where it is not told apart."""
    bills_writes: bool = True
    """True if writing is told and billed at all; where not, what was written counts as fresh."""
    at_least: bool = False
    """True if an answer broke off, so that `output` is what had been told of it by then, a lower bound."""

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
        """Of two requests together; what is unknown of one is unknown of both."""
        return Usage(
            _sum_counts(self.input, other.input),
            _sum_counts(self.read, other.read),
            _sum_counts(self.written, other.written),
            self.written_1h + other.written_1h,
            _sum_counts(self.output, other.output),
            _sum_counts(self.thinking, other.thinking),
            self.bills_writes or other.bills_writes,
            self.at_least or other.at_least,
        )


def _sum_counts(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


NOTHING_REPORTED = Usage()


@dataclass(frozen=True, slots=True)
class Timing:
    """How fast an answer came, in seconds."""

    first: float
    """From the request to the first token."""
    writing: float
    """From the first token to the last."""
    tokens: int | None
    """Tokens that arrived meanwhile; hidden thinking is not counted."""

    def __add__(self, other: Timing) -> Timing:
        """Of two requests one after the other: the first token is that of the first."""
        known = self.tokens is not None and other.tokens is not None
        tokens = (self.tokens or 0) + (other.tokens or 0) if known else None
        return Timing(self.first, self.writing + other.writing, tokens)

    @property
    def rate(self) -> float | None:
        """Tokens a second; None where that is unknown, or all came at once."""
        return self.tokens / self.writing if self.tokens and self.writing >= AT_ONCE else None


@dataclass(frozen=True, slots=True)
class Cost:
    """US dollars of one request, and what the cache saved of them; None is unknown."""

    paid: float | None = None
    saved: float | None = None
    """Cost of the same tokens without a cache, minus their actual cost."""
    at_least: bool = False
    """True if more may have been paid: an answer broke off before its tokens were told."""

    def __add__(self, other: Cost) -> Cost:
        """Of two requests together; unknown if one of them is."""
        least = self.at_least or other.at_least
        return Cost(_sum(self.paid, other.paid), _sum(self.saved, other.saved), least)


def _sum(*parts: float | None) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None
