"""The chunks of one answer, put together again by litellm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipycachechat.conversation.usage import Usage

if TYPE_CHECKING:
    from ipycachechat.providers.response import Response


class StreamAccumulator:
    """All chunks so far. Runs of plain text are kept as one: litellm takes 50 µs a chunk to put them together."""

    def __init__(self) -> None:
        self._kept: list[Any] = []
        self._runs: dict[int, list[str]] = {}
        """The texts of a run, by the place of its first chunk."""

    @property
    def id(self) -> str:
        """The answer's name if the provider gave it one; litellm makes one up where it did not."""
        name = str(getattr(self._kept[0], "id", "") or "") if self._kept else ""
        return "" if name.startswith("chatcmpl-") else name

    def add(self, chunk: Any) -> None:
        """One more."""
        text = _only_text(chunk)
        last = len(self._kept) - 1
        if text and last in self._runs:
            self._runs[last].append(text)
            return
        self._kept.append(chunk)
        if text:
            self._runs[last + 1] = [text]

    def response(self, usage: Usage, *, told: bool) -> Response | None:
        """The whole answer; None if litellm can make nothing of it. `told`: whether the provider told any usage."""
        import litellm

        from ipycachechat.providers.response import Response

        chunks = list(self._kept)
        for place, texts in self._runs.items():
            chunks[place] = chunks[place].model_copy(deep=True)
            chunks[place].choices[0].delta.content = "".join(texts)
        whole = any(getattr(chunk, "usage", None) for chunk in chunks)
        if not whole:
            # Litellm would count the tokens itself, and load a tokenizer for it: 140 ms at the first answer that is
            # stopped. Of Claude it takes no single count for one, since the first is given before the answer.
            made_up = chunks[-1].model_copy(deep=True)
            made_up.choices = []
            made_up.usage = litellm.Usage(prompt_tokens=1, completion_tokens=1, total_tokens=2)
            chunks += [made_up, made_up]
        built: Any = litellm.stream_chunk_builder(chunks)
        if built is None:
            return None
        if not (whole and told):
            built.usage = _as_litellm(usage) if told else None
        return Response.of(built, usage)


def _as_litellm(usage: Usage) -> Any:
    """What was told of an answer that broke off; None if that is not all that litellm's has to say."""
    import litellm

    sent, answered = usage.input, usage.output
    if sent is None or answered is None:
        return None
    return litellm.Usage(prompt_tokens=sent, completion_tokens=answered, total_tokens=sent + answered)


def _only_text(chunk: Any) -> str:
    """The text of a chunk that brings nothing else."""
    if len(chunk.choices) != 1 or getattr(chunk, "usage", None):
        return ""
    choice = chunk.choices[0]
    more = (
        "tool_calls",
        "function_call",
        "reasoning_content",
        "thinking_blocks",
        "provider_specific_fields",
        "audio",
    )
    if choice.finish_reason or any(
        getattr(choice.delta, name, None) for name in (*more, "images", "annotations")
    ):
        return ""
    return choice.delta.content or ""
