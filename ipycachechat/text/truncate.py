"""Cut long text in the middle or at the end; share a size limit fairly among several texts."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ipycachechat.text.redaction import LONGEST, Redactor

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


def truncate_middle(text: str, length: int) -> str:
    """The text with its middle left out, and said so, if it is longer than `length` characters."""
    if len(text) <= length + 100:  # the note has a length too
        return text
    head = round(length * HEAD)
    left_out = len(text) - length
    return f"{text[:head]}\n[… {left_out:,} characters left out …]\n{text[len(text) - (length - head) :]}"


def strip_addresses(text: str) -> str:
    """A repr without the address, which is another one in every kernel."""
    return _ADDRESS.sub("", text)


def fair_shares(sizes: Mapping[str, int], most: int) -> dict[str, int]:
    """Return the share of each text: the largest are cut first, down to the size of the next, until everything fits."""
    left, found = most, {}
    waiting = sorted(sizes.items(), key=lambda one: one[1])
    for number, (name, size) in enumerate(waiting):
        found[name] = min(size, left // (len(waiting) - number))
        left -= found[name]
    return found


def truncate_end(text: str, length: int) -> str:
    """The text without its end, and dots for it, if it is longer; what looks secret is not cut in two, but left out."""
    if len(text) <= length:
        return text
    crossed = [
        start for start, stop, _ in Redactor()._places(text[: length + LONGEST]) if start < length < stop
    ]
    return text[: min([length, *crossed])] + "…"
