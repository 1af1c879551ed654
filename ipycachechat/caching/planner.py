"""Where checkpoints go and with which TTL, for the lowest expected cost; and whether to refresh a cached prefix.

Four checkpoints are enough:
- the last block, so that the next request can read all of this one;
- the longest live prefix, so that it is found however many blocks were added since, and refreshed;
- the longest one with a TTL of an hour, so that it stays alive behind the short-lived end;
- what the user pinned, the place to which the conversation went back before, or the system prompt.

Writing for an hour costs twice the input price, for five minutes 1.25 times. But what is read is not written again: an
hour's entry after a *small* addition keeps the whole prefix cached for the price of that addition. So the end is
written for five minutes until the prefix that a long pause would lose is worth more than that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ipycachechat.caching.prefix import PrefixChain
from ipycachechat.caching.rules import CacheRules
from ipycachechat.caching.state import Checkpoint, ExpectedUsage, PlanningContext
from ipycachechat.defaults import TTL_SECONDS

PRIOR_REQUESTS = 10.0
"""Number of observed requests that the prior probability of a long pause weighs as much as."""


@dataclass(frozen=True, slots=True)
class PauseStats:
    """The pauses between requests so far."""

    count: int = 0
    long_pauses: int = 0
    """Pauses that a TTL of an hour outlives and a shorter one does not."""
    last_request: float | None = None
    prior: float = 0.06
    """Probability of a long pause that is assumed before any was seen."""

    def with_request(self, now: float) -> PauseStats:
        """Return the statistics with a request that starts at `now`."""
        if self.last_request is None:
            return replace(self, last_request=now)
        is_long = TTL_SECONDS["5m"] <= now - self.last_request < TTL_SECONDS["1h"]
        return PauseStats(self.count + 1, self.long_pauses + is_long, now, self.prior)

    @property
    def long_pause_probability(self) -> float:
        """Probability that a long pause follows a request."""
        return (self.long_pauses + self.prior * PRIOR_REQUESTS) / (self.count + PRIOR_REQUESTS)


# A user may think for ten minutes between two questions; a script does not.
NOTEBOOK, SCRIPT = PauseStats(), PauseStats(prior=0.002)


@dataclass(frozen=True, slots=True)
class RewindPoint:
    """A prefix from which the conversation continued in more than one way."""

    digest: bytes = b""
    index: int = -1
    times: int = 0
    """How often the conversation went back to it."""

    def with_request(self, chain: PrefixChain, last: PrefixChain) -> RewindPoint:
        """Return the rewind point after a request that follows the `last` one."""
        shared = chain.shared_length(last)
        if not 0 < shared < len(last.prefixes):
            return self
        prefix = chain.prefixes[shared - 1]
        if prefix.kind not in ("text", "tool_result"):  # only these can have a marker with every provider
            return self
        return RewindPoint(prefix.digest, shared - 1, self.times + 1 if prefix.digest == self.digest else 1)


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """A request about to be sent: its context, its checkpoints and the usage that they should lead to."""

    context: PlanningContext
    """With the cache state at that time; other requests may have changed it since."""
    checkpoints: tuple[Checkpoint, ...]
    """In order of their index; the one that the provider sets by itself included."""
    expected: ExpectedUsage
    no_implicit_checkpoint: bool = False
    """True if a provider that sets a checkpoint at the end by itself is asked not to."""

    @property
    def chain(self) -> PrefixChain:
        """The request's chain of prefixes."""
        return self.context.chain

    @property
    def last_checkpoint(self) -> int:
        """Index of the last prefix with a checkpoint; -1: there is none."""
        return self.checkpoints[-1].index if self.checkpoints else -1

    @property
    def sent_checkpoints(self) -> tuple[Checkpoint, ...]:
        """The checkpoints that get a marker: all but the one that the provider sets by itself."""
        if not self.context.rules.marker:
            return ()
        return self.checkpoints[:-1] if self.context.rules.mode == "implicit" else self.checkpoints


def choose_checkpoints(
    context: PlanningContext,
    pauses: PauseStats = PauseStats(),
    rewind: RewindPoint = RewindPoint(),
    ttl: int | None = None,
    tail: int | None = None,
) -> tuple[Checkpoint, ...]:
    """Return the checkpoints of a request.

    `ttl`: seconds; None: whichever is cheaper. `tail`: index of the last prefix to cache; None: all, -1: none.
    """
    chain, rules = context.chain, context.rules
    tail = context.last if tail is None else tail
    if rules.mode == "explicit":
        tail = _last_markable(chain, tail, rules)
    if rules.mode not in ("explicit", "implicit") or tail < 0 or chain.prefixes[tail].kind == "tool":
        return ()
    if ttl and ttl not in rules.lifetimes:
        ttl = rules.lifetimes[0]
    short, long = rules.lifetimes[0], rules.lifetimes[-1]
    live = [entry for entry in context.live_entries() if entry.index <= tail]
    hit = live[-1].index if live else -1
    one_hour_hit = max((entry.index for entry in live if entry.ttl == long), default=-1)
    tail_ttl = ttl or _tail_ttl(context, pauses, hit, one_hour_hit)
    # In order of value: what is read, what outlives a long pause, what the user pinned.
    candidates = [Checkpoint(hit, ttl or (live[-1].ttl if live else short)), Checkpoint(one_hour_hit, long)]
    candidates += [Checkpoint(index, ttl or long) for index in reversed(_pinned_ends(chain))]
    # If most of the prompt is not cached yet, the next edit of this cell would write all of it once more.
    turn_start = _newest_turn_start(chain) - 1
    if 2 * context.tokens(hit) < context.tokens(turn_start):
        candidates.append(Checkpoint(turn_start, tail_ttl))
    if chain.has(rewind.index, rewind.digest):
        candidates.append(Checkpoint(rewind.index, ttl or _rewind_ttl(rules, pauses, rewind)))
    candidates.append(Checkpoint(chain.system_end, tail_ttl))
    ttls = {tail: tail_ttl}
    limit = rules.max_checkpoints + (rules.mode == "implicit")  # the provider's own at the end does not count
    for candidate in candidates:
        index = _last_markable(chain, candidate.index, rules)
        if 0 <= index < tail and len(ttls) < limit:
            ttls.setdefault(index, candidate.ttl)
    # A longer TTL must not follow a shorter one.
    long_end = max((index for index, seconds in ttls.items() if seconds == long), default=-1)
    return tuple(Checkpoint(index, long if index < long_end else ttls[index]) for index in sorted(ttls))


def _newest_turn_start(chain: PrefixChain) -> int:
    """Return the index of the first prefix of the newest turn."""
    index = len(chain.messages) - 1
    while index > 0 and chain.messages[index - 1].turn == chain.messages[-1].turn:
        index -= 1
    return chain.message_starts[index]


def _last_markable(chain: PrefixChain, index: int, rules: CacheRules) -> int:
    """Return the index of the last block up to this one that can have a marker; -1: there is none."""
    while index >= 0:
        prefix = chain.prefixes[index]
        is_answer = prefix.message >= 0 and chain.messages[prefix.message].message.role == "assistant"
        # A marker goes to the end of a message, or to a tool call.
        is_inner = index + 1 < len(chain.prefixes) and chain.prefixes[index + 1].message == prefix.message
        is_end = prefix.kind == "tool_use" or not is_inner
        if prefix.kind != "tool" and is_end and (rules.can_mark_assistant or not is_answer):
            return index
        index -= 1
    return -1


def _pinned_ends(chain: PrefixChain) -> list[int]:
    """Return the index of the last prefix of each pinned turn."""
    ends = {chain.messages[index].turn: index for index in chain.pinned_messages}
    starts = chain.message_starts
    return [starts[index + 1] - 1 for index in ends.values() if index + 1 < len(starts)]


def _tail_ttl(context: PlanningContext, pauses: PauseStats, hit: int, one_hour_hit: int) -> int:
    """Return the TTL of the last checkpoint: long if a long pause would lose more than the long TTL adds."""
    rules, total = context.rules, context.tokens(context.last)
    extra_cost = (rules.writes[-1] - rules.writes[0]) * (total - context.tokens(hit))
    loss = (rules.writes[0] - rules.reads) * (total - context.tokens(one_hour_hit))
    return rules.lifetimes[-1] if pauses.long_pause_probability * loss > extra_cost else rules.lifetimes[0]


def _rewind_ttl(rules: CacheRules, pauses: PauseStats, rewind: RewindPoint) -> int:
    """Return the TTL of a rewind point, assuming that it will be used as often again."""
    loss = rewind.times * pauses.long_pause_probability * (rules.writes[0] - rules.reads)
    return rules.lifetimes[-1] if loss > rules.writes[-1] - rules.writes[0] else rules.lifetimes[0]


@dataclass(frozen=True, slots=True)
class KeepaliveOption:
    """A request that reads a prefix and so restarts its lifetime."""

    index: int
    """Index of the prefix."""
    expires: float
    """When the prefix expires without it."""
    cost: float
    """In tokens of fresh input."""


def best_keepalive(context: PlanningContext, paid: float = 0.0) -> KeepaliveOption | None:
    """Return the longest live prefix whose refresh, plus what was `paid` for earlier ones, costs less than its loss.

    A shorter entry that lives longer would still be read, so that only the rest would have to be written again.
    """
    rules, live = context.rules, context.live_entries()
    while live:
        entry = live.pop()
        tokens = context.tokens(entry.index)
        remaining = max((context.tokens(e.index) for e in live if e.expires > entry.expires), default=0)
        cost = rules.reads * tokens
        write = rules.writes[rules.lifetimes.index(entry.ttl) if entry.ttl in rules.lifetimes else 0]
        if paid + cost < (write - rules.reads) * (tokens - remaining):
            return KeepaliveOption(entry.index, entry.expires, cost)
    return None
