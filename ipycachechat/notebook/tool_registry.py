"""The functions of the kernel that chat cells give to the model, by name."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import Any

from ipycachechat.conversation.messages import ToolCall
from ipycachechat.errors import BadInput
from ipycachechat.notebook import frontend
from ipycachechat.rendering.answer import arguments
from ipycachechat.tools.schema import Tools, tools


class ToolRegistry:
    """Which functions the model may call. They are looked up anew for each prompt, so that a corrected one counts."""

    def __init__(self, names: Mapping[str, Any]) -> None:
        """`names`: what is defined in the kernel."""
        self._defined = names
        self.names: list[str] = []
        self.ask = False
        """Whether the person is asked before each call."""
        self._made: tuple[list[Any], Tools] = ([], Tools())

    def set(self, line: str) -> None:
        """What stands after `%chat tools`. Raises BadInput, and then nothing has changed."""
        try:
            words = shlex.split(line.replace(",", " "))
        except ValueError as error:
            raise BadInput(f"%chat tools {line}: {error}", "Name the functions: %chat tools f g") from None
        ask = {"--ask": True, "--no-ask": False}
        names = [word for word in words if word not in ask]
        unknown = [name for name in names if name.startswith("-")]
        if unknown:
            raise BadInput(
                f"%chat tools {unknown[0]}: there is no such option", "There are --ask and --no-ask."
            )
        before = self.names
        if names:
            self.names = [] if names == ["off"] else list(dict.fromkeys(names))
        try:
            self.resolve()
        except BadInput:
            self.names = before
            raise
        chosen = [ask[word] for word in words if word in ask]
        if chosen:
            self.ask = chosen[-1]

    def resolve(self) -> Tools:
        """As they are defined by now. Raises BadInput."""
        functions = [self._function(name) for name in self.names]
        if functions != self._made[0]:
            self._made = functions, tools(functions)
        return self._made[1]

    def _function(self, name: str) -> Any:
        first, *rest = name.split(".")
        found = self._defined.get(first)
        for part in rest:
            found = getattr(found, part, None)
        if found is None:
            raise BadInput(
                f"%chat tools: there is no function {name}",
                "Run the cell that defines it, or: %chat tools off",
            )
        return found

    def allow(self, somebody_is_there: bool) -> Callable[[ToolCall], bool] | None:
        """What asks before each call, if that is wanted. Raises BadInput where nobody could answer."""
        if not (self.ask and self.names):
            return None
        if not somebody_is_there:
            raise BadInput(
                "%chat tools --ask: nobody is there to be asked", "Run it by hand, or: %chat tools --no-ask"
            )
        return confirm_tool_call

    @property
    def told(self) -> str:
        """In a line."""
        if not self.names:
            return "no tools" + ", each call would be asked about" * self.ask
        return f"tools: {', '.join(self.names)}" + " (each call is asked about)" * self.ask


def confirm_tool_call(call: ToolCall) -> bool:
    """Whether the person lets the call be made, having seen all of it."""
    whole = (
        f"{call.name}({arguments(call, len(call.arguments) * 8)})"  # as Python writes it a text may be longer
    )
    return frontend.confirm(f"{whole}  Call it? [y/N] ")
