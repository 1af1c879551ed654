"""The kernel's own chat, from Python: the conversation of its chat cells."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ipycachechat.api.chat import Chat
from ipycachechat.conversation.placement import END
from ipycachechat.engine.turn_request import TurnRequest
from ipycachechat.errors import BadInput
from ipycachechat.tools.schema import Tools

if TYPE_CHECKING:
    from ipycachechat.notebook.magics import ChatMagics
    from ipycachechat.prompts.builder import Prompt

SETTINGS = ("model", "ttl", "max_tokens", "think", "max_steps", "budget", "retries")
"""Those that are the magics' own."""


class KernelChat(Chat):
    """A `Chat` whose turns are those of the chat cells, with the settings of `%chat`, which it reads and sets.

    A turn belongs to the cell in which it is asked: run again, the cell replaces it.
    """

    def __getattribute__(self, name: str) -> Any:
        # What is the kernel's is looked up each time, since the extension may be loaded anew.
        if name == "session":
            return kernel_magics().session.chat
        if name == "_loop":
            return kernel_magics().session.loop
        if name in SETTINGS:
            value = getattr(kernel_magics(), name)
            return value if name in ("max_steps", "retries") else value or None
        if name == "tools":
            return list(kernel_magics().tools.names) or None
        return super().__getattribute__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in SETTINGS:
            empty = 0 if name in ("max_tokens", "budget") else ""
            setattr(kernel_magics(), name, empty if value is None else value)
        elif name == "tools":
            names = [one if isinstance(one, str) else getattr(one, "__name__", "") for one in value or ()]
            kernel_magics().tools.set(" ".join(names) or "off")
        elif name not in ("session", "_loop"):
            super().__setattr__(name, value)

    def __init__(self) -> None:
        """Nothing is set: whatever holds, holds already."""
        self.ns = self.temp = self.api_base = self.api_key = None
        self.cache, self.options = True, {}
        self._open, self._made = None, None

    def _toolbox(self, given: Any, ns: Any) -> Tools:
        names = kernel_magics().tools
        return names.resolve() if given == (list(names.names) or None) else super()._toolbox(given, ns)

    def _model_in_use(self) -> str:
        return kernel_magics().model_in_use()

    def _prompt(self, prompt: Any) -> Prompt:
        return kernel_magics().given(prompt)

    def _ask(self, prompt: Any, **per_call: Any) -> TurnRequest:
        ask, magics = super()._ask(prompt, **per_call), kernel_magics()
        place = END if ask.answers_pending_prompt else magics.place()
        limits = replace(magics.limits, retries=ask.limits.retries)
        asked = replace(ask, ask_user=magics.person(), confirm_over=magics.confirm_over, limits=limits)
        return replace(asked, placement=place, approve_tool_call=magics.allow(), redactor=magics.mask())

    def fork(self) -> Chat:
        """A chat that goes on from here by itself, outside of the notebook's conversation."""
        box = kernel_magics().tools.resolve()
        made = Chat(**self._settings() | {"tools": [*box.functions.values()]}, **self.options)
        made.session, made._loop = self.session.fork(), self._loop
        return made


def kernel_magics() -> ChatMagics:
    """The magics of this kernel. Raises BadInput where the extension is not loaded."""
    from ipycachechat.notebook.session import EXTENSION_KEY

    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None or EXTENSION_KEY not in shell.meta:
        raise BadInput(
            "No chat cells are here", "Run %load_ext ipycachechat first, or make a Chat of your own."
        )
    magics: ChatMagics = shell.meta[EXTENSION_KEY][0]
    return magics


def get_chat() -> Chat:
    """The chat of this kernel's chat cells. Raises BadInput where the extension is not loaded."""
    kernel_magics()
    return KernelChat()
