"""Times and texts in a few words, and how they are printed."""

from __future__ import annotations

import sys
import time

from ipycachechat.rendering import markdown


def clock(seconds: float) -> str:
    """The time of day, as in "14:05"."""
    return time.strftime("%H:%M", time.localtime(seconds))


def short(text: str, longest: int = 60) -> str:
    """The beginning of a text, in one line."""
    line = " ".join(markdown.clean(text).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def write(text: str) -> None:
    """Print it as it is; a letter that the terminal has no code for is a question mark, and no error."""
    code = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout.write(text.encode(code, "replace").decode(code))
    sys.stdout.flush()
