"""Collect the chunks of one answer and join them to a response."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipycachechat.conversation.usage import Usage

if TYPE_CHECKING:
    from ipycachechat.providers.response import Response


OTHER_FIELDS = (
    *("tool_calls", "function_call", "reasoning_content", "thinking_blocks"),
    *("provider_specific_fields", "audio", "images", "annotations"),
)
"""Fields of a delta other than its text."""


class StreamAccumulator:
    """The chunks so far. Runs of plain text are stored as one chunk, since litellm takes 50 µs to join each."""

    def __init__(self) -> None:
        self._chunks: list[Any] = []
        self._runs: dict[int, list[str]] = {}
        """Texts of each run, by the index of its first chunk."""

    @property
    def id(self) -> str:
        """The provider's id of the response; "" if it sent none, where litellm invents one."""
        response_id = str(getattr(self._chunks[0], "id", "") or "") if self._chunks else ""
        return "" if response_id.startswith("chatcmpl-") else response_id

    def add(self, chunk: Any) -> None:
        """Add a chunk."""
        text = _only_text(chunk)
        last = len(self._chunks) - 1
        if text and last in self._runs:
            self._runs[last].append(text)
            return
        self._chunks.append(chunk)
        if text:
            self._runs[last + 1] = [text]

    def response(self, usage: Usage, *, reported: bool) -> Response | None:
        """Return the response; None if litellm cannot build one. `reported`: the provider reported the usage."""
        import litellm

        from ipycachechat.providers.response import Response

        chunks = list(self._chunks)
        for index, texts in self._runs.items():
            chunks[index] = chunks[index].model_copy(deep=True)
            chunks[index].choices[0].delta.content = "".join(texts)
        has_usage = any(getattr(chunk, "usage", None) for chunk in chunks)
        if not has_usage:
            # Otherwise litellm counts the tokens itself and loads a tokenizer: 140 ms at the first stopped answer.
            # Twice, since it ignores the first usage of Claude, which is sent before the answer.
            estimate = chunks[-1].model_copy(deep=True)
            estimate.choices = []
            estimate.usage = litellm.Usage(prompt_tokens=1, completion_tokens=1, total_tokens=2)
            chunks += [estimate, estimate]
        built: Any = litellm.stream_chunk_builder(chunks)
        if built is None:
            return None
        if not (has_usage and reported):
            built.usage = _as_litellm(usage) if reported else None
        return Response.of(built, usage)


def _as_litellm(usage: Usage) -> Any:
    """Return the usage in litellm's form; None if a required count is unknown."""
    import litellm

    if usage.input is None or usage.output is None:
        return None
    total = usage.input + usage.output
    return litellm.Usage(prompt_tokens=usage.input, completion_tokens=usage.output, total_tokens=total)


def _only_text(chunk: Any) -> str:
    """Return the text of a chunk that contains nothing else; "" for any other chunk."""
    if len(chunk.choices) != 1 or getattr(chunk, "usage", None):
        return ""
    choice = chunk.choices[0]
    if choice.finish_reason or any(getattr(choice.delta, name, None) for name in OTHER_FIELDS):
        return ""
    return choice.delta.content or ""
