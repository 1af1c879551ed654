"""What is kept warm, for how long, and what that costs."""

from __future__ import annotations

import pytest
from talks import OPUS, Talk, agree, nothing
from wire import HttpError, Reply, count, words

from ipycachechat.core.errors import BadInput
from ipycachechat.core.request import said
from ipycachechat.model.provider import target
from ipycachechat.warm import KeepWarm


def keep(talk: Talk, seconds: float) -> None:
    talk.loop.run_until_complete(talk.chat.keep_warm(talk.next(), seconds))


def test_the_prefix_is_written_now_and_read_by_the_next_prompt(talk: Talk) -> None:
    talk.ttl = 300
    talk.ask(words(3000))
    talk.server.forget()
    talk.wait(400)
    booked = talk.loop.run_until_complete(talk.chat.warm(talk.next(), nothing))
    assert talk.server.requests[-1].body["max_tokens"] == 0
    assert not talk.server.requests[-1].body.get("stream")
    assert booked.usage.written == talk.bill.written == 3000 + count("yes, that is so")
    assert booked.usage.output == 0
    agree(talk.ask("and?"), talk.bill)
    assert talk.bill.read == 3000 + count("yes, that is so")
    assert talk.chat.ledger.requests == 3


def test_a_system_prompt_is_written_before_the_first_question(talk: Talk) -> None:
    talk.chat.set_system(words(2000, "rule"))
    talk.loop.run_until_complete(talk.chat.warm(talk.next(), nothing))
    agree(talk.ask("hello"), talk.bill)
    assert talk.bill.read == 2000


def test_half_an_hour_is_bridged_by_reading_alone(talk: Talk) -> None:
    talk.ttl = 300
    talk.ask(words(3000))
    asked = len(talk.server.requests)
    keep(talk, 1800)
    sent = talk.server.requests[asked:]
    assert len(sent) == 6
    assert all(request.bill and request.bill.written == 0 and request.bill.read == 3000 for request in sent)
    assert talk.chat.kept and talk.chat.kept.ended == "the time is over"
    assert talk.chat.kept.refreshed == 6
    agree(talk.ask("and?"), talk.bill)
    assert talk.bill.read == 3000


def test_it_ends_when_writing_again_is_cheaper(talk: Talk) -> None:
    talk.ttl = 300
    talk.ask(words(3000))
    asked = len(talk.server.requests)
    keep(talk, 24 * 3600)
    # A refresh costs 0.1 of the prefix, what it avoids 1.25 - 0.1.
    assert len(talk.server.requests) - asked == 11
    assert talk.chat.kept and "cheaper" in talk.chat.kept.ended


def test_an_hours_entry_is_refreshed_by_the_hour(talk: Talk) -> None:
    talk.ttl = 3600
    talk.ask(words(3000))
    asked = len(talk.server.requests)
    keep(talk, 3 * 3600)
    assert len(talk.server.requests) - asked == 3
    agree(talk.ask("and?"), talk.bill)
    assert talk.bill.read == 3000


def test_it_ends_when_another_model_is_asked_or_nothing_is_warm(talk: Talk) -> None:
    talk.ttl = 300
    talk.ask(words(3000))
    before = talk.next()
    talk.model = OPUS
    talk.ask("you?")
    asked = len(talk.server.requests)
    talk.loop.run_until_complete(talk.chat.keep_warm(before, 1800))
    assert talk.chat.kept and "another model" in talk.chat.kept.ended
    talk.wait(4000)
    keep(talk, 1800)
    assert "nothing is warm" in talk.chat.kept.ended
    assert len(talk.server.requests) == asked


def test_a_refusal_ends_it_and_is_told(talk: Talk) -> None:
    talk.ttl = 300
    talk.ask(words(3000))
    talk.server.script(Reply(fault=HttpError(429, "Slow down")))
    keep(talk, 1800)
    assert talk.chat.kept and talk.chat.kept.ended


def test_what_cannot_be_kept_warm_is_refused_and_nothing_is_sent(talk: Talk) -> None:
    with pytest.raises(BadInput, match="1,024 tokens"):
        talk.loop.run_until_complete(talk.chat.warm(talk.next(), nothing))
    talk.model = "openai/gpt-5.5"
    with pytest.raises(BadInput, match="only keeps its cache warm"):
        talk.loop.run_until_complete(talk.chat.warm(talk.next(), nothing))
    assert not talk.server.requests


def test_claude_elsewhere_is_kept_warm_by_the_shortest_answer(talk: Talk) -> None:
    talk.model, talk.ttl = "openrouter/anthropic/claude-sonnet-4.5", 300
    talk.ask(words(3000))
    asked = len(talk.server.requests)
    keep(talk, 900)
    sent = talk.server.requests[asked:]
    assert len(sent) == 3
    assert all(request.body["max_tokens"] == 1 for request in sent)
    assert all(request.bill and (request.bill.read, request.bill.written) == (3000, 0) for request in sent)
    assert talk.ask("and?").reason is None
    assert talk.bill.read == 3000


def test_a_question_meanwhile_begins_the_account_anew(talk: Talk) -> None:
    talk.ttl = 300
    talk.ask(words(3000))
    slept = 0

    async def sleep(seconds: float) -> None:
        nonlocal slept
        talk.wait(seconds)
        slept += 1
        if slept == 8:
            talk.server.script(Reply("yes"))
            await talk.chat.send(talk.next("and?"), nothing)

    keeping = KeepWarm(
        talk.chat.engine, target(talk.model, 16), lambda: said(talk.chat.history.now, "."), 24 * 3600, sleep
    )
    talk.loop.run_until_complete(keeping.run())
    # Seven before the question, eleven after it.
    assert keeping.refreshed == 7 + 11
