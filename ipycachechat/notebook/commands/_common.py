"""Helpers of the subcommands: printing, displays, and errors for wrong arguments."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from ipycachechat.errors import BadInput
from ipycachechat.notebook import frontend
from ipycachechat.notebook.chat_cells import CellChat
from ipycachechat.rendering.format import write_stdout


def print_lines(*lines: object) -> None:
    """Print lines: below the cell in a notebook, below the prompt in a terminal."""
    for line in lines:
        write_stdout(f"{line}\n")


def show_report(cells: CellChat, text: str, html: str) -> None:
    """Display HTML with the same as plain text beside it; in a terminal print the text."""
    if not frontend.can_update_displays(cells.shell):
        return print_lines(text)
    from IPython.display import display

    display({"text/html": html, "text/plain": text}, raw=True)


def fail(what: str, todo: str = "") -> NoReturn:
    """Raise BadInput."""
    raise BadInput(" ".join(what.split()), todo or "See %chat help, or %%chat?")


def unquoted(text: str) -> str:
    """Return the text without quotes around it."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def turns(number: int) -> str:
    """Return "1 turn", "2 turns" and so on."""
    return f"{number} turn" + "s" * (number != 1)


def turn_number(cells: CellChat, command: str, text: str) -> int:
    """Return the number of an existing turn. Raises BadInput."""
    count = len(cells.chat.history.current.turns)
    if not (text.isdecimal() and 1 <= int(text) <= count):
        there = f"there are turns 1 to {count}" if count else "there are no turns yet"
        fail(f"%chat {command} {text}: {there}")
    return int(text)


def file(command: str, name: str) -> Path:
    """Return the path of the named file. Raises BadInput."""
    if not name:
        fail(f"%chat {command}: which file?", f"%chat {command} FILE")
    try:
        return Path(unquoted(name)).expanduser()
    except RuntimeError as error:  # there is no such user
        fail(f"%chat {command} {name}: {error}", "Write the whole path.")
