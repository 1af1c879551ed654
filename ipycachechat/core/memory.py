"""What one kernel remembers of what it has sent to one model: plan a request with it, then hold the bill against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ipycachechat.core.cache import CacheState, Mark, learn, outcome, sent
from ipycachechat.core.miss import Before, Reason, explain
from ipycachechat.core.plan import Fork, Pace, Plan, plan
from ipycachechat.core.prefix import Chain, Count, Said, Settings, chain, guess
from ipycachechat.core.rules import Rules
from ipycachechat.core.usage import Usage

NEARLY_ALL = 0.9
"""Of a prefix: a small end that expires earlier is no loss to speak of."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request about to be sent, and what it is expected to be billed."""

    chain: Chain
    plan: Plan
    minimum: int
    at: float


@dataclass(frozen=True, slots=True)
class Memory:
    """One model at one address under one key. Every change is a new memory."""

    by: Rules
    state: CacheState = CacheState()
    chain: Chain = Chain()
    """Of the last request."""
    marked: int = -1
    longest: Before = Before()
    """The request that had the most to say, of late; its state is this memory's."""
    pace: Pace = Pace()
    fork: Fork = Fork()
    count: Count = field(default=guess, repr=False, compare=False)

    def prepare(
        self,
        said: Sequence[Said],
        settings: Settings,
        minimum: int,
        now: float,
        ttl: int | None = None,
        *,
        keep: bool = False,
    ) -> Prepared:
        """Plan a request that starts at `now`; sends nothing and changes nothing.

        `keep`: the last message is only there because a request needs one, and is not to be cached.
        """
        links = chain(said, settings, self.chain, self.count)
        tail = links.starts[-1] - 1 if keep else None
        pace, fork = self.pace.seen(now), self.fork.seen(links, self.chain)
        return Prepared(
            links, plan(links, self.by, minimum, self.state, now, pace, fork, ttl, tail), minimum, now
        )

    def touch(self, prepared: Prepared, at: int) -> Prepared:
        """The same request with a checkpoint after one live prefix alone: nothing is written."""
        entry = self.state.live(prepared.chain.prefixes[at].digest, prepared.at)
        marks = (Mark(at, entry.ttl if entry else self.by.lifetimes[0]),)
        bill = outcome(prepared.chain, marks, self.state, self.by, prepared.minimum, prepared.at)
        return replace(prepared, plan=Plan(marks, bill))

    def refreshed(self, prepared: Prepared, usage: Usage) -> Memory:
        """The memory after a request that only kept the cache warm: no pause of the person's, and nothing said."""
        links, planned = prepared.chain, prepared.plan
        state = learn(links, planned.marks, planned.expected, self.state, self.by, usage.input, usage.read)
        state = sent(links, planned.marks, state, self.by, prepared.minimum, prepared.at)
        return replace(self, state=state)

    def billed(
        self, prepared: Prepared, usage: Usage, other: Before | None = None
    ) -> tuple[Memory, Reason | None]:
        """The memory after the response has begun and the bill has come, and why less was read, if it was.

        `other`: the last request, if it was to another model.
        """
        links, planned = prepared.chain, prepared.plan
        reason = self._explain(prepared, usage.read, other)
        state = self.refreshed(prepared, usage).state
        marked = planned.last if planned.marks else len(links.prefixes) - 1
        after = replace(
            self,
            state=state,
            chain=links,
            marked=marked,
            pace=self.pace.seen(prepared.at),
            fork=self.fork.seen(links, self.chain),
        )
        # A cell run again high up sends only what is before it; what it was cut off from is sent by the next.
        if (
            len(links.said) > len(self.longest.chain.said)
            or links.common(self.longest.chain) < len(links.prefixes) - 1
        ):
            after = replace(after, longest=Before(links, marked))
        return after, reason

    def _explain(self, prepared: Prepared, read: int | None, other: Before | None) -> Reason | None:
        """The costlier of two reasons: beside the last request, and beside the longest one."""
        reasons = [
            explain(
                prepared.chain,
                prepared.plan.expected,
                read,
                replace(before, state=self.state),
                self.by,
                prepared.minimum,
                prepared.at,
                other,
            )
            for before in (Before(self.chain, self.marked), self.longest)
        ]
        return max(reasons, key=lambda reason: (reason is not None, (reason and reason.tokens) or 0))

    def foresee(self, prepared: Prepared, other: Before | None = None) -> Reason | None:
        """Why less will be read than could be, if the plan comes true."""
        return self._explain(prepared, prepared.plan.expected.read, other)

    def warm_until(self) -> float | None:
        """Until when the last request's prefix, or nearly all of it, should be read again; None: unknown."""
        if not self.by.lifetimes or self.marked < 0:
            return None
        prefixes = self.chain.prefixes
        enough = NEARLY_ALL * prefixes[self.marked].size
        live = self.state.on(self.chain, self.pace.last or 0.0)
        return max((entry.expires for at, entry in live if prefixes[at].size >= enough), default=None)
