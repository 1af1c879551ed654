"""What is asked again, after how long, and what never is."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from support.talks import OPUS, Talk
from wire import Drop, HttpError, Reply, Stall, StreamError, ToolCall, Truncated, words

from ipycachechat.conversation.events import Event, RetryScheduled, StreamBroken, StreamChunk
from ipycachechat.conversation.turns import TurnStatus
from ipycachechat.engine.events import TurnResult
from ipycachechat.engine.turn_request import TurnRequest
from ipycachechat.errors import ConnectionLost, Overloaded, RateLimited, ResponseTimeout, Unreachable
from ipycachechat.providers.timeouts import RequestLimits

PROVIDERS = ["anthropic/claude-sonnet-5", "openai/gpt-5.5", "gemini/gemini-3.8-flash"]
every_provider = pytest.mark.parametrize("model", PROVIDERS)


def ask(talk: Talk, limits: RequestLimits = RequestLimits(), **more: Any) -> tuple[TurnResult, list[Event]]:
    events: list[Event] = []
    done = talk.loop.run_until_complete(
        talk.chat.send(TurnRequest("hello", talk.model, limits=limits, **more), events.append)
    )
    return done, events


def pauses(events: list[Event]) -> list[float]:
    return [event.seconds for event in events if isinstance(event, RetryScheduled)]


@every_provider
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 529])
def test_what_may_pass_is_asked_again_after_ever_longer_pauses(talk: Talk, model: str, status: int) -> None:
    talk.model = model
    talk.server.script(*[Reply(fault=HttpError(status, "not now"))] * 3, Reply("Here."))
    done, events = ask(talk)
    assert done.error is None and done.turn and done.turn.answer_text == "Here."
    one, two, three = pauses(events)
    assert 0.5 <= one <= 1.0 and 1.0 <= two <= 1.5 and 2.0 <= three <= 2.5
    assert len(talk.server.requests) == 4 and done.requests == 1
    assert done.turn.usage.input == talk.bill.prompt  # what was refused was not billed


@every_provider
@pytest.mark.parametrize("status", [400, 401, 403, 404, 413])
def test_what_will_not_pass_is_asked_once(talk: Talk, model: str, status: int) -> None:
    talk.model = model
    talk.server.script(Reply(fault=HttpError(status, "no")))
    done, events = ask(talk)
    assert done.error is not None and done.turn is None and not pauses(events)
    assert len(talk.server.requests) == 1
    assert done.error.billed in ("You were not charged.", "Nothing was sent.")


@every_provider
@pytest.mark.parametrize(
    ("status", "billed"),
    [(429, "You were not"), (529, "You were not"), (502, "It is unknown"), (504, "It is unknown")],
)
def test_that_nothing_is_billed_is_said_only_where_it_is_known(
    talk: Talk, model: str, status: int, billed: str
) -> None:
    talk.model = model
    talk.server.script(Reply(fault=HttpError(status, "not now")))
    error = ask(talk, RequestLimits(retries=0))[0].error
    assert error is not None and error.billed.startswith(billed) and len(str(error).splitlines()) == 2


@every_provider
@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ({"retry-after": "7"}, 7.0, 7.5),
        ({"retry-after": "0"}, 0.0, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5, 2.0),
        ({"retry-after": "soon"}, 0.5, 1.0),
        ({"retry-after": "-3"}, 0.5, 1.0),
        ({"retry-after": "nan"}, 0.5, 1.0),
    ],
)
def test_the_providers_word_on_when_to_ask_again_is_taken(
    talk: Talk, model: str, headers: dict[str, str], least: float, most: float
) -> None:
    talk.model = model
    talk.server.script(Reply(fault=HttpError(429, "slow down", headers=headers)), Reply("Here."))
    done, events = ask(talk)
    assert done.error is None
    assert least <= pauses(events)[0] <= most


def test_the_word_may_be_a_date(talk: Talk) -> None:
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=50), usegmt=True)
    talk.server.script(Reply(fault=HttpError(429, "slow", headers={"retry-after": then})), Reply("Here."))
    assert 30.0 <= pauses(ask(talk)[1])[0] <= 50.5


def test_geminis_word_is_in_the_body(talk: Talk) -> None:
    talk.model = "gemini/gemini-3.8-flash"
    retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "9s"}
    body = {"error": {"code": 429, "message": "Quota", "status": "RESOURCE_EXHAUSTED", "details": [retry]}}
    talk.server.script(Reply(fault=HttpError(429, body=body)), Reply("Here."))
    assert 9.0 <= pauses(ask(talk)[1])[0] <= 9.5


def test_a_pause_that_would_end_too_late_does_not_begin(talk: Talk) -> None:
    talk.server.script(Reply(fault=HttpError(429, "slow down", headers={"retry-after": "3600"})))
    done, events = ask(talk)
    assert isinstance(done.error, RateLimited) and not pauses(events)
    assert "3600" in str(done.error)


def test_the_last_error_is_shown_with_the_number_of_tries(talk: Talk) -> None:
    talk.server.script(*[Reply(fault=HttpError(529, "Overloaded"))] * 4)
    done, _ = ask(talk)
    assert isinstance(done.error, Overloaded) and done.error.tries == 4
    assert len(talk.server.requests) == 4 and talk.chat.last_error is done.error
    talk.server.script(Reply("Here."))
    ask(talk)
    assert talk.chat.last_error is None


@every_provider
@pytest.mark.parametrize("stage", ["headers", "first"])
def test_a_connection_that_drops_before_the_answer_is_tried_again(talk: Talk, model: str, stage: Any) -> None:
    talk.model = model
    talk.server.script(Reply("lost", fault=Drop(stage)), Reply("Here."))
    done, events = ask(talk)
    assert done.turn and done.turn.answer_text == "Here." and len(pauses(events)) == 1


@every_provider
@pytest.mark.parametrize("fault", [Drop("chunk", 2), StreamError(2), Stall("chunk", 2)])
def test_an_answer_that_breaks_off_is_asked_for_once_more(talk: Talk, model: str, fault: Any) -> None:
    talk.model = model
    talk.server.script(Reply("One two three", fault=fault), Reply("All of it."))
    done, events = ask(talk, RequestLimits(read_timeout=0.5, first_token_timeout=0.5))
    assert done.turn and done.turn.answer_text == "All of it." and done.turn.status is TurnStatus.COMPLETE
    assert [event.text for event in events if isinstance(event, StreamBroken)] == ["One two "]
    assert len(talk.server.requests) == 2


def test_the_prompt_is_warm_when_it_is_asked_again(talk: Talk) -> None:
    talk.server.script(Reply("One two three", fault=Drop("chunk", 2)), Reply("All of it."))
    done = talk.loop.run_until_complete(talk.chat.send(TurnRequest(words(3000), talk.model), lambda _: None))
    assert done.turn and talk.bill.read == 3000 and talk.bill.written == 0
    read, written = done.turn.usage.read, done.turn.usage.written
    assert (read, written) == (3000, 3000)  # both requests are on the bill


@every_provider
def test_if_it_breaks_off_again_the_answer_stays_as_far_as_it_came(talk: Talk, model: str) -> None:
    talk.model = model
    talk.server.script(
        Reply("One two three", fault=Drop("chunk", 2)), Reply("Uno due tre", fault=Drop("chunk", 1))
    )
    done, _ = ask(talk)
    assert isinstance(done.error, ConnectionLost) and done.turn
    assert done.turn.answer_text == "Uno " and done.turn.status is TurnStatus.INTERRUPTED
    talk.model = model
    talk.server.script(Reply("Here."))
    assert ask(talk)[0].error is None


def test_if_nothing_comes_the_second_time_the_first_part_stays(talk: Talk) -> None:
    talk.server.script(Reply("One two three", fault=Drop("chunk", 2)), Reply(fault=HttpError(400, "No")))
    done, _ = ask(talk)
    assert isinstance(done.error, ConnectionLost) and "The retry failed too" in str(done.error)
    assert done.turn and done.turn.answer_text == "One two "


def test_without_retries_nothing_is_asked_again(talk: Talk) -> None:
    talk.server.script(Reply("One two three", fault=Drop("chunk", 2)))
    done, events = ask(talk, RequestLimits(retries=0))
    assert done.turn and done.turn.answer_text == "One two " and len(talk.server.requests) == 1
    talk.server.script(Reply(fault=HttpError(529)))
    assert isinstance(ask(talk, RequestLimits(retries=0))[0].error, Overloaded)
    assert len(talk.server.requests) == 2


@every_provider
def test_the_reported_usage_of_a_broken_answer_is_a_lower_bound(talk: Talk, model: str) -> None:
    talk.model = model
    talk.server.script(Reply("One two three", fault=Truncated(2)))
    done, _ = ask(talk, RequestLimits(retries=0))
    assert done.turn and (done.turn.usage.output is None or done.turn.usage.at_least)


def test_where_pieces_are_handed_on_for_good_nothing_is_asked_again(talk: Talk) -> None:
    talk.server.script(Reply("One two three", fault=Drop("chunk", 2)))
    done, _ = ask(talk, retry_broken_stream=False)
    assert isinstance(done.error, ConnectionLost) and len(talk.server.requests) == 1


@every_provider
def test_silence_before_the_answer_is_given_up(talk: Talk, model: str) -> None:
    talk.model = model
    for stage in ("headers", "first"):
        talk.server.script(Reply("late", fault=Stall(stage)))  # type: ignore[arg-type] # one of its stages
        done, _ = ask(talk, RequestLimits(retries=0, first_token_timeout=0.3, read_timeout=0.3))
        assert isinstance(done.error, Unreachable), done.error
        assert talk.server.requests[-1].ended_event.wait(10) and talk.server.requests[-1].closed == "client"


@every_provider
def test_an_answer_may_be_given_a_time_of_its_own(talk: Talk, model: str) -> None:
    talk.model = model
    talk.server.script(Reply("One two three four five six seven", chunk_delay=0.3))
    done, _ = ask(talk, RequestLimits(total_timeout=0.8))
    assert (
        isinstance(done.error, ResponseTimeout) and done.turn and done.turn.status is TurnStatus.INTERRUPTED
    )
    assert done.turn.answer_text.startswith("One ") and len(talk.server.requests) == 1


@every_provider
def test_a_slow_answer_is_no_stalled_one(talk: Talk, model: str) -> None:
    talk.model = model
    talk.server.script(Reply("One two three four five", chunk_delay=0.4))
    done, _ = ask(talk, RequestLimits(first_token_timeout=1.2, read_timeout=1.2))
    assert done.turn and done.turn.answer_text == "One two three four five" and len(talk.server.requests) == 1


def test_in_a_loop_of_tools_only_the_request_that_failed_is_sent_again(talk: Talk) -> None:
    from ipycachechat.tools.schema import make_tools

    called: list[str] = []

    def look(word: str) -> str:
        """Look it up."""
        called.append(word)
        return word

    talk.model = OPUS
    talk.server.script(
        Reply(tool_calls=(ToolCall("look", {"word": "a"}),)), Reply(fault=HttpError(529)), Reply("Found.")
    )

    async def here(events: list[Event], ask: TurnRequest) -> TurnResult:
        def tell(event: Any) -> None:
            events.append(event)
            if hasattr(event, "work"):
                event.work()

        return await talk.chat.send(ask, tell)

    events: list[Event] = []
    done = talk.loop.run_until_complete(here(events, TurnRequest("hello", OPUS, tools=make_tools([look]))))
    assert done.turn and done.turn.answer_text == "Found." and called == ["a"] and len(pauses(events)) == 1


def test_stopping_in_a_pause_ends_it(talk: Talk) -> None:
    talk.server.script(Reply(fault=HttpError(529)))

    async def stopped() -> None:
        talk.chat._sleep = asyncio.sleep
        pausing = asyncio.Event()

        def tell(event: Event) -> None:
            if isinstance(event, RetryScheduled):
                pausing.set()

        task = asyncio.create_task(talk.chat.send(TurnRequest("hello", talk.model), tell))
        await pausing.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()

    talk.loop.run_until_complete(stopped())
    assert len(talk.server.requests) == 1 and not talk.chat.history.current.turns


@every_provider
def test_an_answer_that_is_stopped_after_its_last_word_keeps_it(talk: Talk, model: str) -> None:
    async def stopped() -> TurnResult:
        events: list[Event] = []

        def tell(event: Event) -> None:
            events.append(event)
            if isinstance(event, StreamChunk) and event.last:
                task.cancel()

        task = asyncio.ensure_future(talk.chat.send(TurnRequest("hello", model), tell))
        await asyncio.wait([task])
        assert isinstance(events[-1], TurnResult)
        return events[-1]

    talk.server.script(Reply(("It is", " 42")))
    done = talk.loop.run_until_complete(stopped())
    assert done.turn is not None and done.turn.answer_text == "It is 42"
