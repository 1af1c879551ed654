"""CacheState: what the provider should hold now, and the bill that follows from it.

All times are seconds of one clock, given as arguments. A lifetime starts with the request that wrote or read the entry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from ipycachechat.caching.prefix import PrefixChain
from ipycachechat.caching.rules import CacheRules
from ipycachechat.conversation.usage import Usage

T = TypeVar("T")

FORGET_AFTER = 24 * 3600.0
"""Seconds after its expiry at which an entry is dropped: it no longer explains any miss."""
MAX_OTHERS = 500
"""Entries, and sizes, of other conversations that are kept: all of them are searched and saved at every request."""
TOLERANCE = 0.1
"""Share by which a read may differ from an expectation that rests on estimated sizes."""


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """A prefix that the provider should hold."""

    ttl: int
    last_used: float
    """Start of the last request that wrote or read it."""
    expires: float
    index: int = -1
    """Its index in each chain that contains it; in mode "automatic", the index of the chain's last prefix."""

    def refreshed(self, now: float) -> CacheEntry:
        """Return the entry after a request that started at `now` and wrote or read it."""
        return replace(self, last_used=max(self.last_used, now), expires=max(self.expires, now + self.ttl))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint after a prefix, given by its index in the chain, and its TTL in seconds."""

    index: int
    ttl: int


@dataclass(frozen=True, slots=True)
class CacheState:
    """Cache entries of one model at one address under one key, and token counts of prefixes that were billed."""

    entries: Mapping[bytes, CacheEntry] = field(default_factory=dict)
    billed_sizes: Mapping[bytes, int] = field(default_factory=dict)
    """Tokens of a prefix, by its digest."""
    estimate_ratio: float = 1.0
    """Billed tokens per estimated token."""
    exact: bool = False
    """True if sizes are counted by the provider's own tokenizer."""

    def live(self, digest: bytes, now: float) -> CacheEntry | None:
        """Return the entry of a prefix unless it has expired."""
        entry = self.entries.get(digest)
        return entry if entry is not None and now < entry.expires else None

    def entries_of(self, chain: PrefixChain) -> list[CacheEntry]:
        """Return the entries of a chain, expired or not."""
        return [entry for digest, entry in self.entries.items() if chain.has(entry.index, digest)]

    def live_entries(self, chain: PrefixChain, now: float) -> list[CacheEntry]:
        """Return the live entries of a chain, shortest prefix first."""
        live = [entry for entry in self.entries_of(chain) if now < entry.expires]
        return sorted(live, key=lambda entry: entry.index)

    def is_exact(self, chain: PrefixChain, index: int) -> bool:
        """Return True if the size of a prefix is counted or was billed, not estimated."""
        return index < 0 or self.exact or chain.prefixes[index].digest in self.billed_sizes

    def tokens(self, chain: PrefixChain, index: int) -> int:
        """Return the tokens of a prefix; 0 for index -1.

        Between two billed prefixes the difference is shared out by estimated size; after the last one it is estimated.
        """
        prefixes, billed = chain.prefixes, self.billed_sizes
        if index < 0:
            return 0
        if self.exact:
            return round(prefixes[index].size)
        if (tokens := billed.get(prefixes[index].digest)) is not None:
            return tokens
        below = next((n for n in range(index - 1, -1, -1) if prefixes[n].digest in billed), -1)
        above = next((n for n in range(index + 1, len(prefixes)) if prefixes[n].digest in billed), -1)
        return self._interpolate(chain, below, index, above)

    def sizes(self, chain: PrefixChain) -> list[int]:
        """Return the tokens of every prefix, in one pass."""
        prefixes = chain.prefixes
        if self.exact:
            return [round(prefix.size) for prefix in prefixes]
        billed = iter([*(n for n, prefix in enumerate(prefixes) if prefix.digest in self.billed_sizes), -1])
        tokens, below, above = [], -1, next(billed)
        for index, prefix in enumerate(prefixes):
            if index == above:
                tokens.append(self.billed_sizes[prefix.digest])
                below, above = above, next(billed)
            else:
                tokens.append(self._interpolate(chain, below, index, above))
        return tokens

    def _interpolate(self, chain: PrefixChain, below: int, index: int, above: int) -> int:
        """Return the tokens of a prefix from the nearest billed ones; -1: there is none."""
        prefixes, billed = chain.prefixes, self.billed_sizes
        start, start_size = (billed[prefixes[below].digest], prefixes[below].size) if below >= 0 else (0, 0.0)
        size = prefixes[index].size - start_size
        if above < 0:
            return start + round(size * self.estimate_ratio)
        span = prefixes[above].size - start_size
        added = max(0, billed[prefixes[above].digest] - start)
        return start + round(added * (size / span if span else 1.0))


@dataclass(frozen=True, slots=True)
class PlanningContext:
    """A request at a moment: everything that its checkpoints and its expected bill depend on."""

    chain: PrefixChain
    rules: CacheRules
    minimum: int
    """Tokens below which nothing is cached."""
    state: CacheState
    now: float

    @property
    def last(self) -> int:
        """Index of the last prefix; -1: there is none."""
        return len(self.chain.prefixes) - 1

    def tokens(self, index: int) -> int:
        """Return the tokens of a prefix; 0 for index -1."""
        return self.state.tokens(self.chain, index)

    def is_exact(self, index: int) -> bool:
        """Return True if the size of a prefix is counted or was billed, not estimated."""
        return self.state.is_exact(self.chain, index)

    def live(self, index: int) -> CacheEntry | None:
        """Return the live entry of a prefix."""
        return self.state.live(self.chain.prefixes[index].digest, self.now)

    def live_entries(self) -> list[CacheEntry]:
        """Return the live entries of the chain, shortest prefix first."""
        return self.state.live_entries(self.chain, self.now)


@dataclass(frozen=True, slots=True)
class ExpectedUsage:
    """The usage that a request is expected to be billed. `written` includes `written_1h`."""

    read: int
    written: int
    written_1h: int
    fresh: int
    hit: int = -1
    """Index of the prefix that is read; -1: none."""
    exact: bool = False

    @property
    def input(self) -> int:
        """All input tokens."""
        return self.read + self.written + self.fresh

    def __add__(self, other: ExpectedUsage) -> ExpectedUsage:
        """Add two requests; `hit` has no meaning for the sum."""
        written = self.written + other.written, self.written_1h + other.written_1h
        exact = self.exact and other.exact
        return ExpectedUsage(self.read + other.read, *written, self.fresh + other.fresh, exact=exact)


def cache_hits(context: PlanningContext, checkpoints: Sequence[Checkpoint]) -> list[int]:
    """Return for each checkpoint the longest live prefix within its lookback; -1: there is none."""
    prefixes, lookback = context.chain.prefixes, context.rules.lookback
    hits, start = [], _search_start(context.chain, context.rules)
    for checkpoint in checkpoints:
        end, hit = prefixes[checkpoint.index].position, -1
        for index in range(checkpoint.index, start - 1, -1):
            if lookback is not None and end - prefixes[index].position >= lookback:
                break
            if context.live(index):
                hit = index
                break
        hits.append(hit)
    return hits


def _search_start(chain: PrefixChain, rules: CacheRules) -> int:
    """Return the index of the first prefix that is searched, where only the latest checkpoints are."""
    if rules.searched_checkpoints is None:
        return 0
    left = rules.searched_checkpoints
    for index in range(len(chain.messages) - 1, -1, -1):
        left -= chain.messages[index].message.role != "assistant"
        if left == 0:
            return chain.message_starts[index]
    return 0


def _cacheable(context: PlanningContext, checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    """Return the checkpoints whose prefix has at least the model's minimum."""
    return [each for each in checkpoints if context.tokens(each.index) >= context.minimum]


def expected_usage(context: PlanningContext, checkpoints: Sequence[Checkpoint]) -> ExpectedUsage:
    """Return the usage that the rules predict for a request with these checkpoints."""
    rules, total = context.rules, context.tokens(context.last)
    if rules.mode == "automatic":
        return _expected_automatic(context, total)
    usable = _cacheable(context, checkpoints)
    hit = max(cache_hits(context, usable), default=-1)
    read = context.tokens(hit)
    new = [(context.tokens(each.index), each.ttl) for each in usable if each.index > hit]
    one_hour = [tokens for tokens, ttl in new if rules.has_ttl_choice and ttl == rules.lifetimes[-1]]
    one_hour_end = max(one_hour, default=read)
    end = max([one_hour_end, *(tokens for tokens, _ in new)])
    exact = context.is_exact(context.last) and context.is_exact(hit)
    return ExpectedUsage(read, end - read, one_hour_end - read, max(total, end) - end, hit, exact)


def _expected_automatic(context: PlanningContext, total: int) -> ExpectedUsage:
    """Return the usage in mode "automatic": what earlier requests share with this one is read, in whole steps."""
    rules, minimum = context.rules, context.minimum
    hit = next((index for index in range(context.last, -1, -1) if context.live(index)), -1)
    shared = context.tokens(hit) if rules.lifetimes else 0
    read = min(total, shared - (shared - minimum) % rules.step) if shared >= minimum else 0
    return ExpectedUsage(read, 0, 0, total - read, hit if read else -1)


def after_request(
    context: PlanningContext, checkpoints: Sequence[Checkpoint], *, wrote: bool = True
) -> CacheState:
    """Return the state once the response has started: entries are written and refreshed.

    `wrote`: False if the bill says that nothing was written. Another request may have refreshed an entry since.
    """
    chain, state, rules, now = context.chain, context.state, context.rules, context.now
    entries = {digest: entry for digest, entry in state.entries.items() if now - entry.expires < FORGET_AFTER}
    if rules.mode == "automatic":
        ttl = rules.lifetimes[0] if rules.lifetimes else 0
        entry, end = CacheEntry(ttl, now, now + ttl, context.last), len(chain.prefixes)
        first = next((n for n in range(end) if context.tokens(n) >= context.minimum), end)
        entries |= {prefix.digest: entry for prefix in chain.prefixes[first:]}
        return replace(state, entries=_most_recent(entries, chain))
    usable = _cacheable(context, checkpoints)
    for index in {*cache_hits(context, usable), *(each.index for each in usable)} - {-1}:
        if live := context.live(index):
            entries[chain.prefixes[index].digest] = live.refreshed(now)
    for each in usable if wrote else ():
        if not context.live(each.index):
            digest = chain.prefixes[each.index].digest
            entries[digest] = CacheEntry(each.ttl, now, now + each.ttl, each.index)
    return replace(state, entries=_most_recent(entries, chain))


def _most_recent(values: dict[bytes, T], chain: PrefixChain) -> dict[bytes, T]:
    """Return values by digest in order of use, this chain's last; of too many others only the latest."""
    own = {prefix.digest for prefix in chain.prefixes}
    others = [digest for digest in values if digest not in own]
    if len(others) >= 2 * MAX_OTHERS:
        others = others[-MAX_OTHERS:]
    return {digest: values[digest] for digest in (*others, *(digest for digest in values if digest in own))}


def with_billed_sizes(
    context: PlanningContext, checkpoints: Sequence[Checkpoint], expected: ExpectedUsage, usage: Usage
) -> CacheState:
    """Return the state with the sizes of prefixes that a bill reveals."""
    chain, state, read = context.chain, context.state, usage.read
    if usage.input is None or not chain.prefixes or state.exact:
        return state
    sizes, last = dict(state.billed_sizes), chain.prefixes[-1]
    sizes[last.digest] = usage.input
    if context.rules.mode in ("explicit", "implicit"):
        if read and usage.written and checkpoints:
            sizes[chain.prefixes[checkpoints[-1].index].digest] = read + usage.written
        # A whole entry is read: the expected one, unless a shorter one has just this size.
        if read and expected.hit >= 0:
            shorter = [entry.index for entry in state.entries_of(chain) if entry.index < expected.hit]
            if read not in (sizes.get(chain.prefixes[index].digest) for index in shorter):
                sizes.setdefault(chain.prefixes[expected.hit].digest, read)
    ratio = usage.input / last.size if last.size > 50 else state.estimate_ratio
    return replace(state, billed_sizes=_most_recent(sizes, chain), estimate_ratio=ratio)


def without_evicted(context: PlanningContext, expected: ExpectedUsage, read: int | None) -> CacheState:
    """Return the state without the entries that the provider would have read if it still held them.

    A provider that read less than expected is assumed to have dropped every longer prefix; one that read nothing, all.
    """
    state = context.state
    if read is None or expected.hit < 0 or read >= expected.read * (1 - TOLERANCE):
        return state
    if not read:
        return replace(state, entries={})
    evicted = {
        prefix.digest
        for index, prefix in enumerate(context.chain.prefixes)
        if prefix.digest in state.entries and context.tokens(index) > read * (1 + TOLERANCE)
    }
    return replace(state, entries={key: entry for key, entry in state.entries.items() if key not in evicted})
