"""CacheTracker: plan a request, then learn from its usage; one per endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ipycachechat.caching.miss_diagnosis import EarlierRequest, diagnose_miss
from ipycachechat.caching.miss_reasons import MissCause, MissReason
from ipycachechat.caching.planner import PauseStats, Plan, PlannedRequest, RewindPoint, plan
from ipycachechat.caching.prefix import (
    PrefixChain,
    PromptMessage,
    RequestOptions,
    TokenCounter,
    build_chain,
    estimate_tokens,
)
from ipycachechat.caching.rules import CacheRules
from ipycachechat.caching.state import (
    CacheState,
    Checkpoint,
    ExpectedUsage,
    after_request,
    expected_usage,
    with_billed_sizes,
    without_evicted,
)
from ipycachechat.conversation.usage import Usage

NEARLY_ALL = 0.9
"""Of a prefix: a small end that expires earlier is no loss to speak of."""


@dataclass(frozen=True, slots=True)
class CacheTracker:
    """One model at one address under one key. Every change is a new memory."""

    rules: CacheRules
    state: CacheState = CacheState()
    chain: PrefixChain = PrefixChain()
    """Of the last request."""
    last_checkpoint: int = -1
    longest_request: EarlierRequest = EarlierRequest()
    """The request that had the most to say, of late; its state is this memory's."""
    pauses: PauseStats = PauseStats()
    fork: RewindPoint = RewindPoint()
    count: TokenCounter = field(default=estimate_tokens, repr=False, compare=False)

    def prepare(
        self,
        said: Sequence[PromptMessage],
        settings: RequestOptions,
        minimum: int,
        now: float,
        ttl: int | None = None,
        *,
        keep: bool = False,
        cache: bool = True,
    ) -> PlannedRequest:
        """Plan a request that starts at `now`; sends nothing and changes nothing.

        `keep`: the last message is not to be cached. `cache`: False asks for nothing to be.
        """
        links = build_chain(said, settings, self.chain, self.count)
        by, tail = self.rules, None
        unaided = by.mode == "implicit" and by.marker != "" and (keep or not cache)
        if unaided:
            by = replace(by, mode="explicit")
        if by.mode == "explicit" and (keep or not cache):
            tail = links.message_starts[-1] - 1 if cache else -1
        pace, fork = self.pauses.seen(now), self.fork.seen(links, self.chain)
        planned = plan(links, by, minimum, self.state, now, pace, fork, ttl, tail)
        return PlannedRequest(links, planned, minimum, now, self.state, unaided)

    def resumed(self, said: Sequence[PromptMessage], settings: RequestOptions) -> CacheTracker:
        """A memory that was kept over a restart, with the last request as far as this one begins with it."""
        links = build_chain(said, settings, count=self.count)
        marked = max((entry.at for entry in self.state.ever(links)), default=-1)
        if marked < 0:
            return self
        last = build_chain(said[: links.prefixes[marked].message + 1], settings, count=self.count)
        return replace(self, chain=last, last_checkpoint=marked, longest_request=EarlierRequest(last, marked))

    def response_started(self, prepared: PlannedRequest) -> CacheTracker:
        """The memory once the response to a request has begun: what it wrote can be read by others."""
        state = after_request(
            prepared.chain, prepared.plan.checkpoints, self.state, self.rules, prepared.minimum, prepared.at
        )
        return replace(self, state=state)

    def plan_keepalive(self, prepared: PlannedRequest, at: int) -> PlannedRequest:
        """The same request with a checkpoint after one live prefix alone: nothing is written."""
        entry = self.state.live(prepared.chain.prefixes[at].digest, prepared.at)
        marks = (Checkpoint(at, entry.ttl if entry else self.rules.lifetimes[0]),)
        bill = expected_usage(prepared.chain, marks, self.state, self.rules, prepared.minimum, prepared.at)
        return replace(prepared, plan=Plan(marks, bill))

    def refreshed(self, prepared: PlannedRequest, usage: Usage) -> CacheTracker:
        """The memory after a request that only kept the cache warm: no pause of the user's, and nothing said."""
        after, _ = self._learn(prepared, usage)
        if self.chain.prefixes:
            return after
        return replace(after, chain=prepared.chain, last_checkpoint=prepared.plan.last)

    def record_usage(
        self, prepared: PlannedRequest, usage: Usage, other: EarlierRequest | None = None, model: str = ""
    ) -> tuple[CacheTracker, MissReason | None]:
        """The memory after the response has begun and the bill has come, and why less was read, if it was.

        `other`: the last request, if it was to another model than `model` or with another key.
        """
        links, planned = prepared.chain, prepared.plan
        after, believed = self._learn(prepared, usage)
        # The bill tells sizes that could only be guessed before; but not where a read may end anywhere.
        knowing = replace(self, state=prepared.state if self.rules.mode == "automatic" else believed)
        reason = knowing._explain(prepared, self._expected(prepared, believed), usage.read, other, model)
        reason = _within(reason, usage)
        marked = planned.last if planned.checkpoints else len(links.prefixes) - 1
        after = replace(
            after,
            chain=links,
            last_checkpoint=marked,
            pauses=self.pauses.seen(prepared.at),
            fork=self.fork.seen(links, self.chain),
        )
        # A cell run again high up sends only what is before it; what it was cut off from is sent by the next.
        if (
            len(links.messages) > len(self.longest_request.chain.messages)
            or links.shared_length(self.longest_request.chain) < len(links.prefixes) - 1
        ):
            after = replace(after, longest_request=EarlierRequest(links, marked))
        return after, reason

    def _expected(self, prepared: PlannedRequest, state: CacheState) -> ExpectedUsage:
        """The bill that the plan promises by this state."""
        told = expected_usage(
            prepared.chain, prepared.plan.checkpoints, state, self.rules, prepared.minimum, prepared.at
        )
        if state.tokens(prepared.chain, told.hit)[1]:
            return told
        # A size that was guessed twice proves nothing beyond the smaller guess.
        return min(told, prepared.plan.expected, key=lambda one: one.read)

    def _learn(self, prepared: PlannedRequest, usage: Usage) -> tuple[CacheTracker, CacheState]:
        """The memory after a bill, and what was believed when it was planned, with the sizes that the bill tells."""
        links, marks, by = prepared.chain, prepared.plan.checkpoints, self.rules
        known = with_billed_sizes(
            links, marks, prepared.plan.expected, self.state, by, usage.input, usage.read, usage.written
        )
        believed = replace(prepared.state, known=known.known, ratio=known.ratio)
        state = without_evicted(links, self._expected(prepared, believed), known, usage.read)
        # An entry below what is read costs nothing; where something was to be paid and was not, nothing was written.
        wrote = not by.bills_writes or usage.written != 0 or not prepared.plan.expected.written
        if not wrote:
            state = self._unwritten(prepared, state)
        state = after_request(links, marks, state, by, prepared.minimum, prepared.at, wrote=wrote)
        return replace(self, state=state), believed

    def _unwritten(self, prepared: PlannedRequest, state: CacheState) -> CacheState:
        """The state without what was taken for written when the response began."""
        digests = {prepared.chain.prefixes[mark.at].digest for mark in prepared.plan.checkpoints}
        mine = {digest for digest in digests if not prepared.state.live(digest, prepared.at)}
        return replace(state, entries={name: one for name, one in state.entries.items() if name not in mine})

    def _explain(
        self,
        prepared: PlannedRequest,
        expected: ExpectedUsage,
        read: int | None,
        other: EarlierRequest | None,
        model: str,
    ) -> MissReason | None:
        """The costlier of two reasons: beside the last request, and beside the longest one."""
        reasons = [
            diagnose_miss(
                prepared, expected, read, replace(before, state=self.state), self.rules, other, model
            )
            for before in (EarlierRequest(self.chain, self.last_checkpoint), self.longest_request)
        ]
        return max(reasons, key=lambda reason: (reason is not None, (reason and reason.tokens) or 0))

    def predict_miss(
        self, prepared: PlannedRequest, other: EarlierRequest | None = None, model: str = ""
    ) -> MissReason | None:
        """Why less will be read than could be, if the plan comes true."""
        expected = prepared.plan.expected
        return self._explain(prepared, expected, expected.read, other, model)

    def warm_until(self, prepared: PlannedRequest) -> float | None:
        """Until when a request's prefix, or nearly all of it, should be read again; None: unknown, or not at all."""
        prefixes, marked = prepared.chain.prefixes, prepared.plan.last
        if not self.rules.lifetimes or not prefixes:
            return None
        enough = NEARLY_ALL * prefixes[marked].size
        live = self.state.on(prepared.chain, prepared.at)
        return max((entry.expires for at, entry in live if prefixes[at].size >= enough), default=None)


def _within(reason: MissReason | None, usage: Usage) -> MissReason | None:
    """The reason as far as the bill bears it out: no more tokens than were paid, nor too few to write if some were."""
    if reason is None or usage.input is None or usage.read is None:
        return reason
    if reason.cause is MissCause.SHORT and usage.written and not reason.now_above_minimum:
        return MissReason(MissCause.FIRST)
    return replace(reason, tokens=min(reason.tokens, usage.input - usage.read)) if reason.tokens else reason
