"""`get_chat()`: the conversation of the chat cells, from Python."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ipycachechat.api.base_chat import ToolCache
from ipycachechat.api.chat import Chat
from ipycachechat.conversation.placement import END
from ipycachechat.engine.session import ChatSession
from ipycachechat.engine.turn_request import TurnRequest
from ipycachechat.errors import BadInput
from ipycachechat.notebook import EXTENSION_KEY
from ipycachechat.notebook.chat_cells import CellChat
from ipycachechat.prompts.builder import Prompt
from ipycachechat.runtime.event_loop import BackgroundLoop


class _Setting:
    """A setting of `%chat`, read and set through `get_chat()`."""

    def __init__(self, unset: object = None) -> None:
        """`unset`: the setting's value that Python reads and writes as None."""
        self._unset = unset

    def __set_name__(self, _: type, name: str) -> None:
        self._name = name

    def __get__(self, chat: KernelChat | None, _: type) -> Any:
        if chat is None:
            return self
        value = getattr(kernel_cell_chat().settings, self._name)
        return None if self._unset is not None and value == self._unset else value

    def __set__(self, chat: KernelChat, value: Any) -> None:
        kernel_cell_chat().settings.set_trait(self._name, self._unset if value is None else value)


class KernelChat(Chat):
    """A `Chat` whose turns are those of the chat cells, with the settings of `%chat`, which it reads and sets.

    A turn belongs to the cell that asks it; running the cell again replaces the turn. Everything is looked up at
    each use, since the extension may be reloaded.
    """

    model: Any = _Setting("")
    ttl: Any = _Setting("")
    think: Any = _Setting("")
    max_tokens: Any = _Setting(0)
    budget: Any = _Setting(0.0)
    max_steps: Any = _Setting()
    retries: Any = _Setting()

    def __init__(self) -> None:
        """Set nothing: the settings of `%chat` apply."""
        self.ns = self.temp = self.api_base = self.api_key = None
        self.cache, self.options = True, {}
        self._stream, self._tool_cache = None, ToolCache()

    @property
    def session(self) -> ChatSession:  # type: ignore[override]
        """The conversation of the chat cells."""
        return kernel_cell_chat().chat

    @property
    def _loop(self) -> BackgroundLoop:  # type: ignore[override]
        return kernel_cell_chat().session.loop

    @property
    def tools(self) -> Any:
        """The names given to `%chat tools`, or None; can be set to names or functions."""
        return list(kernel_cell_chat().tools.names) or None

    @tools.setter
    def tools(self, tools: Any) -> None:
        names = [tool if isinstance(tool, str) else getattr(tool, "__name__", "") for tool in tools or ()]
        kernel_cell_chat().tools.set(" ".join(names) or "off")

    def _prompt(self, prompt: Any) -> Prompt:
        return kernel_cell_chat().prompt_from_values(prompt)

    def _request(self, prompt: Any, per_call: Mapping[str, Any], *, planning: bool = False) -> TurnRequest:
        cell_chat = kernel_cell_chat()
        settings, own_tools = cell_chat.settings, self.tools
        options = {**per_call, "model": per_call.get("model") or cell_chat.model_in_use()}
        if per_call.get("tools", own_tools) == own_tools:
            options["tools"] = cell_chat.tools.resolve()
        request = super()._request(prompt, options, planning=planning)
        return replace(
            request,
            placement=END if request.answers_pending_prompt else cell_chat.placement(),
            approve_tool_call=cell_chat.approval(),
            ask_user=cell_chat.ask_user(),
            confirm_over=settings.confirm_over,
            limits=replace(settings.limits, retries=request.limits.retries),
            redactor=settings.redactor(),
        )

    def fork(self) -> Chat:
        """Return a chat that continues from here by itself, outside of the notebook's conversation."""
        functions = kernel_cell_chat().tools.resolve().functions
        settings = self._settings() | {"tools": [*functions.values()]}
        return Chat(session=self.session.fork(), **settings, **self.options)


def kernel_cell_chat() -> CellChat:
    """Return this kernel's CellChat. Raises BadInput if the extension is not loaded."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None or EXTENSION_KEY not in shell.meta:
        raise BadInput(
            "This kernel has no chat cells", "Run %load_ext ipycachechat first, or create a Chat of your own."
        )
    cell_chat: CellChat = shell.meta[EXTENSION_KEY][0].cell_chat
    return cell_chat


def get_chat() -> Chat:
    """Return the chat of this kernel's chat cells. Raises BadInput if the extension is not loaded."""
    kernel_cell_chat()
    return KernelChat()
