"""A budget: spent, reserved and left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ipycachechat.billing.cost_bound import BudgetCharge


@dataclass(frozen=True, slots=True)
class BudgetState:
    """Dollars spent, and reserved for open requests. Every change is a new value."""

    billed: float = 0.0
    unbilled_max: float = 0.0
    """Of requests whose bill is not known: as much as it can be."""
    unbilled_requests: int = 0
    """How many those are."""
    unknown: int = 0
    """Requests that cost, or may have cost, an unknown amount, which is not counted."""
    held: Mapping[int, float] = field(default_factory=dict)
    """By the number of the request."""

    @property
    def spent(self) -> float:
        """As much as can have been."""
        return self.billed + self.unbilled_max

    @property
    def holding(self) -> float:
        """For all requests that are open."""
        return sum(self.held.values())

    def left(self, limit: float) -> float:
        """Of a budget, once all that is open has been billed as much as it can be."""
        return max(0.0, limit - self.spent - self.holding)

    def hold(self, number: int, dollars: float) -> BudgetState:
        """With one more request open."""
        return replace(self, held={**self.held, number: dollars})

    def settle(self, number: int, paid: BudgetCharge) -> BudgetState:
        """With that request over."""
        return BudgetState(
            self.billed + (paid.dollars if paid.exact else 0.0),
            self.unbilled_max + (0.0 if paid.exact else paid.dollars),
            self.unbilled_requests + (not paid.exact),
            self.unknown + paid.unknown,
            {one: dollars for one, dollars in self.held.items() if one != number},
        )
