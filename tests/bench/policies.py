"""Checkpoint policies of others: each maps the blocks of a request to checkpoints and their lifetimes.

From their sources: lisette 0.1.37 `_apply_cache_idxs`, LangChain's Anthropic middleware (tools, system, tail),
Cline (system and the last two user messages), Spring AI and others (last user text), litellm's injection points
(system), Anthropic's automatic caching (tail). "Anchored" is system, start of the turn, tail, and the policy's longest
live prefix once the tail is 18 positions behind it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from wire.cache import Block, positions, prefixes

SHORT, HOUR = 300, 3600
Checkpoints = dict[int, int]
"""Lifetime in seconds by index of block."""


def role(block: Block) -> str:
    """Return the role of a block's message; "" for a tool definition."""
    wire = json.loads(block.wire)
    return str(wire[0]) if isinstance(wire, list) else ""


class Policy:
    """A policy with its state for one conversation."""

    def checkpoints(self, blocks: Sequence[Block], start: int, now: float) -> Checkpoints:
        """Return the checkpoints. `start`: index of the last block of the user's prompt; `now`: time in seconds."""
        raise NotImplementedError


class Fixed(Policy):
    """A policy without state."""

    def __init__(self, places: Callable[[Sequence[Block]], list[int]]) -> None:
        self.places = places

    def checkpoints(self, blocks: Sequence[Block], start: int, now: float) -> Checkpoints:
        return dict.fromkeys(sorted(self.places(blocks)), SHORT)


class Anchored(Policy):
    """A policy that can read its last write even if many blocks were added since."""

    def __init__(self, ttl: int) -> None:
        self.ttl = ttl
        self.expires: dict[str, float] = {}

    def checkpoints(self, blocks: Sequence[Block], start: int, now: float) -> Checkpoints:
        names, places = prefixes(blocks, ("", "", "")), positions(blocks)
        live = [n for n, name in enumerate(names) if self.expires.get(name, 0) > now]
        tail = len(blocks) - 1
        checkpoints = {system(blocks), start, tail}
        if live and places[tail] - places[live[-1]] >= 18:
            checkpoints.add(live[-1])
        for n in checkpoints:
            self.expires[names[n]] = now + self.ttl
        return dict.fromkeys(sorted(checkpoints), self.ttl)


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
    ends = [n for n, speaker in enumerate(roles) if speaker == "user" and roles[n + 1 : n + 2] != ["user"]]
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
