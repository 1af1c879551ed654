"""A line that ends in a question mark asks IPython for help; in `%chat plan why?` it asks the model."""

from __future__ import annotations

import re

# A subcommand, and text behind it that ends in a question mark; `%chat?` and `%chat plan?` ask for help.
ASKS = re.compile(r"^%chat[ \t]+(\w+[ \t]+\S.*\?)[ \t]*$")


def keep_question_marks(lines: list[str]) -> list[str]:
    """The lines of a cell, with such a magic written as a call, where all are magics or comments."""
    if lines and lines[0].startswith("%%"):
        return lines  # a text of another magic's
    if not all(line.startswith("%") or line.startswith("#") or not line.strip() for line in lines):
        return lines  # it may be the middle of a text
    return [_called(line) for line in lines]


def _called(line: str) -> str:
    asks = ASKS.match(line)
    return f"get_ipython().run_line_magic('chat', {asks[1]!r})\n" if asks else line
