"""Typed answers: the schema goes into the prompt, the answer is validated, and errors are sent back once.

Providers have ways of their own for this (a response format, a forced tool). They change what comes before the first
message, so that the whole conversation would be paid again, and not every model has one.
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
    """An answer that does not fit; its text says why, a line for each thing that is wrong."""


class AnswerSchema(Generic[T]):
    """The form that an answer must have."""

    def __init__(self, schema: Callable[..., T]) -> None:
        """`schema`: a pydantic model, a dataclass, or a function with typed parameters. Raises BadInput."""
        self._adapter = _adapter(schema)
        self._name = getattr(schema, "__name__", str(schema))

    def asked(self, prompt: Content) -> Content:
        """The prompt with the schema behind it."""
        schema = json.dumps(self._adapter.json_schema(), ensure_ascii=False)
        return _with(
            prompt, f"Answer with one JSON value alone, no other text, that fits this JSON schema:\n{schema}"
        )

    def read(self, answer: str) -> T:
        """The value; of a function, what it returns, which may have to be awaited. Raises Misfit."""
        from pydantic import ValidationError

        wrong = "- the value: there is no JSON in it"
        for value in _values(answer):
            try:
                # As JSON, in which a date is a text and an enum its value.
                found: T = self._adapter.validate_json(json.dumps(value))
                return found
            except ValidationError as error:
                wrong = _told(error)
        raise SchemaMismatch(wrong)

    def repair(self, misfit: SchemaMismatch) -> str:
        """The prompt that sends back what is wrong."""
        return f"That does not fit the schema:\n{misfit}\nAnswer again, with the JSON alone."

    def given_up(self, model: str, misfit: SchemaMismatch) -> BadAnswer:
        """The error after the repair."""
        why = " ".join(str(misfit).split())[:200]
        return BadAnswer(
            f"{model} gave no answer that fits {self._name}: {why}",
            "Ask for less at a time, or choose a larger model. Its answers are in the conversation.",
        )


def rounds(schema: Callable[..., T], ask: TurnRequest) -> Generator[TurnRequest, str, T]:
    """Yield each request to send, given the text of each answer; return the value. Raises BadInput, or BadAnswer."""
    form: AnswerSchema[T] = AnswerSchema(schema)
    ask = replace(ask, prompt=form.asked(ask.prompt))
    try:
        return form.read((yield ask))
    except SchemaMismatch as misfit:
        repair = form.repair(misfit)
    try:
        return form.read((yield replace(ask, prompt=repair, cell_runs=(), answers_pending_prompt=False)))
    except SchemaMismatch as misfit:
        raise form.given_up(ask.model, misfit) from None


def _adapter(schema: Any) -> Any:
    """Return the schema that validates answers. Raises BadInput."""
    from pydantic import TypeAdapter

    why = "it says nothing of what is wanted"
    try:
        adapter: Any = TypeAdapter(schema)
        form = adapter.json_schema()
        parts = form.get("properties", {"": form}).values()
        said = all({*part} - {"title", "description"} for part in parts)
    except Exception as error:
        said, why = False, " ".join(str(error).split())[:160]
    if not said:
        raise BadInput(
            f"{getattr(schema, '__name__', repr(schema))} is no schema for an answer: {why}",
            "Give a pydantic model, a dataclass, or a function with typed parameters.",
        )
    return adapter


def _with(prompt: Content, more: str) -> Content:
    if isinstance(prompt, str):
        return f"{prompt}\n\n{more}"
    *others, last = prompt
    end: tuple[Part, ...] = (f"{last}\n\n{more}",) if isinstance(last, str) else (last, more)
    return (*others, *end)


def _values(said: str) -> Iterator[Any]:
    """The JSON values in an answer: all of it, what stands in fences, and what begins at a bracket."""
    decoder = json.JSONDecoder()
    for text in (said.strip(), *reversed(_FENCE.findall(said))):
        try:
            yield json.loads(text)
        except ValueError:
            continue
    at = 0
    while found := re.compile(r"[{\[]").search(said, at):
        try:
            value, at = decoder.raw_decode(said, found.start())
            yield value
        except (ValueError, RecursionError):
            at = found.start() + 1


def _told(error: Any) -> str:
    """Return the validation errors, one line each, without links to pydantic's pages."""
    lines = [
        f"- {'.'.join(map(str, one['loc'])) or 'the value'}: {one['msg']}"
        for one in error.errors(include_url=False)
    ]
    return "\n".join(lines[:20])
