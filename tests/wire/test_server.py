"""The loopback server: the providers' rules, tested over HTTP without a client library."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire import (
    Call,
    Clock,
    Drop,
    HttpError,
    Malformed,
    Reply,
    Stall,
    StreamError,
    ToolCall,
    Truncated,
    WireServer,
    count,
    words,
)
from wire.cache import HOUR, MINUTES_5, Block, BlockCache, plan_anthropic
from wire.tokens import split_tokens

SONNET, OPUS5 = "claude-sonnet-4-5", "claude-opus-5"
Json = dict[str, Any]
MARK = {"type": "ephemeral"}
LONG = {"type": "ephemeral", "ttl": "1h"}
SMALL = {"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {}}}


def text(value: str, mark: Json | None = None) -> Json:
    """A text block, with a `cache_control` if given."""
    return {"type": "text", "text": value, **({"cache_control": mark} if mark else {})}


def user(*parts: Json | str) -> Json:
    """A user message."""
    return {"role": "user", "content": [text(part) if isinstance(part, str) else part for part in parts]}


def assistant(*parts: Json | str) -> Json:
    """An assistant message."""
    return {**user(*parts), "role": "assistant"}


def use(name: str, **arguments: Any) -> Json:
    """A tool_use block."""
    return {"type": "tool_use", "id": name, "name": "f", "input": arguments}


def result(name: str, value: str = "done", mark: Json | None = None) -> Json:
    """A tool_result block."""
    block = {"type": "tool_result", "tool_use_id": name, "content": value}
    return {**block, **({"cache_control": mark} if mark else {})}


def claude(server: WireServer, *messages: Json, key: str = "k", **fields: Any) -> httpx.Response:
    """Send a request to Anthropic."""
    body = {"model": SONNET, "max_tokens": 100, "messages": list(messages), **fields}
    headers = {"x-api-key": key, "anthropic-version": "2023-06-01"}
    return httpx.post(f"{server.url}/v1/messages", json=body, headers=headers)


def cached(response: httpx.Response) -> tuple[int, int, int]:
    """Read, written and fresh tokens of an Anthropic answer."""
    assert response.status_code == 200, response.text
    usage = response.json()["usage"]
    return (usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"], usage["input_tokens"])


def refused(response: httpx.Response, status: int = 400) -> str:
    """The message of an error in Anthropic's or OpenAI's shape."""
    assert response.status_code == status, response.text
    return str(response.json()["error"]["message"])


def gpt(
    server: WireServer, *messages: Json, key: str = "sk-k", model: str = "gpt-5.4", **fields: Any
) -> httpx.Response:
    """Send a request to OpenAI."""
    body = {"model": model, "messages": list(messages), **fields}
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return httpx.post(f"{server.openai_url}/chat/completions", json=body, headers=headers)


def gpt_cached(response: httpx.Response) -> tuple[int, int, int]:
    """Read, written (-1: not reported) and all tokens of an OpenAI answer."""
    assert response.status_code == 200, response.text
    usage = response.json()["usage"]
    details = usage["prompt_tokens_details"]
    return details["cached_tokens"], details.get("cache_write_tokens", -1), usage["prompt_tokens"]


def gemini(
    server: WireServer, *contents: Json, key: str = "g", model: str = "gemini-2.5-flash"
) -> httpx.Response:
    """Send a request to Gemini."""
    url = f"{server.gemini_url}/models/{model}:generateContent"
    return httpx.post(url, json={"contents": list(contents)}, headers={"x-goog-api-key": key})


def gemini_content(*parts: Json | str, role: str = "user") -> Json:
    """A content in Gemini's form."""
    return {"role": role, "parts": [{"text": part} if isinstance(part, str) else part for part in parts]}


def events(raw: str) -> list[Json]:
    """The JSON of every event of a stream, except `[DONE]`."""
    lines = [line.removeprefix("data: ") for line in raw.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


@contextmanager
def streaming(server: WireServer, **fields: Any) -> Iterator[httpx.Response]:
    """An open stream from Anthropic."""
    body = {"model": SONNET, "max_tokens": 9999, "messages": [user("hello")], "stream": True, **fields}
    headers = {"x-api-key": "k", "anthropic-version": "2023-06-01"}
    with httpx.stream("POST", f"{server.url}/v1/messages", json=body, headers=headers, timeout=5) as response:
        yield response


# Tokens


def test_tokens_can_be_counted_by_hand() -> None:
    assert count("a b, c") == 4
    assert count("") == 0
    assert count("internationalization") == 2
    assert count("word ") == 2
    assert count(words(1234)) == 1234


@given(st.text())
def test_tokens_join_to_the_text(sample: str) -> None:
    assert "".join(split_tokens(sample)) == sample
    assert len(split_tokens(sample)) == count(sample)


def test_counting_time_is_linear_in_the_length_of_the_text() -> None:
    def seconds(tokens: int) -> float:
        sample, times = words(tokens, f"speed{tokens}"), []
        for _ in range(3):
            start = time.process_time()
            assert count(sample) == tokens
            times.append(time.process_time() - start)
        return min(times)

    assert seconds(100_000) < 40 * seconds(10_000) + 0.01


# Anthropic: cache


def blocks_of(n: int, *marked: int) -> list[Json]:
    """n text blocks of 100 tokens; `marked`: numbers, from 1, of those with a checkpoint."""
    return [text(f"n{i} " + words(99), MARK if i in marked else None) for i in range(1, n + 1)]


@pytest.mark.parametrize(
    ("second", "checkpoints", "hit"), [(35, (35,), False), (34, (34,), True), (35, (15, 35), True)]
)
def test_lookback_is_twenty_positions_counting_the_checkpoint(
    wire: WireServer, second: int, checkpoints: tuple[int, ...], hit: bool
) -> None:
    assert cached(claude(wire, user(*blocks_of(15, 15)))) == (0, 1500, 0)
    total = 100 * second
    expected = (1500, total - 1500, 0) if hit else (0, total, 0)
    assert cached(claude(wire, user(*blocks_of(second, *checkpoints)))) == expected


def test_nothing_is_written_without_a_checkpoint(wire: WireServer) -> None:
    assert cached(claude(wire, user(*blocks_of(15)))) == (0, 0, 1500)
    assert cached(claude(wire, user(*blocks_of(15, 15)))) == (0, 1500, 0)


def test_tokens_after_the_last_checkpoint_are_fresh(wire: WireServer) -> None:
    assert cached(claude(wire, user(*blocks_of(16, 15)))) == (0, 1500, 100)
    assert cached(claude(wire, user(*blocks_of(16, 15)))) == (1500, 0, 100)


def test_a_run_of_parallel_tool_calls_is_one_position(wire: WireServer) -> None:
    start = user(text(words(2000), MARK))
    claude(wire, start)
    names = [f"t{i}" for i in range(25)]
    results = [result(name) for name in names[:-1]] + [result(names[-1], mark=MARK)]
    read, written, fresh = cached(claude(wire, start, assistant(*map(use, names)), user(*results), tools=[]))
    assert (read, fresh) == (2000, 0)
    assert written == 25 * (count("f") + count("{}")) + 25


def test_each_sequential_tool_call_is_a_position(wire: WireServer) -> None:
    first = user(text(words(2000), MARK))
    plain = user(text(words(2000)))
    claude(wire, first)
    steps = [m for i in range(10) for m in (assistant(use(f"t{i}")), user(result(f"t{i}")))]
    last = user(result("t9", mark=MARK))
    assert cached(claude(wire, plain, *steps[:-1], last))[0] == 0
    wire.forget()
    claude(wire, first)
    last = user(result("t8", mark=MARK))
    assert cached(claude(wire, plain, *steps[:-3], last))[0] == 2000


@pytest.mark.parametrize(("mark", "ttl"), [(MARK, 300), (LONG, 3600)])
def test_a_lifetime_starts_with_the_request_and_is_renewed_by_a_read(
    wire: WireServer, mark: Json, ttl: int
) -> None:
    prompt = user(text(words(2000), mark))
    assert cached(claude(wire, prompt))[:2] == (0, 2000)
    wire.clock.advance(ttl - 0.5)
    assert cached(claude(wire, prompt))[:2] == (2000, 0)
    wire.clock.advance(ttl - 0.5)
    assert cached(claude(wire, prompt))[:2] == (2000, 0)
    wire.clock.advance(ttl)
    assert cached(claude(wire, prompt))[:2] == (0, 2000)


@pytest.mark.parametrize(
    ("model", "minimum"),
    [
        ("claude-opus-5", 512),
        ("claude-fable-5-1", 512),
        ("claude-sonnet-5", 1024),
        ("claude-sonnet-4-5-20250929", 1024),
        ("claude-opus-4-20250514", 1024),
        ("claude-opus-4-8", 1024),
        ("claude-opus-4-7", 2048),
        ("claude-opus-4-6", 4096),
        ("claude-opus-4-5-20251101", 4096),
        ("claude-haiku-4-5", 4096),
    ],
)
def test_nothing_is_cached_below_the_minimum_of_a_model(wire: WireServer, model: str, minimum: int) -> None:
    below, enough = (user(text(words(n), MARK)) for n in (minimum - 1, minimum))
    assert cached(claude(wire, below, model=model)) == (0, 0, minimum - 1)
    assert cached(claude(wire, below, model=model)) == (0, 0, minimum - 1)
    assert cached(claude(wire, enough, model=model)) == (0, minimum, 0)
    assert cached(claude(wire, enough, model=model)) == (minimum, 0, 0)


def test_mixed_lifetimes_are_billed_separately(wire: WireServer) -> None:
    system = [text(words(2000), LONG)]
    usage = claude(wire, user(text(words(500), MARK), "tail"), system=system).json()["usage"]
    assert usage["cache_creation"] == {"ephemeral_5m_input_tokens": 500, "ephemeral_1h_input_tokens": 2000}
    assert (usage["cache_creation_input_tokens"], usage["input_tokens"]) == (2500, 1)
    wire.clock.advance(301)
    assert cached(claude(wire, user(text(words(500), MARK)), system=system)) == (2000, 500, 0)
    bill = wire.requests[-1].bill
    assert bill is not None
    assert bill.units() == pytest.approx(0.1 * 2000 + 1.25 * 500)


def test_a_read_prefix_is_not_charged_again_for_another_lifetime(wire: WireServer) -> None:
    claude(wire, user(text(words(2000), MARK)))
    usage = claude(wire, user(text(words(2000), LONG), text(words(100), LONG))).json()["usage"]
    assert usage["cache_read_input_tokens"] == 2000
    assert usage["cache_creation"]["ephemeral_1h_input_tokens"] == 100


def test_automatic_caching_marks_the_last_block(wire: WireServer) -> None:
    first = user(words(2000))
    assert cached(claude(wire, first, cache_control=MARK)) == (0, 2000, 0)
    more = (first, assistant("yes"), user("and then"))
    assert cached(claude(wire, *more, cache_control=MARK)) == (2000, 3, 0)


@pytest.mark.parametrize("automatic", [MARK, LONG])
def test_automatic_caching_with_a_mark_on_the_last_block(wire: WireServer, automatic: Json) -> None:
    response = claude(wire, user(text(words(2000), MARK)), cache_control=automatic)
    if automatic == MARK:
        assert cached(response) == (0, 2000, 0)
    else:
        assert "ttl" in refused(response)


def test_automatic_caching_uses_one_of_the_four_checkpoints(wire: WireServer) -> None:
    marked = [text("a", MARK) for _ in range(4)]
    assert "Found 5" in refused(claude(wire, user(*marked, "b"), cache_control=MARK))


def test_tools_come_before_system_before_messages(wire: WireServer) -> None:
    tools = [{**SMALL, "description": words(1500)}]
    system = [text(words(1500), MARK)]
    read, written, _ = cached(claude(wire, user("hi"), tools=tools, system=system))
    assert (read, written > 3000) == (0, True)
    assert cached(claude(wire, user("other"), tools=tools, system=system))[0] == written
    assert cached(claude(wire, user("hi"), tools=[{**SMALL, "description": "x"}], system=system))[0] == 0


@pytest.mark.parametrize(
    "change",
    [
        {"tool_choice": {"type": "any"}},
        {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2000},
        {"output_config": {"effort": "low"}},
    ],
)
def test_some_settings_invalidate_the_messages_but_not_the_system(wire: WireServer, change: Json) -> None:
    fields: Json = {"tools": [SMALL], "system": [text(words(1500), MARK)]}
    prompt = user(text(words(700), MARK))
    head = cached(claude(wire, prompt, **fields))[1] - 700
    assert cached(claude(wire, prompt, **fields)) == (head + 700, 0, 0)
    assert cached(claude(wire, prompt, **{**fields, **change})) == (head, 700, 0)


def test_an_image_anywhere_invalidates_the_messages(wire: WireServer) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    system = [text(words(1500), MARK)]
    claude(wire, user(text(words(700), MARK)), system=system)
    assert cached(claude(wire, user(text(words(700), MARK), image), system=system)) == (1500, 700, 1500)


def test_keys_and_models_have_separate_caches(wire: WireServer) -> None:
    prompt = user(text(words(2000), MARK))
    claude(wire, prompt)
    assert cached(claude(wire, prompt, key="other"))[0] == 0
    assert cached(claude(wire, prompt, model="claude-sonnet-4-6"))[0] == 0
    assert cached(claude(wire, prompt))[0] == 2000


def test_a_mark_and_the_form_of_a_plain_string_do_not_change_the_prefix(wire: WireServer) -> None:
    claude(wire, user(text(words(2000), MARK)))
    plain: Json = {"role": "user", "content": words(2000)}
    assert cached(claude(wire, plain, assistant("ok"), user(text("go", LONG))))[0] == 2000


def test_an_entry_can_be_read_once_its_response_has_started(wire: WireServer) -> None:
    prompt = user(text(words(2000), MARK))
    wire.script(Reply("slow", first_delay=0.4))
    first_request = threading.Thread(target=claude, args=(wire, prompt))
    first_request.start()
    wire.wait(1)
    assert cached(claude(wire, prompt)) == (0, 2000, 0)
    first_request.join()
    assert cached(claude(wire, prompt)) == (2000, 0, 0)


def test_a_failed_request_writes_nothing(wire: WireServer) -> None:
    prompt = user(text(words(2000), MARK))
    wire.script(Reply(fault=HttpError(529)))
    assert refused(claude(wire, prompt), 529) == "Overloaded"
    assert cached(claude(wire, prompt)) == (0, 2000, 0)


@pytest.mark.parametrize(
    ("model", "keeps_thinking"), [(SONNET, False), ("claude-opus-4-5", True), (OPUS5, True)]
)
def test_older_models_drop_thinking_before_a_user_message(
    wire: WireServer, model: str, keeps_thinking: bool
) -> None:
    wire.script(Reply("answer", thinking="deep thought"))
    block = claude(wire, user("one"), model=model).json()["content"][0]
    assert block["type"] == "thinking"
    claude(wire, user("one"), assistant(block, "answer"), user("two"), model=model)
    bill = wire.requests[-1].bill
    assert bill is not None
    assert bill.prompt == 3 + (count("deep thought") if keeps_thinking else 0)


ttls = st.sampled_from([None, None, None, MINUTES_5, HOUR])
prompts = st.lists(st.tuples(st.integers(0, 900), ttls, st.sampled_from(["text", "tool_use"])), max_size=40)


@given(st.lists(st.tuples(prompts, st.integers(0, 4000)), min_size=1, max_size=6))
def test_read_written_and_fresh_add_up_to_the_prompt(requests: list[tuple[list[Any], int]]) -> None:
    cache, now = BlockCache(), 0.0
    for prompt, gap in requests:
        blocks = [
            Block(f"{i}{kind}{tokens}", tokens, "messages", kind, ttl=ttl)
            for i, (tokens, ttl, kind) in enumerate(prompt)
        ]
        ordered = sorted((b.ttl for b in blocks if b.ttl), reverse=True)
        times = iter(ordered)
        blocks = [Block(b.wire, b.tokens, b.tier, b.kind, ttl=next(times) if b.ttl else None) for b in blocks]
        plan = plan_anthropic(cache, "k", blocks, ("m", "", ""), 1024, now)
        assert plan.bill.prompt == sum(b.tokens for b in blocks)
        assert min(plan.bill.fresh, plan.bill.read, plan.bill.written_5m, plan.bill.written_1h) >= 0
        plan.commit()
        second_plan = plan_anthropic(cache, "k", blocks, ("m", "", ""), 1024, now)
        assert (second_plan.bill.written, second_plan.bill.read) == (0, plan.bill.read + plan.bill.written)
        now += gap


# Anthropic: refused requests


@pytest.mark.parametrize(
    ("messages", "fields", "message"),
    [
        ([user(*(text("a", MARK) for _ in range(5)))], {}, "A maximum of 4 blocks with cache_control"),
        ([user(text("a", MARK), text("b", LONG))], {}, "must not come after a ttl='5m'"),
        ([user(text("a", LONG))], {"system": [text("s", MARK)]}, "must not come after a ttl='5m'"),
        ([user("hi", text("", MARK))], {}, "content.1.text: cache_control cannot be set for empty text"),
        ([user("")], {}, "text content blocks must be non-empty"),
        ([user("  \n")], {}, "must contain non-whitespace text"),
        ([assistant("hi"), user("ho")], {}, "first message must use"),
        ([user("hi"), assistant("ho ")], {}, "cannot end with trailing whitespace"),
        (
            [user("hi"), assistant("ho")],
            {"model": "claude-opus-4-6"},
            "does not support assistant message prefill",
        ),
        ([], {}, "at least one message"),
        ([user("hi")], {"prompt_cache_key": "x"}, "prompt_cache_key: Extra inputs are not permitted"),
        ([{**user("hi"), "cache_control": MARK}], {}, "messages.0.cache_control: Extra inputs"),
        ([{"role": "tool", "content": "x"}], {}, "messages.0.role"),
        ([user("a"), assistant(use("t1"))], {}, "messages.1: `tool_use` ids were found without"),
        ([user("a"), assistant(use("t1")), user("b")], {}, "immediately after: t1"),
        ([user("a"), assistant(use("t1")), user("b", result("t1"))], {}, "immediately after: t1"),
        ([user("a"), assistant("b"), user(result("t1"))], {}, "unexpected `tool_use_id`"),
        ([user("a"), assistant(use("t"), use("t")), user(result("t"))], {}, "ids must be unique"),
        ([user("a"), assistant(use("t")), user(result("t"), result("t"))], {}, "single result"),
        ([user(text("a", {"type": "ephemeral", "ttl": "2h"}))], {}, "Input should be '5m' or '1h'"),
        (
            [user("a"), assistant({"type": "thinking", "thinking": "x", "signature": "forged"}), user("b")],
            {},
            "Invalid `signature`",
        ),
        (
            [user("a"), assistant({"type": "thinking", "thinking": "x", "cache_control": MARK}), user("b")],
            {},
            "thinking.cache_control: Extra inputs are not permitted",
        ),
        ([user("a")], {"max_tokens": 0, "stream": True}, "max_tokens: 0"),
        (
            [user("a")],
            {"thinking": {"type": "enabled", "budget_tokens": 2000}},
            "greater than `thinking.budget_tokens`",
        ),
        (
            [user("a"), assistant(use("t")), user(result("t"))],
            {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2000},
            "Expected `thinking` or `redacted_thinking`, but found `tool_use`",
        ),
    ],
)
def test_anthropic_refuses(wire: WireServer, messages: list[Json], fields: Json, message: str) -> None:
    response = claude(wire, *messages, **fields)
    assert message in refused(response)
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert response.json()["request_id"] == response.headers["request-id"]
    assert wire.requests[-1].error is not None


@pytest.mark.parametrize("key", ["", "bad-key"])
def test_anthropic_requires_a_key(wire: WireServer, key: str) -> None:
    response = claude(wire, user("hi"), key=key)
    refused(response, 401)
    assert response.json()["error"]["type"] == "authentication_error"


def test_anthropic_names_the_unknown_model_and_the_limit(wire: WireServer) -> None:
    assert refused(claude(wire, user("hi"), model="no-such-model"), 404) == "model: no-such-model"
    wire.context_limit = 1000
    assert refused(claude(wire, user(words(1001)))) == "prompt is too long: 1001 tokens > 1000 maximum"


def test_zero_max_tokens_warms_the_cache(wire: WireServer) -> None:
    prompt = user(text(words(2000), MARK))
    body = claude(wire, prompt, max_tokens=0).json()
    assert (body["content"], body["stop_reason"], body["usage"]["output_tokens"]) == ([], "max_tokens", 0)
    assert cached(claude(wire, prompt))[0] == 2000


# Anthropic: the stream


def test_anthropic_stream_has_the_documented_events(wire: WireServer) -> None:
    wire.script(Reply(("Hel", "lo"), thinking=("hm ", "so"), tool_calls=(ToolCall("f", {"city": "Rome"}),)))
    with streaming(wire) as response:
        raw = response.read().decode()
    names = [line.removeprefix("event: ") for line in raw.splitlines() if line.startswith("event: ")]
    streamed = events(raw)
    assert names == [event["type"] for event in streamed]
    start, delta, stop = "content_block_start", "content_block_delta", "content_block_stop"
    assert names[:7] == ["message_start", start, "ping", delta, delta, delta, stop]
    assert names[7:11] == [start, delta, delta, stop]
    assert names[-3:] == [stop, "message_delta", "message_stop"]
    deltas = [event["delta"] for event in streamed if event["type"] == delta]
    assert [d["type"] for d in deltas[:5]] == ["thinking_delta"] * 2 + ["signature_delta"] + [
        "text_delta"
    ] * 2
    partial = "".join(d["partial_json"] for d in deltas if d["type"] == "input_json_delta")
    assert json.loads(partial) == {"city": "Rome"}
    assert streamed[-2]["delta"]["stop_reason"] == "tool_use"
    assert streamed[-2]["usage"]["output_tokens"] == 2 + 3 + 1 + count('{"city":"Rome"}')


def test_cache_counters_are_in_the_first_event(wire: WireServer) -> None:
    with streaming(wire, messages=[user(text(words(2000), MARK), "x")]) as response:
        usage = events(response.read().decode())[0]["message"]["usage"]
    assert (usage["input_tokens"], usage["cache_creation_input_tokens"]) == (1, 2000)
    assert usage["cache_creation"]["ephemeral_5m_input_tokens"] == 2000


def test_plain_and_streamed_answers_have_the_same_bill(wire: WireServer) -> None:
    claude(wire, user("hello"))
    with streaming(wire) as response:
        response.read()
    assert wire.requests[0].bill == wire.requests[1].bill


# OpenAI


def test_openai_caches_from_1024_tokens_in_steps_of_128(wire: WireServer) -> None:
    prompt = {"role": "user", "content": words(1300)}
    assert gpt_cached(gpt(wire, prompt)) == (0, -1, 1300)
    assert gpt_cached(gpt(wire, prompt)) == (1280, -1, 1300)
    other = {"role": "user", "content": words(1200) + " other"}
    assert gpt_cached(gpt(wire, other))[0] == 1152
    short = {"role": "user", "content": words(1023, "w")}
    gpt(wire, short)
    assert gpt_cached(gpt(wire, short))[0] == 0


def test_openai_prefixes_expire_after_ten_idle_minutes(wire: WireServer) -> None:
    prompt = {"role": "user", "content": words(2000)}
    gpt(wire, prompt)
    wire.clock.advance(599)
    assert gpt_cached(gpt(wire, prompt))[0] == 1920
    wire.clock.advance(600)
    assert gpt_cached(gpt(wire, prompt))[0] == 0
    gpt(wire, prompt, prompt_cache_retention="24h")
    wire.clock.advance(80_000)
    assert gpt_cached(gpt(wire, prompt))[0] == 1920


def test_openai_keys_have_separate_caches(wire: WireServer) -> None:
    prompt = {"role": "user", "content": words(2000)}
    gpt(wire, prompt)
    assert gpt_cached(gpt(wire, prompt, key="sk-other"))[0] == 0


def test_a_change_of_role_changes_the_prefix(wire: WireServer) -> None:
    gpt(wire, {"role": "user", "content": words(2000)})
    assert gpt_cached(gpt(wire, {"role": "system", "content": words(2000)}))[0] == 0


def test_later_openai_models_write_at_the_latest_user_or_tool_message(wire: WireServer) -> None:
    first = {"role": "user", "content": words(2000)}
    assert gpt_cached(gpt(wire, first, model="gpt-5.6")) == (0, 2000, 2000)
    reply = {"role": "assistant", "content": words(50)}
    second = {"role": "user", "content": words(30)}
    assert gpt_cached(gpt(wire, first, reply, second, model="gpt-5.6")) == (2000, 80, 2080)
    changed = {"role": "user", "content": words(30, "changed")}
    assert gpt_cached(gpt(wire, first, reply, changed, model="gpt-5.6")) == (2000, 80, 2080)
    wire.clock.advance(1800)
    assert gpt_cached(gpt(wire, first, reply, second, model="gpt-5.6"))[0] == 0
    bill = wire.requests[-1].bill
    assert bill is not None
    assert bill.units() == pytest.approx(1.25 * 2080)


def test_explicit_mode_writes_only_at_explicit_breakpoints(wire: WireServer) -> None:
    marked = {**text(words(1500)), "prompt_cache_breakpoint": {"mode": "explicit"}}
    prompt = {"role": "user", "content": [marked, text(words(100))]}
    options: Json = {"prompt_cache_options": {"mode": "explicit"}}
    assert gpt_cached(gpt(wire, prompt, model="gpt-5.6", **options)) == (0, 1500, 1600)
    plain = {"role": "user", "content": words(1600)}
    assert gpt_cached(gpt(wire, plain, model="gpt-5.6", **options)) == (0, 0, 1600)


@pytest.mark.parametrize("wanted", [True, False])
def test_openai_streams_usage_only_if_asked(wire: WireServer, wanted: bool) -> None:
    wire.script(Reply(("Hel", "lo"), tool_calls=(ToolCall("f", {"city": "Rome"}),)))
    options: Json = {"stream_options": {"include_usage": True}} if wanted else {}
    raw = gpt(wire, {"role": "user", "content": "hi"}, stream=True, **options).text
    assert raw.endswith("data: [DONE]\n\n")
    streamed = events(raw)
    assert streamed[0]["choices"][0]["delta"]["role"] == "assistant"
    with_usage = [chunk for chunk in streamed if chunk.get("usage")]
    assert len(with_usage) == wanted
    if wanted:
        assert streamed[-1]["choices"] == []
        assert streamed[-1]["usage"]["prompt_tokens"] == 1
    calls = [c for chunk in streamed for x in chunk["choices"] for c in x["delta"].get("tool_calls", ())]
    assert calls[0]["function"]["name"] == "f"
    assert json.loads("".join(call["function"]["arguments"] for call in calls)) == {"city": "Rome"}
    finishes = [x["finish_reason"] for chunk in streamed for x in chunk["choices"]]
    assert finishes[-1] == "tool_calls"


CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("messages", "fields", "message"),
    [
        ([{"role": "user", "content": [text("a", MARK)]}], {}, "'messages[0].content[0].cache_control'"),
        ([{**user("a"), "cache_control": MARK}], {}, "Unknown parameter: 'messages[0].cache_control'"),
        ([user("a")], {"cache_control": MARK}, "Unrecognized request argument supplied: cache_control"),
        ([user("a")], {"max_tokens": 5}, "Use 'max_completion_tokens' instead"),
        ([], {}, "empty array"),
        ([user("a"), {"role": "tool", "tool_call_id": "c1", "content": "x"}], {}, "preceeding message"),
        (
            [user("a"), {"role": "assistant", "tool_calls": [CALL]}, user("b")],
            {},
            "did not have response messages: c1",
        ),
        ([user("a"), {"role": "assistant", "content": None}], {}, "got null"),
    ],
)
def test_openai_refuses(wire: WireServer, messages: list[Json], fields: Json, message: str) -> None:
    assert message in refused(gpt(wire, *messages, **fields))


def test_openai_repeats_part_of_a_wrong_key(wire: WireServer) -> None:
    response = gpt(wire, user("a"), key="bad-key-0123456789abcdef")
    assert refused(response, 401).startswith("Incorrect API key provided: bad-key*")
    assert "cdef." in refused(response, 401)
    assert "0123456789" not in response.text
    assert response.json()["error"]["code"] == "invalid_api_key"
    assert "didn't provide an API key" in refused(gpt(wire, user("a"), key=""), 401)


def test_openai_names_the_unknown_model_and_the_limit(wire: WireServer) -> None:
    missing = gpt(wire, user("a"), model="no-such")
    assert "does not exist" in refused(missing, 404)
    assert missing.json()["error"]["code"] == "model_not_found"
    wire.context_limit = 10
    long = gpt(wire, user(words(11)))
    assert "maximum context length is 10 tokens" in refused(long)
    assert long.json()["error"]["code"] == "context_length_exceeded"


# Routers


def router(server: WireServer, *messages: Json, model: str = "anthropic/claude-sonnet-4.5") -> httpx.Response:
    """Send a request to the router."""
    url = f"{server.openrouter_url}/chat/completions"
    body = {"model": model, "messages": list(messages)}
    return httpx.post(url, json=body, headers={"authorization": "Bearer r"})


def test_a_router_applies_marks_for_claude(wire: WireServer) -> None:
    first = {"role": "user", "content": [text(words(2000), MARK)]}
    assert gpt_cached(router(wire, first)) == (0, 2000, 2000)
    tail = {"role": "user", "content": "more", "cache_control": MARK}
    response = router(wire, first, {"role": "assistant", "content": "ok"}, tail)
    assert gpt_cached(response) == (2000, 2, 2002)
    assert response.json()["usage"]["cost"] > 0
    assert wire.requests[-1].provider == "openrouter"


def test_a_router_caches_other_models_by_their_own_rules(wire: WireServer) -> None:
    prompt = {"role": "user", "content": [text(words(2000), MARK)]}
    router(wire, prompt, model="openai/gpt-4o")
    assert gpt_cached(router(wire, prompt, model="openai/gpt-4o"))[0] == 1920


# Gemini


@pytest.mark.parametrize(
    ("model", "size", "read"),
    [
        ("gemini-2.5-flash", 2047, 0),
        ("gemini-2.5-flash", 2200, 2176),
        ("gemini-3.8-flash", 4095, 0),
        ("gemini-3.8-flash", 4096, 4096),
        ("gemini-2.0-flash", 9000, 0),
    ],
)
def test_gemini_caches_prefixes_from_a_minimum_by_model(
    wire: WireServer, model: str, size: int, read: int
) -> None:
    prompt = gemini_content(words(size))
    first = gemini(wire, prompt, model=model).json()["usageMetadata"]
    assert first["promptTokenCount"] == size
    assert "cachedContentTokenCount" not in first
    second = gemini(wire, gemini_content(words(size)), model=model).json()["usageMetadata"]
    assert second.get("cachedContentTokenCount", 0) == read
    assert second["promptTokenCount"] == size


def test_gemini_counts_thoughts_separately(wire: WireServer) -> None:
    wire.script(Reply("two words", thinking="three more words"))
    usage = gemini(wire, gemini_content("hi")).json()["usageMetadata"]
    assert (usage["candidatesTokenCount"], usage["thoughtsTokenCount"]) == (3, 5)
    assert usage["totalTokenCount"] == 1 + 8


def test_gemini_streams_a_usage_with_every_chunk(wire: WireServer) -> None:
    wire.script(Reply(("Hel", "lo"), tool_calls=(ToolCall("f", {"city": "Rome"}),)))
    url = f"{wire.gemini_url}/models/gemini-3.8-flash:streamGenerateContent?alt=sse&key=g"
    streamed = events(httpx.post(url, json={"contents": [gemini_content("hi")]}).text)
    assert [chunk["usageMetadata"]["promptTokenCount"] for chunk in streamed] == [1, 1, 1]
    assert streamed[-1]["candidates"][0]["finishReason"] == "STOP"
    assert streamed[-1]["candidates"][0]["content"]["parts"][0]["functionCall"]["args"] == {"city": "Rome"}


def test_gemini_refuses_wrong_keys_models_and_orders(wire: WireServer) -> None:
    wrong = gemini(wire, gemini_content("hi"), key="bad-key")
    assert "API key not valid" in refused(wrong)
    assert wrong.json()["error"]["details"][0]["reason"] == "API_KEY_INVALID"
    assert "is not found for API version" in refused(gemini(wire, gemini_content("hi"), model="no-such"), 404)
    call = gemini_content({"functionCall": {"name": "f", "args": {}}}, role="model")
    answer = gemini_content({"functionResponse": {"name": "f", "response": {"ok": 1}}})
    assert gemini(wire, gemini_content("hi"), call, answer).status_code == 200
    assert "function response turn" in refused(gemini(wire, gemini_content("hi"), answer))
    assert "number of function response parts" in refused(
        gemini(wire, gemini_content("hi"), call, gemini_content("no"))
    )
    wire.context_limit = 3
    assert "(4) exceeds the maximum number of tokens allowed (3)" in refused(
        gemini(wire, gemini_content(words(4)))
    )


def test_gemini_3_requires_its_thought_signature(wire: WireServer) -> None:
    wire.script(Reply(tool_calls=(ToolCall("f"), ToolCall("g"))))
    parts = gemini(wire, gemini_content("hi"), model="gemini-3.8-flash").json()["candidates"][0]["content"][
        "parts"
    ]
    assert ["thoughtSignature" in part for part in parts] == [True, False]
    answers = gemini_content(*({"functionResponse": {"name": name, "response": {}}} for name in "fg"))
    turn = (gemini_content("hi"), gemini_content(*parts, role="model"), answers)
    assert gemini(wire, *turn, model="gemini-3.8-flash").status_code == 200
    del parts[0]["thoughtSignature"]
    turn = (gemini_content("hi"), gemini_content(*parts, role="model"), answers)
    assert "missing a thought_signature" in refused(gemini(wire, *turn, model="gemini-3.8-flash"))


def test_explicit_caches_of_gemini_are_only_logged(wire: WireServer) -> None:
    assert httpx.post(f"{wire.gemini_url}/cachedContents?key=g", json={}).status_code == 200
    assert [r.path for r in wire.requests] == ["/v1beta/cachedContents"]


# Replies and faults


def test_a_default_reply_has_the_number_of_the_turn(wire: WireServer) -> None:
    body = claude(wire, user("one"), assistant("x"), user("two")).json()
    assert body["content"][0]["text"] == "Reply 2: you said two"


def test_scripted_replies_are_used_in_order_and_may_be_functions(wire: WireServer) -> None:
    def echo(call: Call) -> Reply:
        return Reply(call.user_text.upper())

    wire.script(Reply("one"), echo)
    wire.script(Reply("for openai"), provider="openai")
    texts = [claude(wire, user("hi")).json()["content"][0]["text"] for _ in range(3)]
    assert texts == ["one", "HI", "Reply 1: you said hi"]
    assert wire.unused == 1
    assert gpt(wire, user("hi")).json()["choices"][0]["message"]["content"] == "for openai"


def test_a_reply_stops_at_max_tokens(wire: WireServer) -> None:
    wire.script(Reply(("one ", "two ", "three")))
    body = claude(wire, user("hi"), max_tokens=3).json()
    assert (body["content"][0]["text"], body["stop_reason"]) == ("one ", "max_tokens")


def test_an_error_status_has_the_providers_shape_and_headers(wire: WireServer) -> None:
    fault = HttpError(429, "Slow down", headers={"retry-after": "7"})
    wire.script(*[Reply(fault=fault)] * 3)
    first, second, third = claude(wire, user("a")), gpt(wire, user("a")), gemini(wire, gemini_content("a"))
    assert [r.headers["retry-after"] for r in (first, second, third)] == ["7"] * 3
    assert first.json()["error"] == {"type": "rate_limit_error", "message": "Slow down"}
    assert second.json()["error"]["code"] == "rate_limit_exceeded"
    assert third.json()["error"]["status"] == "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize("stage", ["headers", "first", "chunk"])
@pytest.mark.parametrize("stream", [True, False])
def test_a_dropped_connection_is_a_transport_error(wire: WireServer, stage: Any, stream: bool) -> None:
    wire.script(Reply(("a ", "b ", "c"), fault=Drop(stage, after=2)))
    received = b""
    with pytest.raises(httpx.TransportError), streaming(wire, stream=stream) as response:
        for data in response.iter_bytes():
            received += data
    assert wire.requests[0].wait().closed == "server"
    if stream and stage == "chunk":
        assert b'"b "' in received
        assert b'"c"' not in received


def test_a_stall_ends_when_the_client_disconnects(wire: WireServer) -> None:
    wire.script(Reply(("a ", "b ", "c"), fault=Stall("chunk", after=2)))
    with streaming(wire) as response:
        next(line for line in response.iter_lines() if '"b "' in line)
    record = wire.requests[0].wait()
    assert record.closed == "client"
    assert record.ended is not None  # although the stall has no end
    assert record.bill is not None
    assert record.bill.output == count("a ") + count("b ")


@pytest.mark.parametrize("stage", ["headers", "first"])
def test_a_short_stall_is_a_delay(wire: WireServer, stage: Any) -> None:
    wire.script(Reply("late", fault=Stall(stage, seconds=0.2)))
    start = time.monotonic()
    claude(wire, user("a"))
    assert time.monotonic() - start >= 0.2


def test_the_server_stops_even_if_a_reply_is_stalled() -> None:
    with WireServer() as server:
        server.script(Reply("x", fault=Stall("headers")))

        def prompt() -> None:
            with pytest.raises(httpx.TransportError):
                claude(server, user("a"))

        thread = threading.Thread(target=prompt)
        thread.start()
        record = server.wait(1)[0]
        start = time.monotonic()
    assert time.monotonic() - start < 2
    assert record.wait().closed == "server"
    thread.join()


def test_broken_bodies_are_not_valid_json(wire: WireServer) -> None:
    wire.script(
        Reply(("a ", "b"), fault=Malformed(1)),
        Reply(("a ", "b"), fault=Truncated(1)),
        Reply(("a ", "b"), fault=Truncated()),
        Reply(("a ", "b"), fault=StreamError(1)),
    )
    for _ in range(2):
        with streaming(wire) as response, pytest.raises(ValueError, match=r"\w"):
            events(response.read().decode())
    with pytest.raises(ValueError, match=r"\w"):
        claude(wire, user("a")).json()
    with streaming(wire) as response:
        last = events(response.read().decode())[-1]
    assert last["type"] == "error"
    assert last["error"]["type"] == "overloaded_error"


def test_two_thousand_chunks_take_under_two_seconds(wire: WireServer) -> None:
    wire.script(Reply(tuple(f"c{i} " for i in range(2000))))
    start = time.monotonic()
    with streaming(wire) as response:
        streamed = events(response.read().decode())
    assert time.monotonic() - start < 2
    assert sum(event["type"] == "content_block_delta" for event in streamed) == 2000
    assert len(wire.requests[0].wait().written) == 2000


def test_chunks_keep_their_rate(wire: WireServer) -> None:
    wire.script(Reply(("a ", "b ", "c "), rate=20))
    with streaming(wire) as response:
        response.read()
    written = wire.requests[0].wait().written
    assert [b - a >= 0.045 for a, b in pairwise(written)] == [True, True]


def test_the_log_has_what_was_sent(wire: WireServer) -> None:
    claude(wire, user("hi"))
    record = wire.requests[0].wait()
    assert (record.provider, record.path, record.key, record.status) == (
        "anthropic",
        "/v1/messages",
        "k",
        200,
    )
    assert record.headers["anthropic-version"] == "2023-06-01"
    assert record.messages == [user("hi")]
    assert json.loads(record.raw) == record.body
    assert record.closed == "complete"
    assert record.first_byte is not None
    assert record.started <= record.first_byte <= (record.ended or 0)


def test_a_real_clock_runs_and_can_be_advanced(wire: WireServer) -> None:
    clock = Clock(real=True)
    assert abs(clock.now - time.time()) < 5
    clock.advance(100)
    assert clock.now - time.time() > 95
