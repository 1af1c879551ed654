"""The cells of the seed document, with other imports and model names.

Its texts are repeated 250 times, which is over 2,048 of Gemini's own tokens; of this server's it takes 400.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import Any

import pytest
from wire import WireServer

from ipycachechat import AsyncChat

SONNET, GEMINI = "anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-flash"
GPT, OLD_GPT = "openai/gpt-5.6-terra", "openai/gpt-5.5"


def history(times: int = 250) -> list[Any]:
    a, b = random.randint(0, 100), random.randint(0, 100)
    return [[f"What is {a}+{b}?\n" * times], f"It's {a + b}", ["hi"], "Hello"]


async def usage(model: str, hist: list[Any], prompt: str) -> Any:
    from litellm import ModelResponse

    chat = AsyncChat(model, cache=True, hist=hist)
    rs = await chat(prompt, stream=True, stream_options={"include_usage": True})
    o: Any = None
    async for o in rs:
        if isinstance(o, ModelResponse):
            print(o.usage)
    assert isinstance(o, ModelResponse)
    return o.usage


@pytest.fixture
def hist() -> list[Any]:
    return history()


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def test_anthropic(server: WireServer, hist: list[Any]) -> None:
    first = asyncio.run(usage(SONNET, hist, "hi again"))
    assert first.cache_creation_input_tokens > 1000
    assert first.cache_read_input_tokens == 0
    hist.extend([["hi again"], "how may i help you?"])
    second = asyncio.run(usage(SONNET, hist, "bye!"))
    assert second.cache_read_input_tokens > 1000
    assert second.cache_read_input_tokens == first.cache_creation_input_tokens


def test_gemini(server: WireServer) -> None:
    hist = history(400)
    asyncio.run(usage(GEMINI, hist, "hi again"))
    again = asyncio.run(usage(GEMINI, hist, "hi again"))
    assert again.prompt_tokens_details.cached_tokens > 1800
    hist.extend([["hi again"], "how may i help you?"])
    bye = asyncio.run(usage(GEMINI, hist, "bye!"))
    assert bye.prompt_tokens_details.cached_tokens > 1800
    c = hist[0][0]
    hist[0][0] = c[: int(len(c) * 0.9)] + " Some extra text"
    hist.extend([["hi again"], "how may i help you?"])
    changed = asyncio.run(usage(GEMINI, hist, "bye!"))
    assert changed.prompt_tokens_details.cached_tokens > 900
    assert changed.prompt_tokens_details.cached_tokens < bye.prompt_tokens_details.cached_tokens
    assert not any("cachedContents" in request.path for request in server.requests)


@pytest.mark.parametrize("model", [GPT, OLD_GPT])
def test_openai(server: WireServer, hist: list[Any], model: str) -> None:
    first = asyncio.run(usage(model, hist, "hi again"))
    assert first.prompt_tokens_details.cached_tokens == 0
    hist.extend([["hi again"], "how may i help you?"])
    second = asyncio.run(usage(model, hist, "bye!"))
    assert second.prompt_tokens_details.cached_tokens >= 1024
    assert second.cache_read_input_tokens == second.prompt_tokens_details.cached_tokens


@pytest.mark.parametrize("model", [SONNET, GEMINI, GPT])
def test_the_callers_history_stays_as_it_is(server: WireServer, hist: list[Any], model: str) -> None:
    before = [list(one) if isinstance(one, list) else one for one in hist]
    asyncio.run(usage(model, hist, "hi again"))
    assert hist == before
