"""Shorten tool results when a conversation is longer than the model's context."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ipycachechat.conversation.messages import Content, Message
from ipycachechat.conversation.turns import Turn
from ipycachechat.text.truncate import truncate_middle

LENGTHS = (40_000, 10_000, 2_500)
"""Characters that tool results are cut to, tried in this order until the model accepts the request."""


def shortened(messages: Sequence[Message]) -> list[Message] | None:
    """Return messages with tool results cut to the first length that shortens any; None if none does."""
    for length in LENGTHS:
        cut = [replace(m, content=_cut(m.content, length)) if m.role == "tool" else m for m in messages]
        if cut != list(messages):
            return cut
    return None


def shortened_turns(turns: Sequence[Turn]) -> tuple[Turn, ...] | None:
    """Return turns with tool results cut in the same way; None if none is long."""
    replies = [reply for turn in turns for reply in turn.replies]
    cut = shortened(replies)
    if cut is None:
        return None
    left = iter(cut)
    return tuple(replace(turn, replies=tuple(next(left) for _ in turn.replies)) for turn in turns)


def _cut(content: Content, length: int) -> Content:
    if isinstance(content, str):
        return truncate_middle(content, length)
    return tuple(truncate_middle(part, length) if isinstance(part, str) else part for part in content)


def describe_largest_turns(sizes: Iterable[tuple[int, int]], last: int, count: int = 3) -> str:
    """Return the largest turns in words, from (turn from 0, tokens) of each block. `last`: the unfinished turn."""
    totals: Counter[int] = Counter()
    for turn, tokens in sizes:
        totals[turn] += tokens
    names = {last: "this one", -1: "tools and system prompt"}
    return ", ".join(
        f"{names.get(turn, f'turn {turn + 1}')} (≈{tokens:,} tokens)"
        for turn, tokens in totals.most_common(count)
        if tokens
    )
