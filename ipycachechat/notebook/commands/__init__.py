"""The subcommands of `%chat`, in one table: dispatch, `%chat help`, Tab completion and the README come from it."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any

from ipycachechat import defaults
from ipycachechat.errors import BadInput
from ipycachechat.notebook.chat_cells import CellChat
from ipycachechat.notebook.commands import actions, configure, edit, files, show
from ipycachechat.notebook.commands._common import fail, print_lines
from ipycachechat.providers import model_data

WIDTH, INDENT = 118, 23
"""Width of `%chat help` in characters, and the column in which its summaries begin."""
CELL_HELP = """\
%%chat [OPTIONS]       Ask the model the cell's text, after all earlier turns (%%chat? lists the options).
    {{ expression }} inserts a value, formatted according to its type: a dataframe, a figure, a function;
    {{ err }}: the last error; {{ cell(3) }}, {{ out(3) }}: the source and the value of cell [3].
    Running a cell again replaces its turn."""
STATUS_HELP = "Show the current model, turns, cost and cache status."
SETTINGS_HELP = "Settings: %config ChatMagics. Keys come from the environment only."


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand of `%chat`. Its name is that of the handler, and its help is the handler's docstring."""

    handler: Callable[[CellChat, str], Any]
    """Called with the text after the subcommand."""
    usage: str = ""
    """Its arguments, as help shows them; "": it takes none."""
    options: Sequence[str] = ()
    values: Callable[[CellChat], Iterable[str]] = lambda _: ()
    """Function that returns the values that Tab completion offers as its argument."""

    @property
    def name(self) -> str:
        """Name that the user types after `%chat`."""
        return self.handler.__name__

    @property
    def call(self) -> str:
        """Line that calls it, as help shows it."""
        return f"%chat {self.name} {self.usage}".rstrip()

    @property
    def description(self) -> str:
        """Its help, in one line."""
        return " ".join((self.handler.__doc__ or "").split())


def _functions(cell_chat: CellChat) -> Iterable[str]:
    return [*(name for name, value in cell_chat.shell.user_ns.items() if inspect.isfunction(value)), "off"]


def _models(_: CellChat) -> Iterable[str]:
    return model_data.chat_models()


def _branches(cell_chat: CellChat) -> Iterable[str]:
    return [branch.name for branch in cell_chat.chat.history.branches] if cell_chat.session.has_chat else []


def _off(_: CellChat) -> Iterable[str]:
    return ("off",)


def help(_: CellChat, name: str) -> None:
    """List the subcommands, or explain one (as %chat COMMAND?)."""
    if name:
        return print_lines(_help_entry(_find(name)))
    groups = ("\n".join(["", *map(_help_entry, group)]) for group in GROUPS)
    print_lines(CELL_HELP, "%chat".ljust(INDENT) + STATUS_HELP, *groups, "", SETTINGS_HELP)


GROUPS = (
    (
        Command(configure.model, "[NAME]", values=_models),
        Command(configure.system, "[TEXT]"),
        Command(configure.tools, "[F G …]", ("--ask", "--no-ask"), _functions),
        Command(configure.ttl, "[LIFETIME]", values=lambda _: defaults.TTLS),
        Command(configure.watch, "[WHAT]", values=lambda _: defaults.WATCH_MODES),
        Command(configure.budget, "[2.00|off]", ("--day",), _off),
    ),
    (
        Command(show.history),
        Command(show.show, "[TEXT|N]", ("--wire",)),
        Command(show.plan, "[TEXT]"),
        Command(show.why, "[N]"),
        Command(show.usage, "[--all]", ("--all",)),
    ),
    (
        Command(edit.undo),
        Command(edit.redo),
        Command(edit.reset),
        Command(edit.fork, "NAME"),
        Command(edit.switch, "[NAME]", values=_branches),
        Command(edit.pin, "[N|off]", values=_off),
        Command(edit.sync),
        Command(edit.replay),
    ),
    (
        Command(files.save, "FILE"),
        Command(files.load, "FILE"),
        Command(files.resume, "[NAME]"),
        Command(files.replies, "[FILE]", ("--strict",), _off),
    ),
    (
        Command(actions.warm, "[30m|off]", values=_off),
        Command(actions.fix, "[TEXT]"),
        Command(actions.insert, "[N]"),
        Command(actions.doctor, "[MODEL]", values=_models),
        Command(help, "[COMMAND]", values=lambda _: TABLE),
    ),
)
"""The subcommands, in the groups in which `%chat help` lists them."""
TABLE: Mapping[str, Command] = {command.name: command for group in GROUPS for command in group}


def run(cell_chat: CellChat, line: str) -> Any:
    """Run the subcommand on a line, the text after `%chat`; return what it returns. Raises BadInput."""
    name, argument = (*line.split(None, 1), "", "")[:2]
    if not name:
        return show.status(cell_chat, "")
    command = _find(name)
    if argument.strip() and not command.usage:
        fail(f"%chat {name} takes no argument", f"See %chat help {name}.")
    return command.handler(cell_chat, argument.strip())


def reference() -> str:
    """Return the table of subcommands in the README, in markdown."""
    rows = [("%chat", STATUS_HELP), *((command.call, command.description) for command in TABLE.values())]
    lines = ["| `{}` | {} |".format(call.replace("|", "\\|"), text) for call, text in rows]
    return "\n".join(["| | |", "|---|---|", *lines])


def complete(cell_chat: CellChat, line: str, cell_options: Sequence[str]) -> list[str]:
    """Return what may come next on a line: subcommands and their arguments, or `cell_options` and models."""
    words = line.split() if line.endswith(" ") else line.split()[:-1]
    if words[-1:] in (["-m"], ["--model"]):
        return model_data.chat_models()
    if words[:1] == ["%%chat"]:
        return list(cell_options)
    if len(words) <= 1:
        return list(TABLE)
    command, arguments = TABLE.get(words[1]), words[2:]
    if command is None:
        return []
    takes_more = not arguments or "…" in command.usage
    values = command.values(cell_chat) if takes_more else ()
    return [word for word in (*values, *command.options) if word not in arguments]


def _find(name: str) -> Command:
    if name not in TABLE:
        similar = difflib.get_close_matches(name, TABLE, 1, 0.5)
        todo = f"Did you mean: %chat {similar[0]}" if similar else "See %chat help, or %%chat?"
        raise BadInput(f"%chat {name}: there is no such command", todo)
    return TABLE[name]


def _help_entry(command: Command) -> str:
    """Return a subcommand as `%chat help` lists it."""
    head = command.call.ljust(INDENT) if len(command.call) < INDENT else f"{command.call}  "
    return fill(head + command.description, WIDTH, subsequent_indent=" " * INDENT, break_on_hyphens=False)
