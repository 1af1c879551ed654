"""Rates, prices, and the cost of usage at a price."""

from __future__ import annotations

from dataclasses import dataclass

from ipycachechat.conversation.usage import Cost, Usage, _sum

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Rates:
    """US dollars a token; None is unknown."""

    input: float | None = None
    output: float | None = None
    read: float | None = None
    write: float | None = None
    write_1h: float | None = None
    thinking: float | None = None
    """Where thought tokens have a price of their own; else they cost what output costs."""


@dataclass(frozen=True, slots=True)
class Price:
    """A model's rates, and those that hold for the whole request once its input is above a size."""

    rates: Rates = Rates()
    above: tuple[tuple[int, Rates], ...] = ()

    def at(self, tokens: int) -> Rates:
        """The rates for a request with this much input."""
        rates = self.rates
        for size, higher in sorted(self.above, key=lambda tier: tier[0]):
            if tokens > size:
                rates = higher
        return rates


FREE = Price(Rates(0.0, 0.0, 0.0, 0.0, 0.0))


def cost(usage: Usage, price: Price) -> Cost:
    """The bill for these tokens; unknown if one of the tokens or rates that it needs is."""
    if price == FREE:
        return Cost(0.0, 0.0)
    rates = price.at(usage.input or 0)
    thought = usage.thinking if rates.thinking is not None and usage.thinking else 0
    five_minutes = None if usage.written is None else usage.written - usage.written_1h
    paid = _sum(
        _times(usage.fresh, rates.input),
        _times(usage.read, rates.read),
        _times(five_minutes, rates.write),
        _times(usage.written_1h, rates.write_1h),
        _times(None if usage.output is None else usage.output - thought, rates.output),
        _times(thought, rates.thinking),
    )
    uncached = _sum(
        _times(usage.input, rates.input),
        _times(None if usage.output is None else usage.output - thought, rates.output),
        _times(thought, rates.thinking),
    )
    saved = None if paid is None or uncached is None else uncached - paid
    return Cost(paid, saved, usage.at_least and paid is not None)


def _times(tokens: int | None, rate: float | None) -> float | None:
    """No tokens cost nothing, whatever the rate."""
    if tokens == 0:
        return 0.0
    return None if tokens is None or rate is None else tokens * rate
