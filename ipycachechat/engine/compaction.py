"""Shorten tool results when a conversation is longer than the model's context."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ipycachechat.text.truncate import truncate_middle

if TYPE_CHECKING:
    from ipycachechat.conversation.messages import Content, Message
    from ipycachechat.conversation.turns import Turn


LENGTHS = (40_000, 10_000, 2_500)
"""Characters that the results of tools are cut to, one after the other, until the model takes them."""


def shortened(messages: Sequence[Message]) -> list[Message] | None:
    """With the results of tools cut to the first length that makes any shorter; None if none does."""
    for length in LENGTHS:
        cut = [replace(m, content=_cut(m.content, length)) if m.role == "tool" else m for m in messages]
        if cut != list(messages):
            return cut
    return None


def shortened_turns(turns: Sequence[Turn]) -> tuple[Turn, ...] | None:
    """The same for the turns of a conversation."""
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


def describe_largest_turns(sizes: Iterable[tuple[int, int]], last: int, most: int = 3) -> str:
    """The largest turns in words, from (turn from 0, tokens) of each block. `last`: the turn at hand."""
    total: Counter[int] = Counter()
    for turn, tokens in sizes:
        total[turn] += tokens
    names = {last: "this one", -1: "tools and system prompt"}
    told = [
        f"{names.get(turn, f'turn {turn + 1}')} (≈{tokens:,} tokens)"
        for turn, tokens in total.most_common(most)
        if tokens
    ]
    return ", ".join(told)
