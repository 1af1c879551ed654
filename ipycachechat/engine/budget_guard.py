"""BudgetGuard: reserve the cost bound of a request before it is sent, settle it after.

`ModelClient` sends every request through it, so that parallel requests cannot overspend together.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ipycachechat.billing.budget import BudgetCharge, BudgetState, budget_charge
from ipycachechat.billing.cost_bound import CostBound
from ipycachechat.errors import OverBudget
from ipycachechat.providers.exchange import Exchange
from ipycachechat.text.format import count, money


class DayBudget(Protocol):
    """The spending of all kernels together in a day."""

    def reserve(self, dollars: float, limit: float, now: float) -> tuple[int | None, float]:
        """Reserve dollars; return the reservation (None: more than is left) and what is left. Raises ChatError."""

    def settle(self, held: int | None, paid: BudgetCharge, now: float) -> None:
        """Replace a reservation (None: there was none) by what was charged."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """The dollars reserved for a request in flight."""

    number: int
    bound: CostBound
    reserved_at: float
    day: int | None
    """The reservation in the day's budget."""


class BudgetGuard:
    """The budgets of one kernel, and what it has spent."""

    def __init__(self) -> None:
        self.state = BudgetState()
        self._limits: Callable[[], tuple[float, float]] = lambda: (0.0, 0.0)
        self._day: DayBudget | None = None
        self._reservations: dict[Exchange, Reservation] = {}
        self._last_number = 0
        self._waiting: list[asyncio.Event] = []

    @property
    def limits(self) -> tuple[float, float]:
        """US dollars for this kernel, and for all kernels in a day; 0: no budget."""
        return self._limits()

    def set_limits(self, limits: Callable[[], tuple[float, float]]) -> None:
        """Read the limits from this function at each use, since settings change at any time."""
        self._limits = limits

    def connect(self, day: DayBudget) -> None:
        """Use a day's budget that is shared between kernels."""
        self._day = day

    def reserve(self, exchange: Exchange, bound: CostBound, now: float, *, allowed: bool = False) -> None:
        """Reserve what a request can cost. Raises OverBudget, unless the user `allowed` it."""
        limit, day_limit = self.limits
        model, dollars = exchange.endpoint.model, bound.dollars
        if not allowed and (limit or day_limit) and dollars is None:
            raise OverBudget(
                f"Not sent: the cost of this request to {model} is unknown ({bound.unknown}), and there is a budget",
                "Use %%chat --confirm to be asked instead, or %chat budget off to remove the budget.",
            )
        left = self.state.left(limit)
        if not allowed and limit and dollars is not None and dollars > left:
            raise over_budget(bound, left, f"{money(limit)} budget")
        day = self._reserve_day(bound, day_limit, now, allowed=allowed) if day_limit else None
        self._last_number += 1
        self._reservations[exchange] = Reservation(self._last_number, bound, now, day)
        self.state = self.state.hold(self._last_number, dollars or 0.0)

    def _reserve_day(self, bound: CostBound, limit: float, now: float, *, allowed: bool) -> int | None:
        if self._day is None:
            if allowed:
                return None
            raise OverBudget(
                "Not sent: the day's budget needs stored conversations, and nothing is stored",
                "Set budget_day to 0.",
            )
        try:
            number, left = self._day.reserve(bound.dollars or 0.0, math.inf if allowed else limit, now)
        except OverBudget:
            if allowed:
                return None
            raise
        if number is None:
            raise over_budget(bound, left, f"{money(limit)} budget of the day")
        return number

    def settle(self, exchange: Exchange) -> None:
        """Replace a reservation by the request's bill, or by its upper bound if that is unknown."""
        reservation = self._reservations.pop(exchange, None)
        if reservation is None:
            return
        paid = BudgetCharge()
        if exchange.billable:
            terms = exchange.endpoint.terms
            paid = budget_charge(exchange.usage, reservation.bound, terms, whole=exchange.usage_is_final)
        self.state = self.state.settle(reservation.number, paid)
        if self._day is not None and (reservation.day is not None or not paid.exact):
            self._day.settle(reservation.day, paid, reservation.reserved_at)
        for waiting in self._waiting:
            waiting.set()

    async def wait_for_room(self, bound: CostBound) -> None:
        """Wait while only reservations of other requests are in the way: most cost far less than reserved."""
        while self._reservations and bound.dollars is not None:
            limit, _ = self.limits
            if not limit or not limit - self.state.spent >= bound.dollars > self.state.left(limit):
                return
            changed = asyncio.Event()
            self._waiting.append(changed)
            try:
                await changed.wait()
            finally:
                self._waiting.remove(changed)


def over_budget(bound: CostBound, left: float, budget: str) -> OverBudget:
    """Return the error for a request that could cost more than is left of a budget."""
    return OverBudget(
        f"Not sent: it could cost up to {money(bound.dollars)}, and {money(left)} of your {budget} is left",
        f"At most {count(bound.tokens)} tokens in, none cached, and {count(bound.output)} out (max_tokens). "
        "Allow a shorter answer, use %%chat --confirm, or see %chat budget.",
    )
