"""Cut long text in the middle or at the end; share a size limit fairly among several texts."""

from __future__ import annotations

import re
from collections.abc import Mapping

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
HEAD_SHARE = 0.6
"""Share of the kept characters that is taken from the start of a text; the rest is its end."""

# Scripts without spaces between words: Thai to Myanmar, Khmer, Japanese and Chinese.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
LONGEST_WORD = 60
"""Characters; anything longer is not a word, a number or an address, but code or data."""
_LAST_WORD = re.compile(rf"(?<![^\s{_UNSPACED}])[^\s{_UNSPACED}]{{0,{LONGEST_WORD}}}[^\W{_UNSPACED}]\Z")


def drop_partial_word(text: str) -> str:
    """Return a text that broke off up to the end of its last whole word."""
    last_word = _LAST_WORD.search(text, max(0, len(text) - LONGEST_WORD - 1))
    return text if last_word is None else text[: last_word.start()]


def middle_gap(length: int, max_length: int) -> tuple[int, int]:
    """Return start and end of the part that is left out of a text of this length; it is empty if the text fits."""
    if length <= max_length + 100:  # the note has a length, too
        return length, length
    head = round(max_length * HEAD_SHARE)
    return head, length - (max_length - head)


def gap_note(characters: int) -> str:
    """Return the note in place of what was left out."""
    return f"\n[… {characters:,} characters left out …]\n"


def truncate_middle(text: str, max_length: int) -> str:
    """Return the text; if it is longer than `max_length`, with a note in place of its middle.

    It may cut a secret in two: a text that is not redacted yet is cut by its `RedactionLog`.
    """
    start, stop = middle_gap(len(text), max_length)
    return text[:start] + gap_note(stop - start) + text[stop:] if start < stop else text


def strip_addresses(text: str) -> str:
    """Return a repr without memory addresses, which differ in every kernel."""
    return _ADDRESS.sub("", text)


def fair_shares(sizes: Mapping[str, int], max_total: int) -> dict[str, int]:
    """Return the share of each text: the largest are cut first, down to the size of the next, until everything fits."""
    left, shares = max_total, {}
    by_size = sorted(sizes.items(), key=lambda item: item[1])
    for number, (name, size) in enumerate(by_size):
        shares[name] = min(size, left // (len(by_size) - number))
        left -= shares[name]
    return shares
