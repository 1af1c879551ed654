"""Thinking: asked for, shown, sealed, sent back to whoever sealed it, and foreseen in the bill."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from support.python_calls import GEMINI, GPT, SONNET, calls, count_like_server, look
from wire import Bill, Reply, WireServer, words

from ipycachechat import Chat
from ipycachechat.errors import BadInput

OLD_SONNET = "anthropic/claude-sonnet-4-5"


def thinking(reply: Reply, *thoughts: str) -> Reply:
    from dataclasses import replace

    return replace(reply, thinking=" ".join(thoughts))


def agree(chat: Chat, server: WireServer) -> list[Bill]:
    bills = []
    for request, booked in zip(server.requests, chat.session.client.records, strict=True):
        bill, expected = request.bill, booked.expected
        assert bill is not None
        assert (expected.read, expected.written, expected.fresh) == (bill.read, bill.written, bill.fresh)
        assert bill.read + bill.written + bill.fresh == bill.prompt
        bills.append(bill)
    return bills


@pytest.mark.parametrize("effort", ["low", "medium", "high"])
@pytest.mark.parametrize("model", [SONNET, OLD_SONNET])
def test_claude_gets_its_sealed_thoughts_back_and_the_bill_is_foreseen(
    server: WireServer, model: str, effort: str
) -> None:
    chat = Chat(model, system=words(1500, "rule"), tools=[look], think=cast(Any, effort))
    count_like_server(chat, server)
    server.script(
        thinking(calls(("look", {"q": "a"})), "first", words(50)),
        thinking(calls(("look", {"q": "b"}), text="so"), "second", words(60)),
        thinking(Reply("done"), "third"),
        thinking(Reply("and done"), "fourth"),
        Reply("no thought"),
        thinking(Reply("last"), "fifth"),
    )
    for prompt in ("hi", "and?", "or?", "well?"):
        chat(prompt)
    bills = agree(chat, server)
    assert bills[1].read == bills[0].prompt and bills[2].read == bills[1].prompt
    said = json.dumps(server.requests[-1].messages)
    assert ("first" in said) is (model == SONNET)  # an earlier turn's: the older model is not shown it
    if model == SONNET:
        assert all(later.read == before.prompt for before, later in zip(bills, bills[1:], strict=False))
        assert "signature" in said
    else:
        assert "is no longer sent to this model" in " ".join(
            booked.reason.sentence for booked in chat.session.client.records if booked.reason
        )


def test_thoughts_are_streamed_and_stay_in_the_response(server: WireServer) -> None:
    server.script(thinking(Reply("done"), "let", "me", "see"))
    *chunks, response = Chat(SONNET, think="low")("hi", stream=True)
    thought = "".join(getattr(chunk.choices[0].delta, "reasoning_content", None) or "" for chunk in chunks)
    assert thought == response.choices[0].message.reasoning_content == "let me see"
    assert response.choices[0].message.thinking_blocks[0]["signature"]


def test_gemini_gets_its_seals_back_and_not_the_thoughts(server: WireServer) -> None:
    server.script(thinking(calls(("look", {"q": "a"})), "first"), thinking(Reply("done"), "second"))
    chat = Chat(GEMINI, tools=[look], think="low")
    chat("hi")
    chat("and?")
    said = json.dumps(server.requests[-1].messages)
    assert "thoughtSignature" in said and "first" not in said
    assert chat.hist[1]["reasoning_content"] == "first"


def test_gpt_gets_its_reasoning_back_while_it_has_tools_to_think_of(server: WireServer) -> None:
    server.script(thinking(calls(("look", {"q": "a"})), "first"), thinking(Reply("done"), "second"))
    chat = Chat(GPT, system=words(1500, "rule"), tools=[look], think="low")
    assert chat("hi").text == "done"
    assert [request.path.endswith("/responses") for request in server.requests] == [True, True]
    assert "reasoning" in [item.get("type") for item in server.requests[-1].body["input"]]
    bill = server.requests[-1].bill
    assert bill is not None and server.requests[0].bill and bill.read == server.requests[0].bill.prompt
    assert chat("and?", think=None).text.startswith("Reply")
    assert server.requests[-1].path.endswith("/chat/completions")


@pytest.mark.parametrize("first", [SONNET, GEMINI, GPT])
@pytest.mark.parametrize(
    "second", [SONNET, GEMINI, GPT, "openai/gpt-5.5", "openrouter/anthropic/claude-sonnet-4.5"]
)
def test_a_conversation_can_change_models_with_thoughts_and_calls_in_it(
    server: WireServer, first: str, second: str
) -> None:
    server.script(thinking(calls(("look", {"q": "a"})), "first"), thinking(Reply("done"), "second"))
    chat = Chat(first, tools=[look], think="low")
    chat("hi")
    chat.model = second
    server.script(thinking(calls(("look", {"q": "b"})), "third"), Reply("done too"))
    assert chat("and?").text == "done too"
    if first != second:
        assert '"first"' not in json.dumps(server.requests[-1].body)
    chat.model, chat.think = first, None
    assert chat("back?").text


def test_who_cannot_think_is_not_asked_to(server: WireServer) -> None:
    with pytest.raises(BadInput, match="does not support thinking"):
        Chat("openai/gpt-4o", think="low")("hi")
    with pytest.raises(BadInput, match="not an effort"):
        Chat(SONNET, think=cast(Any, "much"))
    assert not server.requests


def test_what_was_not_sealed_is_kept_for_people_alone(server: WireServer) -> None:
    """A stream that broke off in a thought, say, leaves no seal; neither does another's model."""
    hist: list[Any] = ["hi", {"role": "assistant", "content": "yes", "reasoning_content": "hm"}]
    chat = Chat(SONNET, hist=hist, think="low")
    chat("and?")
    assert "hm" not in json.dumps(server.requests[-1].body)
    assert chat.hist[1]["reasoning_content"] == "hm"
