"""A conversation as messages."""

from __future__ import annotations

from ipycachechat.caching.request import estimate_prompt, prompt_messages, wire_messages
from ipycachechat.conversation.messages import Message, ToolCall
from ipycachechat.conversation.to_wire import to_wire
from ipycachechat.conversation.turns import Conversation, Turn

TURN = Turn("one", (Message("assistant", "yes"),))


def test_system_then_turns_then_the_prompt() -> None:
    assert wire_messages(prompt_messages(Conversation("be brief", (TURN,)), Turn("two", ()))) == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "yes"},
        {"role": "user", "content": "two"},
    ]


def test_no_empty_system_prompt_is_sent_and_another_may_stand_in() -> None:
    assert wire_messages(prompt_messages(Conversation(" "), Turn("two", ())))[0]["role"] == "user"
    assert (
        wire_messages(prompt_messages(Conversation("be brief"), Turn("two", ()), system="be long"))[0][
            "content"
        ]
        == "be long"
    )
    assert (
        wire_messages(prompt_messages(Conversation("be brief"), Turn("two", ()), system=""))[0]["role"]
        == "user"
    )


def test_a_message_of_calls_alone_has_no_content_rather_than_an_empty_one() -> None:
    sent = to_wire(Message("assistant", "", (ToolCall("1", "add", '{"a": 1}'),)))
    assert sent["content"] is None
    assert sent["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a": 1}'}
    assert to_wire(Message("tool", "", tool_call_id="1")) == {
        "role": "tool",
        "content": "",
        "tool_call_id": "1",
    }


def test_halves_of_characters_are_not_sent() -> None:
    assert to_wire(Message("user", "a\ud800b \ud83d\ude00"))["content"] == "a\ufffdb \U0001f600"


def test_the_estimate_counts_what_is_sent() -> None:
    assert estimate_prompt([]) == 1
    assert estimate_prompt(prompt_messages(Conversation("x" * 400), Turn("y" * 400, ()))) == 200
