"""Cache rules that work by whole blocks: Anthropic's, and OpenAI's from gpt-5.6 on. Pure: no HTTP, no clock.

Anthropic: platform.claude.com/docs/en/build-with-claude/prompt-caching. An entry is written only at a
checkpoint; a read walks back from a checkpoint at most 20 positions, counting the checkpoint's own; a run
of tool_use blocks, or of tool_result blocks, is one position; a lifetime runs from the start of the request
that wrote or read the entry; an entry can be read once the response to its writer has started.
OpenAI: developers.openai.com/api/docs/guides/prompt-caching. The same entries, but no lookback limit: the
latest 80 breakpoints of the conversation are tried.

Where the pages say nothing, this server decides: an entry is dead at exactly its lifetime; a read refreshes
the deepest entry found from each checkpoint, not the shorter ones; an entry written for 5m and marked 1h
while alive stays 5m; a checkpoint below a prefix that was read makes an entry free of charge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal

from .bill import Bill

LOOKBACK = 20
MINUTES_5, MINUTES_30, HOUR = 300, 1800, 3600

Tier = Literal["tools", "system", "messages"]
TIERS: tuple[Tier, ...] = ("tools", "system", "messages")


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a prompt. `wire` is its canonical JSON with role, without `cache_control`."""

    wire: str
    tokens: int
    tier: Tier
    kind: str
    text: str = ""
    ttl: int | None = None  # seconds, if this block is a checkpoint
    may_end: bool = False  # True if an implicit breakpoint may be set here (OpenAI)


@dataclass(frozen=True, slots=True)
class Plan:
    """The bill of a request's prompt, and what to do when its response begins."""

    bill: Bill
    commit: Callable[[], None]


@dataclass(slots=True)
class Entry:
    """A cached prefix."""

    tokens: int
    ttl: int
    expires: float


@dataclass(slots=True)
class BlockCache:
    """Prefixes written at checkpoints, separate for each API key."""

    entries: dict[tuple[str, str], Entry] = field(default_factory=dict)

    def live(self, key: str, prefix: str, now: float) -> Entry | None:
        """The entry of a prefix, or None if there is none or it has expired."""
        entry = self.entries.get((key, prefix))
        return entry if entry is not None and now < entry.expires else None

    def read(self, key: str, prefix: str, now: float) -> bool:
        """Return True if the prefix is cached; if so, its lifetime starts again."""
        entry = self.live(key, prefix, now)
        if entry is None:
            return False
        entry.expires = max(entry.expires, now + entry.ttl)
        return True

    def write(self, key: str, prefix: str, tokens: int, ttl: int, now: float) -> None:
        """Write or refresh an entry for a request that started at `now`."""
        if not self.read(key, prefix, now):
            self.entries[key, prefix] = Entry(tokens, ttl, now + ttl)


def anthropic_minimum(model: str) -> int:
    """Smallest prefix, in tokens, that a Claude model caches (the page's table "Cache limitations")."""
    name = model.lower().rsplit("/", 1)[-1].replace(".", "-")
    matches = [family for family in MINIMUM if family in name]
    return MINIMUM[max(matches, key=len)] if matches else 1024


MINIMUM = {
    **dict.fromkeys(("opus-5", "fable-5", "mythos-5", "sonnet-5-5", "haiku-5-5"), 512),
    **dict.fromkeys(("opus-4-8", "sonnet-5", "sonnet-4", "opus-4", "opus-4-1"), 1024),
    **dict.fromkeys(("opus-4-7", "mythos-preview", "haiku-3", "3-5-haiku", "3-haiku"), 2048),
    **dict.fromkeys(("opus-4-6", "opus-4-5", "haiku-4-5"), 4096),
}


def positions(blocks: Sequence[Block]) -> list[int]:
    """Position of each block in the sense of the lookback: a run of tool_use or tool_result shares one."""
    indices: list[int] = []
    for i, block in enumerate(blocks):
        previous = blocks[i - 1] if i else None
        runs = block.kind in ("tool_use", "tool_result")
        joined = previous is not None and runs and previous.kind == block.kind
        indices.append(indices[-1] + (not joined) if indices else 0)
    return indices


def prefixes(blocks: Iterable[Block], seeds: Sequence[str]) -> list[str]:
    """Chained hash of every prefix. `seeds`: per tier, the settings that invalidate it and what follows."""
    chain, entered = sha256(), -1
    hashes: list[str] = []
    for block in blocks:
        while entered < TIERS.index(block.tier):
            entered += 1
            chain.update(b"\x00tier" + seeds[entered].encode())
        chain.update(b"\x00" + block.wire.encode())
        hashes.append(chain.hexdigest())
    return hashes


def sums(blocks: Iterable[Block]) -> list[int]:
    """Tokens up to and including each block."""
    total, totals = 0, []
    for block in blocks:
        total += block.tokens
        totals.append(total)
    return totals


def plan_anthropic(
    cache: BlockCache, key: str, blocks: Sequence[Block], seeds: Sequence[str], minimum: int, now: float
) -> Plan:
    """Bill a prompt by Anthropic's rules and refresh the entries that it reads; `commit` writes its own.

    Mixed lifetimes: up to the highest hit is read, from there to the highest 1h checkpoint is written
    for 1h, from there to the last checkpoint for 5m, the rest is fresh.
    """
    names, places, upto = prefixes(blocks, seeds), positions(blocks), sums(blocks)
    checkpoints = [
        (i, block.ttl) for i, block in enumerate(blocks) if block.ttl is not None and upto[i] >= minimum
    ]
    hit = -1
    for checkpoint, _ in checkpoints:
        near = (i for i in range(checkpoint, -1, -1) if places[checkpoint] - places[i] < LOOKBACK)
        hit = max(hit, next((i for i in near if cache.read(key, names[i], now)), -1))
    total = upto[-1] if upto else 0
    read_tokens = upto[hit] if hit >= 0 else 0
    one_hour_end = max([upto[i] for i, ttl in checkpoints if i > hit and ttl == HOUR], default=read_tokens)
    written_end = max([upto[i] for i, _ in checkpoints if i > hit], default=read_tokens)

    def commit() -> None:
        for i, ttl in checkpoints:
            cache.write(key, names[i], upto[i], ttl, now)

    bill = Bill(
        fresh=total - written_end,
        read=read_tokens,
        written_1h=one_hour_end - read_tokens,
        written_5m=written_end - one_hour_end,
    )
    return Plan(bill, commit)


def plan_openai_blocks(
    cache: BlockCache, key: str, blocks: Sequence[Block], model: str, explicit_only: bool, now: float
) -> Plan:
    """Bill a prompt by the rules of gpt-5.6 and later.

    Written are one implicit breakpoint, at the end of the latest eligible message, and the latest explicit
    ones: four at most, of at least 1024 tokens each. A read takes the longest prefix found at any of the
    latest 80 breakpoints, which are taken to be the explicit ones and the may_end of eligible messages.
    """
    names, upto = prefixes(blocks, (model, "", "")), sums(blocks)
    big = [i for i in range(len(blocks)) if upto[i] >= 1024]
    explicit = [i for i in big if blocks[i].ttl is not None]
    message_ends = [i for i in big if blocks[i].may_end]
    writes = explicit[-4:] if explicit_only else sorted({*explicit[-3:], *message_ends[-1:]})
    tried = explicit if explicit_only else sorted({*explicit, *message_ends})
    hit = next((i for i in reversed(tried[-80:]) if cache.read(key, names[i], now)), -1)
    total = upto[-1] if upto else 0
    read_tokens = upto[hit] if hit >= 0 else 0
    written_end = max([upto[i] for i in writes if i > hit], default=read_tokens)

    def commit() -> None:
        for i in writes:
            cache.write(key, names[i], upto[i], MINUTES_30, now)

    return Plan(
        Bill(fresh=total - written_end, read=read_tokens, written_30m=written_end - read_tokens), commit
    )
