"""RequestRecord, TurnRecords and Ledger: expected against billed, and totals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from operator import add

from ipycachechat.caching.miss_reasons import MissReason
from ipycachechat.caching.state import ExpectedUsage
from ipycachechat.conversation.usage import Cost, Timing, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """A request: what was expected of it, and what it was billed."""

    model: str
    sent_at: float
    """Seconds since the epoch."""
    expected: ExpectedUsage
    usage: Usage
    cost: Cost
    reason: MissReason | None = None
    """Why less was read than could have been."""
    warm_until: float | None = None
    """Until when its prefix should stay cached; None: unknown."""
    cache_is_promised: bool = True
    """True if the rules say what should have been read."""
    is_keepalive: bool = False
    """True if it was sent for the cache alone."""
    replayed: bool = False
    """True if a recorded reply was used and nothing was sent."""
    timing: Timing | None = None
    request_id: str = ""
    """The provider's ID of the request."""


@dataclass(frozen=True, slots=True)
class TurnRecords:
    """The requests of one turn, and their totals."""

    records: tuple[RequestRecord, ...] = ()
    """Requests that were answered, or for which some usage was reported."""
    unreported: tuple[RequestRecord, ...] = ()
    """Requests that were sent and may be billed, but for which nothing was reported."""

    def add(self, record: RequestRecord) -> TurnRecords:
        """Return the records with one more request."""
        return replace(self, records=(*self.records, record))

    def add_unreported(self, record: RequestRecord) -> TurnRecords:
        """Return the records with one more request for which nothing was reported."""
        return replace(self, unreported=(*self.unreported, record))

    @property
    def usage(self) -> Usage:
        """Usage of the reported requests; a lower bound if others were not reported."""
        total = reduce(add, (record.usage for record in self.records)) if self.records else Usage()
        return replace(total, at_least=total.at_least or bool(self.unreported))

    @property
    def cost(self) -> Cost:
        """Cost of all requests; a lower bound if that of some is unknown."""
        costs = [record.cost for record in (*self.records, *self.unreported)]
        known = [each for each in costs if each.paid is not None]
        if known and len(known) < len(costs):
            return Cost(reduce(add, known).paid, None, at_least=True)
        return reduce(add, costs) if costs else Cost()

    @property
    def expected(self) -> ExpectedUsage | None:
        """The expected usage of these requests."""
        return reduce(add, (record.expected for record in self.records)) if self.records else None

    @property
    def timing(self) -> Timing | None:
        """How fast the answers arrived."""
        timings = [record.timing for record in self.records if record.timing]
        return reduce(add, timings) if timings else None

    @property
    def reason(self) -> MissReason | None:
        """Why less was read than could have been, for the request that lost the most tokens."""
        reasons = [record.reason for record in self.records if record.reason]
        return max(reasons, key=lambda reason: reason.tokens or 0, default=None)

    @property
    def replayed(self) -> bool:
        """True if all replies were recorded ones and nothing was sent."""
        return bool(self.records) and all(record.replayed for record in (*self.records, *self.unreported))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """Totals of a kernel's or a chat's requests, failed and undone ones included; money in US dollars.

    Of a request with an unknown token count only the output counts; thinking that is not reported counts as 0.
    """

    requests: int = 0
    tokens: Usage = Usage(input=0, read=0, written=0, output=0, thinking=0)
    paid: float = 0.0
    saved: float = 0.0
    unknown_tokens: int = 0
    """Requests with a token count that is unknown, or a lower bound: the sums are "at least"."""
    unknown_cost: int = 0
    """Requests with a cost that is unknown, or a lower bound."""

    def merge(self, other: Ledger) -> Ledger:
        """Return the totals of the requests of both."""
        return Ledger(
            requests=self.requests + other.requests,
            tokens=self.tokens + other.tokens,
            paid=self.paid + other.paid,
            saved=self.saved + other.saved,
            unknown_tokens=self.unknown_tokens + other.unknown_tokens,
            unknown_cost=self.unknown_cost + other.unknown_cost,
        )

    def add(self, usage: Usage, cost: Cost) -> Ledger:
        """Return the totals with one more request."""
        unknown = None in (usage.input, usage.read, usage.written, usage.output)
        output_only = Usage(input=0, read=0, written=0, output=usage.output or 0, thinking=0)
        request = Ledger(
            requests=1,
            tokens=output_only if unknown else replace(usage, thinking=usage.thinking or 0),
            paid=cost.paid or 0.0,
            saved=cost.saved or 0.0,
            unknown_tokens=int(unknown or usage.at_least),
            unknown_cost=int(cost.paid is None or cost.at_least),
        )
        return self.merge(request)
