"""Typed answers: the schema goes into the prompt, the answer is validated, and errors are sent back once.

Providers' own ways (a response format, a forced tool) change the request before the first message, so nothing of the
conversation could be read from the cache, and not every model has one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import Any, Generic, TypeVar

from ipycachechat.conversation.messages import Content, Part
from ipycachechat.engine.turn_request import TurnRequest
from ipycachechat.errors import BadAnswer, BadInput

T = TypeVar("T")
_FENCE = re.compile(r"```(?:json)?[ \t]*\n(.*?)\n[ \t]*```", re.S)


class SchemaMismatch(Exception):
    """An answer that does not fit the schema; its text has a line for each error."""


class AnswerSchema(Generic[T]):
    """The schema of an answer, and the prompts that ask for it."""

    def __init__(self, schema: Callable[..., T]) -> None:
        """`schema`: a pydantic model, a dataclass, or a function with typed parameters. Raises BadInput."""
        self._adapter = _adapter(schema)
        self._name = getattr(schema, "__name__", str(schema))

    def add_to(self, prompt: Content) -> Content:
        """Return the prompt followed by the schema."""
        schema = json.dumps(self._adapter.json_schema(), ensure_ascii=False)
        return _append(
            prompt, f"Answer with one JSON value alone, no other text, that fits this JSON schema:\n{schema}"
        )

    def parse(self, answer: str) -> T:
        """Return the value, or the function's result, which may be awaitable. Raises SchemaMismatch."""
        from pydantic import ValidationError

        errors = "- the value: there is no JSON in it"
        for value in _json_values(answer):
            try:
                # As JSON, in which a date is a text and an enum its value.
                typed: T = self._adapter.validate_json(json.dumps(value))
                return typed
            except ValidationError as error:
                errors = _describe(error)
        raise SchemaMismatch(errors)

    def error(self, model: str, mismatch: SchemaMismatch) -> BadAnswer:
        """Return the error to raise if the second answer does not fit either."""
        why = " ".join(str(mismatch).split())[:200]
        return BadAnswer(
            f"{model} gave no answer that fits {self._name}: {why}",
            "Ask for less at a time, or choose a larger model. Its answers are in the conversation.",
        )


def rounds(schema: Callable[..., T], request: TurnRequest) -> Generator[TurnRequest, str, T]:
    """Yield each request to send, given the text of each answer; return the value. Raises BadInput, or BadAnswer."""
    form: AnswerSchema[T] = AnswerSchema(schema)
    request = replace(request, prompt=form.add_to(request.prompt))
    try:
        return form.parse((yield request))
    except SchemaMismatch as mismatch:
        repair = f"That does not fit the schema:\n{mismatch}\nAnswer again, with the JSON alone."
    try:
        return form.parse((yield replace(request, prompt=repair, cell_runs=(), answers_pending_prompt=False)))
    except SchemaMismatch as mismatch:
        raise form.error(request.model, mismatch) from None


def _adapter(schema: Any) -> Any:
    """Return pydantic's adapter for the schema. Raises BadInput."""
    from pydantic import TypeAdapter

    why = "a field has no type"
    try:
        adapter: Any = TypeAdapter(schema)
        form = adapter.json_schema()
        fields = form.get("properties", {"": form}).values()
        typed = all({*field} - {"title", "description"} for field in fields)
    except Exception as error:
        typed, why = False, " ".join(str(error).split())[:160]
    if not typed:
        raise BadInput(
            f"{getattr(schema, '__name__', repr(schema))} cannot be the schema of an answer: {why}",
            "Give a pydantic model, a dataclass, or a function with typed parameters.",
        )
    return adapter


def _append(prompt: Content, text: str) -> Content:
    if isinstance(prompt, str):
        return f"{prompt}\n\n{text}"
    *others, last = prompt
    end: tuple[Part, ...] = (f"{last}\n\n{text}",) if isinstance(last, str) else (last, text)
    return (*others, *end)


def _json_values(answer: str) -> Iterator[Any]:
    """Yield the JSON values in an answer: the whole of it, those in fences, and those that begin at a bracket."""
    decoder = json.JSONDecoder()
    for text in (answer.strip(), *reversed(_FENCE.findall(answer))):
        try:
            yield json.loads(text)
        except ValueError:
            continue
    end = 0
    while bracket := re.compile(r"[{\[]").search(answer, end):
        try:
            value, end = decoder.raw_decode(answer, bracket.start())
            yield value
        except (ValueError, RecursionError):
            end = bracket.start() + 1


def _describe(error: Any) -> str:
    """Return the validation errors, one line each, without links to pydantic's pages."""
    lines = [
        f"- {'.'.join(map(str, detail['loc'])) or 'the value'}: {detail['msg']}"
        for detail in error.errors(include_url=False)
    ]
    return "\n".join(lines[:20])
