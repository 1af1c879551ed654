"""The budgets: of every request the most that it can cost is held back while it is open, and its bill when it is over.

All requests go through here, since `Engine` makes none without: what would be too much together is not sent.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ipycachechat.billing.budget import BudgetState
from ipycachechat.billing.cost_bound import BudgetCharge, CostBound, budget_charge
from ipycachechat.errors import OverBudget
from ipycachechat.text.format import count, money

if TYPE_CHECKING:
    from ipycachechat.providers.exchange import Exchange


class DayBudget(Protocol):
    """What all kernels together spend in a day."""

    def reserve(self, dollars: float, limit: float, now: float) -> tuple[int | None, float]:
        """Hold so much back: its number, or None if it is more than is left, and what is left. Raises ChatError."""

    def settle(self, held: int | None, paid: BudgetCharge, now: float) -> None:
        """That request, if it was held back, or another one, is over."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """A request that is open."""

    number: int
    bound: CostBound
    at: float
    day: int | None


class BudgetGuard:
    """What one kernel may spend, and what it has spent."""

    def __init__(self) -> None:
        self.limits: Callable[[], tuple[float, float]] = lambda: (0.0, 0.0)
        """Dollars for this kernel, and for a day of all; 0: no budget."""
        self.state = BudgetState()
        self.day: DayBudget | None = None
        self._held: dict[Exchange, Reservation] = {}
        self._number = 0
        self._waiting: list[asyncio.Event] = []

    def reserve(self, exchange: Exchange, bound: CostBound, now: float, *, allowed: bool = False) -> None:
        """Hold back what the request can cost, which is about to be sent. Raises OverBudget, unless it is `allowed`."""
        whole, day = self.limits()
        model, dollars = exchange.endpoint.model, bound.dollars
        if not allowed and (whole or day) and dollars is None:
            raise OverBudget(
                f"What this request to {model} can cost is unknown ({bound.unknown}), and there is a budget",
                "It was not sent. %%chat --confirm asks you instead; %chat budget off ends the budget.",
            )
        left = self.state.left(whole)
        if not allowed and whole and dollars is not None and dollars > left:
            raise over(bound, left, f"the budget of {money(whole)}")
        held = self._of_day(bound, day, now, allowed=allowed) if day else None
        self._number += 1
        self._held[exchange] = Reservation(self._number, bound, now, held)
        self.state = self.state.hold(self._number, dollars or 0.0)

    def _of_day(self, bound: CostBound, limit: float, now: float, *, allowed: bool) -> int | None:
        """Hold it back of the day's budget, too: the number there."""
        if self.day is None:
            raise OverBudget(
                "The day's budget cannot be told: this chat keeps nothing",
                "It was not sent. Set budget_day to 0.",
            )
        try:
            held, left = self.day.reserve(bound.dollars or 0.0, math.inf if allowed else limit, now)
        except OverBudget:
            if allowed:
                return None
            raise
        if held is None:
            raise over(bound, left, f"the day's budget of {money(limit)}")
        return held

    def settle(self, exchange: Exchange) -> None:
        """The request is over: it counts as its bill, or, as far as that is not known, as the most that it can be."""
        held = self._held.pop(exchange, None)
        if held is None:
            return
        paid = BudgetCharge()
        if exchange.billable:
            terms = exchange.endpoint.terms
            paid = budget_charge(exchange.usage, held.bound, terms, whole=exchange.complete)
        self.state = self.state.settle(held.number, paid)
        if self.day is not None and (held.day is not None or not paid.exact):
            self.day.settle(held.day, paid, held.at)
        for waiting in self._waiting:
            waiting.set()

    async def wait_for_room(self, bound: CostBound) -> None:
        """Wait while the request would be too much only together with others that are open: most cost far less."""
        while self._held and bound.dollars is not None:
            whole, _ = self.limits()
            if not whole or not whole - self.state.spent >= bound.dollars > self.state.left(whole):
                return
            changed = asyncio.Event()
            self._waiting.append(changed)
            try:
                await changed.wait()
            finally:
                self._waiting.remove(changed)


def over(bound: CostBound, left: float, whose: str) -> OverBudget:
    """The error for a request that could cost more than is left."""
    return OverBudget(
        f"This request can cost {money(bound.dollars)}, and of {whose} {money(left)} is left",
        f"It was not sent. At most: {count(bound.tokens)} tokens sent, none of them read from the cache, and "
        f"{count(bound.output)} answered (max_tokens). Allow a shorter answer, ask with %%chat --confirm, or see "
        "%chat budget.",
    )
