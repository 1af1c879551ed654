"""The magics `%chat` and `%%chat`: parse the line, then send the cell or run the subcommand."""

from __future__ import annotations

import keyword
import shlex
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import line_cell_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

from ipycachechat import defaults
from ipycachechat.errors import BadInput, Interrupted
from ipycachechat.notebook import SESSION_KEY
from ipycachechat.notebook.session import KeptSession, NotebookSession
from ipycachechat.notebook.settings import ChatSettings

if TYPE_CHECKING:
    from ipycachechat.notebook.chat_cells import CellChat


@magics_class
class ChatMagics(ChatSettings):
    """Chat with a model in cells; the chat cells of a notebook are one conversation."""

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        kept: KeptSession | None = shell.meta.pop(SESSION_KEY, None)
        if kept is not None:
            self.apply(kept.settings)
        self.session = NotebookSession(shell, self, kept)

    @cached_property
    def cell_chat(self) -> CellChat:
        """The kernel's chat, imported at first use, not by `%load_ext`."""
        from ipycachechat.notebook.chat_cells import CellChat

        return CellChat(self.session)

    @magic_arguments()
    @argument(
        "-m", "--model", default="", help="for this cell only: PROVIDER/MODEL, local, or local:PATH.gguf"
    )
    @argument("--system", default=None, help="system prompt for this cell only")
    @argument("--max-tokens", type=int, default=None, help="maximum length of the answer")
    @argument(
        "--think",
        default=None,
        choices=[*defaults.EFFORTS, "off"],
        help="reasoning effort, for this cell only",
    )
    @argument("--out", default="", metavar="NAME", help="assign the answer's text to this variable")
    @argument("--raw", action="store_true", help="send {{ … }} literally")
    @argument(
        "--append", action="store_true", help="add the turn at the end, and keep the cell's earlier one"
    )
    @argument("--here", action="store_true", help="put the turn where the cell stands in the saved notebook")
    @argument(
        "--confirm", action="store_true", help="if it could exceed the budget, ask you instead of refusing"
    )
    @argument("command", nargs="*", help="%%chat only: a subcommand; %%chat help lists them")
    @no_var_expand
    @line_cell_magic
    def chat(self, line: str = "", cell: str | None = None) -> Any:
        """Send the cell's text to a model; the answer streams in below. All chat cells are one conversation.

        In `%%chat`, `{{ expression }}` inserts a value, formatted according to its type, and the model may call the
        functions named by `%chat tools`. `%chat` shows the current state; `%chat help` lists the subcommands.
        """
        try:
            if cell is not None:
                return self._ask(line, cell)
            from ipycachechat.notebook import commands

            return commands.run(self.cell_chat, line.strip())
        except KeyboardInterrupt:  # before anything was sent, or after the end
            raise Interrupted("Stopped.", "%chat history shows what is kept.") from None
        finally:
            if cell is None:
                self.session.print_problems()

    def _ask(self, line: str, cell: str) -> None:
        args, cell_chat = self._arguments(line), self.cell_chat
        if not cell.strip():
            raise _usage_error("The cell has no text to send")
        placement = cell_chat.placement(append=args.append, here=args.here)
        prompt = cell_chat.prompt(cell.strip(), placement, raw=args.raw or not self.interpolate)
        if prompt.empty:
            raise _usage_error("The cell has no text to send once its {{ … }} are filled in")
        request = cell_chat.request_for_cell(prompt, placement, think=args.think)
        result = self.session.ask(
            replace(
                request,
                model=args.model.strip() or request.model,
                system=args.system,
                max_tokens=args.max_tokens or request.max_tokens,
                confirm=args.confirm,
            )
        )
        if args.out and result.turn is not None:
            cell_chat.shell.user_ns[args.out] = result.turn.answer_text

    def _arguments(self, line: str) -> Any:
        """Return the parsed options of `%%chat`. Raises BadInput."""
        try:
            args = type(self).chat.parser.parse_args(shlex.split(line))
        except (UsageError, ValueError) as error:
            raise _usage_error(f"%%chat {line.strip()}: {error}") from None
        if args.command:
            raise _usage_error(
                f"%%chat takes its text from the cell, not {' '.join(args.command)!r} from its first line"
            )
        if args.out and (not args.out.isidentifier() or keyword.iskeyword(args.out)):
            raise _usage_error(f"--out {args.out}: this is not a valid variable name")
        if args.max_tokens is not None and args.max_tokens < 1:
            raise _usage_error("--max-tokens must be 1 or more")
        if args.append and args.here:
            raise _usage_error("--append and --here contradict each other")
        return args

    def complete(self, _: Any, event: Any) -> list[str]:
        """Return what may come next on the line, for Tab completion."""
        from ipycachechat.notebook import commands

        options = [name for action in type(self).chat.parser._actions for name in action.option_strings]
        return commands.complete(self.cell_chat, event.line, options)


def _usage_error(message: str) -> BadInput:
    return BadInput(" ".join(message.split()), "See %chat help, or %%chat?")
