"""What is known of a provider's cache, as JSON and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ipycachechat.caching.planner import Pace
from ipycachechat.caching.prefix import DIGEST
from ipycachechat.caching.provider_rules import rules
from ipycachechat.caching.state import CacheState, Entry
from ipycachechat.caching.tracker import Memory


def remembered(memory: Memory) -> dict[str, Any]:
    """What is kept of a memory: the entries, alike ones together, what is known of sizes, and the pauses."""
    alike: dict[Entry, list[str]] = {}
    for digest, entry in memory.state.entries.items():
        alike.setdefault(entry, []).append(digest.hex())
    return {
        "entries": [[e.ttl, e.used, e.expires, e.at, "".join(digests)] for e, digests in alike.items()],
        "known": {digest.hex(): tokens for digest, tokens in memory.state.known.items()},
        "ratio": memory.state.ratio,
        "exact": memory.state.exact,
        "pace": [memory.pace.pauses, memory.pace.lapses, memory.pace.last, memory.pace.believed],
    }


def recalled(scope: Sequence[str], told: dict[str, Any]) -> Memory:
    """The memory again; its rules are looked up anew by who asks next."""
    entries: dict[bytes, Entry] = {}
    for ttl, used, expires, at, digests in told["entries"]:
        one, all_of_them = Entry(ttl, used, expires, at), bytes.fromhex(digests)
        entries |= {all_of_them[n : n + DIGEST]: one for n in range(0, len(all_of_them), DIGEST)}
    known = {bytes.fromhex(digest): tokens for digest, tokens in told["known"].items()}
    state = CacheState(entries, known, told["ratio"], told["exact"])
    provider, name, *_ = scope
    return Memory(rules(provider, name), state, pace=Pace(*told["pace"]))
