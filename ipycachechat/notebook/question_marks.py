"""Keep IPython from taking `%chat plan why?` for its own help: it is a prompt; `%chat plan?` is `%chat help plan`."""

from __future__ import annotations

import re

# A subcommand followed by text that ends in a question mark, and a subcommand alone with one.
_TEXT = re.compile(r"^%chat[ \t]+(\w+[ \t]+\S.*\?)[ \t]*$")
_HELP = re.compile(r"^%chat[ \t]+(\w+)[ \t]*\?{1,2}[ \t]*$")


def keep_question_marks(lines: list[str]) -> list[str]:
    """Return a cell's lines with such magics written as calls, if the cell holds only magics and comments."""
    if lines and lines[0].startswith("%%"):
        return lines  # the text of another magic
    if not all(line.startswith("%") or line.startswith("#") or not line.strip() for line in lines):
        return lines  # it may be the middle of a string
    return [_as_call(line) for line in lines]


def _as_call(line: str) -> str:
    if text := _TEXT.match(line):
        return f"get_ipython().run_line_magic('chat', {text[1]!r})\n"
    if command := _HELP.match(line):
        return f"get_ipython().run_line_magic('chat', 'help {command[1]}')\n"
    return line
