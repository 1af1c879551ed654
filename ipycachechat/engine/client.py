"""One request after the other: planned, sent, billed, and the bill held against the plan.

Chat cells, what keeps the cache warm, and the check of the rules are all made of this.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

from ipycachechat.billing.cost_bound import CostBound, cost_bound
from ipycachechat.billing.forecast import Forecast, prompt_cost
from ipycachechat.billing.pricing import cost
from ipycachechat.billing.records import Ledger, RequestRecord
from ipycachechat.caching import request
from ipycachechat.caching.breakdown import RequestPreview, block_rows, block_texts
from ipycachechat.caching.miss_diagnosis import EarlierRequest
from ipycachechat.caching.miss_reasons import MissCause, MissReason
from ipycachechat.caching.planner import SCRIPT, PauseStats, PlannedRequest, sent_marks
from ipycachechat.caching.prefix import PrefixChain, PromptMessage, RequestOptions, TokenCounter
from ipycachechat.caching.state import CacheState, ExpectedUsage
from ipycachechat.caching.tracker import CacheTracker
from ipycachechat.conversation.to_wire import Json
from ipycachechat.conversation.usage import NOTHING_REPORTED
from ipycachechat.engine.budget_guard import BudgetGuard
from ipycachechat.errors import BadInput
from ipycachechat.providers import token_counter
from ipycachechat.providers.endpoint import PROCESS, ModelEndpoint
from ipycachechat.providers.exchange import Exchange
from ipycachechat.providers.timeouts import ONCE, RequestLimits
from ipycachechat.storage.cassette import Cassette

TEXTS = 1 << 13
"""Texts whose tokens are remembered."""
LATEST = 300
"""Requests, and answers, of which all is remembered: of thousands that would take more than the conversation itself."""


class ModelClient:
    """What this kernel has sent to each model at each address under each key, and what all of it cost."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        count: TokenCounter | None = None,
        pace: PauseStats = SCRIPT,
    ) -> None:
        """`count`: the provider's own tokenizer, if it is at hand; else tokens are estimated and learned.

        `pace`: what is believed of the pauses before any has been seen.
        """
        self.ledger = Ledger()
        self.budgets = BudgetGuard()
        """What may be spent, and was."""
        self.records: deque[RequestRecord] = deque(maxlen=LATEST)
        """The latest requests that were answered, in order."""
        self.prediction_totals: tuple[int, int] | None = None
        """Tokens that were expected to be read and were, where something was promised and told; None: nowhere."""
        self.clock = clock
        self._exact = count is not None
        # The same texts are counted again whenever something before them has changed.
        self._count = lru_cache(TEXTS)(count or token_counter.count)
        self._pace = pace
        self._memories: dict[tuple[str, ...], CacheTracker] = {}
        self._recalled: dict[tuple[str, ...], CacheTracker] = {}
        self._resumed: set[tuple[str, ...]] = set()
        self._latest: ModelEndpoint | None = None
        self.user_requests = 0
        """Requests that a person made, keepalives not among them."""
        self.identity = PROCESS
        self.cassette: Cassette | None = None
        """Replies that are at hand, if some are."""
        self.on_record: Callable[[RequestRecord, ModelEndpoint, CacheTracker], None] | None = None
        """Hears of every request that was billed, and of what is remembered of it."""
        self._open: set[Exchange] = set()

    def tracker(self, to: ModelEndpoint) -> CacheTracker:
        """What has been sent to this model."""
        if recalled := self._recalled.pop(to.cache_scope, None):
            self._memories[to.cache_scope] = replace(recalled, rules=to.rules, count=self._count)
            self._resumed.add(to.cache_scope)
        state = CacheState(exact=self._exact)
        fresh = CacheTracker(to.rules, state, pauses=self._pace, count=self._count)
        return self._memories.get(to.cache_scope, fresh)

    def prepare(
        self,
        to: ModelEndpoint,
        said: Sequence[PromptMessage],
        settings: RequestOptions = RequestOptions(),
        ttl: int | None = None,
        *,
        keep: bool = False,
        cache: bool = True,
    ) -> PlannedRequest:
        """Plan a request that would be sent now.

        `keep`: the last message is not to be cached. `cache`: False asks for nothing to be.
        """
        memory = self.tracker(to)
        if (
            to.cache_scope in self._resumed
        ):  # the last request of the earlier kernel is as much of this one as it knows
            self._resumed.discard(to.cache_scope)
            memory = self._memories[to.cache_scope] = memory.resumed(said, settings)
        return memory.prepare(said, settings, to.minimum, self.clock(), ttl, keep=keep, cache=cache)

    def response_started(self, to: ModelEndpoint, prepared: PlannedRequest) -> None:
        """The answer has begun: from now on what the request wrote can be read."""
        self._memories[to.cache_scope] = self.tracker(to).response_started(prepared)

    def exchange(
        self,
        to: ModelEndpoint,
        prepared: PlannedRequest,
        max_tokens: int | None,
        limits: RequestLimits = ONCE,
        *,
        allowed: bool = False,
    ) -> Exchange:
        """The request itself, with the plan's checkpoints if the model is told of them. Raises BadInput, OverBudget.

        It has to be booked, whatever becomes of it. `allowed`: no budget holds, since the person said so.
        """
        self.check_open()
        messages, options = self.wire(to, prepared)
        expected = prepared.plan.expected
        hour = expected.written_1h / expected.written if expected.written else 0.0
        exchange = Exchange(to, messages, max_tokens, hour, options, limits)
        return self._opened(exchange, prepared.chain, max_tokens, allowed=allowed)

    def probe(self, to: ModelEndpoint, messages: list[Json], chain: PrefixChain, max_tokens: int) -> Exchange:
        """A request with checkpoints of its own, which nothing is learned from: it has to be `probed`."""
        return self._opened(Exchange(to, messages, max_tokens, 0.0), chain, max_tokens)

    def probed(self, exchange: Exchange) -> None:
        """Add up the bill of such a request, as far as it was told."""
        used, to = exchange.usage, exchange.endpoint
        try:
            if exchange.started or exchange.billable or used != NOTHING_REPORTED:
                nothing, bill = ExpectedUsage(0, 0, 0, 0, exact=True), cost(used, to.price)
                self.add_to_ledger(
                    RequestRecord(to.model, self.clock(), nothing, used, bill, is_keepalive=True), to
                )
        finally:
            self.close(exchange)

    def _opened(
        self, exchange: Exchange, chain: PrefixChain, max_tokens: int | None, *, allowed: bool = False
    ) -> Exchange:
        """Every request there is comes by here."""
        most = self.bound(exchange.endpoint, chain, max_tokens)
        self.budgets.reserve(exchange, most, self.clock(), allowed=allowed)
        self._open.add(exchange)
        return exchange

    def bound(self, to: ModelEndpoint, chain: PrefixChain, max_tokens: int | None) -> CostBound:
        """The most that a request can cost."""
        return cost_bound(chain, self.tracker(to).state, to.terms, max_tokens)

    def close(self, exchange: Exchange) -> None:
        """The request is over, or is not sent after all."""
        self._open.discard(exchange)
        self.budgets.settle(exchange)

    def wire(self, to: ModelEndpoint, prepared: PlannedRequest) -> tuple[list[Json], Json]:
        """Messages with their checkpoints, and what else is sent, in the form that litellm takes."""
        messages = request.wire_messages(prepared.chain.messages)
        messages = request.place_checkpoints(
            messages, prepared.chain, sent_marks(prepared, to.rules), to.rules
        )
        options = request.wire_options(prepared.chain.options)
        if prepared.no_implicit_checkpoint:
            options["prompt_cache_options"] = {"mode": "explicit"}
        return messages, options

    def preview(
        self,
        to: ModelEndpoint,
        said: Sequence[PromptMessage],
        settings: RequestOptions = RequestOptions(),
        ttl: int | None = None,
    ) -> RequestPreview:
        """What a request sent now would contain."""
        prepared = self.prepare(to, said, settings, ttl)
        messages, options = self.wire(to, prepared)
        blocks = zip(block_rows(prepared, self.tracker(to).state), block_texts(prepared.chain), strict=True)
        return RequestPreview(to.model, tuple(blocks), {"model": to.wire, "messages": messages, **options})

    def check_open(self) -> None:
        """Raises BadInput where nobody is to be asked."""
        if self.cassette is not None and self.cassette.strict:
            raise BadInput(
                f"Nobody is to be asked: only what {self.cassette.path.name} holds is replayed (--strict)",
                "%chat replies off ends that.",
            )

    def predict_miss(self, to: ModelEndpoint, prepared: PlannedRequest) -> MissReason | None:
        """Why less will be read than could be, if the plan comes true."""
        return self.tracker(to).predict_miss(prepared, self._other(to), to.model)

    def record(self, prepared: PlannedRequest, exchange: Exchange, *, keep: bool = False) -> RequestRecord:
        """Add up the bill and learn from it. `keep`: the request was sent for the cache alone."""
        try:
            return self._record(prepared, exchange, keep)
        finally:  # after the bill was written down, so that no other kernel sees less than was spent
            self.close(exchange)

    def _record(self, prepared: PlannedRequest, exchange: Exchange, keep: bool) -> RequestRecord:
        used, to = exchange.usage, exchange.endpoint
        bill = cost(used, to.price)
        booked = RequestRecord(
            *(to.model, prepared.at, prepared.plan.expected, used, bill),
            is_keepalive=keep,
            timing=exchange.timing,
            request_id=exchange.request_id,
        )
        if not exchange.started and used == NOTHING_REPORTED:
            if exchange.billable:
                self.add_to_ledger(booked, to)
            return booked
        reason = None
        if keep:
            memory = self.tracker(to).refreshed(prepared, used)
        else:
            memory, reason = self.tracker(to).record_usage(prepared, used, self._other(to), to.model)
            if (
                reason
                and reason.cause is MissCause.SILENT
                and not exchange.finish
                and to.rules.reports_cached_tokens
            ):
                reason = None  # it would have been told at the end of the answer
            self._latest = to
            self.user_requests += 1
        self._memories[to.cache_scope] = memory
        until, promised = memory.warm_until(prepared), bool(to.rules.lifetimes)
        booked = replace(booked, reason=reason, warm_until=until, cache_is_promised=promised)
        self.records.append(booked)
        if booked.cache_is_promised and used.read is not None:
            expected, read = self.prediction_totals or (0, 0)
            self.prediction_totals = expected + booked.expected.read, read + used.read
        self.add_to_ledger(booked, to)
        return booked

    def add_to_ledger(self, booked: RequestRecord, to: ModelEndpoint) -> None:
        """Add a request to what all of them cost."""
        self.ledger = self.ledger.add(booked.usage, booked.cost)
        if self.on_record is not None:
            self.on_record(booked, to, self.tracker(to))

    def restore_tracker(self, scope: tuple[str, ...], memory: CacheTracker) -> None:
        """Take over what an earlier kernel remembered of one model."""
        mine = self._memories.get(scope)
        if mine is None:
            self._recalled[scope] = memory
        else:  # what this kernel knows is newer
            entries = {**memory.state.entries, **mine.state.entries}
            known = {**memory.state.known, **mine.state.known}
            self._memories[scope] = replace(mine, state=replace(mine.state, entries=entries, known=known))

    def forecast(
        self,
        to: ModelEndpoint,
        said: Sequence[PromptMessage],
        settings: RequestOptions = RequestOptions(),
        ttl: int | None = None,
        *,
        cache: bool = True,
    ) -> Forecast:
        """What a request sent now would read, write and cost."""
        prepared = self.prepare(to, said, settings, ttl, cache=cache)
        other = [
            (seconds, self.prepare(to, said, settings, seconds).plan.expected)
            for seconds in to.rules.lifetimes
            if to.rules.choice and cache
        ]
        return Forecast(
            to.model,
            prepared.plan.expected,
            prompt_cost(prepared.plan.expected, to.price),
            prompt_cost(prepared.plan.expected, to.price, cached=False),
            tuple((seconds, prompt_cost(expected, to.price)) for seconds, expected in other),
            block_rows(prepared, self.tracker(to).state),
            self.predict_miss(to, prepared) if self._latest else None,
        )

    @property
    def remembers(self) -> bool:
        """Whether anything is known of what a provider holds."""
        return bool(self._memories or self._recalled)

    @property
    def busy(self) -> bool:
        """Whether a request is on its way, which refreshes what it reads."""
        return bool(self._open)

    @property
    def latest(self) -> tuple[str, ...]:
        """The scope that was asked last; empty before the first question."""
        return self._latest.cache_scope if self._latest else ()

    def _other(self, to: ModelEndpoint) -> EarlierRequest | None:
        """The last request, if it was to another model."""
        if self._latest is None or self.latest == to.cache_scope:
            return None
        memory = self.tracker(self._latest)
        return EarlierRequest(
            memory.chain, memory.last_checkpoint, memory.state, memory.rules, self._latest.model
        )
