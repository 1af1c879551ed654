"""ToolRegistry: the kernel's functions that the model may call, chosen by name with `%chat tools`."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import Any

from ipycachechat.conversation.messages import ToolCall
from ipycachechat.errors import BadInput
from ipycachechat.notebook import frontend
from ipycachechat.rendering.answer import arguments_text
from ipycachechat.tools.schema import Tools, make_tools


class ToolRegistry:
    """The functions that the model may call, looked up for each prompt, so that redefinitions take effect."""

    def __init__(self, namespace: Mapping[str, Any]) -> None:
        """`namespace`: the kernel's variables."""
        self._namespace = namespace
        self.names: list[str] = []
        self.asks_first = False
        """True if the user is asked before each call."""
        self._resolved: tuple[list[Any], Tools] = ([], Tools())

    def set(self, line: str) -> None:
        """Apply the argument of `%chat tools`. Raises BadInput and then changes nothing."""
        try:
            words = shlex.split(line.replace(",", " "))
        except ValueError as error:
            raise BadInput(f"%chat tools {line}: {error}", "Name the functions: %chat tools f g") from None
        options = {"--ask": True, "--no-ask": False}
        names = [word for word in words if word not in options]
        unknown = [name for name in names if name.startswith("-")]
        if unknown:
            raise BadInput(
                f"%chat tools {unknown[0]}: there is no such option", "The options are --ask and --no-ask."
            )
        before = self.names
        if names:
            self.names = [] if names == ["off"] else list(dict.fromkeys(names))
        try:
            self.resolve()
        except BadInput:
            self.names = before
            raise
        for word in words:
            self.asks_first = options.get(word, self.asks_first)

    def resolve(self) -> Tools:
        """Return the tools as currently defined. Raises BadInput."""
        functions = [self._function(name) for name in self.names]
        if functions != self._resolved[0]:
            self._resolved = functions, make_tools(functions)
        return self._resolved[1]

    def _function(self, name: str) -> Any:
        first, *rest = name.split(".")
        function = self._namespace.get(first)
        for attribute in rest:
            function = getattr(function, attribute, None)
        if function is None:
            raise BadInput(
                f"%chat tools: there is no function {name}",
                "Run the cell that defines it, or: %chat tools off",
            )
        return function

    def approval(self, stdin_available: bool) -> Callable[[ToolCall], bool] | None:
        """Return the function that asks the user before each call, or None if calls need no approval.

        Raises BadInput if the user cannot be asked.
        """
        if not (self.asks_first and self.names):
            return None
        if not stdin_available:
            raise BadInput(
                "%chat tools --ask: this run cannot ask you", "Run the cell by hand, or: %chat tools --no-ask"
            )
        return confirm_tool_call

    @property
    def summary(self) -> str:
        """The tools in one line, for the user."""
        if not self.names:
            return "Tools are off"
        return f"Tools: {', '.join(self.names)}" + " (you approve each call)" * self.asks_first

    def to_save(self) -> dict[str, Any]:
        """Return the names and `--ask`, for the kernel that resumes the conversation."""
        return {"tools": list(self.names), "ask": self.asks_first}

    def restore(self, saved: Mapping[str, Any]) -> list[str]:
        """Add the tools that `to_save` returned in an earlier kernel; return those that are not defined here."""
        self.asks_first = self.asks_first or bool(saved.get("ask"))
        missing = []
        for name in map(str, saved.get("tools", [])):
            try:
                self.set(" ".join([*self.names, name]))
            except BadInput:  # not defined yet, or no longer a function
                missing.append(name)
        return missing


def confirm_tool_call(call: ToolCall) -> bool:
    """Show the user the whole call; return True if they allow it."""
    all_arguments = arguments_text(call, len(call.arguments) * 8)  # Python's repr may be longer than JSON
    return frontend.confirm(f"Allow {call.name}({all_arguments})? [y/N] ")
