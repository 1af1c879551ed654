"""Numbers as text (tokens, dollars, percent; None as "unknown"), and code fences."""

from __future__ import annotations

import math
import re


def count(tokens: int | None) -> str:
    """Return a number of tokens with thousands separators, or "unknown"."""
    return "unknown" if tokens is None else f"{tokens:,}"


def plural(number: int, noun: str) -> str:
    """Return "1 turn", "2 turns" and so on."""
    return f"{number:,} {noun}" + "s" * (number != 1)


def money(dollars: float | None) -> str:
    """Return US dollars with five decimals (two from $10 on), or "unknown"."""
    if dollars is None:
        return "unknown"
    sign = "-" if dollars < 0 else ""
    return f"{sign}${abs(dollars):.5f}" if abs(dollars) < 10 else f"{sign}${abs(dollars):,.2f}"


def percent(share: float | None) -> str:
    """Return a share as a percentage, rounded down so that only 1 is 100%, or "unknown"."""
    return "unknown" if share is None else f"{math.floor(share * 100)}%"


def fence_for(text: str) -> str:
    """Return a run of backticks that is longer than any in the text."""
    return "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])


def code_fence(text: str, language: str = "") -> str:
    """Return the text in a code fence that nothing in it can close."""
    fence = fence_for(text)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
