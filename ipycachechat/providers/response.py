"""litellm's ModelResponse with `.text` and a safe display. Importing this module imports litellm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from litellm import ModelResponse
from pydantic import PrivateAttr

from ipycachechat.conversation.usage import Usage


class Response(ModelResponse):  # type: ignore[misc] # litellm does not type its fields
    """A model's answer: litellm's ModelResponse with `.text`."""

    _to_mimebundle: Callable[[str], dict[str, str]] | None = PrivateAttr(default=None)

    @classmethod
    def of(cls, original: ModelResponse, usage: Usage) -> Response:
        """Return the same response, with the tokens read and written in its usage, for every provider."""
        response = cls(**dict(original))
        response._hidden_params = original._hidden_params
        litellm_usage = getattr(original, "usage", None)
        response.usage = litellm_usage  # the constructor leaves it out if there is none
        if litellm_usage is not None:
            for name, tokens in (("read", usage.read), ("creation", usage.written)):
                if tokens is not None:
                    setattr(litellm_usage, f"cache_{name}_input_tokens", tokens)
        return response

    @property
    def text(self) -> str:
        """The answer's text."""
        return str(self.choices[0].message.content or "")

    def shown_by(self, to_mimebundle: Callable[[str], dict[str, str]]) -> Response:
        """Display the text by this function, which returns a safe MIME bundle. Return the response itself."""
        self._to_mimebundle = to_mimebundle
        return self

    def _repr_markdown_(self) -> str:
        return self._repr_mimebundle_()["text/markdown"]

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        if self._to_mimebundle is None:
            return {"text/markdown": self.text, "text/plain": self.text}
        return self._to_mimebundle(self.text)
