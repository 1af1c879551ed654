"""What is kept warm, for how long, and what that costs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count as counter

import pytest
from support.talks import OPUS, Talk, assert_predicted_and_billed_alike, nothing
from wire import HttpError, Reply, Stall, count, words

from ipycachechat.caching.miss_reasons import MissCause
from ipycachechat.conversation.events import StreamChunk
from ipycachechat.engine.events import TurnResult
from ipycachechat.engine.keepalive import CacheKeepalive
from ipycachechat.engine.preview import next_request
from ipycachechat.engine.turn_request import PLACEHOLDER, TurnRequest
from ipycachechat.errors import BadInput
from ipycachechat.providers.endpoint import provider_endpoint


def keep(talk: Talk, seconds: float) -> None:
    talk.loop.run_until_complete(talk.chat.keep_warm(talk.next(), seconds).run())


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
    assert_predicted_and_billed_alike(talk.ask("and?"), talk.bill)
    assert talk.bill.read == 3000 + count("yes, that is so")
    assert talk.chat.client.ledger.requests == 3


def test_a_system_prompt_is_written_before_the_first_question(talk: Talk) -> None:
    talk.chat.versions.set_system(words(2000, "rule"))
    talk.loop.run_until_complete(talk.chat.warm(talk.next(), nothing))
    assert_predicted_and_billed_alike(talk.ask("hello"), talk.bill)
    assert talk.bill.read == 2000


def test_half_an_hour_is_bridged_by_reading_alone(talk: Talk) -> None:
    talk.ttl = 300
    talk.ask(words(3000))
    asked = len(talk.server.requests)
    keep(talk, 1800)
    sent = talk.server.requests[asked:]
    assert len(sent) == 6
    assert all(request.bill and request.bill.written == 0 and request.bill.read == 3000 for request in sent)
    assert talk.chat.keepalive and talk.chat.keepalive.ended == "its time is over"
    assert talk.chat.keepalive.refreshed == 6
    assert_predicted_and_billed_alike(talk.ask("and?"), talk.bill)
    assert talk.bill.read == 3000


def test_it_ends_when_writing_again_is_cheaper(talk: Talk) -> None:
    talk.ttl = 300
    talk.ask(words(3000))
    asked = len(talk.server.requests)
    keep(talk, 24 * 3600)
    # A refresh costs 0.1 of the prefix, what it avoids 1.25 - 0.1.
    assert len(talk.server.requests) - asked == 11
    assert talk.chat.keepalive and "cheaper" in talk.chat.keepalive.ended


def test_what_an_hours_entry_costs_to_write_again_is_what_counts_for_it(talk: Talk) -> None:
    talk.ttl = 3600
    talk.ask(words(3000))
    keep(talk, 24 * 3600)
    # 2.0 - 0.1, by 0.1.
    assert talk.chat.keepalive and talk.chat.keepalive.refreshed == 18


def test_an_expiry_after_warming_is_no_first_request(talk: Talk) -> None:
    talk.ttl = 300
    talk.chat.versions.set_system(words(2000, "rule"))
    talk.loop.run_until_complete(talk.chat.warm(talk.next(), nothing))
    talk.wait(400)
    done = talk.ask("hello")
    assert done.reason and (done.reason.cause, done.reason.tokens) == (MissCause.EXPIRED, 2000)


def test_an_hours_entry_is_refreshed_by_the_hour(talk: Talk) -> None:
    talk.ttl = 3600
    talk.ask(words(3000))
    asked = len(talk.server.requests)
    keep(talk, 3 * 3600)
    assert len(talk.server.requests) - asked == 3
    assert_predicted_and_billed_alike(talk.ask("and?"), talk.bill)
    assert talk.bill.read == 3000


def meanwhile(talk: Talk, seconds: float, happening: Callable[[int], Awaitable[None]]) -> CacheKeepalive:
    """Keep warm; each time that it waits, and has waited, something may happen: `happening(how often)`."""
    times = counter(1)

    async def sleep(time: float) -> None:
        talk.wait(time)
        await happening(next(times))

    chat = talk.chat
    keeping = CacheKeepalive(
        chat.client,
        lambda: next_request(
            TurnRequest(PLACEHOLDER, talk.model), chat.history.current, provider_endpoint(talk.model, 16)
        ),
        seconds,
        sleep,
    )
    talk.loop.run_until_complete(keeping.run())
    return keeping


def test_it_ends_when_another_model_is_asked(talk: Talk) -> None:
    talk.ttl = 300
    talk.ask(words(3000))

    async def another(times: int) -> None:
        talk.server.script(Reply("yes"))
        await talk.chat.send(TurnRequest("you?", OPUS), nothing)

    keeping = meanwhile(talk, 1800, another)
    assert "another model" in keeping.ended and keeping.refreshed == 0


def test_a_model_that_was_not_asked_last_is_kept_warm_if_that_is_wished(talk: Talk) -> None:
    talk.ttl = 300
    talk.ask(words(3000))
    talk.model = OPUS
    talk.loop.run_until_complete(talk.chat.warm(talk.next(), nothing))
    keep(talk, 900)
    assert talk.chat.keepalive and talk.chat.keepalive.ended == "its time is over"
    assert talk.chat.keepalive.refreshed == 3


def test_it_ends_when_nothing_is_warm(talk: Talk) -> None:
    talk.ttl = 300
    talk.ask(words(3000))
    talk.wait(4000)
    asked = len(talk.server.requests)
    keep(talk, 1800)
    assert talk.chat.keepalive and "nothing is warm" in talk.chat.keepalive.ended
    assert len(talk.server.requests) == asked


def test_nothing_is_refreshed_while_a_question_that_refreshes_it_is_being_answered(talk: Talk) -> None:
    talk.ttl = 300
    talk.ask(words(3000))
    open_question: list[asyncio.Future[TurnResult]] = []
    sent: list[int] = []

    async def slow_question(times: int) -> None:
        if times == 1:  # asked at 270 s, so that all of it is warm until 570 s
            begun = asyncio.Event()
            talk.server.script(Reply("a slow answer", fault=Stall()))
            tell = lambda event: begun.set() if isinstance(event, StreamChunk) else None  # noqa: E731
            open_question.append(asyncio.ensure_future(talk.chat.send(talk.next("and?"), tell)))
            await begun.wait()
            sent.append(len(talk.server.requests))
        elif times == 40:  # at 465 s
            sent.append(len(talk.server.requests))
            open_question[0].cancel()
            await asyncio.wait(open_question)

    keeping = meanwhile(talk, 800, slow_question)
    assert sent[0] == sent[1] == 2
    assert keeping.ended == "its time is over" and keeping.refreshed == 1
    assert talk.bill.read > 3000 and talk.bill.written == 0


def test_a_refusal_ends_it_and_is_shown(talk: Talk) -> None:
    talk.ttl = 300
    talk.ask(words(3000))
    talk.server.script(Reply(fault=HttpError(429, "Slow down")))
    keep(talk, 1800)
    assert talk.chat.keepalive and talk.chat.keepalive.ended
    assert not talk.chat.client.busy
    keep(talk, 1800)  # and it can start again
    assert talk.chat.keepalive.refreshed == 7


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


def test_a_question_meanwhile_starts_the_account_again(talk: Talk) -> None:
    talk.ttl = 300
    talk.ask(words(3000))

    async def question(times: int) -> None:
        if times == 8:
            talk.server.script(Reply("yes"))
            await talk.chat.send(talk.next("and?"), nothing)

    # Seven before the question, eleven after it.
    assert meanwhile(talk, 24 * 3600, question).refreshed == 7 + 11
