"""Where checkpoints go and with which TTL, for the lowest expected cost.

Four markers are enough:
- the last block, so that the next request can read all of this one;
- the longest live prefix, so that it is reached however many blocks have been added since, and refreshed;
- the longest one that lives for an hour, so that it stays alive behind the short-lived end;
- what the user pinned, the place to which the conversation has gone back before, or the system prompt.

An hour's entry costs twice the input where it is written, five minutes' 1.25 times. But what is already read is not
charged again: an entry for an hour after a *small* addition keeps the whole prefix warm for the price of that addition.
So the end is written for five minutes until the prefix that a long pause would lose is worth more than that.
"""

from __future__ import annotations

from dataclasses import dataclass

from ipycachechat.caching.prefix import PrefixChain
from ipycachechat.caching.rules import CacheRules
from ipycachechat.caching.state import CacheState, Checkpoint, ExpectedUsage, expected_usage
from ipycachechat.defaults import TTL_SECONDS

# What is believed before any pause has been seen: of so many requests, this part was followed by a pause that is
# longer than five minutes and shorter than an hour.
BELIEVED, WEIGHT = 0.06, 10.0


@dataclass(frozen=True, slots=True)
class PauseStats:
    """The pauses between requests seen so far."""

    pauses: int = 0
    lapses: int = 0
    """Pauses that an hour's entry outlives and a shorter one does not."""
    last: float | None = None
    prior: float = BELIEVED

    def seen(self, now: float) -> PauseStats:
        """With a request that starts now."""
        if self.last is None:
            return PauseStats(0, 0, now, self.prior)
        gap = now - self.last
        lapse = TTL_SECONDS["5m"] <= gap < TTL_SECONDS["1h"]
        return PauseStats(self.pauses + 1, self.lapses + lapse, now, self.prior)

    @property
    def expiry_probability(self) -> float:
        """The chance that the pause after a request is one of those."""
        return (self.lapses + self.prior * WEIGHT) / (self.pauses + WEIGHT)


# A person thinks for ten minutes between two questions; a script does not.
NOTEBOOK, SCRIPT = PauseStats(), PauseStats(prior=0.002)


@dataclass(frozen=True, slots=True)
class RewindPoint:
    """A prefix from which the conversation has gone on in more than one way."""

    digest: bytes = b""
    at: int = -1
    """Its index."""
    times: int = 0
    """How often it came back there."""

    def seen(self, chain: PrefixChain, before: PrefixChain) -> RewindPoint:
        """With a request after the one `before`."""
        common = chain.shared_length(before)
        if not 0 < common < len(before.prefixes):
            return self
        last = chain.prefixes[common - 1]
        if last.kind not in ("text", "tool_result"):  # the others cannot bear a marker everywhere
            return self
        return RewindPoint(last.digest, common - 1, self.times + 1 if last.digest == self.digest else 1)


@dataclass(frozen=True, slots=True)
class Plan:
    """Checkpoints, and the bill that they should cause."""

    checkpoints: tuple[Checkpoint, ...]
    expected: ExpectedUsage

    @property
    def last(self) -> int:
        """The last prefix with a checkpoint; -1: none."""
        return self.checkpoints[-1].at if self.checkpoints else -1


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """A request about to be sent, and what it is expected to be billed."""

    chain: PrefixChain
    plan: Plan
    minimum: int
    at: float
    state: CacheState = CacheState()
    """The state when it was planned; other requests may have changed it since."""
    no_implicit_checkpoint: bool = False
    """True if a provider that sets a checkpoint at the end by itself is told not to."""


def sent_marks(prepared: PlannedRequest, by: CacheRules) -> tuple[Checkpoint, ...]:
    """The checkpoints that the request itself tells of: all but the one that the provider sets by itself."""
    marks = prepared.plan.checkpoints
    if not by.marker:
        return ()
    return marks[:-1] if by.mode == "implicit" and not prepared.no_implicit_checkpoint else marks


def plan(
    chain: PrefixChain,
    by: CacheRules,
    minimum: int,
    state: CacheState,
    now: float,
    pace: PauseStats = PauseStats(),
    fork: RewindPoint = RewindPoint(),
    ttl: int | None = None,
    tail: int | None = None,
) -> Plan:
    """The plan for a request. `ttl` in seconds, None: whichever is cheaper. `tail`: the last prefix to cache."""
    tail = len(chain.prefixes) - 1 if tail is None else tail
    if by.mode == "explicit":
        tail = _bearer(chain, tail, by)
    if tail < 0 or chain.prefixes[tail].kind == "tool":  # a definition bears no marker of ours
        return Plan((), expected_usage(chain, (), state, by, minimum, now))
    marks: tuple[Checkpoint, ...] = ()
    if by.mode in ("explicit", "implicit"):
        ttl = ttl if ttl in by.lifetimes or not ttl else by.lifetimes[0]
        marks = _marks(chain, tail, by, state, now, pace, fork, ttl)
    return Plan(marks, expected_usage(chain, marks, state, by, minimum, now))


def _marks(
    chain: PrefixChain,
    tail: int,
    by: CacheRules,
    state: CacheState,
    now: float,
    pace: PauseStats,
    fork: RewindPoint,
    ttl: int | None,
) -> tuple[Checkpoint, ...]:
    short, long = by.lifetimes[0], by.lifetimes[-1]
    live = [(at, entry) for at, entry in state.on(chain, now) if at <= tail]
    hit = live[-1][0] if live else -1
    hour = next((n for n, entry in reversed(live) if entry.ttl == long), -1)
    ending = ttl or _lifetime(chain, by, state, pace, hit, hour)
    found = {tail: ending}
    # In order of worth: what is read, what outlives a pause, what the user pinned, where the conversation has
    # forked before, what every fork begins with.
    wanted = [(hit, ttl or (live[-1][1].ttl if live else short)), (hour, long)]
    wanted += [(at, ttl or long) for at in reversed(_pinned(chain))]
    # If most of the prompt is new to the cache, the next edit of this cell would pay for all of it once more.
    start = _start_of_turn(chain) - 1
    if 2 * state.tokens(chain, hit)[0] < state.tokens(chain, start)[0]:
        wanted += [(start, ending)]
    if chain.has(fork.at, fork.digest):
        wanted += [(fork.at, ttl or _keeping(by, pace, fork))]
    wanted += [(chain.system_end, ending)]
    most = by.checkpoints + (by.mode == "implicit")  # its own at the end is none of ours
    for at, seconds in wanted:
        at = _bearer(chain, at, by)
        if 0 <= at < tail and len(found) < most:
            found.setdefault(at, seconds)
    # A longer lifetime may not come after a shorter one.
    longest = max((at for at, seconds in found.items() if seconds == long), default=-1)
    return tuple(Checkpoint(at, long if at < longest else found[at]) for at in sorted(found))


def _start_of_turn(chain: PrefixChain) -> int:
    """The first prefix of the newest turn."""
    number = len(chain.messages) - 1
    while number > 0 and chain.messages[number - 1].turn == chain.messages[-1].turn:
        number -= 1
    return chain.message_starts[number]


def _bearer(chain: PrefixChain, at: int, by: CacheRules) -> int:
    """The last block up to this one that can bear a marker; -1: none."""
    while at >= 0:
        prefix = chain.prefixes[at]
        answer = prefix.message >= 0 and chain.messages[prefix.message].message.role == "assistant"
        # A marker goes to the end of a message, or to a call.
        inner = at + 1 < len(chain.prefixes) and chain.prefixes[at + 1].message == prefix.message
        ends = prefix.kind == "tool_use" or not inner
        if prefix.kind != "tool" and ends and (by.can_mark_assistant or not answer):
            return at
        at -= 1
    return -1


def _keeping(by: CacheRules, pace: PauseStats, fork: RewindPoint) -> int:
    """A rewind point used so often is likely to be used as often again: the pauses it would meet, and their price."""
    lost = fork.times * pace.expiry_probability * (by.writes[0] - by.reads)
    return by.lifetimes[-1] if lost > by.writes[-1] - by.writes[0] else by.lifetimes[0]


def _pinned(chain: PrefixChain) -> list[int]:
    """The last prefix of each pinned turn."""
    ends = {chain.messages[number].turn: number for number in chain.pinned_messages}
    return [
        chain.message_starts[number + 1] - 1
        for number in ends.values()
        if number + 1 < len(chain.message_starts)
    ]


def _lifetime(
    chain: PrefixChain, by: CacheRules, state: CacheState, pace: PauseStats, hit: int, hour: int
) -> int:
    """Return True if what a pause would lose is worth what an hour costs more."""
    total = state.tokens(chain, len(chain.prefixes) - 1)[0]
    new = total - state.tokens(chain, hit)[0]
    exposed = total - state.tokens(chain, hour)[0]
    dearer = (by.writes[-1] - by.writes[0]) * new
    lost = (by.writes[0] - by.reads) * exposed
    return by.lifetimes[-1] if pace.expiry_probability * lost > dearer else by.lifetimes[0]
