"""CacheTracker: plan a request, then learn from its usage; one per endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any

from ipycachechat.caching.miss_diagnosis import EarlierRequest, OtherRequest, diagnose_miss
from ipycachechat.caching.miss_reasons import MissCause, MissReason
from ipycachechat.caching.planner import PauseStats, PlannedRequest, RewindPoint, choose_checkpoints
from ipycachechat.caching.prefix import (
    DIGEST_BYTES,
    PromptMessage,
    RequestOptions,
    TokenCounter,
    build_chain,
    estimate_tokens,
)
from ipycachechat.caching.provider_rules import rules_for
from ipycachechat.caching.rules import CacheRules
from ipycachechat.caching.state import (
    CacheEntry,
    CacheState,
    Checkpoint,
    ExpectedUsage,
    PlanningContext,
    after_request,
    expected_usage,
    with_billed_sizes,
    without_evicted,
)
from ipycachechat.conversation.usage import Usage

NEARLY_ALL = 0.9
"""Share of a prefix that counts as all of it: a short end that expires earlier is no real loss."""


@dataclass(frozen=True, slots=True)
class CacheTracker:
    """The requests to one model at one address under one key, and what it should hold. Every change is a new value."""

    rules: CacheRules
    _: KW_ONLY
    minimum: int = 0
    """Tokens below which nothing is cached."""
    state: CacheState = CacheState()
    last_request: EarlierRequest = EarlierRequest()
    longest_request: EarlierRequest = EarlierRequest()
    """The longest of the latest requests: after a prompt high up the conversation, the next ones compare with it."""
    pauses: PauseStats = PauseStats()
    rewind: RewindPoint = RewindPoint()
    count: TokenCounter = field(default=estimate_tokens, repr=False, compare=False)

    def prepare(
        self,
        messages: Sequence[PromptMessage],
        options: RequestOptions,
        now: float,
        ttl: int | None = None,
        *,
        keep: bool = False,
        cache: bool = True,
    ) -> PlannedRequest:
        """Plan a request that starts at `now`; nothing is sent or changed.

        `keep`: do not cache the last message. `cache`: False places no checkpoints.
        """
        chain = build_chain(messages, options, self.last_request.chain, self.count)
        rules, tail = self.rules, None
        no_implicit = rules.mode == "implicit" and rules.marker != "" and (keep or not cache)
        if no_implicit:
            rules = replace(rules, mode="explicit")
        if rules.mode == "explicit" and (keep or not cache):
            tail = chain.message_starts[-1] - 1 if cache else -1
        context = PlanningContext(chain, rules, self.minimum, self.state, now)
        pauses = self.pauses.with_request(now)
        rewind = self.rewind.with_request(chain, self.last_request.chain)
        checkpoints = choose_checkpoints(context, pauses, rewind, ttl, tail)
        return PlannedRequest(context, checkpoints, expected_usage(context, checkpoints), no_implicit)

    def resumed(self, messages: Sequence[PromptMessage], options: RequestOptions) -> CacheTracker:
        """Return a restored tracker with a last request: the cached part of the one that is planned now."""
        chain = build_chain(messages, options, count=self.count)
        cached = max((entry.index for entry in self.state.entries_of(chain)), default=-1)
        if cached < 0:
            return self
        end = chain.prefixes[cached].message + 1
        last = EarlierRequest(build_chain(messages[:end], options, count=self.count), cached)
        return replace(self, last_request=last, longest_request=last)

    def response_started(self, planned: PlannedRequest) -> CacheTracker:
        """Return the tracker once the response has started: what the request wrote can be read by others."""
        return replace(self, state=after_request(self._now(planned), planned.checkpoints))

    def plan_keepalive(self, planned: PlannedRequest, index: int) -> PlannedRequest:
        """Return the same request with its only checkpoint after a live prefix, so that nothing is written."""
        context = self._now(planned)
        entry = context.live(index)
        checkpoints = (Checkpoint(index, entry.ttl if entry else self.rules.lifetimes[0]),)
        return replace(planned, checkpoints=checkpoints, expected=expected_usage(context, checkpoints))

    def refreshed(self, planned: PlannedRequest, usage: Usage) -> CacheTracker:
        """Return the tracker after a request for the cache alone, which is no pause or message of the user's."""
        after, _ = self._learn(planned, usage)
        if self.last_request.chain.prefixes:
            return after
        return replace(after, last_request=EarlierRequest(planned.chain, planned.last_checkpoint))

    def record_usage(
        self, planned: PlannedRequest, usage: Usage, other: OtherRequest | None = None
    ) -> tuple[CacheTracker, MissReason | None]:
        """Return the tracker after a bill, and the reason if less was read than could have been.

        `other`: the user's last request, if it went to another model or used another key.
        """
        chain, last = planned.chain, self.last_request.chain
        after, corrected = self._learn(planned, usage)
        # The bill corrects sizes that were estimated; but not where a read may end anywhere.
        diagnosed = planned.context if self.rules.mode == "automatic" else corrected
        reason = self._diagnose(diagnosed, _expected_by(planned, corrected), usage.read, other)
        end = planned.last_checkpoint if planned.checkpoints else len(chain.prefixes) - 1
        request = EarlierRequest(chain, end)
        after = replace(
            after,
            last_request=request,
            pauses=self.pauses.with_request(planned.context.now),
            rewind=self.rewind.with_request(chain, last),
        )
        # A cell rerun high up sends only what precedes it; the next request sends the rest again.
        longest = self.longest_request.chain
        is_longer = len(chain.messages) > len(longest.messages)
        if is_longer or chain.shared_length(longest) < len(chain.prefixes) - 1:
            after = replace(after, longest_request=request)
        return after, _limited_by_bill(reason, usage)

    def predict_miss(self, planned: PlannedRequest, other: OtherRequest | None = None) -> MissReason | None:
        """Return the reason if less will be read than could be, provided that the plan is right."""
        return self._diagnose(self._now(planned), planned.expected, planned.expected.read, other)

    def warm_until(self, planned: PlannedRequest) -> float | None:
        """Return until when nearly all of a request's prefix should stay cached; None: unknown, or it is not."""
        prefixes = planned.chain.prefixes
        if not self.rules.lifetimes or not prefixes:
            return None
        enough = NEARLY_ALL * prefixes[planned.last_checkpoint].size
        live = self._now(planned).live_entries()
        return max((entry.expires for entry in live if prefixes[entry.index].size >= enough), default=None)

    def _now(self, planned: PlannedRequest) -> PlanningContext:
        """Return a request's context with the cache state as it is now."""
        return replace(planned.context, state=self.state)

    def _learn(self, planned: PlannedRequest, usage: Usage) -> tuple[CacheTracker, PlanningContext]:
        """Return the tracker after a bill, and the context of the plan with the sizes that the bill reveals."""
        context, checkpoints = planned.context, planned.checkpoints
        state = with_billed_sizes(self._now(planned), checkpoints, planned.expected, usage)
        corrected = replace(
            context,
            state=replace(
                context.state, billed_sizes=state.billed_sizes, estimate_ratio=state.estimate_ratio
            ),
        )
        expected = _expected_by(planned, corrected)
        state = without_evicted(replace(context, state=state), expected, usage.read)
        # An entry below what is read costs nothing; if a write should have been billed and was not, there was none.
        wrote = not self.rules.bills_writes or usage.written != 0 or not planned.expected.written
        if not wrote:  # it was assumed when the response started
            digests = {context.chain.prefixes[each.index].digest for each in checkpoints}
            new = {digest for digest in digests if not context.state.live(digest, context.now)}
            entries = {digest: entry for digest, entry in state.entries.items() if digest not in new}
            state = replace(state, entries=entries)
        state = after_request(replace(context, state=state), checkpoints, wrote=wrote)
        return replace(self, state=state), corrected

    def _diagnose(
        self, context: PlanningContext, expected: ExpectedUsage, read: int | None, other: OtherRequest | None
    ) -> MissReason | None:
        """Return the costlier of two reasons: compared with the last request, and with the longest one."""
        reasons = [
            diagnose_miss(context, expected, read, earlier, other)
            for earlier in (self.last_request, self.longest_request)
        ]
        return max(reasons, key=lambda reason: (reason is not None, (reason and reason.tokens) or 0))

    def dump(self) -> dict[str, Any]:
        """Return the tracker as JSON: entries grouped by equal values, billed sizes, and pauses."""
        groups: dict[CacheEntry, list[str]] = {}
        for digest, entry in self.state.entries.items():
            groups.setdefault(entry, []).append(digest.hex())
        return {
            "entries": [
                [e.ttl, e.last_used, e.expires, e.index, "".join(hexes)] for e, hexes in groups.items()
            ],
            "known": {digest.hex(): tokens for digest, tokens in self.state.billed_sizes.items()},
            "ratio": self.state.estimate_ratio,
            "exact": self.state.exact,
            "pace": [self.pauses.count, self.pauses.long_pauses, self.pauses.last_request, self.pauses.prior],
        }

    @classmethod
    def load(cls, scope: Sequence[str], data: dict[str, Any]) -> CacheTracker:
        """Return a tracker from JSON; the next request sets the rules and minimum of its endpoint."""
        entries: dict[bytes, CacheEntry] = {}
        for *fields, hexes in data["entries"]:
            entry, digests = CacheEntry(*fields), bytes.fromhex(hexes)
            entries |= {digests[n : n + DIGEST_BYTES]: entry for n in range(0, len(digests), DIGEST_BYTES)}
        sizes = {bytes.fromhex(digest): tokens for digest, tokens in data["known"].items()}
        state = CacheState(entries, sizes, data["ratio"], data["exact"])
        provider, model, *_ = scope
        return cls(rules_for(provider, model), state=state, pauses=PauseStats(*data["pace"]))


def _expected_by(planned: PlannedRequest, context: PlanningContext) -> ExpectedUsage:
    """Return the usage that the plan leads to in another context."""
    expected = expected_usage(context, planned.checkpoints)
    if context.is_exact(expected.hit):
        return expected
    # Of two estimates of one size, only the smaller is evidence.
    return min(expected, planned.expected, key=lambda usage: usage.read)


def _limited_by_bill(reason: MissReason | None, usage: Usage) -> MissReason | None:
    """Return the reason as far as the bill supports it: no more tokens than were charged; not too short if written."""
    if reason is None or usage.input is None or usage.read is None:
        return reason
    if reason.cause is MissCause.SHORT and usage.written and not reason.now_above_minimum:
        return MissReason(MissCause.FIRST)
    return replace(reason, tokens=min(reason.tokens, usage.input - usage.read)) if reason.tokens else reason
