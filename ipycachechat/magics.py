"""What the person types, to calls."""

from __future__ import annotations

import difflib
import inspect
import keyword
import os
import re
import shlex
from dataclasses import replace
from typing import Any, NoReturn

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments
from traitlets import Bool, Enum, Int, Unicode

from ipycachechat.core import defaults, words
from ipycachechat.core.errors import BadInput
from ipycachechat.kernel_tools import KernelTools
from ipycachechat.model.names import chat_models
from ipycachechat.notebook import front, markdown, tables
from ipycachechat.notebook.prompt import fill
from ipycachechat.rounds import Ask
from ipycachechat.session import Session, read_dotenv

HELP = """\
%%chat [-m MODEL] [--system TEXT] [--max-tokens N] [--think low|medium|high|off] [--out NAME]
    Ask the model the cell's text, after all earlier turns. {{ expression }} is replaced by its value.
    A cell that is run again replaces its turn.
%chat                  where we stand: model, turns, tokens, cost, until when the cache is warm
%chat model [NAME]     the model, or another from now on: PROVIDER/MODEL, local, or local:PATH.gguf ("": by the keys)
%chat system [TEXT]    the system prompt, or another from now on ("" for none)
%chat tools [F G …]    the functions that the model may call, or others from now on; off: none; --ask: ask before each
%chat ttl [LIFETIME]   how long the cache is to live, or another lifetime from now on: auto, 5m or 1h
%chat plan [TEXT]      what this prompt (else: the next one) will read, write and cost, and the prefix behind it
%chat why [N]          what turn N (else: the last) was expected to read, what it did read, and why less
%chat pin [N|off]      keep a checkpoint after turn N (else: the last), a long document say; off: after none
%chat warm [30m|off]   write the conversation to the cache now; 30m: keep it warm for so long, while that is cheaper
%chat doctor [MODEL]   hold the rules for a model against its bills, with a few small requests (asks first)
%chat history          the turns, in order
%chat undo             back to before the last change
%chat reset            begin anew (%chat undo brings the turns back)
%chat help             this
Settings: %config ChatMagics. Keys: in the environment only."""
COMMANDS = tuple("model system tools ttl plan why pin warm doctor history undo reset help".split())
TAKES_MORE = ("model", "system", "tools", "ttl", "plan", "why", "pin", "warm", "doctor")
LONGEST = 24 * 3600
OPTIONS = ("-m", "--system", "--max-tokens", "--think", "--out")


@magics_class
class ChatMagics(Magics):
    """Chat with a model in cells; the chat cells of a notebook are one conversation."""

    model = Unicode("", help="PROVIDER/MODEL as litellm names it, or local; empty: by the keys set").tag(
        config=True
    )
    system = Unicode("", help="The system prompt of a new conversation.").tag(config=True)
    max_tokens = Int(
        0, min=0, help=f"Longest answer; 0: the model's own limit, at most {defaults.MOST_TOKENS:,}."
    ).tag(config=True)
    ttl = Enum(
        list(defaults.TTLS),
        "auto",
        help="How long Claude's cache is asked to live; auto: whichever is cheaper by your pauses.",
    ).tag(config=True)
    think = Enum(
        ["", *defaults.EFFORTS], "", help="How much to think before each answer, for models that can."
    ).tag(config=True)
    max_steps = Int(
        defaults.MOST_STEPS, min=0, help="Rounds of tool calls in one turn; then the model is told to answer."
    ).tag(config=True)
    dotenv = Bool(False, help="Read keys from a .env file, here or above, before each chat.").tag(config=True)

    def __init__(self, shell: Any, session: Session) -> None:
        super().__init__(shell)
        self._names: dict[str, Any] = shell.user_ns
        self.session = session
        self.tools = KernelTools(self._names)
        self.observe(lambda change: session.dialogue.set_system(change["new"]), "system")
        if self.system and not session.dialogue.history.now.turns:
            session.dialogue.set_system(self.system)

    def model_in_use(self) -> str:
        """The setting, else the first provider whose key is there, else the local model."""
        return self.model.strip() or defaults.model(os.environ)

    @magic_arguments()
    @argument("-m", "--model", default="", help="for this cell: PROVIDER/MODEL, local, or local:PATH.gguf")
    @argument("--system", default=None, help="for this cell, in place of the conversation's system prompt")
    @argument("--max-tokens", type=int, default=None, help="the longest answer, in tokens")
    @argument("--think", default=None, choices=[*defaults.EFFORTS, "off"], help="how much to think before it")
    @argument("--out", default="", metavar="NAME", help="bind the answer's text to this name")
    @argument("command", nargs="*", help="%%chat only: a subcommand; see %%chat help")
    @no_var_expand
    @line_cell_magic
    def chat(self, line: str = "", cell: str | None = None) -> None:
        """Ask a model the cell's text; its answer streams in below. All chat cells are one conversation.

        `%%chat` asks; `{{ expression }}` in the text is replaced by the value's text. The functions named by
        `%chat tools` may be called by the model, on the way to its answer.
        `%chat` alone tells where we stand; `%chat help` lists what else there is.
        """
        if cell is None:
            self._command(line.strip())
        else:
            self._ask(line, cell)

    def _ask(self, line: str, cell: str) -> None:
        try:
            args = type(self).chat.parser.parse_args(shlex.split(line))
        except (UsageError, ValueError) as error:
            _wrong(f"%%chat {line.strip()}: {error}")
        if args.command:
            _wrong(f"%%chat takes its text from the cell, not {' '.join(args.command)!r} from its first line")
        if args.out and (not args.out.isidentifier() or keyword.iskeyword(args.out)):
            _wrong(f"--out {args.out}: this is no name that a variable can have")
        if args.max_tokens is not None and args.max_tokens < 1:
            _wrong("--max-tokens must be 1 or more")
        if not cell.strip():
            _wrong("The cell has no text to send")
        prompt = fill(cell.strip(), self._names)
        if not prompt.strip():
            _wrong("The cell has no text to send once its {{ … }} are filled in")
        if self.dotenv:
            read_dotenv()
        ask = self._next(prompt)
        think = ask.options if args.think is None else _thinking(args.think)
        done = self.session.ask(
            replace(
                ask,
                model=args.model.strip() or ask.model,
                cell=front.cell(self.shell),
                system=args.system,
                max_tokens=args.max_tokens or ask.max_tokens,
                options=think,
                allow=self.tools.allow(front.somebody_is_there(self.shell)),
            )
        )
        if args.out and done.turn is not None:
            self._names[args.out] = done.turn.answer

    def _command(self, line: str) -> None:
        name, rest = (*line.split(None, 1), "", "")[:2]
        if not name:
            return self._status()
        if name not in COMMANDS:
            near = difflib.get_close_matches(name, COMMANDS, 1, 0.5)
            _wrong(f"%chat {name}: there is no such command", near and f"Did you mean: %chat {near[0]}")
        rest = rest.strip()
        if rest and name not in TAKES_MORE:
            _wrong(f"%chat {name} takes nothing after it")
        getattr(self, f"_{name}")(rest)

    def _status(self) -> None:
        chat = self.session.dialogue
        turns = chat.history.now.turns
        stale = sum(turn.stale for turn in turns)
        tokens, money = words.totals(chat.ledger)
        print(f"{self.model_in_use()}, {_turns(len(turns))}" + f" ({stale} stale)" * bool(stale))  # noqa: T201
        print(tokens)  # noqa: T201
        print(money)  # noqa: T201
        if chat.engine.booked:
            print(tables.foretold(chat.engine.booked[-1].warm_until, self.session.now, chat.engine.foretold))  # noqa: T201
        if (kept := chat.kept) is not None:
            print(tables.kept(kept.refreshed, kept.until, kept.ended))  # noqa: T201

    def _model(self, name: str) -> None:
        if name:
            self.model = _unquoted(name)
        print(f"model: {self.model_in_use()}")  # noqa: T201

    def _system(self, text: str) -> None:
        if text:
            self.session.dialogue.set_system(_unquoted(text))
        now = self.session.dialogue.history.now.system
        print(f"system: {_short(now) if text else now}" if now else "no system prompt")  # noqa: T201

    def _tools(self, line: str) -> None:
        if line:
            self.tools.set(line)
        print(self.tools.told)  # noqa: T201

    def _ttl(self, lifetime: str) -> None:
        if lifetime and lifetime not in defaults.TTLS:
            _wrong(f"%chat ttl {lifetime}: a lifetime is auto, 5m or 1h")
        self.ttl = lifetime or self.ttl
        print(f"lifetime: {self.ttl}")  # noqa: T201

    def _plan(self, text: str) -> None:
        ask, dialogue = self._next(fill(text, self._names)), self.session.dialogue
        print(tables.plan(self.session.wait(lambda tell: dialogue.plan(ask, tell))))  # noqa: T201

    def _why(self, which: str) -> None:
        number = self._number("why", which) if which else 0
        print(tables.why(self.session.dialogue.answer(number)))  # noqa: T201

    def _pin(self, which: str) -> None:
        chat = self.session.dialogue
        turns = chat.history.now.turns
        if not turns:
            _wrong("%chat pin: there are no turns yet")
        if which == "off":
            chat.pin(None)
            print("no turn is pinned")  # noqa: T201
            return
        number = self._number("pin", which) if which else len(turns)
        chat.pin(number)
        print(f"a checkpoint stays after turn {number}, from the next request on")  # noqa: T201

    def _number(self, command: str, which: str) -> int:
        """The number of a turn that there is."""
        turns = len(self.session.dialogue.history.now.turns)
        if not (which.isdecimal() and 1 <= int(which) <= turns):
            there = f"there are turns 1 to {turns}" if turns else "there are no turns yet"
            _wrong(f"%chat {command} {which}: {there}")
        return int(which)

    def _warm(self, time: str) -> None:
        session, ask = self.session, self._next("")
        if time == "off":
            session.keep_warm(ask, 0)
            print("no longer kept warm")  # noqa: T201
            return
        seconds = _seconds(time) if time else 0.0
        booked = session.wait(lambda tell: session.dialogue.warm(ask, tell))
        print(tables.warmed(booked.usage, booked.bill, booked.warm_until))  # noqa: T201
        if seconds and booked.warm_until is not None and booked.warm_until > session.now + seconds:
            print(f"it stays warm for {time} by itself")  # noqa: T201
        elif seconds:
            session.keep_warm(ask, seconds)
            print(f"kept warm for {time}, while that is cheaper (%chat: how it goes; %chat warm off)")  # noqa: T201

    def _doctor(self, name: str) -> None:
        model, session = _unquoted(name) or self.model_in_use(), self.session
        requests, tokens, dollars = session.wait(lambda tell: session.dialogue.examination(model, tell))
        price = "unknown" if dollars is None else f"at most {words.money(dollars)}"
        if not front.somebody_is_there(self.shell):
            _wrong(f"%chat doctor would send {requests} requests to {model}, and nobody is there to be asked")
        question = (
            f"{requests} requests of {tokens:,} tokens in all to {model}, price {price}. Send them? [y/N] "
        )
        if input(question).strip().lower() not in ("y", "yes"):
            print("nothing was sent")  # noqa: T201
            return
        found = session.wait(lambda tell: session.dialogue.examine(model, tell))
        print(tables.doctor([(c.rule, c.promise, c.usage, c.agrees) for c in found]))  # noqa: T201

    def _next(self, prompt: str) -> Ask:
        """What the next chat cell would ask."""
        return Ask(
            prompt,
            self.model_in_use(),
            max_tokens=self.max_tokens,
            ttl=defaults.TTLS[self.ttl],
            options=_thinking(self.think),
            tools=self.tools.now(),
            max_steps=self.max_steps,
        )

    def _history(self, _: str) -> None:
        turns = self.session.dialogue.history.now.turns
        if not turns:
            print("no turns yet")  # noqa: T201
        for number, turn in enumerate(turns, 1):
            state = turn.state.value + ", stale" * turn.stale + ", pinned" * turn.pinned
            print(f"{number}. [{state}, {turn.model}] {_short(turn.question)}")  # noqa: T201
            print(f"   → {_short(turn.answer)}")  # noqa: T201

    def _undo(self, _: str) -> None:
        if not self.session.dialogue.undo():
            _wrong("There is nothing to undo")
        print(f"undone: {_turns(len(self.session.dialogue.history.now.turns))}")  # noqa: T201

    def _reset(self, _: str) -> None:
        self.session.dialogue.reset()
        print("begun anew (%chat undo brings the turns back)")  # noqa: T201

    def _help(self, _: str) -> None:
        print(HELP)  # noqa: T201

    def complete(self, _: Any, event: Any) -> list[str]:
        """Tab completion: of `%chat` its subcommands, of `%%chat` its options, then models."""
        words = event.line.split() if event.line.endswith(" ") else event.line.split()[:-1]
        whole = words[:1] == ["%%chat"]
        if words[-1:] in (["-m"], ["--model"]) or (words[1:] in (["model"], ["doctor"]) and not whole):
            return chat_models()
        if whole:
            return list(OPTIONS)
        if words[1:2] == ["tools"]:
            return [
                *(name for name, value in self._names.items() if inspect.isfunction(value)),
                "--ask",
                "off",
            ]
        if words[1:] == ["ttl"]:
            return list(defaults.TTLS)
        return list(COMMANDS) if len(words) == 1 else []


def _wrong(what: str, todo: str | list[str] = "") -> NoReturn:
    raise BadInput(" ".join(what.split()), str(todo or "See %chat help, or %%chat?"))


def _thinking(effort: str) -> dict[str, Any]:
    """The option that a model is told to think by."""
    return {defaults.THINK: effort} if effort in defaults.EFFORTS else {}


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def _seconds(time: str) -> float:
    """Of "90s", "30m" or "2h"; a bare number is minutes."""
    found = re.fullmatch(r"(\d{1,5})(s|m|min|h)?", time.replace(" ", ""))
    seconds = int(found[1]) * {"s": 1, "h": 3600}.get(found[2] or "", 60) if found else 0
    if not 0 < seconds <= LONGEST:
        _wrong(f"%chat warm {time}: this is no time; write it as 30m or 2h, a day at most")
    return float(seconds)


def _turns(number: int) -> str:
    return f"{number} turn" + "s" * (number != 1)


def _short(text: str) -> str:
    line = " ".join(markdown.clean(text).split())
    return line if len(line) <= 100 else line[:99] + "…"
