"""CellChat: build the turn requests of chat cells from the kernel's settings, tools and names."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ipycachechat import defaults
from ipycachechat.conversation.cell_runs import CellRun
from ipycachechat.conversation.messages import Content, ToolCall
from ipycachechat.conversation.placement import END, Placement, Rerun, split_at
from ipycachechat.conversation.turns import Turn
from ipycachechat.engine.session import ChatSession
from ipycachechat.engine.turn_request import TurnRequest
from ipycachechat.errors import BadInput
from ipycachechat.notebook import frontend, notebook_file
from ipycachechat.prompts.builder import Prompt, build_prompt, new_cell_runs, prompt_from_values
from ipycachechat.text.redaction_log import RedactionLog

if TYPE_CHECKING:  # these import IPython
    from ipycachechat.notebook.session import NotebookSession
    from ipycachechat.notebook.settings import ChatSettings
    from ipycachechat.notebook.tool_registry import ToolRegistry


class CellChat:
    """The kernel's chat, as chat cells, the subcommands of `%chat` and `get_chat()` use it."""

    def __init__(self, session: NotebookSession) -> None:
        self.session = session
        self.settings: ChatSettings = session.settings
        self.shell = session.shell
        self.tools: ToolRegistry = session.tools
        self._value_hashes: dict[str, dict[str, int]] = {}
        """Hash of each value in a cell's last prompt, by cell id and expression."""

    @property
    def chat(self) -> ChatSession:
        """The conversation of the chat cells."""
        return self.session.chat

    @property
    def now(self) -> float:
        """The current time, in seconds of the clock that measures cache lifetimes."""
        return self.chat.client.clock()

    def model_in_use(self) -> str:
        """Return the model of the next request."""
        return self.session.model_in_use()

    def next_request(
        self, prompt: Content, cell_runs: tuple[CellRun, ...] = (), think: str | None = None
    ) -> TurnRequest:
        """Return the request that a new chat cell with this prompt would send; `think` None: as the settings say."""
        settings = self.settings
        effort = settings.think if think is None else think
        return TurnRequest(
            prompt,
            self.model_in_use(),
            cell_runs=cell_runs,
            max_tokens=settings.max_tokens,
            ttl=defaults.TTLS[settings.ttl],
            options={defaults.EFFORT_OPTION: effort} if effort in defaults.EFFORTS else {},
            tools=self.tools.resolve(),
            max_steps=settings.max_steps,
            limits=settings.limits,
            redactor=settings.redactor(),
            ask_user=self.ask_user(),
            confirm_over=settings.confirm_over,
        )

    def request_for_cell(self, prompt: Prompt, placement: Placement, think: str | None = None) -> TurnRequest:
        """Return the request that the running cell sends with this prompt."""
        changed = self._changed_values(prompt.values)
        note = (f"changed since this cell last ran: {', '.join(changed)}",) if changed else ()
        return replace(
            self.next_request(prompt.content, prompt.cell_runs, think),
            placement=placement,
            approve_tool_call=self.approval(),
            redacted=prompt.redacted,
            notes=(*prompt.notes, *prompt.cell_context_note, *note),
        )

    def prompt(
        self,
        text: str,
        placement: Placement = END,
        *,
        raw: bool = False,
        names: Mapping[str, Any] | None = None,
    ) -> Prompt:
        """Return the text as a prompt: watched cells in front and, unless `raw`, `{{ … }}` replaced by values.

        `names` are looked up before the kernel's own. Raises PromptError.
        """
        new, replaced = self._new_cell_runs(placement)
        redact, limit = RedactionLog(self.settings.redactor()), self.settings.context_tokens
        namespace = ChainMap(dict(names or {}), self.shell.user_ns, self.session.lookups.names(redact))
        return build_prompt(text, namespace, redact, max_tokens=limit, raw=raw, cell_runs=new).merged_with(
            replaced
        )

    def prompt_from_values(self, value: Any) -> Prompt:
        """Return a prompt from a value, or a list of values, that Python code passes. Raises BadInput."""
        new, replaced = self._new_cell_runs(self.placement())
        redact, limit = RedactionLog(self.settings.redactor()), self.settings.context_tokens
        return prompt_from_values(value, redact, max_tokens=limit, cell_runs=new).merged_with(replaced)

    def placement(self, *, append: bool = False, here: bool = False) -> Placement:
        """Return where the running cell's turn goes.

        `append`: at the end, even if the cell has a turn already. `here`: at the cell's position in the saved
        notebook. Raises BadInput.
        """
        cell = frontend.cell(self.shell)
        if not here:
            rerun: Rerun = "append" if append else self.settings.rerun  # type: ignore[assignment] # one of its values
            return Placement(cell, rerun)
        if cell is None:
            raise BadInput(
                "--here: this front end does not report which cell is running", "Run it without --here."
            )
        order = notebook_file.read(self.session.notebook).cells
        if cell.id not in order:
            raise BadInput(
                "The saved notebook does not contain this cell yet", "Save it and run the cell again."
            )
        return Placement(cell, order=order)

    def approval(self) -> Callable[[ToolCall], bool] | None:
        """Return the function that asks the user before each tool call, or None if calls need no approval."""
        return self.tools.approval(frontend.stdin_available(self.shell))

    def ask_user(self) -> Callable[[str], bool] | None:
        """Return the function that asks the user a yes-or-no question, or None if the front end has no input."""
        return frontend.confirm if frontend.stdin_available(self.shell) else None

    def _new_cell_runs(self, placement: Placement) -> tuple[list[CellRun], list[Turn]]:
        """Return the cell runs that no remaining turn includes, and the turns that the new one replaces."""
        if self.settings.watch == "off":
            return [], []
        remaining, replaced = split_at(self.chat.history.current, placement)
        return new_cell_runs(self.session.watcher.cell_runs, remaining), replaced

    def _changed_values(self, values: Mapping[str, Any]) -> list[str]:
        """Return the expressions whose values differ from those in the running cell's last prompt."""
        cell = frontend.cell(self.shell)
        if cell is None:
            return []
        before = self._value_hashes.pop(cell.id, {})
        hashes = {expression: hash(value) for expression, value in values.items()}
        if hashes:
            self._value_hashes[cell.id] = hashes
        return [expression for expression, value in hashes.items() if before.get(expression, value) != value]
