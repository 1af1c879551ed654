"""The subcommands of `%chat`, each one function, imported when it is typed, in a module by what it is for."""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ipycachechat.errors import BadInput

if TYPE_CHECKING:
    from ipycachechat.notebook.magics import ChatMagics

HELP = """\
%%chat [-m MODEL] [--system TEXT] [--max-tokens N] [--think low|medium|high|off] [--out NAME] [--raw] [--append|--here]
       [--confirm]
    Ask the model the cell's text, after all earlier turns. {{ expression }} puts in a value by its kind: a dataframe,
    a figure, a function; {{ err }}: the last error; {{ cell(3) }}, {{ out(3) }}: a cell by its number, and its value.
    Nothing of yours is called. --raw: braces are sent as they are.
    A cell that is run again replaces its turn; --append: asks at the end instead, and the earlier turn stays;
    --here: its turn goes where the cell stands in the saved notebook.
    --confirm: what could cost more than the budget is asked about, not refused.
%chat                  where we stand: model, turns, tokens, cost, until when the cache is warm

%chat model [NAME]     the model, or another from now on: PROVIDER/MODEL, local, or local:PATH.gguf ("": by the keys)
%chat system [TEXT]    the system prompt, or another from now on ("" for none)
%chat tools [F G …]    the functions that the model may call, or others from now on; off: none; --ask: ask before each
%chat ttl [LIFETIME]   how long the cache is to live, or another lifetime from now on: auto, 5m or 1h
%chat watch [WHAT]     what goes along of the cells that have run since the last chat, in front of the prompt: off,
                       code, code+output, or code+output+images
%chat budget [2.00]    dollars that this kernel may spend; --day: that all notebooks may in a day; off: no more. Alone:
                       what was spent, and what is left. A request is not sent if it could cost more than is left: all
                       that it sends (estimates times two, files at their largest) at the dearest price, nothing of it
                       read from the cache, and an answer of max_tokens. %%chat --confirm asks you instead

%chat history          the turns: cell, state, tokens, cost, warm or not; a click unfolds one
%chat show [TEXT|N]    exactly what the next request (with TEXT as its prompt), or that of turn N, contains, with the
                       tokens of each part; --wire: as JSON
%chat plan [TEXT]      what this prompt (else: the next one) will read, write and cost, and the prefix behind it
%chat why [N]          what turn N (else: the last) was expected to read, what it did read, and why less
%chat usage [--all]    the inspector: tokens and cost of every turn, what is warm, each turn's prefix; kept up to date;
                       --all: what was billed by notebook, model and day, over all kernels

%chat undo             back to before the last change
%chat redo             forward to what was undone last
%chat reset            begin anew (%chat undo brings the turns back)
%chat fork NAME        go on from here on a branch of that name
%chat switch [NAME]    go on with another branch; no name: the branches
%chat pin [N|off]      keep a checkpoint after turn N (else: the last), a long document say; off: after none
%chat sync             put the turns in the order of the saved notebook, without those whose cell is gone
%chat replay           ask the stale turns again, in order, into their own cells

%chat save FILE        .json (which %chat load takes back), .md or .html
%chat load FILE        go on with a saved conversation
%chat resume [NAME]    take up what is kept of this notebook (else: of the one of that name) from an earlier kernel
%chat replies [FILE]   record every reply in a file, and serve it when the same is asked again; off: no longer;
                       --strict: ask nobody for what it does not hold

%chat warm [30m|off]   write the conversation to the cache now; 30m: keep it warm for so long, while that is cheaper
%chat fix [TEXT]       ask what is wrong in the cell that failed last, and put it, corrected, in a new cell
%chat insert [N]       put block N (else: the first) of the last answer's Python code in a new cell
%chat doctor [MODEL]   hold the rules for a model against its bills, with a few small requests (asks first)
%chat help             this
Settings: %config ChatMagics. Keys: in the environment only."""

WHERE = {
    "configure": "model system tools ttl watch budget",
    "show": "history show plan why usage",
    "edit": "undo redo reset fork switch pin sync replay",
    "files": "save load resume replies",
    "actions": "warm fix insert doctor help",
}
COMMANDS = {name: module for module, names in WHERE.items() for name in names.split()}
ALONE = ("history", "undo", "redo", "reset", "sync", "replay", "help")
"""Those that take nothing after them."""


def run(magics: ChatMagics, line: str) -> Any:
    """What stands after `%chat`. Raises BadInput."""
    name, rest = (*line.split(None, 1), "", "")[:2]
    if not name:
        name, module = "status", "show"
    elif name in COMMANDS:
        module = COMMANDS[name]
    else:
        near = difflib.get_close_matches(name, COMMANDS, 1, 0.5)
        todo = f"Did you mean: %chat {near[0]}" if near else "See %chat help, or %%chat?"
        raise BadInput(f"%chat {name}: there is no such command", todo)
    rest = rest.strip()
    if rest and name in ALONE:
        raise BadInput(f"%chat {name} takes nothing after it", "See %chat help, or %%chat?")
    return getattr(import_module(f"{__name__}.{module}"), name)(magics, rest)
