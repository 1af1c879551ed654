"""Texts made shorter: where the conversation is too long (and what in it is longest), or an answer broke off."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipycachechat.conversation.turns import Content, Message, Turn

LENGTHS = (40_000, 10_000, 2_500)
"""Characters that the results of tools are cut to, one after the other, until the model takes them."""
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
HEAD = 0.6
"""Of what is kept of a text; the rest is its end."""

# Scripts that put no spaces between words: Thai to Myanmar, Khmer, Japanese and Chinese.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
# As much of a word, a number or an address as may be half of it; what is longer is none of these, but code or data.
LONGEST_WORD = 60
_LAST = re.compile(rf"(?<![^\s{_UNSPACED}])[^\s{_UNSPACED}]{{0,{LONGEST_WORD}}}[^\W{_UNSPACED}]\Z")


def whole_words(text: str) -> str:
    """A text that broke off, up to the end of its last whole word."""
    found = _LAST.search(text, max(0, len(text) - LONGEST_WORD - 1))
    return text if found is None else text[: found.start()]


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
        return middle_cut(content, length)
    return tuple(middle_cut(part, length) if isinstance(part, str) else part for part in content)


def middle_cut(text: str, length: int) -> str:
    """The text with its middle left out, and said so, if it is longer than `length` characters."""
    if len(text) <= length + 100:  # the note has a length too
        return text
    head = round(length * HEAD)
    left_out = len(text) - length
    return f"{text[:head]}\n[… {left_out:,} characters left out …]\n{text[len(text) - (length - head) :]}"


def placeless(text: str) -> str:
    """A repr without the address, which is another one in every kernel."""
    return _ADDRESS.sub("", text)


def largest(sizes: Iterable[tuple[int, int]], last: int, most: int = 3) -> str:
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
