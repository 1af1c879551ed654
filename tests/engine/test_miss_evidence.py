"""No blame that the evidence does not show: with guessed sizes, below the minimum, after keys, models and resets."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from itertools import count as counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.talks import OPUS, SONNET, Talk, assert_predicted_and_billed_alike, cause, nothing
from wire import Reply, Stall, WireServer, words

from ipycachechat.caching.miss_reasons import MissCause
from ipycachechat.caching.prefix import RequestOptions
from ipycachechat.conversation.events import StreamChunk
from ipycachechat.conversation.usage import Usage
from ipycachechat.engine.events import RequestStarted
from ipycachechat.engine.preview import next_request
from ipycachechat.providers.endpoint import provider_endpoint
from ipycachechat.rendering import reports

GPT, GEMINI, HAIKU = "openai/gpt-5.5", "gemini/gemini-2.5-flash", "openrouter/anthropic/claude-haiku-4.5"
DICE = random.Random(1)
PROSE = " ".join(
    DICE.choice("the analysis should describe every column and explain missing values".split())
    for _ in range(3000)
)
NUMBERS = "\n".join(", ".join(f"{DICE.random():.3f}" for _ in range(8)) for _ in range(250))
DENSE = ";" * 3000


@pytest.fixture
def guessing(talk: Talk, server: WireServer, loop: asyncio.AbstractEventLoop) -> Talk:
    """As in a notebook: with no tokenizer of the provider's."""
    return Talk(server, loop, tokenizer=None)


# Sizes that can only be guessed


def test_a_system_prompt_whose_size_was_guessed_wrongly_was_not_dropped(guessing: Talk) -> None:
    guessing.chat.versions.set_system(PROSE)
    for n in range(3):
        assert cause(guessing.ask(f"question {n}: {NUMBERS}", f"c{n}")) in (None, MissCause.FIRST)
    edited = guessing.ask(f"changed: {NUMBERS}", "c0")
    assert guessing.bill.read == 3000
    assert edited.reason is None
    again = guessing.ask(f"changed again: {NUMBERS}", "c0")
    assert again.expected and again.expected.read == guessing.bill.read == 3000  # by then it is known


def test_no_more_is_paid_again_than_was_sent(guessing: Talk) -> None:
    guessing.chat.versions.set_system(DENSE)
    guessing.ask(words(200, "wordwordword"), "c0")
    guessing.ask(words(6000, "wordwordword"), "c1")
    guessing.ask("x", "c2")
    guessing.ask(words(200, "otherotherot"), "c0")
    done = guessing.ask("and?", "c3")
    assert cause(done) is MissCause.EDITED and done.reason and done.reason.tokens
    assert done.reason.tokens <= guessing.bill.written + guessing.bill.fresh


@pytest.mark.parametrize("ask", [True, False])
def test_predicted_counts_are_never_negative(guessing: Talk, ask: bool) -> None:
    guessing.ttl = 300
    guessing.chat.versions.set_system(PROSE)
    guessing.ask("hello", "c0")
    guessing.ask(DENSE, "c1")
    guessing.ask(DENSE, "c0")
    guessing.ask(f"{DENSE}x", "c0")
    guessing.wait(100)
    if ask:
        expected = guessing.ask("hello", "c0").expected
    else:
        forecast = guessing.loop.run_until_complete(guessing.chat.plan(guessing.next("hello", "c0"), nothing))
        expected = forecast.expected
        assert "uncached" in reports.plan(forecast)
    assert expected and min(expected.read, expected.written, expected.fresh) >= 0


def test_a_prefix_near_the_minimum_is_not_said_to_be_dropped(guessing: Talk) -> None:
    guessing.chat.versions.set_system(words(700))
    guessing.ask(DENSE, "c0")
    done = guessing.ask("changed", "c0")
    assert cause(done) is MissCause.SHORT


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    model=st.sampled_from([SONNET, GPT, "openai/gpt-5.6-terra"]),
    system=st.sampled_from(["", PROSE, DENSE, words(700)]),
    steps=st.lists(
        st.tuples(st.sampled_from([PROSE, NUMBERS, DENSE, "and?", words(300)]), st.integers(0, 5)),
        min_size=2,
        max_size=8,
    ),
)
def test_with_guesses_nothing_that_was_kept_is_said_to_be_lost(
    server: WireServer, loop: asyncio.AbstractEventLoop, model: str, system: str, steps: list[tuple[str, int]]
) -> None:
    talk = Talk(server, loop, tokenizer=None, model=model)
    number = counter()
    talk.chat.versions.set_system(system)
    for text, cell in steps:
        done = talk.ask(f"{next(number)} {text}", f"c{cell}", f"answer {next(number)}")
        assert cause(done) not in (MissCause.DROPPED, MissCause.EXPIRED), done.reason
        if done.reason and done.reason.tokens:
            assert 0 < done.reason.tokens <= talk.bill.written + talk.bill.fresh


# Below the minimum


@pytest.mark.parametrize("model", [GPT, SONNET, "openai/gpt-5.6-terra"])
def test_what_is_too_short_to_cache_is_called_too_short_and_nothing_else(talk: Talk, model: str) -> None:
    talk.model = model
    talk.ask(words(300), "c0")
    talk.wait(12)
    assert cause(talk.ask("and?", "c1")) is MissCause.SHORT
    talk.ask(words(200, "other"), "c0")
    done = talk.ask("and?", "c2")
    assert cause(done) is MissCause.SHORT and done.reason and "prompt is below" in done.reason.sentence
    talk.chat.versions.set_system(words(100, "rule"))
    assert cause(talk.ask("and?", "c3")) is MissCause.SHORT
    talk.model = OPUS if model == SONNET else SONNET
    assert cause(talk.ask("you?", "c4")) is MissCause.SHORT


def test_the_first_prompt_above_the_minimum_is_not_called_below_it(talk: Talk) -> None:
    talk.ask(words(300))
    done = talk.ask(words(3000))
    assert done.reason and "until now the prompt was below" in done.reason.sentence
    assert talk.ask("and?").reason is None


def test_a_reset_below_the_minimum_removed_nothing(talk: Talk) -> None:
    for text in (words(3000), "hello", "why"):
        talk.ask(text)
    talk.chat.versions.reset()
    for text in ("hello", "why", "and?"):
        assert cause(talk.ask(text)) is MissCause.SHORT


# Cells asked again


@pytest.mark.parametrize("what", ["pause", "model", "edit"])
def test_the_cell_asked_again_reads_what_was_just_written_whatever_was_lost_before(
    talk: Talk, what: str
) -> None:
    talk.ask(words(5000), "c0")
    talk.ask(words(15_000), "c1")
    if what == "pause":
        talk.wait(4000)
    elif what == "model":
        talk.model = OPUS
    else:
        talk.ask(words(5000, "other"), "c0", "another answer")
    talk.ask("qestion", "c2")
    assert talk.bill.written > 14_000
    talk.wait(10)
    done = talk.ask("question", "c2")
    assert_predicted_and_billed_alike(done, talk.bill)
    assert talk.bill.written + talk.bill.fresh < 50
    assert done.reason is None


def test_the_cost_of_an_early_edit_is_shown_while_it_is_sent(talk: Talk) -> None:
    for n in range(3):
        talk.ask(words(8000), f"c{n}")
    talk.ask(words(8000, "other"), "c0", "another answer")
    events: list[Any] = []
    talk.server.script(Reply("yes"))
    talk.loop.run_until_complete(talk.chat.send(talk.next("and?", "c3"), events.append))
    warning = next(event.warning for event in events if isinstance(event, RequestStarted))
    assert "Turn 1 was edited" in warning and "16,005 tokens charged again" in warning


def test_after_a_reset_nothing_was_edited(talk: Talk) -> None:
    for n in range(3):
        talk.ask(words(2000, f"w{n}"))
    talk.chat.versions.reset()
    talk.ask(words(2000, "new"))
    assert talk.ask("second").reason is None


def test_an_edit_after_everything_had_expired_is_an_expiry(talk: Talk) -> None:
    talk.ttl = 300
    for n in range(3):
        talk.ask(words(2000, f"w{n}"), f"c{n}")
    talk.wait(1000)
    talk.ask(words(2000, "other"), "c0", "new")
    done = talk.ask("and?", "c3")
    assert cause(done) is MissCause.EXPIRED and done.reason
    assert done.reason.seconds == 1000


# Models and keys


def test_back_to_a_model_that_lacks_what_the_other_one_has(talk: Talk) -> None:
    talk.ask(words(2000))
    talk.model = OPUS
    talk.ask("one")
    talk.model = SONNET
    for _ in range(5):
        talk.ask(words(5000))
    sent = talk.bill.prompt
    talk.model = OPUS
    events: list[Any] = []
    talk.server.script(Reply("yes"))
    done = talk.loop.run_until_complete(talk.chat.send(talk.next("back"), events.append))
    assert cause(done) is MissCause.MODEL and done.reason
    assert done.reason.tokens == sent - talk.bill.read
    warning = next(event.warning for event in events if isinstance(event, RequestStarted))
    assert f"The model changed from {SONNET}" in warning


def test_a_model_that_promised_nothing_is_named_and_no_tokens_are(talk: Talk) -> None:
    talk.model = GEMINI
    talk.ask(words(6000))
    talk.model = SONNET
    plan = talk.loop.run_until_complete(talk.chat.plan(talk.next("you?"), nothing))
    assert plan.reason and plan.reason.cause is MissCause.MODEL
    done = talk.ask("you?")
    assert cause(done) is MissCause.MODEL and done.reason and done.reason.tokens is None
    assert GEMINI in done.reason.sentence and "again" not in done.reason.sentence


def test_a_model_is_blamed_for_what_was_warm_and_no_more(talk: Talk) -> None:
    talk.ttl = 300
    talk.ask(words(2000), answer=(words(5000),))
    talk.model = OPUS
    done = talk.ask("you?")
    assert cause(done) is MissCause.MODEL and done.reason and done.reason.tokens == 2000
    talk.wait(4000)
    talk.model = SONNET
    assert cause(talk.ask("and you?")) is MissCause.EXPIRED


def test_other_peoples_variables_change_nothing_and_a_key_is_called_a_key(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk.ask(words(2000))
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "another")
    done = talk.ask("and?")
    assert_predicted_and_billed_alike(done, talk.bill)
    assert talk.bill.read == 2000 and done.reason is None
    monkeypatch.setenv("ANTHROPIC_API_KEY", "another-key")
    done = talk.ask("and now?")
    assert cause(done) is MissCause.KEY and done.reason and "key" in done.reason.sentence


def test_credentials_that_pass_are_the_same_account(monkeypatch: pytest.MonkeyPatch) -> None:
    model = "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0"
    scopes = set()
    for token in "one", "two":
        for name in "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY":
            monkeypatch.setenv(name, token)
        scopes.add(provider_endpoint(model, 16).cache_scope)
    assert len(scopes) == 1
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert provider_endpoint(model, 16).cache_scope not in scopes


@pytest.mark.parametrize(
    ("model", "minimum"),
    [
        (HAIKU, 4096),
        ("openrouter/anthropic/claude-opus-4.7", 2048),
        ("litellm_proxy/claude-opus-4-5", 4096),
        ("litellm_proxy/team-claude", 1024),
        ("anthropic/claude-opus-5", 512),
        ("openrouter/anthropic/claude-sonnet-5.5", 512),
        ("gemini/gemini-2.5-flash", 2048),
    ],
)
def test_the_minimum_is_the_models_wherever_it_runs(model: str, minimum: int) -> None:
    assert provider_endpoint(model, 16).min_cacheable_tokens == minimum


def test_below_a_minimum_that_a_router_hides_nothing_is_predicted(talk: Talk) -> None:
    talk.model = HAIKU
    done = talk.ask(words(2000))
    assert_predicted_and_billed_alike(done, talk.bill)
    assert done.warm_until is None
    assert cause(talk.ask("and?")) is MissCause.SHORT


def test_what_a_bill_says_was_not_written_is_not_believed_to_be_warm(talk: Talk) -> None:
    talk.model = "litellm_proxy/team-claude"  # it is unknown that its minimum is 4,096
    talk.server.always = Reply("yes")
    to = provider_endpoint("openrouter/anthropic/claude-haiku-4.5", 16)
    guess = replace(talk.chat.client.trackers.get(to), minimum=1024)
    messages = next_request(talk.next(words(2000)), talk.chat.versions.current, to).messages
    prepared = guess.prepare(messages, RequestOptions(), 0.0)
    assert prepared.expected.written == 2000
    after, _ = guess.record_usage(prepared, Usage(input=2000, read=0, written=0, output=5))
    assert after.warm_until(prepared) is None


def test_the_prices_are_the_models_own() -> None:
    usual, cheap = (
        provider_endpoint("anthropic/claude-sonnet-5", 16),
        provider_endpoint("anthropic/claude-sonnet-5-5", 16),
    )
    assert usual.rules.reads == pytest.approx(0.1)
    assert cheap.price.rates.read and cheap.price.rates.input
    assert cheap.rules.reads == pytest.approx(cheap.price.rates.read / cheap.price.rates.input)
    assert cheap.rules.reads < 0.1
    assert usual.rules.writes == pytest.approx((1.25, 2.0))


def test_an_entry_behind_too_many_later_checkpoints_is_not_predicted_to_be_read(talk: Talk) -> None:
    talk.model = "openai/gpt-5.6-terra"
    talk.ask(words(3000))
    talk.model = SONNET
    for _ in range(85):
        talk.ask("and?")
    talk.model = "openai/gpt-5.6-terra"
    done = talk.ask("and you?")
    assert done.expected and done.expected.read == talk.bill.read == 0
    assert cause(done) is not MissCause.DROPPED


# What providers do not tell


@pytest.mark.parametrize("model", [GPT, "openrouter/anthropic/claude-sonnet-4.5"])
def test_an_answer_cut_off_before_its_bill_is_not_a_provider_that_reports_nothing(
    talk: Talk, model: str
) -> None:
    talk.model = model
    talk.ask(words(3000))

    async def interrupted() -> Any:
        begun = asyncio.Event()
        events: list[Any] = []

        def tell(event: object) -> None:
            events.append(event)
            if isinstance(event, StreamChunk) and event.text:
                begun.set()

        task = asyncio.ensure_future(talk.chat.send(talk.next("and?"), tell))
        await begun.wait()
        task.cancel()
        await asyncio.wait([task])
        return events[-1]

    talk.server.script(Reply("one two three", fault=Stall()))
    done = talk.loop.run_until_complete(interrupted())
    assert done.turn.usage.read is None and done.reason is None
    assert "Everything that could" not in reports.why(done)
    assert talk.ask("and now?").reason is None


def test_nothing_is_said_to_be_missed_or_not_where_nothing_is_promised(talk: Talk) -> None:
    talk.model = GEMINI
    talk.ask(words(6000))
    talk.ask("and?")
    talk.server.forget()
    done = talk.ask("and now?")
    assert talk.bill.read == 0 and done.reason is None
    assert "does not guarantee caching" in reports.why(done)


# Settings


@pytest.mark.parametrize(
    "options", [{"parallel_tool_calls": True}, {"tool_choice": "auto"}, {"thinking": {"type": "disabled"}}]
)
def test_a_default_said_aloud_changes_nothing(talk: Talk, options: dict[str, Any]) -> None:
    from support.tool_loops import ToolLoop, send_four_turns, tool

    one = ToolLoop(talk.server, talk.loop, tools=[tool("look")])
    send_four_turns(one)
    one.options = options
    one.user(10, 4)
    expected, bill, reason = one.send()
    assert expected.read == bill.read > 6000 and reason is None


# Warm until


def test_warming_tells_until_when_what_it_wrote_is_warm(talk: Talk) -> None:
    def warmed() -> float:
        booked = talk.loop.run_until_complete(talk.chat.warm(talk.next(), nothing))
        assert booked.warm_until is not None
        return booked.warm_until - talk.server.clock.now

    talk.ttl = 300
    talk.ask(words(3000))
    talk.wait(400)
    assert warmed() == 300
    talk.ttl = 3600
    talk.chat.versions.set_system(words(3000, "rule"))
    talk.ask("hi")
    talk.chat.versions.set_system(words(4000, "other"))
    talk.ttl = 300
    assert warmed() == 300
    talk.model = OPUS
    assert warmed() == 300
