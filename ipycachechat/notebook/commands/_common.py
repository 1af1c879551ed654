"""What the subcommands have in common: how they say things, and how they say that something cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ipycachechat.errors import BadInput
from ipycachechat.notebook import frontend
from ipycachechat.rendering.format import short, write

if TYPE_CHECKING:
    from ipycachechat.notebook.magics import ChatMagics

__all__ = ["fail", "file", "print_lines", "short", "show_report", "turn_number", "turns", "unquoted"]


def print_lines(*lines: object) -> None:
    """Print; a notebook shows it below the cell, a terminal below the line."""
    for line in lines:
        write(f"{line}\n")


def show_report(magics: ChatMagics, text: str, html: str) -> None:
    """A display, with the same as plain text beside it; in a terminal that text."""
    if not frontend.can_update_displays(magics.shell):
        return print_lines(text)
    from IPython.display import display

    display({"text/html": html, "text/plain": text}, raw=True)


def fail(what: str, todo: str = "") -> NoReturn:
    """Raise BadInput."""
    raise BadInput(" ".join(what.split()), todo or "See %chat help, or %%chat?")


def unquoted(text: str) -> str:
    """The text without quotes around it."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def turns(number: int) -> str:
    """So many turns."""
    return f"{number} turn" + "s" * (number != 1)


def turn_number(magics: ChatMagics, command: str, which: str) -> int:
    """The number of a turn that there is."""
    there = len(magics.session.chat.history.current.turns)
    if not (which.isdecimal() and 1 <= int(which) <= there):
        said = f"there are turns 1 to {there}" if there else "there are no turns yet"
        fail(f"%chat {command} {which}: {said}")
    return int(which)


def file(command: str, name: str) -> Path:
    """The file that was named."""
    if not name:
        fail(f"%chat {command}: which file?", f"%chat {command} FILE")
    try:
        return Path(unquoted(name)).expanduser()
    except RuntimeError as error:  # no such user
        fail(f"%chat {command} {name}: {error}", "Write the whole path.")
