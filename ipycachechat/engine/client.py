"""ModelClient: the gate that every request passes: budget, ledger, records.

Chat cells, keepalives and the check of the cache rules all send through it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from ipycachechat.billing.cost_bound import CostBound, cost_bound
from ipycachechat.billing.pricing import cost
from ipycachechat.billing.records import Ledger, RequestRecord
from ipycachechat.caching import request
from ipycachechat.caching.miss_diagnosis import OtherRequest
from ipycachechat.caching.miss_reasons import MissCause, MissReason
from ipycachechat.caching.planner import SCRIPT, PauseStats, PlannedRequest
from ipycachechat.caching.prefix import PrefixChain, PromptMessage, RequestOptions, TokenCounter
from ipycachechat.caching.state import ExpectedUsage
from ipycachechat.caching.tracker import CacheTracker
from ipycachechat.conversation.to_wire import Json
from ipycachechat.conversation.usage import NOTHING_REPORTED
from ipycachechat.engine.budget_guard import BudgetGuard, DayBudget
from ipycachechat.engine.cache_trackers import CacheTrackers
from ipycachechat.errors import BadInput
from ipycachechat.providers.endpoint import PROCESS_IDENTITY, CallerIdentity, ModelEndpoint
from ipycachechat.providers.exchange import Exchange
from ipycachechat.providers.timeouts import NO_RETRIES, RequestLimits
from ipycachechat.storage.cassette import Cassette

MAX_RECORDS = 300
"""Number of requests, and of answers, that are kept in full: thousands take more memory than the conversation."""
OnRecord = Callable[[RequestRecord, ModelEndpoint, CacheTracker], None]
"""Called with each billed request, its endpoint and the endpoint's tracker after it."""


class ModelClient:
    """Sends requests within the budgets, and records their cost and what each endpoint has cached."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        count: TokenCounter | None = None,
        pauses: PauseStats = SCRIPT,
    ) -> None:
        """`count`: the provider's own tokenizer; None: tokens are estimated, and learned from bills.

        `pauses`: pauses between requests to assume before any is known.
        """
        self.clock = clock
        self.ledger = Ledger()
        self.budgets = BudgetGuard()
        self.trackers = CacheTrackers(pauses, count)
        self.records: deque[RequestRecord] = deque(maxlen=MAX_RECORDS)
        """The latest answered requests, oldest first."""
        self.prediction_totals: tuple[int, int] | None = None
        """Tokens predicted to be read and actually read, over the requests with both; None before the first."""
        self.user_requests = 0
        """Number of the user's requests; keepalives are not counted."""
        self.identity = PROCESS_IDENTITY
        self.cassette: Cassette | None = None
        self._on_record: OnRecord | None = None
        self._last_endpoint: ModelEndpoint | None = None
        self._open: set[Exchange] = set()

    def connect(self, *, identity: CallerIdentity, on_record: OnRecord, day_budget: DayBudget) -> None:
        """Send under this identity, report every billed request, and share the day's budget."""
        self.identity, self._on_record = identity, on_record
        self.budgets.connect(day_budget)

    def resume(
        self, identity: CallerIdentity, trackers: Iterable[tuple[tuple[str, ...], CacheTracker]]
    ) -> None:
        """Continue an earlier kernel: under its identity, with what its endpoints have cached."""
        self.identity = identity
        self.trackers.restore(trackers)

    def use_cassette(self, cassette: Cassette | None) -> None:
        """Replay replies from a cassette and record new ones there; None: send every request."""
        self.cassette = cassette

    def check_open(self) -> None:
        """Raise BadInput if a strict cassette forbids sending requests."""
        if self.cassette is not None and self.cassette.strict:
            raise BadInput(
                f"Not sent: --strict allows only the recorded replies in {self.cassette.path.name}",
                "Use %chat replies off to send requests again.",
            )

    @property
    def busy(self) -> bool:
        """True while a request is in flight."""
        return bool(self._open)

    @property
    def last_scope(self) -> tuple[str, ...]:
        """Cache scope of the last endpoint that the user asked; empty before the first request."""
        return self._last_endpoint.cache_scope if self._last_endpoint else ()

    def prepare(
        self,
        endpoint: ModelEndpoint,
        messages: Sequence[PromptMessage],
        options: RequestOptions = RequestOptions(),
        ttl: int | None = None,
        *,
        keep: bool = False,
        cache: bool = True,
    ) -> PlannedRequest:
        """Plan a request as it would be sent now.

        `keep`: do not cache the last message. `cache`: False places no checkpoints.
        """
        tracker, now = self.trackers.get_for(endpoint, messages, options), self.clock()
        return tracker.prepare(messages, options, now, ttl, keep=keep, cache=cache)

    def predict_miss(self, endpoint: ModelEndpoint, planned: PlannedRequest) -> MissReason | None:
        """Return why the plan expects to read less from the cache than possible, or None."""
        return self.trackers.get(endpoint).predict_miss(planned, self._other_request(endpoint))

    def bound(self, endpoint: ModelEndpoint, chain: PrefixChain, max_tokens: int | None) -> CostBound:
        """Return the most that a request can cost."""
        return cost_bound(chain, self.trackers.get(endpoint).state, endpoint.terms, max_tokens)

    def exchange(
        self,
        endpoint: ModelEndpoint,
        planned: PlannedRequest,
        max_tokens: int | None,
        limits: RequestLimits = NO_RETRIES,
        *,
        allowed: bool = False,
    ) -> Exchange:
        """Open a request with the plan's checkpoints. Raises BadInput, OverBudget.

        Pass it to `record` or `close` in any case. `allowed`: the user approved it despite the budgets.
        """
        self.check_open()
        messages, options = to_wire(endpoint, planned)
        expected = planned.expected
        one_hour_share = expected.written_1h / expected.written if expected.written else 0.0
        exchange = Exchange(endpoint, messages, max_tokens, one_hour_share, options, limits)
        return self._reserve(exchange, planned.chain, max_tokens, allowed=allowed)

    def probe(
        self, endpoint: ModelEndpoint, messages: list[Json], chain: PrefixChain, max_tokens: int
    ) -> Exchange:
        """Open a request with checkpoints of its own; pass it to `record_probe` in any case."""
        return self._reserve(Exchange(endpoint, messages, max_tokens, 0.0), chain, max_tokens)

    def _reserve(
        self, exchange: Exchange, chain: PrefixChain, max_tokens: int | None, *, allowed: bool = False
    ) -> Exchange:
        bound = self.bound(exchange.endpoint, chain, max_tokens)
        self.budgets.reserve(exchange, bound, self.clock(), allowed=allowed)
        self._open.add(exchange)
        return exchange

    def close(self, exchange: Exchange) -> None:
        """Settle a request that has ended or was not sent."""
        self._open.discard(exchange)
        self.budgets.settle(exchange)

    def record(self, planned: PlannedRequest, exchange: Exchange, *, keep: bool = False) -> RequestRecord:
        """Close a request, record its bill and learn from it. `keep`: it was a keepalive."""
        try:
            return self._record(planned, exchange, keep)
        finally:  # after saving the bill, so that other kernels never see too little spent
            self.close(exchange)

    def record_probe(self, exchange: Exchange) -> None:
        """Close a probe and record its bill; nothing is learned from it."""
        usage, endpoint = exchange.usage, exchange.endpoint
        try:
            if exchange.started or exchange.billable or usage != NOTHING_REPORTED:
                nothing, bill = ExpectedUsage(0, 0, 0, 0, exact=True), cost(usage, endpoint.price)
                self._add(
                    RequestRecord(
                        model=endpoint.model,
                        sent_at=self.clock(),
                        expected=nothing,
                        usage=usage,
                        cost=bill,
                        is_keepalive=True,
                    ),
                    endpoint,
                )
        finally:
            self.close(exchange)

    def _record(self, planned: PlannedRequest, exchange: Exchange, keep: bool) -> RequestRecord:
        usage, endpoint = exchange.usage, exchange.endpoint
        record = RequestRecord(
            model=endpoint.model,
            sent_at=planned.context.now,
            expected=planned.expected,
            usage=usage,
            cost=cost(usage, endpoint.price),
            is_keepalive=keep,
            timing=exchange.timing,
            request_id=exchange.request_id,
        )
        if not exchange.started and usage == NOTHING_REPORTED:
            if exchange.billable:
                self._add(record, endpoint)
            return record
        tracker, reason = self._learn(planned, exchange, keep)
        self.trackers.put(endpoint, tracker)
        record = replace(
            record,
            reason=reason,
            warm_until=tracker.warm_until(planned),
            cache_is_promised=bool(endpoint.rules.lifetimes),
        )
        self.records.append(record)
        if record.cache_is_promised and usage.read is not None:
            expected, read = self.prediction_totals or (0, 0)
            self.prediction_totals = expected + record.expected.read, read + usage.read
        self._add(record, endpoint)
        return record

    def _learn(
        self, planned: PlannedRequest, exchange: Exchange, keep: bool
    ) -> tuple[CacheTracker, MissReason | None]:
        """Return the tracker after a bill, and why less was read than possible."""
        usage, endpoint = exchange.usage, exchange.endpoint
        tracker = self.trackers.get(endpoint)
        if keep:
            return tracker.refreshed(planned, usage), None
        tracker, reason = tracker.record_usage(planned, usage, self._other_request(endpoint))
        silent = reason is not None and reason.cause is MissCause.SILENT
        if silent and not exchange.finish_reason and endpoint.rules.reports_cached_tokens:
            reason = None  # the count comes with the end of the stream
        self._last_endpoint = endpoint
        self.user_requests += 1
        return tracker, reason

    def _add(self, record: RequestRecord, endpoint: ModelEndpoint) -> None:
        self.ledger = self.ledger.add(record.usage, record.cost)
        if self._on_record is not None:
            self._on_record(record, endpoint, self.trackers.get(endpoint))

    def _other_request(self, endpoint: ModelEndpoint) -> OtherRequest | None:
        """Return the user's last request if it went to another endpoint."""
        last = self._last_endpoint
        if last is None or last.cache_scope == endpoint.cache_scope:
            return None
        tracker, same_model = self.trackers.get(last), last.model == endpoint.model
        return OtherRequest(
            tracker.last_request.chain, tracker.state, tracker.rules, last.model, same_model=same_model
        )


def to_wire(endpoint: ModelEndpoint, planned: PlannedRequest) -> tuple[list[Json], Json]:
    """Return the messages with their checkpoints, and the options, in the form that litellm takes."""
    messages = request.place_checkpoints(
        request.wire_messages(planned.chain.messages), planned.chain, planned.sent_checkpoints, endpoint.rules
    )
    options = request.wire_options(planned.chain.options)
    if planned.no_implicit_checkpoint:
        options["prompt_cache_options"] = {"mode": "explicit"}
    return messages, options
