"""Numbers as people read them (tokens, dollars, percent; unknown reads so), and code fences."""

from __future__ import annotations

import math
import re


def count(tokens: int | None) -> str:
    """Tokens with thousands apart, or "unknown"."""
    return "unknown" if tokens is None else f"{tokens:,}"


def money(dollars: float | None) -> str:
    """US dollars to the thousandth of a cent, or "unknown"."""
    if dollars is None:
        return "unknown"
    sign = "-" if dollars < 0 else ""
    return f"{sign}${abs(dollars):.5f}" if abs(dollars) < 10 else f"{sign}${abs(dollars):,.2f}"


def share(part: float | None) -> str:
    """A share as a percentage, or "unknown"; 100% is all of it, not nearly all."""
    return "unknown" if part is None else f"{math.floor(part * 100)}%"


def fenced(text: str, language: str = "") -> str:
    """In a fence that nothing in the text ends."""
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
