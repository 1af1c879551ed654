"""Expected tokens and cost of the next request."""

from __future__ import annotations

from dataclasses import dataclass

from ipycachechat.billing.pricing import Price, cost
from ipycachechat.caching.breakdown import BlockRow
from ipycachechat.caching.miss_reasons import MissReason
from ipycachechat.caching.state import ExpectedUsage
from ipycachechat.conversation.usage import Usage


@dataclass(frozen=True, slots=True)
class Forecast:
    """Tokens, the prompt's costs in dollars (None: unknown), and the blocks in order."""

    model: str
    expected: ExpectedUsage
    paid: float | None
    cost_without_cache: float | None
    lifetimes: tuple[tuple[int, float | None], ...]
    """The cost with each TTL, where there is a choice."""
    rows: tuple[BlockRow, ...]
    reason: MissReason | None = None


def prompt_cost(expected: ExpectedUsage, price: Price, *, cached: bool = True) -> float | None:
    """Dollars for the prompt alone; with `cached` False what it would cost with no cache."""
    usage = Usage(expected.input, expected.read, expected.written, expected.written_1h, 0)
    return cost(usage if cached else Usage(expected.input, 0, 0, 0, 0), price).paid
