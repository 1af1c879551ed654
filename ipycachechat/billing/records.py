"""RequestRecord, TurnRecords and Ledger: expected against billed, and totals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from operator import add

from ipycachechat.caching.miss_reasons import MissReason
from ipycachechat.caching.state import ExpectedUsage
from ipycachechat.conversation.usage import Cost, Timing, Usage


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """A request: what was expected of it, what it was billed, and what that tells."""

    model: str
    sent_at: float
    """When it was sent."""
    expected: ExpectedUsage
    usage: Usage
    cost: Cost
    reason: MissReason | None = None
    warm_until: float | None = None
    cache_is_promised: bool = True
    """True if the rules say what should have been read."""
    is_keepalive: bool = False
    """True if it was sent for the cache alone."""
    replayed: bool = False
    """True if it was not sent at all, since its reply was at hand."""
    timing: Timing | None = None
    request_id: str = ""
    """The provider's name for it."""


@dataclass(frozen=True, slots=True)
class TurnRecords:
    """The requests of one turn, added up."""

    records: tuple[RequestRecord, ...] = ()
    """Those that were answered, or of which something was told."""
    unreported: tuple[RequestRecord, ...] = ()
    """Those that were sent, and may be billed, and of which nothing was told."""

    def add(self, one: RequestRecord) -> TurnRecords:
        """With one more."""
        return replace(self, records=(*self.records, one))

    def add_unreported(self, one: RequestRecord) -> TurnRecords:
        """Return the records with one more request, of which only is known that it was sent."""
        return replace(self, unreported=(*self.unreported, one))

    @property
    def usage(self) -> Usage:
        """Of those that were told; a lower bound where others were not."""
        told = reduce(add, (one.usage for one in self.records)) if self.records else Usage()
        return replace(told, at_least=told.at_least or bool(self.unreported))

    @property
    def cost(self) -> Cost:
        """Of all; a lower bound where some of them are unknown."""
        bills = [one.cost for one in (*self.records, *self.unreported)]
        told = [bill for bill in bills if bill.paid is not None]
        if told and len(told) < len(bills):
            return Cost(reduce(add, told).paid, None, at_least=True)
        return reduce(add, bills) if bills else Cost()

    @property
    def expected(self) -> ExpectedUsage | None:
        """The expected usage of these requests."""
        return reduce(add, (one.expected for one in self.records)) if self.records else None

    @property
    def timing(self) -> Timing | None:
        """Of all that were answered."""
        told = [one.timing for one in self.records if one.timing]
        return reduce(add, told) if told else None

    @property
    def reason(self) -> MissReason | None:
        """Why less was read than could have been: that of the request in which it cost most."""
        told = [one.reason for one in self.records if one.reason]
        return max(told, key=lambda reason: reason.tokens or 0, default=None)

    @property
    def replayed(self) -> bool:
        """True if none was sent, since all replies were at hand."""
        return all(one.replayed for one in self.records)


@dataclass(frozen=True, slots=True)
class Ledger:
    """Requests added up, those that failed or were undone included: of a kernel, or of one chat. Money is US dollars.

    Of a request with an unknown count only the answer counts; thought tokens that are not told apart count as none.
    """

    requests: int = 0
    tokens: Usage = Usage(0, 0, 0, 0, 0, 0)
    paid: float = 0.0
    saved: float = 0.0
    unknown_tokens: int = 0
    """Requests of which some token count is unknown, or a lower bound: the sums are "at least"."""
    unknown_cost: int = 0

    def merge(self, other: Ledger) -> Ledger:
        """With all requests of another."""
        return Ledger(
            self.requests + other.requests,
            self.tokens + other.tokens,
            self.paid + other.paid,
            self.saved + other.saved,
            self.unknown_tokens + other.unknown_tokens,
            self.unknown_cost + other.unknown_cost,
        )

    def add(self, usage: Usage, bill: Cost) -> Ledger:
        """With one more request."""
        unknown = None in (usage.input, usage.read, usage.written, usage.output)
        known = (
            Usage(0, 0, 0, 0, usage.output or 0, 0)
            if unknown
            else replace(usage, thinking=usage.thinking or 0)
        )
        return Ledger(
            self.requests + 1,
            self.tokens + known,
            self.paid + (bill.paid or 0.0),
            self.saved + (bill.saved or 0.0),
            self.unknown_tokens + (unknown or usage.at_least),
            self.unknown_cost + (bill.paid is None or bill.at_least),
        )
