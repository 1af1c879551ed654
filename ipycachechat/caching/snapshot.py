"""A CacheTracker as JSON and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ipycachechat.caching.planner import PauseStats
from ipycachechat.caching.prefix import DIGEST
from ipycachechat.caching.provider_rules import rules_for
from ipycachechat.caching.state import CacheEntry, CacheState
from ipycachechat.caching.tracker import CacheTracker


def dump_tracker(memory: CacheTracker) -> dict[str, Any]:
    """Return a tracker as JSON: its entries, grouped by equal values, known sizes, and pauses."""
    alike: dict[CacheEntry, list[str]] = {}
    for digest, entry in memory.state.entries.items():
        alike.setdefault(entry, []).append(digest.hex())
    return {
        "entries": [[e.ttl, e.last_used, e.expires, e.at, "".join(digests)] for e, digests in alike.items()],
        "known": {digest.hex(): tokens for digest, tokens in memory.state.known.items()},
        "ratio": memory.state.ratio,
        "exact": memory.state.exact,
        "pace": [memory.pauses.pauses, memory.pauses.lapses, memory.pauses.last, memory.pauses.prior],
    }


def load_tracker(scope: Sequence[str], told: dict[str, Any]) -> CacheTracker:
    """The memory again; its rules are looked up again at the next request."""
    entries: dict[bytes, CacheEntry] = {}
    for ttl, used, expires, at, digests in told["entries"]:
        one, all_of_them = CacheEntry(ttl, used, expires, at), bytes.fromhex(digests)
        entries |= {all_of_them[n : n + DIGEST]: one for n in range(0, len(all_of_them), DIGEST)}
    known = {bytes.fromhex(digest): tokens for digest, tokens in told["known"].items()}
    state = CacheState(entries, known, told["ratio"], told["exact"])
    provider, name, *_ = scope
    return CacheTracker(rules_for(provider, name), state, pauses=PauseStats(*told["pace"]))
