"""Times and texts in a few words."""

from __future__ import annotations

import time

from ipycachechat.notebook import markdown


def clock(seconds: float) -> str:
    """The time of day, as in "14:05"."""
    return time.strftime("%H:%M", time.localtime(seconds))


def short(text: str, longest: int = 60) -> str:
    """The beginning of a text, in one line."""
    line = " ".join(markdown.clean(text).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"
