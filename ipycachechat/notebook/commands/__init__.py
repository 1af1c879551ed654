"""The subcommands of `%chat`, in one table: dispatch, `%chat help`, Tab completion and the README come from it."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
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
"""Columns of `%chat help`, and where its summaries begin."""
CELLS = """\
%%chat [OPTIONS]       Ask the model the cell's text, after all earlier turns (%%chat? lists the options).
    {{ expression }} inserts a value, formatted according to its type: a dataframe, a figure, a function;
    {{ err }}: the last error; {{ cell(3) }}, {{ out(3) }}: the source and the value of cell [3].
    A cell that is run again replaces its turn."""
SETTINGS = "Settings: %config ChatMagics. Keys come from the environment only."


def _no_values(_: CellChat) -> Iterable[str]:
    return ()


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand of `%chat`."""

    handler: Callable[[CellChat, str], Any]
    """Called with the text after the subcommand."""
    usage: str
    """Its arguments as they are typed; "": it takes none."""
    summary: str
    options: Mapping[str, str] = field(default_factory=dict)
    """Meaning of each option."""
    values: Callable[[CellChat], Iterable[str]] = _no_values
    """Returns what Tab offers as its argument."""

    @property
    def repeats(self) -> bool:
        """True if it takes several arguments."""
        return "…" in self.usage

    @property
    def description(self) -> str:
        """The summary and the options, in one text."""
        return "; ".join([self.summary, *(f"{name}: {meaning}" for name, meaning in self.options.items())])


def _functions(cells: CellChat) -> Iterable[str]:
    return [*(name for name, value in cells.shell.user_ns.items() if inspect.isfunction(value)), "off"]


def _models(_: CellChat) -> Iterable[str]:
    return model_data.chat_models()


def _branches(cells: CellChat) -> Iterable[str]:
    return [branch.name for branch in cells.chat.history.branches] if cells.session.begun else []


def help(_: CellChat, name: str) -> None:
    """Print the subcommands, or one of them."""
    if name:
        return print_lines(_entry(name, _find(name)))
    groups = [[_entry(name, command) for name, command in group.items()] for group in GROUPS.values()]
    print_lines(
        CELLS, "%chat".ljust(INDENT) + STATUS, *("\n".join(["", *group]) for group in groups), "", SETTINGS
    )


STATUS = "current model, turns, cost and cache status"
GROUPS: Mapping[str, Mapping[str, Command]] = {
    "configure": {
        "model": Command(
            configure.model,
            "[NAME]",
            'the model, or change it: PROVIDER/MODEL, local, or local:PATH.gguf ("": by the keys in the environment)',
            values=_models,
        ),
        "system": Command(configure.system, "[TEXT]", 'the system prompt, or change it ("": none)'),
        "tools": Command(
            configure.tools,
            "[F G …]",
            "the functions that the model may call, or change them; off: none",
            {"--ask": "ask before each call", "--no-ask": "do not ask"},
            _functions,
        ),
        "ttl": Command(
            configure.ttl,
            "[LIFETIME]",
            "how long the provider keeps the cache, or change it: auto, 5m or 1h",
            values=lambda _: defaults.TTLS,
        ),
        "watch": Command(
            configure.watch,
            "[WHAT]",
            "whether recently run cells are included with your question, or change it: off, code, code+output or "
            "code+output+images",
            values=lambda _: defaults.WATCH_MODES,
        ),
        "budget": Command(
            configure.budget,
            "[2.00|off]",
            "dollars spent and left, or limit this kernel's total spending. A request that could exceed the limit "
            "is not sent (%%chat --confirm asks you instead)",
            {"--day": "the limit of all notebooks in a day"},
            lambda _: ["off"],
        ),
    },
    "show": {
        "history": Command(
            show.history, "", "the turns: cell, state, tokens, cost, cached or not; each unfolds"
        ),
        "show": Command(
            show.show,
            "[TEXT|N]",
            "exactly what the next request (with TEXT as its prompt), or that of turn N, contains, with the tokens of "
            "each part",
            {"--wire": "as the JSON that litellm is given"},
        ),
        "plan": Command(
            show.plan,
            "[TEXT]",
            "what this prompt (else: the next one) will read, write and cost, block by block",
        ),
        "why": Command(
            show.why,
            "[N]",
            "what turn N (else: the last) was expected to read from the cache, what was billed, why less was read, "
            "the first difference, and what to do",
        ),
        "usage": Command(
            show.usage,
            "[--all]",
            "the inspector: tokens, cost and savings turn by turn, what is cached until when, and the prefix of each "
            "turn; every chat redraws it, and it stays in the saved notebook",
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
            "continue with another branch; no name: show the branches",
            values=_branches,
        ),
        "pin": Command(
            edit.pin,
            "[N|off]",
            "keep a cache checkpoint after turn N (else: the last), after a long document for example; off: after none",
            values=lambda _: ["off"],
        ),
        "sync": Command(edit.sync, "", "match the saved notebook's order and drop deleted cells"),
        "replay": Command(edit.replay, "", "ask the stale turns again, in order, into their own cells"),
    },
    "files": {
        "save": Command(files.save, "FILE", "write the conversation as .json, .md or .html"),
        "load": Command(files.load, "FILE", "continue a conversation saved as .json"),
        "resume": Command(
            files.resume,
            "[NAME]",
            "continue the stored conversation of this notebook (else: of the named one) from an earlier kernel",
        ),
        "replies": Command(
            files.replies,
            "[FILE]",
            "record every reply in a file, and replay it when the same is asked again; off: stop",
            {"--strict": "never ask the model for what the file does not hold"},
            lambda _: ["off"],
        ),
    },
    "actions": {
        "warm": Command(
            actions.warm,
            "[30m|off]",
            "write the conversation to the cache now; with a time, keep it there for so long while that is cheaper",
            values=lambda _: ["off"],
        ),
        "fix": Command(
            actions.fix,
            "[TEXT]",
            "ask what is wrong in the cell that failed last; the corrected one goes below, for you to run",
        ),
        "insert": Command(
            actions.insert,
            "[N]",
            "put block N (else: the first) of the last answer's Python code in a new cell",
        ),
        "doctor": Command(
            actions.doctor,
            "[MODEL]",
            "check our caching rules against what the provider charges; shows the cost, and asks first",
            values=_models,
        ),
        "help": Command(
            help, "[COMMAND]", "this list, or one subcommand (as %chat COMMAND?)", values=lambda _: TABLE
        ),
    },
}
TABLE: Mapping[str, Command] = {name: command for group in GROUPS.values() for name, command in group.items()}


def run(cells: CellChat, line: str) -> Any:
    """Run the subcommand on a line, the text after `%chat`; return what it returns. Raises BadInput."""
    name, argument = (*line.split(None, 1), "", "")[:2]
    if not name:
        return show.status(cells, "")
    command = _find(name)
    if argument.strip() and not command.usage:
        fail(f"%chat {name} takes no argument")
    return command.handler(cells, argument.strip())


def reference() -> str:
    """Return the table of subcommands as the README has it, in markdown."""
    rows = [
        (_call(name, command).replace("|", "\\|"), command.description) for name, command in TABLE.items()
    ]
    return "\n".join(
        ["| | |", "|---|---|", *(f"| `{call}` | {text} |" for call, text in [("%chat", STATUS), *rows])]
    )


def _find(name: str) -> Command:
    if name not in TABLE:
        near = difflib.get_close_matches(name, TABLE, 1, 0.5)
        todo = f"Did you mean: %chat {near[0]}" if near else "See %chat help, or %%chat?"
        raise BadInput(f"%chat {name}: there is no such command", todo)
    return TABLE[name]


def _call(name: str, command: Command) -> str:
    return f"%chat {name} {command.usage}".rstrip()


def _entry(name: str, command: Command) -> str:
    """Return a subcommand as `%chat help` lists it."""
    call = _call(name, command)
    head = call.ljust(INDENT) if len(call) < INDENT else f"{call}  "
    return fill(head + command.description, WIDTH, subsequent_indent=" " * INDENT, break_on_hyphens=False)
