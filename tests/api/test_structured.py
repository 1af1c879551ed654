"""Typed answers: checked, mended once, and at no cost to the cache."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import dataclass
from enum import Enum
from typing import Any

import pytest
from pydantic import BaseModel, Field
from support.python_calls import GEMINI, GPT, SONNET, look
from wire import Reply, WireServer, words

from ipycachechat import AsyncChat, Chat
from ipycachechat.errors import BadAnswer, BadInput


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class City(BaseModel):
    name: str
    people: int = Field(gt=0)


@dataclass
class Paint:
    colour: Colour
    litres: float = 1.0


def area(width: float, height: float) -> float:
    """The area of a rectangle."""
    return width * height


async def later(n: int) -> int:
    return n + 1


@pytest.mark.parametrize("model", [SONNET, GEMINI, GPT])
@pytest.mark.parametrize(
    ("schema", "said", "value"),
    [
        (City, '{"name": "Paris", "people": 2100000}', City(name="Paris", people=2_100_000)),
        (Paint, 'Here it is:\n```json\n{"colour": "red"}\n```\nEnjoy.', Paint(Colour.RED)),
        (area, '{"width": 2, "height": 3.5}', 7.0),
        (later, '{"n": 2}', 3),
        (list[int], "[1, 2, 3]", [1, 2, 3]),
        (Colour, '"blue"', Colour.BLUE),
        (City, 'It is {"name": "Paris", "people": 1} I think', City(name="Paris", people=1)),
    ],
)
def test_the_answer_is_what_the_schema_says(
    server: WireServer, model: str, schema: Any, said: str, value: Any
) -> None:
    server.script(Reply(said))
    assert Chat(model).structured("Tell me", schema) == value


def test_what_does_not_fit_is_sent_back_once_with_what_is_wrong(server: WireServer) -> None:
    server.script(Reply('{"name": "Paris", "people": 0}'), Reply('{"name": "Paris", "people": 5}'))
    chat = Chat(SONNET)
    assert chat.structured("Tell me", City).people == 5
    repair = chat.hist[2]["content"]
    assert "people: Input should be greater than 0" in repair and "errors.pydantic.dev" not in repair


def test_what_still_does_not_fit_is_an_error_and_the_chat_goes_on(server: WireServer) -> None:
    server.script(Reply("I cannot"), Reply("I really cannot"))
    chat = Chat(SONNET)
    with pytest.raises(BadAnswer, match="City") as raised:
        chat.structured("Tell me", City)
    assert len(str(raised.value).splitlines()) == 2
    assert len(chat.hist) == 4 and chat("and?").text


def test_nothing_before_the_prompt_changes_so_that_the_cache_is_read(server: WireServer) -> None:
    chat = Chat(SONNET, system=words(2000), tools=[look])
    chat("hi")
    server.script(Reply('{"name": "Paris", "people": 5}'))
    chat.structured("Tell me", City)
    chat("and?")
    for before, after in zip(server.requests, server.requests[1:], strict=False):
        assert before.bill and after.bill and after.bill.read == before.bill.prompt
        assert after.body["tools"] == before.body["tools"] and "tool_choice" not in after.body
    assert json.dumps(City.model_json_schema()["properties"]["people"]) in str(chat.hist[2]["content"])


@pytest.mark.parametrize("schema", [3, "City", look.__doc__, lambda x: x, object])
def test_what_is_no_schema_is_refused(server: WireServer, schema: Any) -> None:
    with pytest.raises(BadInput):
        Chat(SONNET).structured("Tell me", schema)
    assert not server.requests


def test_it_can_be_awaited(server: WireServer) -> None:
    server.script(Reply('{"n": 2}'))
    assert asyncio.run(AsyncChat(SONNET).structured("Tell me", later)) == 3  # type: ignore[comparison-overlap]


def test_a_question_that_waits_is_answered_and_stays(server: WireServer) -> None:
    server.script(Reply("Paris!"), Reply('{"name": "Paris", "people": 5}\nHope that helps!'))
    chat = Chat(SONNET, hist=["hi", "Hello", "The largest city?"])
    assert chat.structured(None, City).name == "Paris"
    assert [message["role"] for message in chat.hist] == ["user", "assistant"] * 3
    assert chat.hist[2]["content"].startswith("The largest city?")


def test_the_last_of_several_values_in_fences_counts(server: WireServer) -> None:
    server.script(
        Reply(
            'First\n```json\n{"name": "Oslo", "people": 1}\n```\nno:\n```\n{"name": "Rome", "people": 2}\n```'
        )
    )
    assert Chat(SONNET).structured("Tell me", City).name == "Rome"


def test_a_function_runs_on_the_callers_thread_and_may_fail_as_it_likes(server: WireServer) -> None:
    def where(n: int) -> object:
        if n:
            raise SystemExit(n)
        return threading.current_thread()

    server.script(Reply('{"n": 0}'), Reply('{"n": 1}'))
    chat = Chat(SONNET)
    assert chat.structured("Tell me", where) is threading.current_thread()
    with pytest.raises(SystemExit):
        chat.structured("Tell me", where)
    assert chat("and?").text
