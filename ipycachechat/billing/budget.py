"""Budgets: what a request counts against one, and how much of it is spent, reserved and left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ipycachechat.billing.cost_bound import BillingTerms, CostBound
from ipycachechat.billing.pricing import cost
from ipycachechat.conversation.usage import Usage


@dataclass(frozen=True, slots=True)
class BudgetCharge:
    """The amount in dollars that a request counts against the budget."""

    dollars: float = 0.0
    exact: bool = True
    """True if this is its bill; False: the bill may be up to this much."""
    unknown: bool = False
    """True if it may have cost more, by an unknown amount."""


def budget_charge(usage: Usage, bound: CostBound, terms: BillingTerms, *, whole: bool) -> BudgetCharge:
    """Return what a request counts against the budget: its bill, and the bound for what the bill leaves open.

    `whole`: False if the answer broke off, so that its usage may be less than what is billed.
    """
    known = usage if whole else replace(usage, output=None, thinking=None)
    if (paid := cost(known, terms.price).paid) is not None:
        return BudgetCharge(paid, unknown=bound.more)
    input_rate, output_rate = terms.max_rates(known.input)
    prompt = cost(replace(known, output=0, thinking=None), terms.price).paid
    if prompt is None and known.input is not None and input_rate is not None:
        prompt = known.input * input_rate
    prompt = bound.paid_in if prompt is None else prompt
    answer = bound.paid_out if known.output is None or output_rate is None else known.output * output_rate
    unknown = bound.more or prompt is None or answer is None
    return BudgetCharge((prompt or 0.0) + (answer or 0.0), exact=False, unknown=unknown)


@dataclass(frozen=True, slots=True)
class BudgetState:
    """Dollars spent, and reserved for open requests. Every change is a new value."""

    billed: float = 0.0
    unbilled_max: float = 0.0
    """The most that requests without a known bill can have cost."""
    unbilled_requests: int = 0
    """Number of such requests."""
    unknown: int = 0
    """Number of requests that may have cost an unknown amount, which is not counted."""
    held: Mapping[int, float] = field(default_factory=dict)
    """Dollars reserved for each open request, by its number."""

    @property
    def spent(self) -> float:
        """The most that can have been spent."""
        return self.billed + self.unbilled_max

    @property
    def reserved(self) -> float:
        """Dollars reserved for all open requests."""
        return sum(self.held.values())

    def left(self, limit: float) -> float:
        """Return what is left of a budget if every open request costs as much as it can."""
        return max(0.0, limit - self.spent - self.reserved)

    def hold(self, number: int, dollars: float) -> BudgetState:
        """Return the state with one more open request."""
        return replace(self, held={**self.held, number: dollars})

    def settle(self, number: int, charge: BudgetCharge) -> BudgetState:
        """Return the state after an open request has ended."""
        return BudgetState(
            self.billed + (charge.dollars if charge.exact else 0.0),
            self.unbilled_max + (0.0 if charge.exact else charge.dollars),
            self.unbilled_requests + (not charge.exact),
            self.unknown + charge.unknown,
            {other: dollars for other, dollars in self.held.items() if other != number},
        )
