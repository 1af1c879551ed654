"""CacheState: what the provider should hold now, and the bill that follows from it.

All times are seconds of one clock, given as arguments. A lifetime runs from the start of the request that wrote or
read the entry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from ipycachechat.caching.prefix import PrefixChain
from ipycachechat.caching.rules import CacheRules

T = TypeVar("T")

# Entries that have been gone for so long explain nothing any more.
FORGET = 24 * 3600.0
MOST = 500
"""Entries, and sizes, of other conversations that are remembered: of older ones hardly any is gone back to, and all of
them are looked through, and written down, at every request."""
TOLERANCE = 0.1
"""Tokens by which a read may differ from its expectation where sizes are estimates."""


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """A prefix that the provider was told, or is known, to keep."""

    ttl: int
    last_used: float
    """Start of the last request that wrote or read it."""
    expires: float
    at: int = -1
    """Its index in every chain that has it; where whole chains live, that of the last prefix."""

    def refreshed(self, now: float) -> CacheEntry:
        """Read or written again by a request that started at `now`."""
        return replace(self, last_used=max(self.last_used, now), expires=max(self.expires, now + self.ttl))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint: after which prefix (index into the chain), and for how long."""

    at: int
    ttl: int


@dataclass(frozen=True, slots=True)
class CacheState:
    """The entries of one model at one address under one key, and exact token counts of prefixes billed before."""

    entries: Mapping[bytes, CacheEntry] = field(default_factory=dict)
    known: Mapping[bytes, int] = field(default_factory=dict)
    ratio: float = 1.0
    """Tokens billed for each token guessed."""
    exact: bool = False
    """True if sizes are counted by the provider's own tokenizer."""

    def live(self, digest: bytes, now: float) -> CacheEntry | None:
        """The entry of a prefix that has not expired."""
        entry = self.entries.get(digest)
        return entry if entry is not None and now < entry.expires else None

    def ever(self, chain: PrefixChain) -> list[CacheEntry]:
        """The entries of a chain, expired or not."""
        return [entry for digest, entry in self.entries.items() if chain.has(entry.at, digest)]

    def on(self, chain: PrefixChain, now: float) -> list[tuple[int, CacheEntry]]:
        """The live entries of a chain, shortest first, with their index."""
        live = [(entry.at, entry) for entry in self.ever(chain) if now < entry.expires]
        return sorted(live, key=lambda one: one[0])

    def tokens(self, chain: PrefixChain, at: int) -> tuple[int, bool]:
        """Tokens of a prefix (-1: none), and whether they are exact.

        What lies between two prefixes that were billed is shared out by size; what comes after is guessed.
        """
        if at < 0:
            return 0, True
        prefixes = chain.prefixes
        if self.exact:
            return round(prefixes[at].size), True
        exact = self.known.get(prefixes[at].digest)
        if exact is not None:
            return exact, True
        below = next((n for n in range(at - 1, -1, -1) if prefixes[n].digest in self.known), -1)
        above = next((n for n in range(at + 1, len(prefixes)) if prefixes[n].digest in self.known), -1)
        return self._between(chain, below, at, above), False

    def sizes(self, chain: PrefixChain) -> list[tuple[int, bool]]:
        """Tokens of every prefix, and whether they are exact, in one pass."""
        prefixes = chain.prefixes
        if self.exact:
            return [(round(prefix.size), True) for prefix in prefixes]
        known = [n for n, prefix in enumerate(prefixes) if prefix.digest in self.known]
        found, below, later = [], -1, iter([*known, -1])
        above = next(later)
        for at, prefix in enumerate(prefixes):
            if at == above:
                found.append((self.known[prefix.digest], True))
                below, above = above, next(later)
            else:
                found.append((self._between(chain, below, at, above), False))
        return found

    def _between(self, chain: PrefixChain, below: int, at: int, above: int) -> int:
        """Tokens of a prefix from the nearest known ones around it; -1: none."""
        prefixes = chain.prefixes
        least = self.known[prefixes[below].digest] if below >= 0 else 0
        size = prefixes[below].size if below >= 0 else 0.0
        more = prefixes[at].size - size
        if above < 0:
            return least + round(more * self.ratio)
        most, whole = self.known[prefixes[above].digest], prefixes[above].size - size
        return least + round(max(0, most - least) * (more / whole if whole else 1.0))


@dataclass(frozen=True, slots=True)
class ExpectedUsage:
    """The usage that a request is expected to be billed. `written` includes `written_1h`."""

    read: int
    written: int
    written_1h: int
    fresh: int
    hit: int = -1
    """The prefix that is read; -1: none."""
    exact: bool = False

    @property
    def input(self) -> int:
        """All tokens sent."""
        return self.read + self.written + self.fresh

    def __add__(self, other: ExpectedUsage) -> ExpectedUsage:
        """Of two requests together."""
        written = self.written + other.written, self.written_1h + other.written_1h
        exact = self.exact and other.exact
        return ExpectedUsage(self.read + other.read, *written, self.fresh + other.fresh, exact=exact)


def cache_hits(
    chain: PrefixChain, marks: Sequence[Checkpoint], state: CacheState, by: CacheRules, now: float
) -> list[int]:
    """For each mark the longest live prefix within its look-back, -1 where there is none."""
    found, least = [], _earliest(chain, by)
    for mark in marks:
        there = chain.prefixes[mark.at].position
        best = -1
        for at in range(mark.at, least - 1, -1):
            if by.lookback is not None and there - chain.prefixes[at].position >= by.lookback:
                break
            if state.live(chain.prefixes[at].digest, now):
                best = at
                break
        found.append(best)
    return found


def _earliest(chain: PrefixChain, by: CacheRules) -> int:
    """The first prefix at which an entry is looked for, where only the latest checkpoints count."""
    if by.breakpoints is None:
        return 0
    left = by.breakpoints
    for number in range(len(chain.messages) - 1, -1, -1):
        left -= chain.messages[number].message.role != "assistant"
        if left == 0:
            return chain.message_starts[number]
    return 0


def cacheable(
    chain: PrefixChain, marks: Sequence[Checkpoint], state: CacheState, minimum: int
) -> list[Checkpoint]:
    """The marks at which something is cached: those of at least the model's minimum."""
    return [mark for mark in marks if state.tokens(chain, mark.at)[0] >= minimum]


def expected_usage(
    chain: PrefixChain,
    marks: Sequence[Checkpoint],
    state: CacheState,
    by: CacheRules,
    minimum: int,
    now: float,
) -> ExpectedUsage:
    """The bill that the rules promise for a request with these marks."""
    last = len(chain.prefixes) - 1
    total, exact = state.tokens(chain, last)
    if by.mode == "automatic":
        return _automatic(chain, state, by, minimum, now)
    usable = cacheable(chain, marks, state, minimum)
    hit = max(cache_hits(chain, usable, state, by, now), default=-1)
    read, known = state.tokens(chain, hit)
    beyond = [mark for mark in usable if mark.at > hit]
    hour = max(
        (state.tokens(chain, m.at)[0] for m in beyond if by.choice and m.ttl == by.lifetimes[-1]),
        default=read,
    )
    end = max((state.tokens(chain, m.at)[0] for m in beyond), default=read)
    end = max(end, hour)
    return ExpectedUsage(read, end - read, hour - read, max(total, end) - end, hit, exact and known)


def _automatic(
    chain: PrefixChain, state: CacheState, by: CacheRules, minimum: int, now: float
) -> ExpectedUsage:
    """Token prefixes: all that earlier requests had in common with this one, in whole steps. Never a promise."""
    last = len(chain.prefixes) - 1
    total, _ = state.tokens(chain, last)
    hit = next((n for n in range(last, -1, -1) if state.live(chain.prefixes[n].digest, now)), -1)
    shared = state.tokens(chain, hit)[0] if by.lifetimes else 0
    read = min(total, shared - (shared - minimum) % by.step) if shared >= minimum else 0
    return ExpectedUsage(read, 0, 0, total - read, hit if read else -1)


def after_request(
    chain: PrefixChain,
    marks: Sequence[Checkpoint],
    state: CacheState,
    by: CacheRules,
    minimum: int,
    now: float,
    *,
    wrote: bool = True,
) -> CacheState:
    """The state once the response to a request that started at `now` has begun: entries written and refreshed.

    `wrote`: False if the bill says that nothing was written. Another request may have refreshed an entry later on.
    """
    entries = {digest: entry for digest, entry in state.entries.items() if now - entry.expires < FORGET}
    if by.mode == "automatic":
        ttl = by.lifetimes[0] if by.lifetimes else 0
        entry = CacheEntry(ttl, now, now + ttl, len(chain.prefixes) - 1)
        first = next(
            (n for n in range(len(chain.prefixes)) if state.tokens(chain, n)[0] >= minimum),
            len(chain.prefixes),
        )
        entries |= dict.fromkeys((prefix.digest for prefix in chain.prefixes[first:]), entry)
        return replace(state, entries=_latest(entries, chain))
    usable = cacheable(chain, marks, state, minimum)
    for at in {*cache_hits(chain, usable, state, by, now), *(mark.at for mark in usable)} - {-1}:
        digest = chain.prefixes[at].digest
        if there := state.live(digest, now):
            entries[digest] = there.refreshed(now)
    for mark in usable if wrote else ():
        digest = chain.prefixes[mark.at].digest
        if not state.live(digest, now):
            entries[digest] = CacheEntry(mark.ttl, now, now + mark.ttl, mark.at)
    return replace(state, entries=_latest(entries, chain))


def _latest(known: dict[bytes, T], chain: PrefixChain) -> dict[bytes, T]:
    """Return the known sizes in order of use, those of this chain last; when there are too many, only the latest."""
    here = {prefix.digest for prefix in chain.prefixes}
    others = [digest for digest in known if digest not in here]
    if len(others) >= 2 * MOST:
        others = others[-MOST:]
    return {digest: known[digest] for digest in (*others, *(digest for digest in known if digest in here))}


def with_billed_sizes(
    chain: PrefixChain,
    marks: Sequence[Checkpoint],
    expected: ExpectedUsage,
    state: CacheState,
    by: CacheRules,
    total: int | None,
    read: int | None,
    written: int | None,
) -> CacheState:
    """The state with what a bill tells of the sizes of prefixes."""
    if total is None or not chain.prefixes or state.exact:
        return state
    known, last = dict(state.known), chain.prefixes[-1]
    known[last.digest] = total
    if by.mode in ("explicit", "implicit"):
        if read and written and marks:
            known[chain.prefixes[marks[-1].at].digest] = read + written
        # What is read is an entry as a whole: the one expected, unless it is just as long as a shorter one.
        if read and expected.hit >= 0:
            shorter = [entry.at for entry in state.ever(chain) if entry.at < expected.hit]
            if read not in (known.get(chain.prefixes[at].digest) for at in shorter):
                known.setdefault(chain.prefixes[expected.hit].digest, read)
    ratio = total / last.size if last.size > 50 else state.ratio
    return replace(state, known=_latest(known, chain), ratio=ratio)


def without_evicted(
    chain: PrefixChain, expected: ExpectedUsage, state: CacheState, read: int | None
) -> CacheState:
    """The state without the entries that the provider would have read, had it held them.

    Who has dropped the one used last is not believed to have kept an older one, and who has nothing to have anything.
    """
    if read is None or expected.hit < 0 or read >= expected.read * (1 - TOLERANCE):
        return state
    if not read:
        return replace(state, entries={})
    gone = {
        prefix.digest
        for at, prefix in enumerate(chain.prefixes)
        if prefix.digest in state.entries and state.tokens(chain, at)[0] > read * (1 + TOLERANCE)
    }
    return replace(state, entries={name: one for name, one in state.entries.items() if name not in gone})
