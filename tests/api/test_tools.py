"""Functions as tools: what the model is sent of them, how they are called, and what the cache makes of it."""

from __future__ import annotations

import asyncio
import enum
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from functools import lru_cache, partial
from typing import Any, Literal

import pytest
from pydantic import BaseModel
from support.python_calls import GEMINI, GPT, SONNET, calls, count_like_server, fetch, look
from wire import HttpError, Reply, WireServer, words
from wire.replies import ToolCall

from ipycachechat import AsyncChat, Chat
from ipycachechat.conversation.turns import TurnStatus
from ipycachechat.errors import BadInput, ChatError, ContextTooLong


def test_the_model_is_sent_the_signature_and_the_comments(server: WireServer) -> None:
    Chat(SONNET, tools=[look])("hi")
    (tool,) = server.requests[0].body["tools"]
    assert tool["name"] == "look" and "Look something up." in tool["description"]
    assert tool["input_schema"]["properties"]["q"] == {"description": "what to look for", "type": "string"}
    assert tool["input_schema"]["required"] == ["q"]
    assert tool["input_schema"]["properties"]["most"]["default"] == 3


@pytest.mark.parametrize("model", [SONNET, GPT, GEMINI, "openai/gpt-5.5"])
def test_calls_are_answered_in_their_order_and_the_loop_ends_with_the_answer(
    server: WireServer, model: str
) -> None:
    server.script(calls(("look", {"q": "a"}), ("fetch", {"n": 2}), ("look", {"q": "b"})), Reply("done"))
    chat = Chat(model, tools=[look, fetch])
    assert chat("hi").text == "done"
    results = [message["content"] for message in chat.hist if message["role"] == "tool"]
    assert [text.split(":")[0] for text in results] == ["a", '{"n"', "b"]
    assert chat.usage.requests == 2
    assert chat("and?").text.startswith("Reply 2")
    assert server.unused == 0


def test_a_loop_of_twelve_steps_with_three_calls_each_is_billed_as_predicted(server: WireServer) -> None:
    """Every step after the first reads all that came before it; no dummy tool, no empty text, results in order."""
    chat = Chat(SONNET, system=words(900, "rule"), tools=[look, fetch])
    count_like_server(chat, server)
    steps = [
        calls(
            ("look", {"q": f"a{n}"}),
            ("fetch", {"n": n}),
            ("look", {"q": f"b{n}"}),
            text="so" if n % 3 == 0 else "",
        )
        for n in range(12)
    ]
    server.script(*steps, Reply("done"))
    assert chat("Find them all").text == "done"
    assert len(server.requests) == len(chat.session.client.records) == 13
    for before, request, booked in zip(
        [None, *server.requests], server.requests, chat.session.client.records, strict=False
    ):
        bill, expected = request.bill, booked.expected
        assert bill is not None
        assert (expected.read, expected.written, expected.fresh) == (bill.read, bill.written, bill.fresh)
        if before is not None:
            assert before.bill is not None and bill.read == before.bill.prompt  # all of it
        assert [tool["name"] for tool in request.body["tools"]] == ["look", "fetch"]
        said = str(request.body["messages"])
        assert "sanitised" not in said and "'text': ''" not in said
    results = [
        part["tool_use_id"]
        for message in server.requests[-1].messages
        for part in message["content"]
        if part["type"] == "tool_result"
    ]
    asked = [
        part["id"]
        for message in server.requests[-1].messages
        for part in message["content"]
        if part["type"] == "tool_use"
    ]
    assert len(asked) == 36 and results == asked


def test_async_tools_run_side_by_side_and_plain_ones_on_the_callers_thread(server: WireServer) -> None:
    running, most, threads = 0, 0, []

    async def wait(n: int) -> int:
        "Wait."
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.05)
        running -= 1
        return n

    def here(n: int) -> int:
        "Say where."
        threads.append(threading.current_thread())
        return n

    wanted = calls(*(("wait", {"n": n}) for n in range(4)), ("here", {"n": 5}), ("here", {"n": 6}))
    server.script(wanted, Reply("done"))
    Chat(SONNET, tools=[wait, here])("hi")
    assert most == 4
    assert threads == [threading.current_thread()] * 2
    server.script(wanted, Reply("done"))
    asyncio.run(AsyncChat(SONNET, tools=[wait, here])("hi"))
    assert threads == [threading.current_thread()] * 4


def broken(q: str) -> str:
    "Fail."
    raise ValueError(f"no {q}")


def leaves(q: str) -> str:
    "Leave."
    raise SystemExit(1)


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        (("broken", {"q": "x"}), "ValueError: no x"),
        (("leaves", {"q": "x"}), "SystemExit"),
        (("look", {"q": 3}), "q: 3 is not of type 'string'"),
        (("look", {}), "'q' is a required property"),
        (("look", {"q": "x", "w": 1}), "no parameter 'w'"),
        (("look", '{"q": "x'), "not a valid JSON"),
        (("look", "[1]"), "not a valid JSON"),
        (("nothing", {"q": "x"}), "no tool 'nothing'"),
    ],
)
@pytest.mark.parametrize("model", [SONNET, GPT])
def test_errors_are_sent_to_the_model_and_the_loop_goes_on(
    server: WireServer, wanted: tuple[str, Any], problem: str, model: str
) -> None:
    server.script(calls(wanted, ("look", {"q": "fine"})), Reply("done"))
    chat = Chat(model, tools=[look, broken, leaves])
    assert chat("hi").text == "done"
    first, second = (message["content"] for message in chat.hist if message["role"] == "tool")
    assert first.startswith("Error: ") and problem in first
    assert second.startswith("fine: ")
    assert chat("and?").text  # the conversation is valid


def test_a_tool_may_return_an_image_a_table_or_nothing(server: WireServer) -> None:
    from PIL import Image

    def draw(colour: str) -> Any:
        "Draw."
        return ["This:", Image.new("RGB", (8, 8), colour)]

    def nothing() -> None:
        "Do nothing."

    server.script(calls(("draw", {"colour": "red"}), ("nothing", {})), Reply("done"))
    chat = Chat(SONNET, tools=[draw, nothing])
    chat("hi")
    first, second = server.requests[-1].messages[-1]["content"]
    assert [part["type"] for part in first["content"]] == ["text", "image"]
    assert "no output" in str(second["content"])
    # What others cannot take as a result, they get as the next message.
    chat("and?", model=GPT)
    assert "image_url" in str(server.requests[-1].body)


@pytest.mark.parametrize("model", [SONNET, GPT, GEMINI])
def test_after_the_last_step_the_model_is_asked_to_answer(server: WireServer, model: str) -> None:
    server.script(*[calls(("look", {"q": "a"}))] * 2, Reply("enough"))
    chat = Chat(model, tools=[look], max_steps=2)
    assert chat("hi").text == "enough"
    assert "No more tools can be called" in chat.hist[-2]["content"]
    assert "tool_choice" not in server.requests[-1].body  # which would cost the cache


def test_a_model_that_will_not_stop_is_made_to(server: WireServer) -> None:
    done: list[str] = []

    def count_up(q: str) -> str:
        "Count."
        done.append(q)
        return q

    server.script(*[calls(("count_up", {"q": "a"}))] * 3, calls(("count_up", {"q": "a"}), text="at last"))
    chat = Chat(SONNET, tools=[count_up], max_steps=2)
    assert chat("hi").text == "at last"
    assert len(done) == 2
    assert server.requests[-1].body["tool_choice"] == {"type": "none"}
    assert chat("and?").text


def test_a_past_with_calls_goes_on_sending_its_tools(server: WireServer) -> None:
    server.script(calls(("look", {"q": "a"})), Reply("done"))
    chat = Chat(SONNET, system=words(1200, "rule"), tools=[look])
    chat("hi")
    chat.tools = None
    server.script(calls(("look", {"q": "a"})), Reply("so be it"))
    assert chat("and?").text == "so be it"
    assert "There is no tool 'look' now" in chat.hist[-2]["content"]
    sent = [request.body["tools"] for request in server.requests]
    assert sent[1:] == sent[:-1]
    bill = server.requests[-1].bill
    assert bill is not None and bill.fresh == 0 and bill.written < bill.read


def test_a_history_from_elsewhere_has_stand_ins_for_its_tools(server: WireServer) -> None:
    server.script(calls(("look", {"q": "a"})), Reply("done"))
    chat = Chat(SONNET, tools=[look])
    chat("hi")
    other = Chat(SONNET, hist=chat.hist)
    other("and?")
    (tool,) = server.requests[-1].body["tools"]
    assert tool["name"] == "look" and "not available now" in tool["description"]


@pytest.mark.parametrize(
    ("tool", "problem"),
    [(lambda q: q, "<lambda>"), ("look", "not a str"), (3, "not a int"), ({"type": "function"}, "no name")],
)
def test_what_is_no_tool_is_refused_at_once(tool: Any, problem: str) -> None:
    with pytest.raises(BadInput) as raised:
        Chat(SONNET, tools=[tool])
    assert problem in raised.value.message and raised.value.hint


def test_a_function_without_types_or_docstring_is_refused_and_says_how_to_mend_it() -> None:
    def untyped(q):  # type: ignore[no-untyped-def]
        "Do it."

    def undescribed(q: str) -> str:
        return q

    for function, problem in ((untyped, "type"), (undescribed, "docstring")):
        with pytest.raises(BadInput) as raised:
            Chat(SONNET, tools=[function])
        assert problem in str(raised.value) and len(str(raised.value).splitlines()) == 2
    with pytest.raises(BadInput):
        Chat(SONNET, tools=[look, look])


def test_definitions_and_a_namespace_do_as_well_as_functions(server: WireServer) -> None:
    definition = {
        "type": "function",
        "function": {
            "name": "look",
            "description": "Look.",
            "parameters": {"type": "object", "properties": {"q": {"type": "string"}}},
        },
    }
    server.script(calls(("look", {"q": "a"})), Reply("done"))
    chat = Chat(SONNET, tools=[definition], ns={"look": look})
    chat("hi")
    assert chat.hist[2]["content"].startswith("a: ")


def test_stopped_in_a_tool_the_whole_steps_stay(server: WireServer) -> None:
    stopping: list[bool] = []

    def stop(q: str) -> str:
        "Stop."
        if stopping:
            raise KeyboardInterrupt
        stopping.append(True)
        return q

    server.script(calls(("stop", {"q": "a"})), calls(("stop", {"q": "b"}), text="and now"))
    chat = Chat(SONNET, tools=[stop])
    with pytest.raises(KeyboardInterrupt):
        chat("hi")
    roles = [message["role"] for message in chat.hist]
    assert roles == ["user", "assistant", "tool", "assistant"]
    assert chat.hist[-1] == {
        "role": "assistant",
        "content": "and now",
    }  # its call has no result, so there is none
    assert chat.session.history.current.turns[-1].status is TurnStatus.INTERRUPTED
    assert chat("and?").text


def test_a_tool_that_asks_its_own_chat_gets_an_error(server: WireServer) -> None:
    def ask(q: str) -> str:
        "Ask."
        return chat(q).text

    async def ask_too(q: str) -> str:
        "Ask."
        return (await other(q)).text

    server.script(calls(("ask", {"q": "a"})), Reply("done"))
    chat = Chat(SONNET, tools=[ask])
    chat("hi")
    assert "cannot ask the chat that has called it" in chat.hist[2]["content"]
    server.script(calls(("ask_too", {"q": "a"})), Reply("done"))
    other = AsyncChat(SONNET, tools=[ask_too])
    asyncio.run(other("hi"))
    assert "cannot ask the chat that has called it" in other.hist[2]["content"]


@pytest.mark.parametrize(
    ("status", "billing"), [(529, "The request that failed was not charged."), (413, "")]
)
def test_an_error_after_some_steps_keeps_them(server: WireServer, status: int, billing: str) -> None:
    from wire import HttpError

    server.script(calls(("look", {"q": "a"})), Reply(fault=HttpError(status)))
    chat = Chat(SONNET, tools=[look], retries=0)
    with pytest.raises(ChatError) as raised:
        chat("hi")
    error = str(raised.value)
    assert len(error.splitlines()) == 2 and "tool calls so far are kept" in error and billing in error
    assert "You were not charged" not in error and "conversation is unchanged" not in error
    assert [message["role"] for message in chat.hist] == ["user", "assistant", "tool"]
    assert chat("and?").text


# Too long


@pytest.fixture
def narrow(server: WireServer) -> Any:
    server.context_limit = 3000
    yield server
    server.context_limit = None


@pytest.mark.parametrize("model", [SONNET, GPT, GEMINI])
def test_too_long_a_result_is_shortened_and_the_model_finishes(narrow: WireServer, model: str) -> None:
    def much(q: str) -> str:
        "Say much."
        return "start " + words(20_000) + " end"

    narrow.script(calls(("much", {"q": "a"}), ("look", {"q": "b"})), Reply("done"))
    chat = Chat(model, tools=[much, look])
    assert chat("hi").text == "done"
    result = chat.hist[2]["content"]
    assert result.startswith("start ") and result.endswith(" end") and "characters left out" in result
    assert chat.hist[3]["content"] == look("b")


def test_too_long_a_conversation_names_its_largest_turns(narrow: WireServer) -> None:
    chat = Chat(SONNET, hist=["small", "yes", words(2500, "large"), "yes"])
    with pytest.raises(ContextTooLong) as raised:
        chat(words(700))
    assert "Largest: turn 2 (≈" in raised.value.hint and "this one (≈" in raised.value.hint
    assert "fork" in raised.value.hint and len(str(raised.value).splitlines()) == 2
    assert len(chat.hist) == 4


# Functions of every kind


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Inner:
    z: int


@dataclass
class Outer:
    inner: Inner


class Model(BaseModel):
    data: int


class Thing:
    def method(self, q: str) -> str:
        "A method."
        return f"method {q}"

    def __call__(self, q: str) -> str:
        "An object."
        return f"object {q}"


def choice(q: Literal["a", "b"]) -> str:
    "Choose."
    return q


def rich(
    x: Model,  # a model
    o: Outer,
    c: Colour = Colour.RED,
    day: date | None = None,
    many: list[Inner] | None = None,
) -> str:
    "Take all kinds."
    return repr((x, o, c, day, many))


def add(a: int, b: int) -> int:
    "Add."
    return a + b


@lru_cache
def cached(q: str) -> str:
    "Remember."
    return f"cached {q}"


def three(n: int) -> Iterator[int]:
    "Count."
    yield from range(n)


@pytest.mark.parametrize(
    ("tool", "name", "arguments", "result"),
    [
        (choice, "choice", {"q": "a"}, "a"),
        (choice, "choice", {"q": "z"}, "Error: Invalid arguments: q: 'z' is not one of ['a', 'b']"),
        (
            rich,
            "rich",
            {"x": {"data": 1}, "o": {"inner": {"z": 2}}, "c": "red", "day": "2026-01-02", "many": [{"z": 3}]},
            "(Model(data=1), Outer(inner=Inner(z=2)), <Colour.RED: 'red'>, datetime.date(2026, 1, 2), [Inner(z=3)])",
        ),
        (rich, "rich", {"x": {"data": 1}, "o": {"inner": {"z": "k"}}}, "Error: Invalid arguments: o.inner.z"),
        (Thing().method, "method", {"q": "a"}, "method a"),
        (Thing(), "Thing", {"q": "a"}, "object a"),
        (partial(add, b=3), "add", {"a": 1}, "4"),
        (cached, "cached", {"q": "a"}, "cached a"),
        (three, "three", {"n": 3}, "[0, 1, 2]"),
    ],
)
def test_functions_of_every_kind(
    server: WireServer, tool: Any, name: str, arguments: dict[str, Any], result: str
) -> None:
    server.script(calls((name, arguments)), Reply("done"))
    chat = Chat(SONNET, tools=[tool])
    assert chat("hi").text == "done"
    assert chat.hist[2]["content"].startswith(result)


def test_parameters_that_cannot_be_named_are_refused() -> None:
    def many(*q: str) -> str:
        "Take many."
        return ""

    def first(q: str, /) -> str:
        "Take the first."
        return q

    for function in (many, first):
        with pytest.raises(BadInput, match="cannot give by name"):
            Chat(SONNET, tools=[function])
    with pytest.raises(BadInput, match="not a JSON schema"):
        Chat(SONNET, tools=[{"name": "x", "parameters": {"type": "objct"}}])


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("no")


async def leaves_too(q: str) -> str:
    "Leave."
    raise SystemExit(3)


async def cancelled(q: str) -> str:
    "Be cancelled by somebody else."
    raise asyncio.CancelledError


def unspeakable(q: str) -> str:
    "Fail."
    raise Unspeakable


def returned(q: str) -> Exception:
    "Return one."
    return ValueError("data")


@pytest.mark.parametrize(
    ("tool", "problem"),
    [
        (leaves_too, "Error: SystemExit: 3"),
        (cancelled, "Error: CancelledError"),
        (unspeakable, "Error: Unspeakable"),
        (returned, "ValueError: data"),
    ],
)
def test_nothing_that_a_tool_does_ends_the_chat(server: WireServer, tool: Any, problem: str) -> None:
    server.script(calls((tool.__name__, {"q": "a"})), Reply("done"))
    chat = Chat(SONNET, tools=[tool])
    assert chat("hi").text == "done" and chat.hist[2]["content"] == problem
    assert chat("and?").text and chat.usage.requests == 3


def test_stopped_in_the_first_step_what_was_said_and_done_stays(server: WireServer) -> None:
    def stop(q: str) -> str:
        "Stop."
        raise KeyboardInterrupt

    server.script(calls(("look", {"q": "a"}), ("stop", {"q": "b"}), text="Let me look."))
    chat = Chat(SONNET, tools=[look, stop])
    with pytest.raises(KeyboardInterrupt):
        chat("hi")
    user, answer, result = chat.hist
    assert answer["content"] == "Let me look." and [
        call["function"]["name"] for call in answer["tool_calls"]
    ] == ["look"]
    assert result["content"] == look("a") and chat.usage.requests == 1
    assert chat("go on").text


def test_stopped_while_the_second_step_waits_the_bill_is_a_lower_bound(server: WireServer) -> None:
    async def stop() -> AsyncChat:
        server.script(calls(("look", {"q": "a"})), Reply("late", first_delay=60))
        chat = AsyncChat(SONNET, tools=[look])
        task = asyncio.create_task(chat("hi"))
        while len(server.requests) < 2:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return chat

    (turn,) = asyncio.run(stop()).session.history.current.turns
    assert turn.cost.at_least and turn.usage.at_least and turn.cost.paid


def test_async_tools_are_stopped_with_the_turn(server: WireServer) -> None:
    ended: list[bool] = []

    async def long(q: str) -> str:
        "Take long."
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)
        return q

    async def stop() -> None:
        server.script(calls(("long", {"q": "a"})))
        task = asyncio.create_task(AsyncChat(SONNET, tools=[long])("hi"))
        while not server.requests or server.requests[0].ended is None:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.1)

    asyncio.run(stop())
    assert ended == [True]


@pytest.fixture
def pressable() -> Iterator[None]:
    """Python's own handler of SIGINT, which processes that share the tests have switched off."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("pressable")
def test_a_tool_that_swallows_its_cancelling_does_not_go_on_with_the_turn(server: WireServer) -> None:
    async def waited(q: str) -> str:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return q

    def long(q: str) -> Any:
        "Take long."
        return waited(q)

    server.script(calls(("long", {"q": "a"})))
    chat = Chat(SONNET, tools=[long])
    with pytest.raises(KeyboardInterrupt):
        chat("hi")
    assert chat.usage.requests == len(server.requests) == 1
    assert chat("go on").text


def test_async_tools_run_on_the_event_loop_of_who_awaits(server: WireServer) -> None:
    loops: list[Any] = []

    async def where(q: str) -> str:
        "Say where."
        loops.append(asyncio.get_running_loop())
        return q

    async def ask() -> Any:
        server.script(calls(("where", {"q": "a"})), Reply("done"))
        await AsyncChat(SONNET, tools=[where])("hi")
        return asyncio.get_running_loop()

    assert asyncio.run(ask()) is loops[0]


def test_calls_with_one_id_get_ids_of_their_own(server: WireServer) -> None:
    same = Reply(tool_calls=(ToolCall("look", {"q": "a"}, "call_1"), ToolCall("look", {"q": "b"}, "call_1")))
    server.script(same, same, Reply("done"))
    chat = Chat("openai/gpt-5.5", tools=[look])
    chat("hi")
    ids = [message["tool_call_id"] for message in chat.hist if message["role"] == "tool"]
    assert len({*ids}) == 4
    assert chat("and?", model=SONNET).text


def test_a_name_that_the_model_made_up_costs_no_cache_and_can_be_sent_back(server: WireServer) -> None:
    chat = Chat(SONNET, system=words(2000), tools=[look])
    server.script(calls(("functions.look up!", {"q": "a"})), Reply("done"))
    chat("hi")
    chat("and?")
    assert [tool["name"] for tool in server.requests[-1].body["tools"]] == ["look"]
    assert "functions_look_up_" in str(server.requests[-1].body["messages"])
    bill, before = server.requests[-1].bill, server.requests[-2].bill
    assert bill and before and bill.read == before.prompt


def test_too_long_results_of_earlier_turns_are_shortened_too(server: WireServer, narrow: WireServer) -> None:
    def much(q: str) -> str:
        "Say much."
        return words(2600)

    narrow.script(calls(("much", {"q": "a"})), Reply("done"))
    chat = Chat(SONNET, tools=[much])
    chat("hi")
    assert chat(words(500)).text.startswith("Reply 2")
    assert "characters left out" in chat.hist[2]["content"] and len(chat.hist) == 6


def test_the_advice_of_an_error_stays_after_some_steps(server: WireServer) -> None:
    server.script(
        calls(("look", {"q": "a"})), Reply(fault=HttpError(429, "Slow down", headers={"retry-after": "7"}))
    )
    with pytest.raises(ChatError) as raised:
        Chat(SONNET, tools=[look], retries=0)("hi")
    assert "Wait 7 s" in raised.value.hint and "kept" in raised.value.hint
    assert len(str(raised.value).splitlines()) == 2


def test_who_cannot_call_is_given_no_tools(server: WireServer) -> None:
    from ipycachechat import register_model

    record = {"litellm_provider": "openai", "mode": "chat", "supports_vision": True}
    register_model({"openai/sees-only": record})
    with pytest.raises(BadInput, match="cannot call tools"):
        Chat("openai/sees-only", tools=[look])("hi")
    register_model(
        {"openai/priced-only": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-6}}
    )
    assert Chat("openai/priced-only", tools=[look])("hi").text  # what is not given is unknown
