"""Decide whether refreshing a cached prefix is cheaper than writing it again."""

from __future__ import annotations

from dataclasses import dataclass

from ipycachechat.caching.prefix import PrefixChain
from ipycachechat.caching.rules import CacheRules
from ipycachechat.caching.state import CacheState


@dataclass(frozen=True, slots=True)
class KeepaliveOption:
    """A read that starts a prefix's lifetime again."""

    at: int
    """The prefix."""
    expires: float
    """When it would be gone without."""
    cost: float
    """In tokens of fresh input."""


def best_keepalive(
    chain: PrefixChain, state: CacheState, by: CacheRules, now: float, paid: float = 0.0
) -> KeepaliveOption | None:
    """The longest live prefix whose refresh, with what was `paid` for the earlier ones, is cheaper than its loss.

    What outlives the prefix would still be read, so that only the rest would have to be written again.
    """
    live = state.on(chain, now)
    while live:
        at, entry = live.pop()
        tokens = state.tokens(chain, at)[0]
        kept = max(
            (state.tokens(chain, n)[0] for n, other in live if other.expires > entry.expires), default=0
        )
        cost = by.reads * tokens
        write = by.writes[by.lifetimes.index(entry.ttl)] if entry.ttl in by.lifetimes else by.writes[0]
        if paid + cost < (write - by.reads) * (tokens - kept):
            return KeepaliveOption(at, entry.expires, cost)
    return None
