"""What goes over the wire to each provider: its own kind of checkpoint or none, and its own kind of cache key."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.talks import SONNET, Talk, cause, nothing
from wire import WireServer, words
from wire.requests import Request

from ipycachechat.caching.miss_reasons import MissCause
from ipycachechat.caching.prefix import PromptMessage
from ipycachechat.conversation.messages import Message
from ipycachechat.engine.client import ModelClient
from ipycachechat.errors import ChatError
from ipycachechat.providers.endpoint import provider_endpoint

GPT = "openai/gpt-5.6-terra"
SAID = [
    PromptMessage(Message("system", words(1500, "rule"))),
    PromptMessage(Message("user", words(1500)), 0),
    PromptMessage(Message("assistant", "yes"), 0),
    PromptMessage(Message("user", "and?"), 1),
]


@dataclass
class Post:
    """Sends one request to a model wherever it is, and gives back what arrived."""

    server: WireServer
    loop: asyncio.AbstractEventLoop

    def send(self, model: str, ttl: int | None = None, **options: Any) -> Request:
        self.server.clear()
        to = provider_endpoint(model, 16)
        to = replace(to, options={**to.options, **options})
        engine = ModelClient(clock=lambda: self.server.clock.now)
        exchange = engine.exchange(to, engine.prepare(to, SAID, ttl=ttl), 16)
        with suppress(ChatError):  # the server does not speak every protocol; what arrived is what counts
            self.loop.run_until_complete(exchange.run(nothing))
        return self.server.requests[-1]


@pytest.fixture
def post(server: WireServer, loop: asyncio.AbstractEventLoop) -> Post:
    return Post(server, loop)


# Claude elsewhere


@pytest.mark.parametrize(
    "model", ["openrouter/anthropic/claude-sonnet-4.5", "litellm_proxy/team-claude", SONNET]
)
def test_claude_is_marked_and_reads_through_routers_and_proxies(
    talk: Talk, server: WireServer, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    monkeypatch.setenv("LITELLM_PROXY_API_BASE", f"{server.url}/proxy")
    monkeypatch.setenv("LITELLM_PROXY_API_KEY", "test-key")
    talk.model = model
    talk.chat.versions.set_system(words(1500, "rule"))
    talk.ask(words(1500))
    call = server.requests[-1].call
    assert call and [block.tier for block in call.blocks if block.ttl] == ["system", "messages"]
    done = talk.ask("and?")
    assert done.turn and done.expected
    assert done.turn.usage.read == talk.bill.read == done.expected.read == 3000


@pytest.mark.parametrize(
    ("model", "lifetime"),
    [
        ("bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0", "1h"),
        ("bedrock/converse/us.anthropic.claude-sonnet-4-5-20250929-v1:0", "1h"),
        ("bedrock/anthropic.claude-3-7-sonnet-20250219-v1:0", None),
    ],
)
def test_claude_on_bedrock_gets_cache_points_and_an_hour_where_it_has_one(
    post: Post, monkeypatch: pytest.MonkeyPatch, model: str, lifetime: str | None
) -> None:
    monkeypatch.setenv("AWS_BEDROCK_RUNTIME_ENDPOINT", post.server.url)
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "test-key")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    body = post.send(model, ttl=3600).body
    blocks = [*body["system"], *(part for message in body["messages"] for part in message["content"])]
    points = [part["cachePoint"] for part in blocks if "cachePoint" in part]
    assert "cachePoint" in body["system"][-1] and "cachePoint" in body["messages"][-1]["content"][-1]
    assert {point.get("ttl") for point in points} == {lifetime}


def test_an_hour_is_not_predicted_where_there_is_none() -> None:
    old = provider_endpoint("bedrock/anthropic.claude-3-7-sonnet-20250219-v1:0", 16)
    assert old.rules.lifetimes == (300,)
    engine = ModelClient()
    assert engine.prepare(old, SAID, ttl=3600).expected.written_1h == 0
    assert {mark.ttl for mark in engine.prepare(old, SAID, ttl=3600).checkpoints} == {300}
    new = provider_endpoint("bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0", 16)
    assert engine.prepare(new, SAID, ttl=3600).expected.written_1h > 0


# GPT from 5.6 on


def test_gpt_gets_breakpoints_of_its_own_kind_and_none_on_answers(post: Post) -> None:
    body = post.send(GPT).body
    system, first, answer, last = body["messages"]
    assert system["content"][0]["prompt_cache_breakpoint"] == {"mode": "explicit"}
    assert first["content"][0]["prompt_cache_breakpoint"] == {"mode": "explicit"}
    assert "breakpoint" not in str([answer, last])  # the last one it sets by itself
    assert "cache_control" not in str(body)


def test_gpt_of_somebody_else_gets_none(post: Post) -> None:
    body = post.send("openai/my-model").body
    assert "breakpoint" not in str(body) and "prompt_cache_key" not in body


def test_a_loop_that_goes_back_to_a_document_reads_it_again(talk: Talk) -> None:
    talk.model = GPT
    talk.ask(words(3000))
    for n in range(4):
        talk.ask(words(50, f"q{n}"))
        if n > 1:  # by then it is known that the conversation comes back to this place
            assert talk.bill.read >= 3000
        talk.chat.versions.undo()


def test_a_system_prompt_is_read_by_a_new_conversation(talk: Talk) -> None:
    talk.model = GPT
    talk.chat.versions.set_system(words(3000, "rule"))
    talk.ask(words(50))
    talk.chat.versions.reset()
    done = talk.ask(words(50, "other"))
    assert done.expected and done.expected.read == talk.bill.read == 3000


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["ask", "again", "pin", "undo", "wait"]), st.integers(0, 9)),
        min_size=3,
        max_size=15,
    )
)
def test_the_prediction_is_the_bill_for_gpt_too(
    server: WireServer, loop: asyncio.AbstractEventLoop, steps: list[tuple[str, int]]
) -> None:
    talk = Talk(server, loop, model=GPT)
    talk.ask(words(1200), "cell-0")
    for number, (what, n) in enumerate(steps):
        if what == "wait":
            talk.wait(300.0 * n)
        elif what == "undo":
            talk.chat.versions.undo()
        elif what == "pin":
            talk.chat.versions.pin(min(n, len(talk.chat.history.current.turns)))
        else:
            done = talk.ask(words(100 * n + 5), f"cell-{n if what == 'again' else number + 10}")
            assert done.expected and done.turn
            expected, bill = done.expected, talk.bill
            assert (expected.read, expected.written, expected.fresh) == (bill.read, bill.written, bill.fresh)
            assert (done.turn.usage.read, done.turn.usage.written) == (bill.read, bill.written)


# Everybody else


@pytest.mark.parametrize(
    ("model", "where"),
    [
        ("openai/gpt-5.5", "prompt_cache_key"),
        (GPT, "prompt_cache_key"),
        ("mistral/mistral-large-latest", "prompt_cache_key"),
        ("fireworks_ai/accounts/fireworks/models/deepseek-v3", "prompt_cache_key"),
        ("xai/grok-4", "x-grok-conv-id"),
        ("groq/openai/gpt-oss-120b", ""),
        ("deepseek/deepseek-chat", ""),
    ],
)
def test_the_same_key_goes_where_the_provider_looks_for_it(post: Post, model: str, where: str) -> None:
    base = {"api_base": post.server.openai_url, "api_key": "test-key"}
    first, second = (post.send(model, **base) for _ in range(2))
    for request in (first, second):
        assert "cache_control" not in str(request.body)
        sent = {**request.headers, **request.body}
        assert str(sent.get(where, "ipycachechat-")).startswith("ipycachechat-")
    assert ("ipycachechat-" in f"{first.headers}{first.body}") == bool(where)
    assert first.body.get(where) == second.body.get(where)
    assert first.headers.get(where) == second.headers.get(where)


def test_a_provider_that_caches_by_itself_is_said_to_have_forgotten_only_if_it_promised(talk: Talk) -> None:
    for model, forgotten in (("gemini/gemini-2.5-flash", None), ("openai/gpt-5.5", MissCause.DROPPED)):
        talk.model = model
        talk.chat.versions.reset()
        talk.ask(words(4000))
        talk.ask("and?")
        talk.server.forget()
        assert cause(talk.ask("and now?")) is forgotten
