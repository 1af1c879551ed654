"""Rates, prices, the cost of usage at a price, and the expected cost of the next request."""

from __future__ import annotations

from dataclasses import dataclass

from ipycachechat.caching.breakdown import BlockRow
from ipycachechat.caching.miss_reasons import MissReason
from ipycachechat.caching.state import ExpectedUsage
from ipycachechat.conversation.usage import Cost, Usage, sum_if_known

MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """US dollars per token; None is unknown."""

    input: float | None = None
    output: float | None = None
    read: float | None = None
    write: float | None = None
    write_1h: float | None = None
    thinking: float | None = None
    """For models that charge another rate for thinking than for output."""


@dataclass(frozen=True, slots=True)
class Price:
    """A model's rates, and those that apply to the whole request once its input is above a size."""

    rates: Rates = Rates()
    above: tuple[tuple[int, Rates], ...] = ()
    """Input sizes in tokens, each with the rates above it."""

    def at(self, tokens: int) -> Rates:
        """Return the rates for a request with this much input."""
        rates = self.rates
        for size, higher in sorted(self.above, key=lambda tier: tier[0]):
            if tokens > size:
                rates = higher
        return rates


FREE = Price(Rates(input=0.0, output=0.0, read=0.0, write=0.0, write_1h=0.0))


def cost(usage: Usage, price: Price) -> Cost:
    """Return the cost of these tokens; unknown if a count or rate that it needs is."""
    if price == FREE:
        return Cost(0.0, 0.0)
    rates = price.at(usage.input or 0)
    thinking = usage.thinking if rates.thinking is not None and usage.thinking else 0
    written_5m = None if usage.written is None else usage.written - usage.written_1h
    answer = (
        _cost_of(None if usage.output is None else usage.output - thinking, rates.output),
        _cost_of(thinking, rates.thinking),
    )
    paid = sum_if_known(
        _cost_of(usage.fresh, rates.input),
        _cost_of(usage.read, rates.read),
        _cost_of(written_5m, rates.write),
        _cost_of(usage.written_1h, rates.write_1h),
        *answer,
    )
    uncached = sum_if_known(_cost_of(usage.input, rates.input), *answer)
    saved = None if paid is None or uncached is None else uncached - paid
    return Cost(paid, saved, usage.at_least and paid is not None)


def _cost_of(tokens: int | None, rate: float | None) -> float | None:
    if tokens == 0:
        return 0.0  # whatever the rate
    return None if tokens is None or rate is None else tokens * rate


def prompt_cost(expected: ExpectedUsage, price: Price, *, cached: bool = True) -> float | None:
    """Return the expected dollars of a prompt without its answer. `cached`: False for the cost without a cache."""
    uncached = Usage(input=expected.input, read=0, written=0, output=0)
    usage = Usage(
        input=expected.input,
        read=expected.read,
        written=expected.written,
        written_1h=expected.written_1h,
        output=0,
    )
    return cost(usage if cached else uncached, price).paid


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Expected usage and cost of the next request, in dollars without the answer (None: unknown)."""

    model: str
    expected: ExpectedUsage
    cost: float | None
    cost_without_cache: float | None
    lifetimes: tuple[tuple[int, float | None], ...]
    """Each TTL that can be chosen, in seconds, with the cost if everything is written with it."""
    rows: tuple[BlockRow, ...]
    reason: MissReason | None = None
    """Why less will be read than could be."""
