"""The real litellm against the loopback server, for every provider."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

import pytest

from wire import (
    Call,
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

Json = dict[str, Any]
MARK = {"type": "ephemeral"}
CLAUDE, GPT, GPT56, GEMINI = (
    "anthropic/claude-sonnet-4-5",
    "openai/gpt-5.4",
    "openai/gpt-5.6",
    "gemini/gemini-2.5-flash",
)
ROUTED = "openrouter/anthropic/claude-sonnet-4.5"
MODELS = (CLAUDE, GPT, GPT56, GEMINI, ROUTED)
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture(scope="module")
def litellm() -> Any:
    """The library without its download of prices and its messages on standard output."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm as library

    library.suppress_debug_info = True
    return library


@pytest.fixture(autouse=True)
def environment(wire: WireServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment sends all providers' requests to the loopback server."""
    for name, value in wire.env().items():
        monkeypatch.setenv(name, value)


def complete(litellm: Any, model: str, messages: list[Json], stream: bool = False, **options: Any) -> Any:
    """One answer, joined from its chunks if it is streamed."""
    # With `tools` litellm imports the package mcp, which it does not require, unless this is set.
    options["_skip_mcp_handler"] = True

    async def run() -> Any:
        if not stream:
            return await litellm.acompletion(model=model, messages=messages, **options)
        stream_options = {"include_usage": True}
        answer = await litellm.acompletion(
            model=model, messages=messages, stream=True, stream_options=stream_options, **options
        )
        return litellm.stream_chunk_builder([chunk async for chunk in answer], messages=messages)

    return asyncio.run(run())


def usage(response: Any) -> tuple[int, int, int]:
    """Read, written and all tokens of the prompt."""
    details = response.usage.prompt_tokens_details
    written = getattr(details, "cache_creation_tokens", None) or 0
    return (getattr(details, "cached_tokens", None) or 0, written, response.usage.prompt_tokens)


def long(model: str, n: int = 5000) -> Json:
    """A user message of n tokens, marked for Claude."""
    part: Json = {"type": "text", "text": words(n)}
    return {"role": "user", "content": [{**part, "cache_control": MARK} if "claude" in model else part]}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "first", "second"),
    [
        (CLAUDE, (0, 5000), (5000, 0)),
        (GPT, (0, 0), (4992, 0)),
        (GPT56, (0, 5000), (5000, 0)),
        (GEMINI, (0, 0), (4992, 0)),
        (ROUTED, (0, 5000), (5000, 0)),
    ],
)
def test_usage_equals_the_server_s_bill(
    wire: WireServer, litellm: Any, model: str, first: tuple[int, int], second: tuple[int, int], stream: bool
) -> None:
    for expected in (first, second):
        response = complete(litellm, model, [long(model)], stream)
        assert response.choices[0].message.content.startswith("Reply 1: you said")
        assert usage(response) == (*expected, 5000)
        bill = wire.requests[-1].wait().bill
        assert bill is not None
        assert (bill.read, bill.written) == expected
        assert response.usage.completion_tokens == bill.output


def history(message: Any, model: str) -> Json:
    """An assistant message as history; OpenAI refuses the field that litellm adds for other providers."""
    fields: Json = message.model_dump(exclude_none=True)
    if model.startswith("openai/"):
        fields.pop("provider_specific_fields", None)
    return fields


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", [*MODELS, "gemini/gemini-3-flash-preview"])
def test_tool_calls_and_results_reach_both_sides(
    wire: WireServer, litellm: Any, model: str, stream: bool
) -> None:
    def sum_up(call: Call) -> Reply:
        return Reply(" / ".join(call.answers))

    calls = (ToolCall("weather", {"city": "Rome"}), ToolCall("weather", {"city": "Oslo"}))
    wire.script(Reply("Let me look.", tool_calls=calls), sum_up)
    messages: list[Json] = [{"role": "user", "content": "Weather in Rome and Oslo?"}]
    message = complete(litellm, model, messages, stream, tools=[TOOL]).choices[0].message
    cities = [json.loads(call.function.arguments)["city"] for call in message.tool_calls]
    assert cities == ["Rome", "Oslo"]
    messages.append(history(message, model))
    messages += [
        {"role": "tool", "tool_call_id": call.id, "name": "weather", "content": f"{city} is warm"}
        for call, city in zip(message.tool_calls, cities, strict=True)
    ]
    final = complete(litellm, model, messages, stream, tools=[TOOL])
    assert [r.error for r in wire.requests] == [None, None]
    for part in ("Rome is warm", "Oslo is warm"):
        assert part in final.choices[0].message.content


@pytest.mark.parametrize("stream", [False, True])
def test_thinking_is_sent_back_with_its_signature(wire: WireServer, litellm: Any, stream: bool) -> None:
    wire.script(Reply(thinking="What city?", tool_calls=(ToolCall("weather", {"city": "Rome"}),)))
    options: Json = {
        "tools": [TOOL],
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "max_tokens": 3000,
    }
    messages: list[Json] = [{"role": "user", "content": "Weather?"}]
    message = complete(litellm, CLAUDE, messages, stream, **options).choices[0].message
    assert message.reasoning_content == "What city?"
    messages.append(history(message, CLAUDE))
    messages.append({"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "warm"})
    complete(litellm, CLAUDE, messages, stream, **options)
    assert wire.requests[-1].error is None
    assert wire.requests[-1].messages[1]["content"][0]["thinking"] == "What city?"


@pytest.mark.parametrize("model", MODELS)
def test_only_the_last_chunk_of_a_stream_has_the_usage(wire: WireServer, litellm: Any, model: str) -> None:
    async def run() -> list[Any]:
        options = {"include_usage": True}
        message = {"role": "user", "content": "hi"}
        answer = await litellm.acompletion(
            model=model, messages=[message], stream=True, stream_options=options
        )
        return [chunk async for chunk in answer]

    chunks = asyncio.run(run())
    usages = [getattr(chunk, "usage", None) for chunk in chunks]
    assert usages[-1] is not None
    assert not any(usages[:-1])
    # From litellm 1.110 on it has no choices at all.
    assert not any(choice.delta.content for choice in chunks[-1].choices)


@pytest.mark.parametrize(
    ("model", "cached"), [(CLAUDE, 0), (GPT, 0), (GPT56, 0), (GEMINI, None), (ROUTED, 0)]
)
@pytest.mark.parametrize("stream", [False, True])
def test_cached_tokens_are_zero_or_none_if_nothing_was_cached(
    wire: WireServer, litellm: Any, model: str, cached: int | None, stream: bool
) -> None:
    response = complete(litellm, model, [{"role": "user", "content": "hi"}], stream)
    assert response.usage.prompt_tokens_details.cached_tokens == cached


@pytest.mark.parametrize("stream", [False, True])
def test_a_server_that_reports_no_cache_gives_no_details(
    wire: WireServer, litellm: Any, stream: bool
) -> None:
    wire.script(Reply("ok", report_cache=False))
    details = complete(litellm, GPT, [{"role": "user", "content": "hi"}], stream).usage.prompt_tokens_details
    assert details is None or details.cached_tokens is None


def test_gemini_makes_no_explicit_cache_unless_marked(wire: WireServer, litellm: Any) -> None:
    complete(litellm, GEMINI, [long(GEMINI)])
    assert not [r for r in wire.requests if "cachedContents" in r.path]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("fault", "name"),
    [(HttpError(429, "Slow down"), "RateLimitError"), (HttpError(400, "Wrong"), "BadRequestError")],
)
def test_errors_become_exceptions_of_their_class(
    wire: WireServer, litellm: Any, model: str, fault: HttpError, name: str
) -> None:
    wire.always = Reply(fault=fault)
    with pytest.raises(getattr(litellm, name)) as caught:
        complete(litellm, model, [{"role": "user", "content": "hi"}], max_retries=0)
    assert fault.message in str(caught.value)


@pytest.mark.parametrize("model", MODELS)
def test_a_wrong_key_is_an_authentication_error(wire: WireServer, litellm: Any, model: str) -> None:
    with pytest.raises(litellm.AuthenticationError):
        complete(litellm, model, [{"role": "user", "content": "hi"}], api_key="bad-key-0123456789")


@pytest.mark.parametrize("model", MODELS[:-1])
def test_too_long_a_prompt_is_a_context_window_error(wire: WireServer, litellm: Any, model: str) -> None:
    wire.context_limit = 10
    with pytest.raises(litellm.ContextWindowExceededError):
        complete(litellm, model, [{"role": "user", "content": words(11)}])


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("fault", [Drop("chunk", after=2), StreamError(after=2)])
def test_a_broken_stream_raises_after_its_chunks(
    wire: WireServer, litellm: Any, model: str, fault: Drop | StreamError
) -> None:
    wire.always = Reply(("a ", "b ", "c ", "d"), fault=fault, chunk_delay=0.05)
    received: list[str] = []

    async def run() -> None:
        message = {"role": "user", "content": "hi"}
        async for chunk in await litellm.acompletion(model=model, messages=[message], stream=True):
            received.append(chunk.choices[0].delta.content or "")

    with pytest.raises(Exception, match=r"\w"):
        asyncio.run(run())
    assert "".join(received) in ("a ", "a b ")


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        (CLAUDE, Truncated(2)),
        (GPT, Truncated(2)),
        (GEMINI, Truncated(2)),
        (CLAUDE, Malformed(2)),
        (GEMINI, Malformed(2)),
    ],
)
def test_a_stream_cut_short_looks_complete_or_is_an_error_in_mid_stream(
    wire: WireServer, litellm: Any, model: str, fault: Truncated | Malformed
) -> None:
    """From litellm 1.110 on it is an error except for Gemini, unless a line of its own was broken."""
    wire.always = Reply(("a ", "b ", "c ", "d"), fault=fault)
    try:
        choice = complete(litellm, model, [{"role": "user", "content": "hi"}], stream=True).choices[0]
    except litellm.exceptions.MidStreamFallbackError as error:
        assert "finish_reason" in str(error)
    else:
        assert (choice.message.content, choice.finish_reason) == ("a b ", "stop")


@pytest.mark.parametrize("model", MODELS)
def test_cancelling_closes_the_connection(wire: WireServer, litellm: Any, model: str) -> None:
    wire.script(Reply(("a ", "b ", "c "), fault=Stall("chunk", after=2)))

    async def run() -> None:
        first_chunk = asyncio.Event()

        async def consume() -> None:
            message = {"role": "user", "content": "hi"}
            async for _ in await litellm.acompletion(model=model, messages=[message], stream=True):
                first_chunk.set()

        task = asyncio.create_task(consume())
        await asyncio.wait_for(first_chunk.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        record = await asyncio.to_thread(wire.requests[0].wait, 2.0)
        assert record.closed == "client"
        assert record.bill is not None
        assert record.bill.output == count("a ") + count("b ")

    asyncio.run(run())
