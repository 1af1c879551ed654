"""Where others put their checkpoints: each policy says, for the blocks of a request, which are marked and for how long.

As read in their sources: lisette 0.1.37 `_apply_cache_idxs`, LangChain's Anthropic middleware (tools, system, tail),
Cline (system and the last two user messages), Spring AI and others (last user text), litellm's injection points
(system), Anthropic's own automatic caching (tail). "Anchored" is system, start of the turn, tail, and the longest
prefix of its own that still lives once the tail is 18 positions past it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from wire.cache import Block, positions, prefixes

SHORT, HOUR = 300, 3600
Marks = dict[int, int]
"""Lifetime in seconds by index of block."""


def role(block: Block) -> str:
    """Who says it; "" for a tool's definition."""
    said = json.loads(block.wire)
    return str(said[0]) if isinstance(said, list) else ""


class Policy:
    """A policy, with what it remembers of one conversation."""

    def marks(self, blocks: Sequence[Block], start: int, at: float) -> Marks:
        """`start`: the last block of the person's prompt. `at`: seconds."""
        raise NotImplementedError


class Fixed(Policy):
    """Remembers nothing."""

    def __init__(self, places: Callable[[Sequence[Block]], list[int]]) -> None:
        self.places = places

    def marks(self, blocks: Sequence[Block], start: int, at: float) -> Marks:
        return dict.fromkeys(sorted(self.places(blocks)), SHORT)


class Anchored(Policy):
    """Reaches its own last write however many blocks have come since."""

    def __init__(self, ttl: int) -> None:
        self.ttl = ttl
        self.expires: dict[str, float] = {}

    def marks(self, blocks: Sequence[Block], start: int, at: float) -> Marks:
        names, places = prefixes(blocks, ("", "", "")), positions(blocks)
        live = [n for n, name in enumerate(names) if self.expires.get(name, 0) > at]
        tail = len(blocks) - 1
        found = {system(blocks), start, tail}
        if live and places[tail] - places[live[-1]] >= 18:
            found.add(live[-1])
        for n in found:
            self.expires[names[n]] = at + self.ttl
        return dict.fromkeys(sorted(found), self.ttl)


def system(blocks: Sequence[Block]) -> int:
    return max(n for n, block in enumerate(blocks) if block.tier == "system")


def tools(blocks: Sequence[Block]) -> int:
    return max(n for n, block in enumerate(blocks) if block.tier == "tools")


def tail(blocks: Sequence[Block]) -> int:
    return len(blocks) - 1


def last_user_text(blocks: Sequence[Block]) -> int:
    return max(n for n, block in enumerate(blocks) if block.kind == "text" and role(block) == "user")


def last_but_results(blocks: Sequence[Block]) -> int:
    return max(n for n, block in enumerate(blocks) if block.kind != "tool_result")


def last_two_user_messages(blocks: Sequence[Block]) -> list[int]:
    roles = [role(block) for block in blocks]
    ends = [n for n, one in enumerate(roles) if one == "user" and roles[n + 1 : n + 2] != ["user"]]
    return ends[-2:]


OTHERS: dict[str, Callable[[], Policy]] = {
    "system only": lambda: Fixed(lambda b: [system(b)]),
    "last user text": lambda: Fixed(lambda b: [last_user_text(b)]),
    "lisette": lambda: Fixed(lambda b: [last_but_results(b)]),
    "automatic tail": lambda: Fixed(lambda b: [tail(b)]),
    "LangChain": lambda: Fixed(lambda b: [tools(b), system(b), tail(b)]),
    "Cline": lambda: Fixed(lambda b: [system(b), *last_two_user_messages(b)]),
    "5m anchored": lambda: Anchored(SHORT),
    "1h anchored": lambda: Anchored(HOUR),
}
