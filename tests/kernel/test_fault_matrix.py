"""The fault matrix: each fault of the connection with each provider, followed by another question.

Each fault occurs once in a real kernel; temporary errors are retried. The outcomes are printed as a table at the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from support.kernels import CellResult, Kernel
from wire import (
    Body,
    Drop,
    HttpError,
    Malformed,
    NoUsage,
    Reply,
    Stall,
    StreamError,
    ToolCall,
    Truncated,
    UsageTwice,
    WireServer,
)

TABLE = "faults and their outcomes"
MODELS = {
    "anthropic": "anthropic/claude-sonnet-5",
    "openai": "openai/gpt-5.5",
    "gemini": "gemini/gemini-3.8-flash",
}
every_provider = pytest.mark.parametrize("provider", MODELS)
TEXT = "One two three four five six seven."
FAULTS: dict[str, Any] = {
    **{f"{status}": HttpError(status, f"status {status}") for status in (400, 401, 403, 404, 413)},
    **{f"{status}": HttpError(status, f"status {status}") for status in (408, 429, 500, 502, 503, 529)},
    "429 with retry-after": HttpError(429, "slow down", headers={"retry-after": "1"}),
    "a proxy's page, 502": HttpError(502, body="<html>Bad gateway</html>"),
    "reset before the headers": Drop("headers"),
    "reset after the headers": Drop("first"),
    "reset in the answer": Drop("chunk", 3),
    "silence before the headers": Stall("headers"),
    "silence after the headers": Stall("first"),
    "silence in the answer": Stall("chunk", 3),
    "malformed event": Malformed(3),
    "truncated JSON": Truncated(3),
    "error event": StreamError(3),
    "wrong content type": Body(b"<html>Sign in to this network</html>", {"content-type": "text/html"}),
    "gzip garbage": Body(b"\x1f\x8b" + b"\xa5" * 500, {"content-encoding": "gzip"}),
    "invalid UTF-8": Body(b'data: {"a": "\xff\xfe\xfd"}\n\n', {"content-type": "text/event-stream"}),
    "empty body": Body(b"", {"content-type": "text/event-stream"}),
    "usage twice": UsageTwice(),
    "no usage": NoUsage(),
}
TEMPORARY = {"408", "429", "500", "502", "503", "529", "429 with retry-after", "a proxy's page, 502"} | {
    name for name in FAULTS if name.startswith(("reset", "silence", "truncated", "error event"))
}
Ask = Callable[[str, str], CellResult]


@pytest.fixture
def kernel(kernel: Kernel) -> Kernel:
    kernel.run("%config ChatMagics.retries = 1")
    kernel.limits(connect_timeout=1)
    kernel.run("def dialogue(): return get_ipython().magics_manager.registry['ChatMagics'].session.chat")
    return kernel


@pytest.fixture
def asked(kernel: Kernel, wire: WireServer, record_property: Callable[[str, object], None]) -> Ask:
    """Return a function that asks a provider under a fault, checks that the outcome is clear, and records it."""

    def ask(provider: str, fault: str) -> CellResult:
        kernel.run(f"%chat model {MODELS[provider]}")
        started, earlier_requests = time.monotonic(), len(wire.requests)
        result = kernel.run("%%chat\nhello", "q")
        if result.error:
            assert len(result.error.splitlines()) == 2, result.error
            assert result.reply["content"]["status"] == "error"
        else:
            assert result.badge
        outcome = "answered" if not result.error else "part is kept" if result.badge else "an error"
        request_count, seconds = len(wire.requests) - earlier_requests, time.monotonic() - started
        row = f"{fault:32} {provider:10} {outcome:13} requests: {request_count}  {seconds:4.1f} s"
        record_property(TABLE, f"{row}  {' · '.join(result.error.splitlines())}")
        return result

    return ask


def next_question_works(kernel: Kernel, wire: WireServer) -> None:
    """Check that another question is sent, accepted and answered."""
    wire.script(Reply("Still here."))
    after = kernel.run("%%chat\nstill there?", "r")
    assert after.answer == "Still here.", after.error
    last = wire.requests[-1].wait(10)
    assert last.status == 200 and not last.error


@every_provider
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_ends_in_an_answer_or_in_two_lines_and_the_next_question_works(
    kernel: Kernel, wire: WireServer, asked: Ask, provider: str, fault: str
) -> None:
    if "silence" in fault:
        kernel.run("%config ChatMagics.timeout = 1")
        kernel.limits(first_token_timeout=1)
    wire.script(Reply(TEXT, fault=FAULTS[fault]), Reply(TEXT))
    result = asked(provider, fault)
    if fault in TEMPORARY:
        assert not result.error and result.answer.endswith(TEXT), result.error
        assert len(wire.requests) == 2
    if fault in ("400", "401", "403", "404", "413"):
        assert result.error and len(wire.requests) == 1
    wire.clear()
    next_question_works(kernel, wire)


@every_provider
def test_an_address_without_a_server(kernel: Kernel, wire: WireServer, asked: Ask, provider: str) -> None:
    for fault, address in {
        "refused": "http://127.0.0.1:9",
        "no such host": "http://nobody.invalid",
        "no TLS": wire.url.replace("http:", "https:"),
    }.items():
        kernel.run(
            f"import os\nbefore = dict(os.environ)\nfor name in before:\n"
            f"    if name.endswith(('_API_BASE', '_BASE_URL')):\n        os.environ[name] = {address!r} + '/v1'"
        )
        result = asked(provider, fault)
        assert "no connection" in result.error and "Nothing was sent." in result.error, result.error
        kernel.run("os.environ.update(before)")
        wire.clear()
        next_question_works(kernel, wire)


@every_provider
def test_ten_megabytes_in_one_chunk(kernel: Kernel, wire: WireServer, asked: Ask, provider: str) -> None:
    wire.script(Reply(("x" * 10_000_000,), output_tokens=10))
    result = asked(provider, "10 MB in one piece")
    assert not result.error
    kernel.run("%chat undo")
    next_question_works(kernel, wire)


@every_provider
@pytest.mark.parametrize("fault", [Drop("chunk", 1), Truncated(1), Stall("chunk", 1)])
def test_a_tool_call_that_breaks_off(
    kernel: Kernel, wire: WireServer, asked: Ask, provider: str, fault: Any
) -> None:
    kernel.run("%config ChatMagics.timeout = 1")
    kernel.limits(first_token_timeout=1)
    kernel.run("def look(word: str) -> str:\n    'Look it up.'\n    return word\n%chat tools look")
    call = ToolCall("look", {"word": "x" * 200})
    wire.script(Reply("I will look.", tool_calls=(call,), fault=fault), Reply(TEXT))
    name = f"in a tool call: {type(fault).__name__}"
    result = asked(provider, name)
    assert not result.error and result.answer.endswith(TEXT), result.error
    next_question_works(kernel, wire)
