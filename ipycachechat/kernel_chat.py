"""The kernel's own chat, from Python: the conversation of its chat cells."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ipycachechat.chat import Chat
from ipycachechat.core.errors import BadInput
from ipycachechat.notebook import front
from ipycachechat.rounds import Ask

if TYPE_CHECKING:
    from ipycachechat.magics import ChatMagics


class KernelChat(Chat):
    """A `Chat` whose turns are those of the chat cells, with the settings of `%chat`, as they are by then.

    A turn belongs to the cell in which it is asked: run again, the cell replaces it.
    """

    def __init__(self, magics: ChatMagics) -> None:
        self._magics = magics
        super().__init__()
        self.dialogue, self._loop = magics.session.chat, magics.session.loop

    def _settings(self) -> dict[str, Any]:
        magics = self._magics
        return super()._settings() | {
            "model": magics.model,
            "ttl": magics.ttl,
            "max_tokens": magics.max_tokens or None,
            "think": magics.think or None,
            "max_steps": magics.max_steps,
        }

    def _ask(self, prompt: Any, **per_call: Any) -> Ask:
        ask = super()._ask(prompt, **per_call)
        if not {"tools", "ns"} & set(per_call):
            ask = replace(ask, tools=self._magics.tools.now())
        return replace(
            ask,
            cell=None if ask.waits else front.cell(self._magics.shell),
            allow=self._magics.tools.allow(front.somebody_is_there(self._magics.shell)),
        )

    def fork(self) -> Chat:
        """A chat that goes on from here by itself, outside of the notebook's conversation."""
        made = Chat(**self._settings())
        made.dialogue = self.dialogue.fork()
        return made


def get_chat() -> Chat:
    """The chat of this kernel's chat cells. Raises BadInput where the extension is not loaded."""
    import sys

    from ipycachechat import LOADED

    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None or LOADED not in shell.meta:
        raise BadInput(
            "No chat cells are here", "Run %load_ext ipycachechat first, or make a Chat of your own."
        )
    magics, _ = shell.meta[LOADED]
    return KernelChat(magics)
