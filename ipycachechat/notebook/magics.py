"""What the person types, to calls."""

from __future__ import annotations

import keyword
import os
import shlex
from collections import ChainMap
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from IPython.core.error import UsageError
from IPython.core.magic import line_cell_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments
from traitlets import TraitError

from ipycachechat import defaults
from ipycachechat.errors import BadInput, Interrupted
from ipycachechat.notebook import commands, frontend
from ipycachechat.notebook.session import NotebookSession
from ipycachechat.notebook.settings import ChatSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ipycachechat.conversation.cell_runs import CellRun
    from ipycachechat.conversation.messages import Content, ToolCall
    from ipycachechat.conversation.placement import Placement, Rerun
    from ipycachechat.conversation.turns import Turn
    from ipycachechat.engine.turn_request import TurnRequest
    from ipycachechat.notebook.tool_registry import ToolRegistry
    from ipycachechat.prompts.builder import Prompt


@magics_class
class ChatMagics(ChatSettings):
    """Chat with a model in cells; the chat cells of a notebook are one conversation."""

    def __init__(self, shell: Any, session: NotebookSession) -> None:
        super().__init__(shell)
        self._names: dict[str, Any] = shell.user_ns
        self.session = session
        self._tools: ToolRegistry | None = None
        session.where, session.settings = self.store_file, self.saved_settings
        session.limits = lambda: (float(self.budget), float(self.budget_day))
        session.watch = lambda: str(self.watch)
        self.observe(self._watches, "watch")
        self.observe(lambda change: session.chat.set_system(change["new"]), "system")
        if self.system and not session.begun:
            session.chat.set_system(self.system)

    @property
    def tools(self) -> ToolRegistry:
        """The functions that the model may call."""
        if self._tools is None:
            from ipycachechat.notebook.tool_registry import ToolRegistry

            self._tools = ToolRegistry(self._names)
        return self._tools

    def model_in_use(self) -> str:
        """The setting, else the first provider whose key is there, else the local model."""
        name = self.model.strip() or defaults.model(os.environ)
        if name == defaults.LOCAL and not self.model.strip() and self.session.begun:
            # With no key at hand, as in CI: whoever gave the replies that are replayed.
            replies = self.session.chat.client.cassette
            return (replies.model if replies is not None else "") or name
        return name

    @magic_arguments()
    @argument("-m", "--model", default="", help="for this cell: PROVIDER/MODEL, local, or local:PATH.gguf")
    @argument("--system", default=None, help="for this cell, in place of the conversation's system prompt")
    @argument("--max-tokens", type=int, default=None, help="the longest answer, in tokens")
    @argument("--think", default=None, choices=[*defaults.EFFORTS, "off"], help="how much to think before it")
    @argument("--out", default="", metavar="NAME", help="bind the answer's text to this name")
    @argument("--raw", action="store_true", help="send {{ … }} as they are")
    @argument("--append", action="store_true", help="ask at the end, and leave the cell's earlier turn there")
    @argument("--here", action="store_true", help="where the cell stands in the saved notebook")
    @argument("--confirm", action="store_true", help="ask you about what could cost more than the budget")
    @argument("command", nargs="*", help="%%chat only: a subcommand; see %%chat help")
    @no_var_expand
    @line_cell_magic
    def chat(self, line: str = "", cell: str | None = None) -> Any:
        """Ask a model the cell's text; its answer streams in below. All chat cells are one conversation.

        `%%chat` asks; `{{ expression }}` in the text puts in a value, told by its kind. The functions named by
        `%chat tools` may be called by the model, on the way to its answer.
        `%chat` alone tells where we stand; `%chat help` lists what else there is.
        """
        try:
            if cell is not None:
                return self._ask(line, cell)
            return commands.run(self, line.strip())
        except KeyboardInterrupt:  # before anything was sent, or when all was over
            raise Interrupted("Stopped.", "%chat history tells what is kept.") from None
        finally:
            if cell is None:
                self.session.print_problems()

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
        if args.append and args.here:
            _wrong("--append and --here are two places")
        place = self.place(append=args.append, here=args.here)
        prompt = self.prompt(cell.strip(), place, raw=args.raw or not self.interpolate)
        if prompt.empty:
            _wrong("The cell has no text to send once its {{ … }} are filled in")
        ask = self.request_for_cell(prompt)
        think = ask.options if args.think is None else _thinking(args.think)
        done = self.session.ask(
            replace(
                ask,
                model=args.model.strip() or ask.model,
                placement=place,
                system=args.system,
                max_tokens=args.max_tokens or ask.max_tokens,
                options=think,
                approve_tool_call=self.allow(),
                confirm=args.confirm,
            )
        )
        if args.out and done.turn is not None:
            self._names[args.out] = done.turn.answer_text

    def next_request(self, prompt: Content, watched: tuple[CellRun, ...] = ()) -> TurnRequest:
        """What the next chat cell would ask."""
        from ipycachechat.engine.turn_request import TurnRequest

        return TurnRequest(
            prompt,
            self.model_in_use(),
            cell_runs=watched,
            max_tokens=self.max_tokens,
            ttl=defaults.TTLS[self.ttl],
            options=_thinking(self.think),
            tools=self.tools.resolve(),
            max_steps=self.max_steps,
            limits=self.limits,
            redactor=self.mask(),
            ask_user=self.person(),
            confirm_over=self.confirm_over,
        )

    def request_for_cell(self, prompt: Prompt) -> TurnRequest:
        """What the running cell asks with this prompt."""
        changed = self.session.changed_values(prompt.values)
        told = [f"changed since this cell asked before: {', '.join(changed)}"] if changed else []
        ask = self.next_request(prompt.content, prompt.cell_runs)
        return replace(ask, redacted=prompt.redacted, notes=(*prompt.notes, *prompt.cell_context_note, *told))

    def prompt(
        self,
        text: str,
        place: Placement | None = None,
        *,
        raw: bool = False,
        names: Mapping[str, Any] | None = None,
    ) -> Prompt:
        """A cell's text with the values of its `{{ … }}`, unless it is sent `raw`, and with what is watched.

        `place`: where it goes; None: the end. `names` come before the kernel's own. Raises PromptError.
        """
        from ipycachechat.prompts.builder import build_prompt

        new, before = self._watched(place)
        known = ChainMap(dict(names or {}), self._names, self.session.earlier.names)
        made = build_prompt(text, known, self.mask(), most=self.context_tokens, raw=raw, ran=new)
        return made.merged_with(before)

    def given(self, value: Any) -> Prompt:
        """The same of a value, or a list of values, that Python code in the running cell gives. Raises BadInput."""
        from ipycachechat.prompts.builder import prompt_from_values

        new, before = self._watched(self.place())
        return prompt_from_values(value, self.mask(), most=self.context_tokens, ran=new).merged_with(before)

    def _watched(self, place: Placement | None) -> tuple[list[CellRun], list[Turn]]:
        """Cells that ran and of which no turn tells, and the turns that the prompt stands in for."""
        if self.watch == "off":
            return [], []
        from ipycachechat.conversation.placement import END, split_at
        from ipycachechat.prompts.cell_context import new_cell_runs

        stay, gone = split_at(self.session.chat.history.current, place or END)
        return new_cell_runs(self.session.watching.cells, stay), gone

    def _watches(self, change: Any) -> None:
        """From now on cells are told of otherwise: of those that ran before the last chat nothing is told any more."""
        if change["new"] != "off":
            self.session.watching.since(self.session.last_asked)

    def allow(self) -> Callable[[ToolCall], bool] | None:
        """Who is asked before each call of a tool, if anybody."""
        return self.tools.allow(frontend.stdin_available(self.shell))

    def person(self) -> Callable[[str], bool] | None:
        """Who can be asked a question; None where nobody is there."""
        return frontend.confirm if frontend.stdin_available(self.shell) else None

    def place(self, *, append: bool = False, here: bool = False) -> Placement:
        """Where the prompt of the running cell goes. Raises BadInput."""
        from ipycachechat.conversation.placement import Placement

        cell = frontend.cell(self.shell)
        if not here:
            rerun: Rerun = "append" if append else self.rerun  # type: ignore[assignment] # one of the setting's values
            return Placement(cell, rerun)
        if cell is None:
            _wrong("--here: this front end does not tell which cell is running")
        order = self.session.saved().cells
        if cell.id not in order:
            raise BadInput(
                "The saved notebook does not hold this cell yet", "Save it, and run the cell again."
            )
        return Placement(cell, order=order)

    def restore(self, settings: dict[str, Any]) -> list[str]:
        """Have the settings of an earlier kernel hold again; the functions among its tools that are not defined yet."""
        if (model := settings.get("model")) and model != self.model_in_use():
            self.model = model
        for name in ("ttl", "think", "watch", *(() if self.budget else ("budget",))):
            with suppress(TraitError):  # of another version, that knew others
                setattr(self, name, settings.get(name, getattr(self, name)))
        self.tools.ask = self.tools.ask or bool(settings.get("ask"))
        names = [str(name) for name in settings.get("tools", [])]
        missing = []
        for name in names:
            try:
                self.tools.set(" ".join([*self.tools.names, name]))
            except BadInput:  # not defined yet, or another thing by now
                missing.append(name)
        return missing

    def saved_settings(self) -> dict[str, Any]:
        """The settings that are to hold again when the conversation is taken up in another kernel."""
        return {
            "model": self.model_in_use(),
            "ttl": self.ttl,
            "think": self.think,
            "watch": self.watch,
            "budget": self.budget,
            "tools": list(self._tools.names) if self._tools else [],
            "ask": bool(self._tools and self._tools.ask),
        }

    def complete(self, _: Any, event: Any) -> list[str]:
        """Tab completion of the line as far as it is typed."""
        from ipycachechat.notebook.completion import complete

        begun = self.session.begun
        branches = [one.name for one in self.session.chat.history.branches] if begun else []
        return complete(event.line, self._names, branches)


def _wrong(what: str, todo: str = "") -> NoReturn:
    raise BadInput(" ".join(what.split()), todo or "See %chat help, or %%chat?")


def _thinking(effort: str) -> dict[str, Any]:
    """The option that a model is told to think by."""
    return {defaults.THINK: effort} if effort in defaults.EFFORTS else {}
