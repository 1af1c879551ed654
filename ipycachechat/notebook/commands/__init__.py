"""The subcommands of `%chat`, in one table: dispatch, `%chat help`, Tab completion and the README come from it."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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
STATUS_HELP = "current model, turns, cost and cache status"
SETTINGS_HELP = "Settings: %config ChatMagics. Keys come from the environment only."


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand of `%chat`."""

    handler: Callable[[CellChat, str], Any]
    """Called with the text after the subcommand."""
    usage: str
    """Its arguments, as help shows them; "": it takes none."""
    summary: str
    options: Mapping[str, str] = field(default_factory=dict)
    """Meaning of each option."""
    values: Callable[[CellChat], Iterable[str]] = lambda _: ()
    """Function that returns the values that Tab completion offers as its argument."""

    @property
    def description(self) -> str:
        """The summary and the options in one text."""
        return "; ".join([self.summary, *(f"{name}: {meaning}" for name, meaning in self.options.items())])


def _functions(cell_chat: CellChat) -> Iterable[str]:
    return [*(name for name, value in cell_chat.shell.user_ns.items() if inspect.isfunction(value)), "off"]


def _models(_: CellChat) -> Iterable[str]:
    return model_data.chat_models()


def _branches(cell_chat: CellChat) -> Iterable[str]:
    return [branch.name for branch in cell_chat.chat.history.branches] if cell_chat.session.has_chat else []


def help(_: CellChat, name: str) -> None:
    """Print the subcommands, or one of them."""
    if name:
        return print_lines(_help_entry(name, _find(name)))
    groups = [[_help_entry(name, command) for name, command in group.items()] for group in GROUPS.values()]
    status = "%chat".ljust(INDENT) + STATUS_HELP
    print_lines(CELL_HELP, status, *("\n".join(["", *group]) for group in groups), "", SETTINGS_HELP)


GROUPS: Mapping[str, Mapping[str, Command]] = {
    "configure": {
        "model": Command(
            configure.model,
            "[NAME]",
            'show or change the model: PROVIDER/MODEL, local, or local:PATH.gguf ("": by the keys in the environment)',
            values=_models,
        ),
        "system": Command(configure.system, "[TEXT]", 'show or change the system prompt ("": none)'),
        "tools": Command(
            configure.tools,
            "[F G …]",
            "show or change the functions that the model may call; off: none",
            {"--ask": "ask before each call", "--no-ask": "do not ask"},
            _functions,
        ),
        "ttl": Command(
            configure.ttl,
            "[LIFETIME]",
            "show or change how long the provider keeps the cache: auto, 5m or 1h",
            values=lambda _: defaults.TTLS,
        ),
        "watch": Command(
            configure.watch,
            "[WHAT]",
            "show or change whether recently run cells are included with your question: off, code, code+output or "
            "code+output+images",
            values=lambda _: defaults.WATCH_MODES,
        ),
        "budget": Command(
            configure.budget,
            "[2.00|off]",
            "show what is spent and left, or limit this kernel's total spending in dollars. A request that could "
            "exceed the limit is not sent (%%chat --confirm asks you instead)",
            {"--day": "limit the spending of all notebooks per day"},
            lambda _: ["off"],
        ),
    },
    "show": {
        "history": Command(
            show.history,
            "",
            "list the turns: cell, state, tokens, cost, cached or not; click one to unfold it",
        ),
        "show": Command(
            show.show,
            "[TEXT|N]",
            "show exactly what the next request (with TEXT as its prompt), or that of turn N, contains, with the "
            "tokens of each part",
            {"--wire": "as the JSON that is passed to litellm"},
        ),
        "plan": Command(
            show.plan,
            "[TEXT]",
            "predict what this prompt (default: the next one) will read, write and cost, block by block",
        ),
        "why": Command(
            show.why,
            "[N]",
            "explain what turn N (default: the last) was expected to read from the cache, what was billed, why less "
            "was read, the first difference, and what to do",
        ),
        "usage": Command(
            show.usage,
            "[--all]",
            "show the inspector: tokens, cost and savings by turn, what is cached until when, and cache details by "
            "turn; it is updated after every chat and stays in the saved notebook",
            {"--all": "costs by notebook, model and day, over all kernels"},
        ),
    },
    "edit": {
        "undo": Command(edit.undo, "", "go back to before the last change"),
        "redo": Command(edit.redo, "", "restore what was undone last"),
        "reset": Command(edit.reset, "", "start a new conversation (%chat undo restores the old one)"),
        "fork": Command(edit.fork, "NAME", "continue from here on a new branch"),
        "switch": Command(
            edit.switch,
            "[NAME]",
            "continue with another branch; without a name: list the branches",
            values=_branches,
        ),
        "pin": Command(
            edit.pin,
            "[N|off]",
            "keep a cache checkpoint after turn N (default: the last), for example after a long document; off: remove "
            "it",
            values=lambda _: ["off"],
        ),
        "sync": Command(edit.sync, "", "match the saved notebook's order and drop deleted cells"),
        "replay": Command(
            edit.replay, "", "rerun the turns that are out of date, in order, each in its own cell"
        ),
    },
    "files": {
        "save": Command(files.save, "FILE", "write the conversation as .json, .md or .html"),
        "load": Command(files.load, "FILE", "continue a conversation saved as .json"),
        "resume": Command(
            files.resume,
            "[NAME]",
            "continue the conversation that an earlier kernel stored for this notebook (or for the named one)",
        ),
        "replies": Command(
            files.replies,
            "[FILE]",
            "record replies in a file, and replay them when the same request is sent again; off: stop",
            {"--strict": "never ask the model; a request that is not in the file fails"},
            lambda _: ["off"],
        ),
    },
    "actions": {
        "warm": Command(
            actions.warm,
            "[30m|off]",
            "write the conversation to the cache now; with a time, keep it cached that long while that is cheaper",
            values=lambda _: ["off"],
        ),
        "fix": Command(
            actions.fix,
            "[TEXT]",
            "ask what is wrong in the cell that failed last; the corrected cell is put below, for you to run",
        ),
        "insert": Command(
            actions.insert,
            "[N]",
            "copy block N (default: the first) of the last answer's Python code into a new cell",
        ),
        "doctor": Command(
            actions.doctor,
            "[MODEL]",
            "check our caching rules against what the provider charges; shows the cost, and asks first",
            values=_models,
        ),
        "help": Command(
            help,
            "[COMMAND]",
            "list the subcommands, or explain one (as %chat COMMAND?)",
            values=lambda _: TABLE,
        ),
    },
}
TABLE: Mapping[str, Command] = {name: command for group in GROUPS.values() for name, command in group.items()}


def run(cell_chat: CellChat, line: str) -> Any:
    """Run the subcommand on a line, the text after `%chat`; return what it returns. Raises BadInput."""
    name, argument = (*line.split(None, 1), "", "")[:2]
    if not name:
        return show.status(cell_chat, "")
    command = _find(name)
    if argument.strip() and not command.usage:
        fail(f"%chat {name} takes no argument")
    return command.handler(cell_chat, argument.strip())


def reference() -> str:
    """Return the table of subcommands in the README, in markdown."""
    rows = [("%chat", STATUS_HELP)]
    rows += [(_call(name, command), command.description) for name, command in TABLE.items()]
    cells = ["`{}` | {}".format(call.replace("|", "\\|"), text) for call, text in rows]
    return "\n".join(["| | |", "|---|---|", *(f"| {row} |" for row in cells)])


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


def _call(name: str, command: Command) -> str:
    return f"%chat {name} {command.usage}".rstrip()


def _help_entry(name: str, command: Command) -> str:
    """Return a subcommand as `%chat help` lists it."""
    call = _call(name, command)
    head = call.ljust(INDENT) if len(call) < INDENT else f"{call}  "
    return fill(head + command.description, WIDTH, subsequent_indent=" " * INDENT, break_on_hyphens=False)
