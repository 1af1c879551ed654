"""A chat from Python: what may be said to it, what it keeps, and what it gives back."""

from __future__ import annotations

import asyncio
import copy
import gc
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pandas
import pytest
from support.python_calls import GEMINI, GPT, SONNET, calls, fetch, look
from wire import Drop, HttpError, Reply, WireServer, words

from ipycachechat import AsyncChat, Chat, ChatError, register_model
from ipycachechat.errors import BadInput, ConnectionLost, KeyMissing, OverBudget, RateLimited, UnknownModel

PROJECT = Path(__file__).parents[2]


def bare(value: Any) -> Any:
    """Without the checkpoints, which are no part of the prompt; a text that bore one is the text."""
    if isinstance(value, dict):
        marks = ("cache_control", "prompt_cache_breakpoint")
        return {name: bare(one) for name, one in value.items() if name not in marks}
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict) and "text" in value[0]:
        return bare(value[0]["text"])
    return [bare(one) for one in value] if isinstance(value, list) else value


def test_nothing_heavy_is_imported_with_the_package_or_with_a_chat() -> None:
    code = """
import sys
from ipycachechat import Chat, AsyncChat, get_chat, register_model
chat = Chat("anthropic/claude-sonnet-5", hist=["hi", "Hello"])
print([name for name in ("IPython", "ipywidgets", "litellm", "openai") if name in sys.modules])
try:
    chat("hi")
except Exception as error:
    print(type(error).__name__, len(str(error).splitlines()))
print([name for name in ("IPython", "ipywidgets") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, check=True
    )
    assert done.stdout.splitlines() == ["[]", "KeyMissing 2", "[]"]


@pytest.mark.parametrize("model", [SONNET, GEMINI, GPT, "openai/gpt-5.5"])
def test_plain_and_streamed_give_the_same(server: WireServer, model: str) -> None:
    from litellm import ModelResponse

    first, second = Chat(model), Chat(model)
    plain = first("hello")
    *chunks, streamed = second("hello", stream=True)
    assert isinstance(plain, ModelResponse) and isinstance(streamed, ModelResponse)
    assert plain.choices[0].message.content == streamed.text == "Reply 1: you said hello"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == plain.text
    assert server.requests[0].bill is not None
    assert plain.usage.prompt_tokens == streamed.usage.prompt_tokens == server.requests[0].bill.prompt
    assert first.hist == second.hist
    assert first.last is plain and "Reply 1" in plain._repr_markdown_()


def test_an_answer_is_shown_as_markdown_that_is_safe(server: WireServer) -> None:
    server.script(Reply("**so** <script>alert(1)</script>"))
    shown = Chat(SONNET)("hi")._repr_mimebundle_()
    assert "<strong>so</strong>" in shown["text/html"] and "<script" not in shown["text/html"]
    assert "<script" not in shown["text/markdown"]


def test_the_usage_adds_up_and_equals_the_bills(server: WireServer) -> None:
    chat = Chat(SONNET, system=words(1500), tools=[look])
    server.script(calls(("look", {"q": "a"})), Reply("done"))
    chat("hi")
    chat("and?")
    bills = [request.bill for request in server.requests]
    tokens = chat.usage.tokens
    assert (tokens.read, tokens.written, tokens.fresh) == tuple(
        sum(getattr(bill, name) for bill in bills) for name in ("read", "written", "fresh")
    )
    assert chat.usage.requests == 3 and chat.usage.paid > 0
    assert "first request" not in chat.why() and "turn 2" in chat.why()


def test_no_state_is_shared_between_fifty_chats_in_one_loop(server: WireServer) -> None:
    async def talk(n: int) -> AsyncChat:
        chat = AsyncChat(SONNET, system=f"You are number {n}.", tools=[fetch])
        for turn in range(3):
            answer = await chat(f"question {n}.{turn}")
            assert answer.text == f"Reply {turn + 1}: you said question {n}.{turn}"
        return chat

    async def all_of_them() -> list[AsyncChat]:
        return await asyncio.gather(*(talk(n) for n in range(50)))

    chats = asyncio.run(all_of_them())
    assert len(server.requests) == 150
    for n, chat in enumerate(chats):
        assert [message["content"] for message in chat.hist[::2]] == [
            f"question {n}.{turn}" for turn in range(3)
        ]
        assert chat.usage.requests == 3
        mine = [request for request in server.requests if f"number {n}." in str(request.body["system"])]
        assert sum(request.bill.prompt for request in mine if request.bill) == chat.usage.tokens.input


def test_two_prompts_at_once_are_answered_one_after_the_other(server: WireServer) -> None:
    async def both() -> AsyncChat:
        chat = AsyncChat(SONNET)
        await asyncio.gather(chat("one"), chat("two"))
        return chat

    chat = asyncio.run(both())
    assert [message["content"] for message in chat.hist if message["role"] == "user"] == ["one", "two"]
    assert len(server.requests[1].messages) == 3


FRESH = """
import json, sys
from ipycachechat import Chat
saved = json.load(open(sys.argv[1]))
sys.path.insert(0, "tests")
from support.python_calls import look, fetch
chat = Chat(saved["model"], saved["system"], tools=[look, fetch], hist=saved["hist"], think=saved["think"])
chat("go on")
assert json.dumps(chat.hist[: len(saved["hist"])]) == json.dumps(saved["hist"])
"""


@pytest.mark.parametrize("think", [None, "low"])
@pytest.mark.parametrize("model", [SONNET, GEMINI, GPT])
def test_saved_and_loaded_in_a_fresh_process_the_prefix_is_the_same_to_the_byte(
    server: WireServer, tmp_path: Path, model: str, think: Any
) -> None:
    odd = '{"q":"a \\u00e9 \\"b\\"","most": 1.0}'
    server.script(
        Reply("so ", thinking="hm, ⟨é⟩", tool_calls=calls(("look", odd), ("fetch", {"n": 1})).tool_calls),
        Reply("done\n", thinking="well"),
    )
    chat = Chat(model, words(5000, "rule"), tools=[look, fetch], think=think)
    chat(["see", b"\x89PNG\r\n\x1a\n and so on", "and tell"])
    chat("and?")
    saved = {"model": model, "system": chat.system, "hist": chat.hist, "think": think}
    (tmp_path / "chat.json").write_text(json.dumps(saved))
    code = [sys.executable, "-c", FRESH, str(tmp_path / "chat.json")]
    done = subprocess.run(
        code, capture_output=True, text=True, cwd=PROJECT, env={**_environment(), "PYTHONPATH": "tests"}
    )
    assert done.returncode == 0, done.stderr
    last, fresh = (bare(request.body) for request in server.requests[-2:])
    name = next(name for name in ("messages", "contents", "input") if name in fresh)
    assert json.dumps(fresh[name][: len(last[name])]) == json.dumps(last[name])
    for other in set(fresh) - {name, "prompt_cache_key"}:
        assert json.dumps(fresh[other]) == json.dumps(last[other])
    bill, before = server.requests[-1].bill, server.requests[-2].bill
    assert bill is not None and before is not None
    assert bill.read == before.prompt or model == GEMINI
    assert bill.read > 4000


def _environment() -> dict[str, str]:
    import os

    return dict(os.environ)


# What may be said


def test_roles_alternate_from_the_user(server: WireServer) -> None:
    from litellm import Message

    hist = [
        ["a", "b"],
        "c",
        {"role": "user", "content": "d"},
        Message(role="assistant", content="e"),
        "f",
        "g",
    ]
    chat = Chat(SONNET, hist=hist)
    assert [message["role"] for message in chat.hist] == ["user", "assistant"] * 3
    assert chat.hist[0]["content"] == "a\n\nb"
    again = Chat(SONNET, hist=[*hist, "h", chat("h")])
    assert again.hist == chat.hist


def test_a_history_that_ends_with_a_question_can_be_answered(server: WireServer) -> None:
    chat = Chat(SONNET, hist=["hi", "Hello", "and?"], retries=0)
    server.script(Reply(fault=HttpError(529)))
    with pytest.raises(ChatError):
        chat()
    assert len(chat.hist) == 3
    assert chat().text == "Reply 2: you said and?"
    assert [message["role"] for message in chat.hist] == ["user", "assistant", "user", "assistant"]
    with pytest.raises(BadInput, match="no prompt"):
        chat()


@pytest.mark.parametrize(
    ("hist", "message"),
    [
        ("hi", "hist is a str"),
        ([{"role": "assistant", "content": "hi"}], "begins with a message of the role 'assistant'"),
        ([{"role": "nobody", "content": "hi"}], "role 'nobody'"),
        (["hi", "yes", {"role": "system", "content": "no"}], "only be the first"),
        (["hi", {"role": "tool", "tool_call_id": "1", "content": "x"}], "answers no call"),
        (
            [
                "hi",
                {
                    "role": "assistant",
                    "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}],
                },
            ],
            "have no result",
        ),
        (["hi", ""], "empty"),
        ([{"role": "user", "content": [{"type": "hologram"}]}], "hologram"),
    ],
)
def test_a_history_that_cannot_be_sent_is_refused_in_two_lines(hist: Any, message: str) -> None:
    before = copy.deepcopy(hist)
    with pytest.raises(BadInput) as raised:
        Chat(SONNET, hist=hist)
    assert message in str(raised.value)
    assert len(str(raised.value).splitlines()) == 2 and raised.value.hint
    assert hist == before


@pytest.mark.parametrize(
    "prompt", ["", " \n", [], [""], {"role": "assistant", "content": "x"}, b"\xff\x00", ["a", b"\xff\x00"]]
)
def test_a_prompt_that_cannot_be_sent_is_refused_and_nothing_is_lost(server: WireServer, prompt: Any) -> None:
    chat = Chat(SONNET, hist=["hi", "Hello"])
    with pytest.raises(BadInput) as raised:
        chat(prompt)
    assert len(str(raised.value).splitlines()) == 2
    assert len(chat.hist) == 2 and not server.requests


@pytest.mark.parametrize(
    "settings",
    [
        {"ttl": "2h"},
        {"think": "much"},
        {"max_tokens": 0},
        {"max_tokens": True},
        {"max_steps": -1},
        {"stream": True},
        {"system": 3},
        {"temp": "hot"},
    ],
)
def test_wrong_settings_are_refused_at_once(settings: dict[str, Any]) -> None:
    with pytest.raises(BadInput) as raised:
        Chat(SONNET, **settings)
    assert len(str(raised.value).splitlines()) == 2


def test_a_system_prompt_may_stand_at_the_front_of_the_history(server: WireServer) -> None:
    hist = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}, "Hello"]
    chat = Chat(SONNET, hist=hist)
    assert chat.system == "Be brief." and len(chat.hist) == 2
    with pytest.raises(BadInput, match="two system prompts"):
        Chat(SONNET, "Be long.", hist=hist)


def test_the_prompt_of_one_call_may_have_settings_of_its_own(server: WireServer) -> None:
    chat = Chat("anthropic/claude-sonnet-4-5", temp=0.5, stop=["x"], max_tokens=50)
    chat("hi", temp=0.1, max_tokens=7, top_p=0.9, system="Be brief.")
    body = server.requests[0].body
    assert (body["temperature"], body["max_tokens"], body["top_p"], body["stop_sequences"]) == (
        0.1,
        7,
        0.9,
        ["x"],
    )
    assert "Be brief." in str(body["system"])
    chat("hi")
    body = server.requests[1].body
    assert (body["temperature"], body["max_tokens"]) == (0.5, 50) and "system" not in body


@pytest.mark.parametrize(("model", "count"), [(SONNET, 0), (GPT, 0), ("openai/gpt-5.5", 2944)])
def test_without_the_cache_nothing_is_marked_nor_written(server: WireServer, model: str, count: int) -> None:
    chat = Chat(model, system=words(3000), cache=False)
    chat("hi")
    chat("and?")
    for request in server.requests:
        assert "cache_control" not in str(request.body) and "breakpoint" not in str(request.body)
        assert request.bill is not None and request.bill.written == 0
    assert server.requests[-1].bill is not None and server.requests[-1].bill.read == count


def test_the_lifetime_is_the_one_asked_for(server: WireServer) -> None:
    Chat(SONNET, system=words(3000), ttl="1h")("hi")
    assert server.requests[0].bill is not None and server.requests[0].bill.written_1h > 3000
    Chat(SONNET, system=words(3000, "other"))("hi")
    assert server.requests[1].bill is not None and server.requests[1].bill.written_1h == 0


# Forks, addresses, errors


def test_a_fork_reads_what_the_other_wrote_and_goes_its_own_way(server: WireServer) -> None:
    chat = Chat(SONNET, system=words(3000))
    chat("hi")
    fork = chat.fork()
    fork("what if?")
    chat("and?")
    assert [len(one.hist) for one in (chat, fork)] == [4, 4]
    assert fork.usage.requests == 1 and chat.usage.requests == 2
    assert server.requests[1].bill is not None and server.requests[1].bill.read > 3000
    assert fork.plan("more").expected.read > 3000


def test_address_and_key_may_be_given(server: WireServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in server.env():
        monkeypatch.delenv(name)
    chat = Chat("openai/my-own", api_base=server.openai_url, api_key="secret-key")
    assert chat("hi").text
    assert server.requests[0].key == "secret-key"
    assert (
        "prompt_cache_key" not in server.requests[0].body
    )  # another's server may refuse what it does not know
    assert "secret-key" not in repr(chat._request("x", {})) + repr(vars(chat.session))
    with pytest.raises(KeyMissing):
        Chat(SONNET, api_base=server.anthropic_url)("hi")


def test_models_that_litellm_does_not_know_can_be_registered_with_a_price(server: WireServer) -> None:
    chat = Chat("openai/mine-alone")
    chat("hi")
    assert chat.usage.unknown_cost == 1
    register_model(
        {
            "openai/mine-alone": {
                "litellm_provider": "openai",
                "mode": "chat",
                "input_cost_per_token": 1e-6,
                "output_cost_per_token": 2e-6,
                "max_input_tokens": 10_000,
            }
        }
    )
    chat = Chat("openai/mine-alone")
    chat("hi")
    bill = server.requests[-1].bill
    assert bill is not None and chat.usage.unknown_cost == 0
    assert chat.usage.paid == pytest.approx(bill.prompt * 1e-6 + bill.output * 2e-6)
    assert "prompt_cache_key" not in server.requests[-1].body
    with pytest.raises(BadInput):
        register_model({"openai/x": 3})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("model", "reply", "kind"),
    [
        (SONNET, Reply(fault=HttpError(429, "Slow down", headers={"retry-after": "7"})), RateLimited),
        (SONNET, Reply("one two three", fault=Drop(after=2)), ConnectionLost),
        ("nobody/knows", Reply(), UnknownModel),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_goes_wrong_is_raised_in_two_lines_and_the_chat_goes_on(
    server: WireServer, model: str, reply: Reply, kind: type[ChatError], stream: bool
) -> None:
    chat = Chat(SONNET, hist=["hi", "Hello"], retries=0)
    if model == SONNET:
        server.script(reply)
    with pytest.raises(kind) as raised:
        list(chat("and?", stream=True, model=model)) if stream else chat("and?", model=model)
    assert len(str(raised.value).splitlines()) == 2
    assert len(chat.hist) == (4 if kind is ConnectionLost else 2)
    assert chat("and now?").text


def test_leaving_a_stream_early_stops_the_answer_and_keeps_what_came(server: WireServer) -> None:
    chat = Chat(SONNET)
    server.script(Reply(tuple(f"word{n} " for n in range(500)), chunk_delay=0.02))
    for n, _ in enumerate(chat("hi", stream=True)):
        if n == 5:
            break
    assert server.requests[0].wait(5).closed == "client"
    assert chat.hist[1]["content"].startswith("word0 word1")
    assert chat("and?").text

    async def leave() -> AsyncChat:
        chat = AsyncChat(SONNET)
        server.script(Reply(tuple(f"word{n} " for n in range(500)), chunk_delay=0.02))
        stream = await chat("hi", stream=True)
        async for _ in stream:
            break
        await stream.aclose()
        return chat

    other = asyncio.run(leave())
    assert server.requests[-1].wait(5).closed == "client"
    assert len(other.hist) == 2


def test_a_cancelled_task_closes_the_connection(server: WireServer) -> None:
    async def cancel() -> AsyncChat:
        chat = AsyncChat(SONNET)
        server.script(Reply(tuple(f"word{n} " for n in range(500)), chunk_delay=0.02))
        task = asyncio.create_task(chat("hi"))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return chat

    chat = asyncio.run(cancel())
    assert server.requests[-1].wait(5).closed == "client"
    assert chat.hist[1]["content"].startswith("word0")


def test_setting_the_history_can_be_undone(server: WireServer) -> None:
    chat = Chat(SONNET, hist=["a", "b", "c", "d"])
    chat.hist = chat.hist[:2]
    assert len(chat.hist) == 2
    assert chat.undo() and len(chat.hist) == 4
    assert not chat.undo()


# Several at once


@pytest.mark.parametrize("model", [SONNET, GEMINI, GPT])
def test_chats_in_many_threads_do_not_disturb_each_other(server: WireServer, model: str) -> None:
    wrong: list[object] = []

    def talk(n: int) -> None:
        chat = Chat(model)
        for turn in range(4):
            try:
                assert chat(f"{n}.{turn}").text == f"Reply {turn + 1}: you said {n}.{turn}"
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=talk, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong and not any(thread.is_alive() for thread in threads)


def test_two_streams_can_be_read_by_turns(server: WireServer) -> None:
    one, other = Chat(SONNET), Chat(SONNET)
    pairs = list(zip(one("a", stream=True), other("b", stream=True), strict=True))
    assert [response.text for response in pairs[-1]] == ["Reply 1: you said a", "Reply 1: you said b"]


def test_a_chat_beside_an_async_one(server: WireServer) -> None:
    async def both() -> list[str]:
        stream = await AsyncChat(SONNET)("a", stream=True)
        texts = [Chat(SONNET)("b").text async for _ in stream]
        return texts

    assert {*asyncio.run(both())} == {"Reply 1: you said b"}


def test_one_stream_at_a_time(server: WireServer) -> None:
    chat = Chat(SONNET, tools=[look])
    server.script(calls(("look", {"q": "a"}), text="so"), Reply("done"))
    stream = chat("first", stream=True)
    next(stream)
    with pytest.raises(BadInput, match="still open"):
        chat("second")
    assert list(stream)[-1].text == "done"
    assert chat("second").text.startswith("Reply 2")


def test_a_loop_is_there_while_there_are_chats(server: WireServer) -> None:
    def there() -> int:
        return sum(thread.name == "ipycachechat" for thread in threading.enumerate())

    gc.collect()
    before = there()
    chats = [Chat(SONNET) for _ in range(5)]
    for chat in chats:
        chat("hi")
    assert there() == max(before, 1)
    fork = chats[0].fork()
    del chats, chat
    gc.collect()
    assert fork("still there?").text
    del fork
    gc.collect()
    end = time.monotonic() + 10
    while there() != before and time.monotonic() < end:
        time.sleep(0.01)
    assert there() == before


# What is shown and foreseen


def test_whatever_is_handed_out_is_safe_to_show(server: WireServer) -> None:
    server.script(Reply(("<script>x</script> ", "and ", "so ", "on"), chunk_delay=0.05))
    chat = Chat(SONNET)
    for n, _ in enumerate(chat("hi", stream=True)):
        if n > 1:
            break
    assert chat.last is not None
    assert "<script" not in str(chat.last._repr_mimebundle_()["text/html"])


def test_the_plan_knows_of_the_settings(server: WireServer) -> None:
    chat = Chat(SONNET, system=words(3000), cache=False)
    expected = chat.plan("hi").expected
    assert expected.written == 0
    assert chat.plan("hi", cache=True).expected.written > 2000
    assert "tokens in" in repr(chat.plan(pandas.DataFrame({"a": [1]})))
    assert Chat(SONNET, hist=["a", "b", "c"]).plan().expected.input > 0
    assert not server.requests


def test_thinking_with_tools_is_another_cache_at_openai(server: WireServer) -> None:
    chat = Chat(GPT, system=words(3000), tools=[look])
    chat("hi")
    chat("and?", think="low")
    chat("so?")
    for request, booked in zip(server.requests, chat.session.client.records, strict=True):
        assert request.bill is not None and (booked.expected.read > 0) == (request.bill.read > 0)


def test_a_new_history_keeps_the_turns_that_are_the_same(server: WireServer) -> None:
    chat = Chat(SONNET, tools=[look])
    server.script(calls(("look", {"q": "a"})), Reply("done"))
    chat("hi")
    chat("and?")
    chat.hist = chat.hist[:4]
    (turn,) = chat.session.history.current.turns
    assert turn.model == SONNET and turn.usage.input
    chat.tools = None
    chat("or?")
    assert [tool["name"] for tool in server.requests[-1].body["tools"]] == ["look"]
    assert "not available" not in str(server.requests[-1].body["tools"])


def test_an_empty_result_is_no_empty_message(server: WireServer) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    hist: list[Any] = [
        "hi",
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": ""},
        "done",
    ]
    assert Chat(SONNET, hist=hist)("and?").text
    twice = {**hist[1], "tool_calls": [call, call]}
    with pytest.raises(BadInput, match="same id"):
        Chat(SONNET, hist=["hi", twice, hist[2], hist[2]])


def test_what_a_tool_does_to_its_chat_is_not_undone(server: WireServer) -> None:
    def forget(q: str) -> str:
        "Forget."
        chat.hist = []
        return "forgotten"

    server.script(calls(("forget", {"q": "a"})), Reply("done"))
    chat = Chat(SONNET, hist=["old", "yes"], tools=[forget])
    chat("hi")
    assert [message["content"] for message in chat.hist if message["role"] == "user"] == ["hi"]


def test_the_plan_tells_tools_from_turns(server: WireServer) -> None:
    chat = Chat(SONNET, "Be brief.", tools=[look, fetch], hist=["a", "b", "c", "d"])
    lines = repr(chat.plan("next")).splitlines()
    assert any(line.startswith("turns 1 to 2 (") for line in lines) and not any(
        "turns 0" in line for line in lines
    )


def test_usage_that_is_not_reported_is_unknown(server: WireServer) -> None:
    """Litellm makes up one where a stream has none."""
    server.script(Reply("hi there", report_usage=False))
    chat = Chat("openai/gpt-5.5")
    assert chat("hello").usage is None
    assert chat.usage.unknown_tokens == chat.usage.unknown_cost == 1 and chat.usage.tokens.output == 0


def test_a_question_that_waited_and_was_taken_out_meanwhile_keeps_its_answer(server: WireServer) -> None:
    for change in (lambda chat: chat.reset(), lambda chat: setattr(chat, "hist", chat.hist[:-1])):
        chat = Chat(SONNET, hist=["q1", "a1", "q2"])
        server.script(Reply("the answer"))
        pieces = chat(None, stream=True)
        next(pieces)
        change(chat)
        *_, response = pieces
        assert response.text == "the answer"
        assert [message["content"] for message in chat.hist][-2:] == ["q2", "the answer"]
        assert "q1" not in str(chat.hist) or "a1" in str(chat.hist)


def test_a_budget_holds_for_a_chat_and_its_forks(server: WireServer) -> None:
    chat = Chat("anthropic/claude-sonnet-5", budget=0.01, max_tokens=300)
    chat("hello")
    assert chat.budget == 0.01
    for one in (chat, chat.fork()):
        with pytest.raises(OverBudget, match="your \\$0.01000 budget"):
            one("and?", max_tokens=1000)
    assert len(server.requests) == 1 and len(chat.hist) == 2
    chat.budget = None
    chat("and?", max_tokens=1000)
    for wrong in (0, -1, "much", float("nan"), True):
        with pytest.raises(BadInput, match="not a budget"):
            Chat("local", budget=wrong)  # type: ignore[arg-type]
    with pytest.raises(BadInput):
        chat("and?", budget=3)
