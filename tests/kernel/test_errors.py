"""Errors in chat cells: two lines, a failed cell, and an unchanged conversation."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from support.kernels import ForkedKernel, Kernel
from wire import Drop, HttpError, Malformed, Reply, Stall, StreamError, Truncated, WireServer

from ipycachechat.providers.timeouts import DEFAULT_LIMITS

MODELS = {
    "anthropic": "anthropic/claude-sonnet-5",
    "openai": "openai/gpt-5.5",
    "gemini": "gemini/gemini-3.8-flash",
    "openrouter": "openrouter/anthropic/claude-sonnet-4.5",
}
KEYS = {
    "anthropic": "ANTHROPIC_API_KEY",
    "openai": "OPENAI_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
}
every_provider = pytest.mark.parametrize("provider", MODELS)


@pytest.fixture(scope="module")
def server() -> Iterator[WireServer]:
    with WireServer() as server:
        yield server


@pytest.fixture(scope="module")
def started(server: WireServer) -> Iterator[Kernel]:
    with ForkedKernel(server.env()) as kernel:
        kernel.run("%load_ext ipycachechat\n%config ChatMagics.retries = 0")
        kernel.run("%%chat\nThe first turn", "first")
        kernel.run(
            "import os\nkeys = dict(os.environ)\ndef turns(): return get_ipython().magics_manager.registry["
            "'ChatMagics'].session.chat.history.current.turns"
        )
        yield kernel


@pytest.fixture
def kernel(started: Kernel, server: WireServer) -> Kernel:
    server.clear()
    started.run("os.environ.clear(); os.environ.update(keys)\n%chat reset")
    started.run("%%chat\nThe first turn")
    return started


def fails(kernel: Kernel, model: str, text: str = "hello") -> str:
    """Run a chat that fails; check that the error has two lines and the conversation is unchanged; return it."""
    before = kernel.value("len(turns())")
    result = kernel.run(f"%%chat -m {model}\n{text}")
    assert result.reply["content"]["status"] == "error"
    assert len(result.error.splitlines()) == 2, result.error
    assert kernel.value("len(turns())") == before
    assert not result.badge
    after = kernel.run("%%chat\nstill there?")
    assert after.answer, after.error
    return result.error


@every_provider
def test_a_missing_key_is_named(kernel: Kernel, provider: str) -> None:
    kernel.run(f"del os.environ['{KEYS[provider]}']")
    if provider == "anthropic":
        kernel.run("%config ChatMagics.model = 'openai/gpt-5.5'")
    try:
        assert KEYS[provider] in fails(kernel, MODELS[provider])
    finally:
        kernel.run("%config ChatMagics.model = ''")


@every_provider
def test_a_wrong_key_is_reported_but_not_shown(kernel: Kernel, provider: str) -> None:
    kernel.run(f"os.environ['{KEYS[provider]}'] = 'bad-key-7c1d9e'")
    model = "" if provider != "anthropic" else "openai/gpt-5.5"
    kernel.run(f"%config ChatMagics.model = '{model}'")
    try:
        error = fails(kernel, MODELS[provider])
    finally:
        kernel.run("%config ChatMagics.model = ''")
    assert "key was rejected" in error
    assert "bad-key" not in error


@every_provider
def test_an_unknown_model_is_reported(kernel: Kernel, provider: str) -> None:
    prefix = MODELS[provider].partition("/")[0]
    assert "unknown model" in fails(kernel, f"{prefix}/no-such-model")


def test_an_unknown_provider_is_reported(kernel: Kernel) -> None:
    assert "No provider is known for the model 'nobody/x'" in fails(kernel, "nobody/x")
    assert "No provider is known for the model 'gibberish'" in fails(kernel, "gibberish")


@every_provider
def test_a_missing_network_is_reported(kernel: Kernel, provider: str) -> None:
    base = {"openai": "OPENAI_BASE_URL", "anthropic": "ANTHROPIC_API_BASE"}.get(provider)
    names = [base] if base else [f"{provider.upper()}_API_BASE"]
    api_base_names = {"openai": "OPENAI_API_BASE", "anthropic": "ANTHROPIC_BASE_URL"}.get(provider)
    for name in [*names, *([api_base_names] if api_base_names else [])]:
        kernel.run(f"os.environ['{name}'] = 'http://127.0.0.1:9/v1'")
    result = kernel.run(f"%%chat -m {MODELS[provider]}\nhello")
    assert "no connection" in result.error
    assert len(result.error.splitlines()) == 2


@every_provider
def test_too_long_a_conversation_is_reported(kernel: Kernel, server: WireServer, provider: str) -> None:
    server.context_limit = 5000
    try:
        error = fails(kernel, MODELS[provider], "many words " * 8000)
    finally:
        server.context_limit = None
    assert "too long for the model" in error


@every_provider
@pytest.mark.parametrize(
    ("status", "expected"), [(429, "too many requests"), (529, "overloaded"), (500, "failed")]
)
def test_an_error_of_the_provider_is_reported_after_one_request(
    kernel: Kernel, server: WireServer, provider: str, status: int, expected: str
) -> None:
    server.script(Reply(fault=HttpError(status, "Not now")))
    before = len(server.requests)
    error = fails(kernel, MODELS[provider])
    assert expected in error
    assert "Not now" in error
    assert len(server.requests) == before + 2  # this request and the next cell's


@every_provider
def test_an_empty_answer_is_reported_and_counted(kernel: Kernel, server: WireServer, provider: str) -> None:
    server.script(Reply(""))
    before = kernel.run("%chat").printed
    assert "returned an empty answer" in fails(kernel, MODELS[provider])
    assert kernel.run("%chat").printed != before


@every_provider
@pytest.mark.parametrize(
    "fault", [Drop("chunk", after=2), StreamError(after=2, message="overloaded", status=529)]
)
def test_a_partial_answer_is_kept_and_marked_when_the_connection_drops(
    kernel: Kernel, server: WireServer, provider: str, fault: Drop | StreamError
) -> None:
    server.script(Reply(("one ", "two ", "three "), fault=fault))
    result = kernel.run(f"%%chat -m {MODELS[provider]}\nhello")
    assert "in the middle of the answer" in result.error
    assert result.answer.startswith("one two")
    assert "partial answer kept" in result.badge
    assert kernel.run("%%chat\ngo on").answer


@pytest.mark.parametrize("fault", [Truncated(after=2), Malformed(after=2)])
@pytest.mark.parametrize("provider", ["anthropic", "openai"])
def test_a_stream_that_ends_too_early_is_not_a_finished_answer(
    kernel: Kernel, server: WireServer, provider: str, fault: Truncated | Malformed
) -> None:
    server.script(Reply(("one ", "two ", "three "), fault=fault))
    result = kernel.run(f"%%chat -m {MODELS[provider]}\nhello")
    assert result.error
    assert "partial answer kept" in result.badge


@every_provider
def test_the_stop_button_keeps_the_partial_answer_and_closes_the_connection(
    kernel: Kernel, server: WireServer, provider: str
) -> None:
    server.script(Reply(("one ", "two ", "three "), fault=Stall("chunk", after=2, seconds=30)))
    request = kernel.start(f"%%chat -m {MODELS[provider]}\nhello")
    kernel.finish(request, until="two")
    pressed = time.monotonic()
    kernel.interrupt()
    result = kernel.finish(request)
    assert time.monotonic() - pressed < 20
    assert result.error == "Stopped. The partial answer is kept; rerun the cell to retry."
    assert "Traceback" not in result.error
    assert server.requests[-1].wait(10).closed == "client"
    assert kernel.value("[turns()[-1].answer_text.strip(), turns()[-1].status.value]") == [
        "one two",
        "interrupted",
    ]
    assert kernel.run("%%chat\ngo on").answer


@pytest.mark.parametrize("stage", ["headers", "first"])
def test_the_stop_button_before_the_first_token_changes_nothing(
    kernel: Kernel, server: WireServer, stage: str
) -> None:
    server.script(Reply("never", fault=Stall(stage, seconds=30)))
    before = kernel.value("len(turns())")
    request = kernel.start("%%chat\nhello")
    kernel.finish(request, until="1 s")
    kernel.interrupt()
    result = kernel.finish(request)
    assert result.error == "Stopped. The conversation is unchanged. Rerun the cell to retry."
    assert kernel.value("len(turns())") == before
    assert all(not data.get("text/html") for data in result.outputs)
    assert kernel.run("%%chat\ngo on").answer


def test_an_interrupted_claude_turn_keeps_the_counts_of_its_input(kernel: Kernel, server: WireServer) -> None:
    server.script(Reply(("one ", "two ", "three "), fault=Stall("chunk", after=2, seconds=30)))
    request = kernel.start("%%chat\nhello")
    kernel.finish(request, until="two")
    kernel.interrupt()
    first = kernel.finish(request)
    assert first.numbers()["input"] == server.requests[-1].wait(10).bill.prompt
    assert "≥1 out" in first.badge
    assert "≥$0.0" in first.badge


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("%%chat\n\n", "no text to send"),
        ("%%chat\n{{ '' }}", "no text to send"),
        ("%%chat --nothing\nhello", "--nothing"),
        ("%%chat --max-tokens many\nhello", "many"),
        ("%%chat --max-tokens 0\nhello", "1 or more"),
        ("%%chat --out 1x\nhello", "1x"),
        ("%%chat --out class\nhello", "class"),
        ("%%chat --system 'open\nhello", "No closing quotation"),
        ("%%chat history\nhello", "history"),
        ("%%chat\n{{ keys.__class__ }}", "may not be used"),
        ("%%chat\n{{ 1 / 0 }}", "ZeroDivisionError"),
        ("%%chat\n{{ 1 + }}", "cannot be read"),
        ("%%chat -m local:/no/such.gguf\nhello", "no file"),
        ("%chat undo now", "takes no argument"),
        ("%chat everything", "no such command"),
    ],
)
def test_wrong_input_is_reported_in_two_lines_and_nothing_is_sent(
    kernel: Kernel, server: WireServer, cell: str, expected: str
) -> None:
    before = len(server.requests)
    result = kernel.run(cell)
    assert expected in result.error
    assert len(result.error.splitlines()) == 2, result.error
    assert len(server.requests) == before
    assert kernel.value("len(turns())") == 1


def test_run_all_stops_at_a_failed_chat(kernel: Kernel, server: WireServer) -> None:
    kernel.limits(first_token_timeout=1.0)
    server.script(Reply("never", fault=Stall("headers", seconds=30)))
    try:
        # It fails when the next cell is already queued, as with Run All; ipykernel runs cells that come later.
        first, second = kernel.start("%%chat\nhello"), kernel.start("print('reached')")
        assert "no response" in kernel.finish(first).error.lower()
        assert kernel.finish(second).reply["content"]["status"] == "aborted"
    finally:
        kernel.limits(first_token_timeout=DEFAULT_LIMITS.first_token_timeout)


def test_keys_are_in_no_output(server: WireServer) -> None:
    secret = "sk-test-0123456789abcdefSECRET"
    env = server.env(key=secret)
    with ForkedKernel(env) as kernel:
        all_output = []
        for code in (
            "%load_ext ipycachechat",
            "%%chat\nhello",
            "%%chat -m openai/gpt-5.5\nhello",
            "%%chat -m openai/no-such-model\nhello",
            "%%chat -m nobody/x\nhello",
            "%chat",
            "%chat history",
            "%config ChatMagics",
            "get_ipython().magics_manager.registry['ChatMagics'].session.chat.__dict__",
        ):
            all_output.append(kernel.run(code))
        server.script(Reply(fault=HttpError(401, f"Incorrect API key provided: {secret}")))
        all_output.append(kernel.run("%%chat\nhello"))
        server.script(Reply(fault=HttpError(400, f"Your key {secret} may not do this")))
        all_output.append(kernel.run("%%chat\nhello"))
        assert all_output[-1].error
        for result in all_output:
            assert secret not in str(result.messages) + str(result.reply)
            assert secret[:12] not in result.error
        for folder, _, files in os.walk(kernel.folder.name):
            for name in files:
                if not name.endswith(".sqlite"):
                    with open(os.path.join(folder, name), "rb") as file:
                        assert secret.encode() not in file.read()


@every_provider
def test_why_reports_what_is_known_of_the_bill_of_a_stopped_prompt(
    kernel: Kernel, server: WireServer, provider: str
) -> None:
    reports = []
    for reply in (
        Reply(("one ", "two "), fault=Stall("chunk", after=2, seconds=30)),
        Reply("x", first_delay=30),
    ):
        server.clear()
        server.script(reply)
        request = kernel.start(f"%%chat -m {MODELS[provider]}\nhello")
        kernel.finish(request, until="1 s" if reply.first_delay else "two")
        kernel.interrupt()
        kernel.finish(request)
        reports.append(kernel.run("%chat why").text.strip().splitlines())
    assert [lines[0] for lines in reports] == ["The last prompt was stopped:"] * 2
    assert reports[0][1] == "The partial answer is kept; rerun the cell to retry."
    # Some providers report usage during the stream, some only at the end.
    assert ("lower bound" in reports[0][2]) == (provider in ("anthropic", "gemini"))
    assert reports[1][1:] == ["The conversation is unchanged.", "It is unknown whether this is billed."]
