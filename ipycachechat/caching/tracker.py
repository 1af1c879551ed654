"""What one kernel remembers of what it has sent to one model: plan a request with it, then hold the bill against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ipycachechat.caching.miss_diagnosis import Before, explain
from ipycachechat.caching.miss_reasons import Cause, Reason
from ipycachechat.caching.planner import Fork, Pace, Plan, Prepared, plan
from ipycachechat.caching.prefix import Chain, Count, Said, Settings, chain, guess
from ipycachechat.caching.rules import Rules
from ipycachechat.caching.state import CacheState, Mark, Outcome, counted, disproved, outcome, sent
from ipycachechat.conversation.usage import Usage

NEARLY_ALL = 0.9
"""Of a prefix: a small end that expires earlier is no loss to speak of."""


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
        cache: bool = True,
    ) -> Prepared:
        """Plan a request that starts at `now`; sends nothing and changes nothing.

        `keep`: the last message is not to be cached. `cache`: False asks for nothing to be.
        """
        links = chain(said, settings, self.chain, self.count)
        by, tail = self.by, None
        unaided = by.asked == "implicit" and by.marker != "" and (keep or not cache)
        if unaided:
            by = replace(by, asked="explicit")
        if by.asked == "explicit" and (keep or not cache):
            tail = links.starts[-1] - 1 if cache else -1
        pace, fork = self.pace.seen(now), self.fork.seen(links, self.chain)
        planned = plan(links, by, minimum, self.state, now, pace, fork, ttl, tail)
        return Prepared(links, planned, minimum, now, self.state, unaided)

    def resumed(self, said: Sequence[Said], settings: Settings) -> Memory:
        """A memory that was kept over a restart, with the last request as far as this one begins with it."""
        links = chain(said, settings, count=self.count)
        marked = max((entry.at for entry in self.state.ever(links)), default=-1)
        if marked < 0:
            return self
        last = chain(said[: links.prefixes[marked].message + 1], settings, count=self.count)
        return replace(self, chain=last, marked=marked, longest=Before(last, marked))

    def begun(self, prepared: Prepared) -> Memory:
        """The memory once the response to a request has begun: what it wrote can be read by others."""
        state = sent(prepared.chain, prepared.plan.marks, self.state, self.by, prepared.minimum, prepared.at)
        return replace(self, state=state)

    def touch(self, prepared: Prepared, at: int) -> Prepared:
        """The same request with a checkpoint after one live prefix alone: nothing is written."""
        entry = self.state.live(prepared.chain.prefixes[at].digest, prepared.at)
        marks = (Mark(at, entry.ttl if entry else self.by.lifetimes[0]),)
        bill = outcome(prepared.chain, marks, self.state, self.by, prepared.minimum, prepared.at)
        return replace(prepared, plan=Plan(marks, bill))

    def refreshed(self, prepared: Prepared, usage: Usage) -> Memory:
        """The memory after a request that only kept the cache warm: no pause of the person's, and nothing said."""
        after, _ = self._told(prepared, usage)
        if self.chain.prefixes:
            return after
        return replace(after, chain=prepared.chain, marked=prepared.plan.last)

    def billed(
        self, prepared: Prepared, usage: Usage, other: Before | None = None, model: str = ""
    ) -> tuple[Memory, Reason | None]:
        """The memory after the response has begun and the bill has come, and why less was read, if it was.

        `other`: the last request, if it was to another model than `model` or with another key.
        """
        links, planned = prepared.chain, prepared.plan
        after, believed = self._told(prepared, usage)
        # The bill tells sizes that could only be guessed before; but not where a read may end anywhere.
        knowing = replace(self, state=prepared.state if self.by.asked == "automatic" else believed)
        reason = knowing._explain(prepared, self._expected(prepared, believed), usage.read, other, model)
        reason = _within(reason, usage)
        marked = planned.last if planned.marks else len(links.prefixes) - 1
        after = replace(
            after,
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

    def _expected(self, prepared: Prepared, state: CacheState) -> Outcome:
        """The bill that the plan promises by this state."""
        told = outcome(prepared.chain, prepared.plan.marks, state, self.by, prepared.minimum, prepared.at)
        if state.tokens(prepared.chain, told.hit)[1]:
            return told
        # A size that was guessed twice proves nothing beyond the smaller guess.
        return min(told, prepared.plan.expected, key=lambda one: one.read)

    def _told(self, prepared: Prepared, usage: Usage) -> tuple[Memory, CacheState]:
        """The memory after a bill, and what was believed when it was planned, with the sizes that the bill tells."""
        links, marks, by = prepared.chain, prepared.plan.marks, self.by
        known = counted(
            links, marks, prepared.plan.expected, self.state, by, usage.input, usage.read, usage.written
        )
        believed = replace(prepared.state, known=known.known, ratio=known.ratio)
        state = disproved(links, self._expected(prepared, believed), known, usage.read)
        # An entry below what is read costs nothing; where something was to be paid and was not, nothing was written.
        wrote = not by.bills_writes or usage.written != 0 or not prepared.plan.expected.written
        if not wrote:
            state = self._unwritten(prepared, state)
        state = sent(links, marks, state, by, prepared.minimum, prepared.at, wrote=wrote)
        return replace(self, state=state), believed

    def _unwritten(self, prepared: Prepared, state: CacheState) -> CacheState:
        """The state without what was taken for written when the response began."""
        digests = {prepared.chain.prefixes[mark.at].digest for mark in prepared.plan.marks}
        mine = {digest for digest in digests if not prepared.state.live(digest, prepared.at)}
        return replace(state, entries={name: one for name, one in state.entries.items() if name not in mine})

    def _explain(
        self, prepared: Prepared, expected: Outcome, read: int | None, other: Before | None, model: str
    ) -> Reason | None:
        """The costlier of two reasons: beside the last request, and beside the longest one."""
        reasons = [
            explain(prepared, expected, read, replace(before, state=self.state), self.by, other, model)
            for before in (Before(self.chain, self.marked), self.longest)
        ]
        return max(reasons, key=lambda reason: (reason is not None, (reason and reason.tokens) or 0))

    def foresee(self, prepared: Prepared, other: Before | None = None, model: str = "") -> Reason | None:
        """Why less will be read than could be, if the plan comes true."""
        expected = prepared.plan.expected
        return self._explain(prepared, expected, expected.read, other, model)

    def warm_until(self, prepared: Prepared) -> float | None:
        """Until when a request's prefix, or nearly all of it, should be read again; None: unknown, or not at all."""
        prefixes, marked = prepared.chain.prefixes, prepared.plan.last
        if not self.by.lifetimes or not prefixes:
            return None
        enough = NEARLY_ALL * prefixes[marked].size
        live = self.state.on(prepared.chain, prepared.at)
        return max((entry.expires for at, entry in live if prefixes[at].size >= enough), default=None)


def _within(reason: Reason | None, usage: Usage) -> Reason | None:
    """The reason as far as the bill bears it out: no more tokens than were paid, nor too few to write if some were."""
    if reason is None or usage.input is None or usage.read is None:
        return reason
    if reason.cause is Cause.SHORT and usage.written and not reason.grown:
        return Reason(Cause.FIRST)
    return replace(reason, tokens=min(reason.tokens, usage.input - usage.read)) if reason.tokens else reason
