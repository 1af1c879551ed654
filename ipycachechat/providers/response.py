"""litellm's ModelResponse with `.text` and a safe display. Importing this module imports litellm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from litellm import ModelResponse
from pydantic import PrivateAttr

from ipycachechat.conversation.usage import Usage


class Response(ModelResponse):  # type: ignore[misc] # litellm's has no types for its fields
    """A model's answer: litellm's ModelResponse with `.text`."""

    @classmethod
    def of(cls, built: ModelResponse, usage: Usage) -> Response:
        """The same response; what is known of the cache stands in its usage whoever the provider is."""
        made = cls(**dict(built))
        made._hidden_params = built._hidden_params
        told = getattr(built, "usage", None)
        made.usage = told  # which the constructor leaves out if there is none
        if told is not None:
            for name, tokens in (("read", usage.read), ("creation", usage.written)):
                if tokens is not None:
                    setattr(told, f"cache_{name}_input_tokens", tokens)
        return made

    @property
    def text(self) -> str:
        """The answer's text."""
        return str(self.choices[0].message.content or "")

    _show: Callable[[str], dict[str, str]] | None = PrivateAttr(default=None)

    def shown_by(self, show: Callable[[str], dict[str, str]]) -> Response:
        """With what makes of the text a mime bundle that is safe to show: nobody knows what a model writes."""
        self._show = show
        return self

    def _repr_markdown_(self) -> str:
        return self._repr_mimebundle_()["text/markdown"]

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return self._show(self.text) if self._show else {"text/markdown": self.text, "text/plain": self.text}
