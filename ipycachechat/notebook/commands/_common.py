"""Helpers of the subcommands: printing, displays, and errors for wrong arguments."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from ipycachechat.errors import BadInput
from ipycachechat.notebook import frontend
from ipycachechat.notebook.chat_cells import CellChat
from ipycachechat.rendering.format import write_stdout
from ipycachechat.text import sanitize

NO_TURNS = "Ask something in a %%chat cell first."


def print_lines(*lines: str) -> None:
    """Print lines: below the cell in a notebook, below the prompt in a terminal."""
    for line in lines:
        write_stdout(f"{line}\n")


def show_report(cell_chat: CellChat, text: str, html: str) -> None:
    """Display a report as HTML, with its plain text beside it; in a terminal print the text."""
    if not frontend.can_update_displays(cell_chat.shell):
        return print_lines(text)
    from IPython.display import display

    display({"text/html": html, "text/plain": sanitize.clean(text)}, raw=True)


def fail(message: str, todo: str) -> NoReturn:
    """Raise BadInput."""
    raise BadInput(" ".join(message.split()), todo)


def unquoted(text: str) -> str:
    """Return the text without quotes around it."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def split_flag(argument: str, flag: str) -> tuple[str, bool]:
    """Return the argument of a subcommand without a flag, and whether the flag was in it."""
    words = argument.split()
    return " ".join(word for word in words if word != flag), flag in words


def turn_number(cell_chat: CellChat, command: str, argument: str) -> int:
    """Return the number of an existing turn. Raises BadInput."""
    count = len(cell_chat.chat.history.current.turns)
    if not (argument.isdecimal() and 1 <= int(argument) <= count):
        if not count:
            fail(f"%chat {command} {argument}: there are no turns yet", NO_TURNS)
        fail(f"%chat {command} {argument}: there is no such turn", f"Choose from turns 1 to {count}.")
    return int(argument)


def file_path(command: str, name: str) -> Path:
    """Return the path of the named file. Raises BadInput."""
    if not name:
        fail(f"%chat {command}: which file?", f"%chat {command} FILE")
    try:
        return Path(unquoted(name)).expanduser()
    except RuntimeError as error:  # an unknown user in ~user
        fail(f"%chat {command} {name}: {error}", "Write the whole path.")
