"""Typed answers: the schema goes into the prompt, the answer is checked, and what is wrong is sent back once.

Providers have ways of their own for this (a response format, a forced tool). They change what comes before the first
message, so that the whole conversation would be paid again, and not every model has one.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from ipycachechat.core.conversation import Content, Part
from ipycachechat.core.errors import BadAnswer, BadInput
from ipycachechat.core.events import Event
from ipycachechat.dialogue import Dialogue
from ipycachechat.rounds import Ask

T = TypeVar("T")
_FENCE = re.compile(r"```(?:json)?[ \t]*\n(.*?)\n[ \t]*```", re.S)


async def answer(dialogue: Dialogue, ask: Ask, schema: Callable[..., T], tell: Callable[[Event], None]) -> T:
    """The answer to the prompt as the schema has it. Raises BadAnswer if it does not fit after one repair."""
    from pydantic import ValidationError

    adapter = _adapter(schema)
    form = json.dumps(adapter.json_schema(), ensure_ascii=False)
    wanted = f"Answer with one JSON value alone, no other text, that fits this JSON schema:\n{form}"
    asked = replace(ask, prompt=_with(ask.prompt, wanted))
    wrong = ""
    for _ in range(2):
        done = await dialogue.send(asked, tell)
        if done.error is not None:
            raise done.error
        said = done.turn.answer if done.turn else ""
        try:
            value: Any = adapter.validate_json(_json(said))
        except ValidationError as error:
            wrong = _told(error)
            asked = replace(
                ask, prompt=f"That does not fit the schema:\n{wrong}\nAnswer again, with the JSON alone."
            )
            continue
        found: T = await value if inspect.isawaitable(value) else value
        return found
    raise BadAnswer(
        f"{ask.model} gave no answer that fits {getattr(schema, '__name__', schema)}: {' '.join(wrong.split())[:200]}",
        "Ask for less at a time, or choose a larger model. Its answers are in the conversation.",
    )


def _adapter(schema: Any) -> Any:
    """What knows the schema and checks answers. Raises BadInput."""
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


def _json(said: str) -> str:
    """The JSON in an answer: all of it, or what stands in a fence, or from the first bracket to the last."""
    text = said.strip()
    if fenced := _FENCE.findall(text):
        return str(fenced[-1])
    if text[:1] in ("{", "[", '"') or not (found := re.search(r"[{\[].*[}\]]", text, re.S)):
        return text
    return found[0]


def _told(error: Any) -> str:
    """What is wrong, a line each, with no addresses of pydantic's pages."""
    lines = [
        f"- {'.'.join(map(str, one['loc'])) or 'the value'}: {one['msg']}"
        for one in error.errors(include_url=False)
    ]
    return "\n".join(lines[:20])
