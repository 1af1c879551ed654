"""Two scenes: a history is written whole and then read; a prefix that was partly changed is partly read."""

from __future__ import annotations

from support.talks import Talk
from wire import words

from ipycachechat.conversation.history import History
from ipycachechat.conversation.messages import Message
from ipycachechat.conversation.turns import Conversation, Turn

GEMINI = "gemini/gemini-2.5-flash"


def with_history(talk: Talk) -> None:
    turns = (
        Turn(words(3000), (Message("assistant", "It's 42"),)),
        Turn("hi", (Message("assistant", "Hello"),)),
    )
    talk.chat.versions.change(lambda _: History.starting_with(Conversation("", turns)))


def test_anthropic_writes_up_to_the_last_user_message_and_the_next_call_reads_it(talk: Talk) -> None:
    with_history(talk)
    first = talk.ask("hi again", answer="how may i help you?").turn
    assert first and first.usage.read == 0
    assert first.usage.written == first.usage.input == talk.bill.prompt
    assert first.usage.written and first.usage.written > 1000
    second = talk.ask("bye!").turn
    assert second and second.usage.read == first.usage.written == talk.bill.read


def test_gemini_reads_a_repeated_prefix_and_what_is_left_of_a_changed_one(talk: Talk) -> None:
    talk.model = GEMINI
    with_history(talk)
    first = talk.ask("hi again", "cell").turn
    assert first and first.usage.read == 0
    again = talk.ask("hi again", "cell").turn
    assert again and again.usage.read == talk.bill.read
    assert again.usage.read and again.usage.read > 1800
    talk.ask("bye!", "other")
    changed = talk.ask("hi once more", "cell").turn
    assert changed and changed.usage.read == talk.bill.read
    assert changed.usage.read and 1800 < changed.usage.read < (changed.usage.input or 0)
    assert "cache_control" not in str(talk.server.requests[-1].body)
    assert not any("cachedContents" in request.path for request in talk.server.requests)
