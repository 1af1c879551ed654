"""Budgets in real kernels: a request that could cost too much is not sent, or the user is asked first."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.kernels import ForkedKernel, Kernel, run_and_answer
from wire import Reply, WireServer, words
from wire.money import dollars
from wire.replies import ToolCall


@pytest.fixture(autouse=True)
def _always_yes(wire: WireServer) -> None:
    wire.always = Reply("Yes.")
    wire.clock.run()


def test_a_budget_is_shown_and_refuses_a_request_before_it_is_sent(wire: WireServer, kernel: Kernel) -> None:
    assert "spent $0.00000, no budget" in kernel.run("%chat budget").printed
    assert "spent $0.00000 of $0.02000, $0.02000 left" in kernel.run("%chat budget 0.02").printed
    assert not kernel.run("%%chat --max-tokens 100\nhello").error
    printed = kernel.run("%chat budget").printed
    assert f"spent ${dollars(wire.requests):.5f} of $0.02000" in printed
    assert "of $0.02000" in kernel.run("%chat").printed
    history = kernel.run("%chat history").text
    result = kernel.run("%%chat\nand what else?")
    assert len(result.error.splitlines()) == 2 and len(wire.requests) == 1
    assert "could cost up to $0.16" in result.error and "of your $0.02000 budget" in result.error
    assert "16,000 out (max_tokens)" in result.error
    assert kernel.run("%chat history").text == history
    assert "no budget" in kernel.run("%chat budget off").printed
    assert not kernel.run("%%chat\nand what else?").error
    for wrong in ("much", "-1", "0", "nan", "1 2"):
        assert "A budget is a number of dollars" in kernel.run(f"%chat budget {wrong}").error
    kernel.run("%config ChatMagics.budget = 0.01")
    assert "of $0.01000" in kernel.run("%chat budget").printed


def test_a_tool_loop_over_budget_stops_and_keeps_its_results(wire: WireServer, kernel: Kernel) -> None:
    kernel.run(
        'def read(q: str) -> str:\n    "Read."\n    return "word " * 900\n%chat tools read\n%chat budget 0.02'
    )
    wire.script(*[Reply("so", tool_calls=(ToolCall("read", {"q": str(n)}),)) for n in range(12)])
    result = kernel.run("%%chat --max-tokens 100\nlook", cell="a")
    assert "of your $0.02000 budget" in result.error and "The tool calls so far are kept" in result.error
    assert 0 < len(wire.requests) < 12
    assert dollars(wire.requests) <= 0.02
    assert "1 turn" in kernel.run("%chat").printed
    kernel.run("%chat budget off")
    wire.clear()
    assert not kernel.run("%%chat\ngo on").error


@pytest.mark.parametrize(("says", "sent"), [("y", 1), ("n", 0), ("", 0)])
def test_confirm_asks_with_the_plan(wire: WireServer, kernel: Kernel, says: str, sent: int) -> None:
    kernel.run("%chat budget 0.01")
    question, _ = run_and_answer(kernel, "%%chat --confirm\nhello", says)
    assert (
        "could cost up to $0.16" in question
        and "$0.01000 budget is left" in question
        and "plan: ≈0 tokens read" in question
    )
    assert len(wire.requests) == sent
    assert f"{sent} turn" in kernel.run("%chat").printed


def test_nothing_is_sent_if_the_user_cannot_be_asked(wire: WireServer, kernel: Kernel) -> None:
    kernel.run("%chat budget 0.01")
    error = kernel.run("%%chat --confirm\nhello", stdin=False).error
    assert "there is no one to ask" in error and len(error.splitlines()) == 2
    kernel.run("%chat budget off\n%config ChatMagics.confirm_over = 0.1")
    error = kernel.run("%%chat\nhello", stdin=False).error
    assert "there is no one to ask" in error and "confirm_over" in error and len(error.splitlines()) == 2
    assert not wire.requests
    assert not kernel.run("%%chat --max-tokens 100\nhello", stdin=False).error
    question, _ = run_and_answer(kernel, "%%chat\nhello", "y")
    assert "costs $0.16" in question and "at most" in question and len(wire.requests) == 2


def test_a_model_of_unknown_price_is_refused_and_the_local_one_is_free(
    wire: WireServer, kernel: Kernel
) -> None:
    kernel.run("%chat budget 0.01")
    error = kernel.run("%%chat -m openai/unknown-model --max-tokens 10\nhello").error
    assert "its price is unknown" in error and not wire.requests
    run_and_answer(kernel, "%%chat -m openai/unknown-model --max-tokens 10 --confirm\nhello", "y")
    assert len(wire.requests) == 1
    assert "1 request may have cost more" in kernel.run("%chat budget").printed


def test_the_budget_holds_for_python_in_cells_and_for_map(wire: WireServer, kernel: Kernel) -> None:
    kernel.run("from ipycachechat import get_chat\nchat = get_chat()\n%chat budget 0.02")
    assert kernel.value("chat.budget") == 0.02
    assert (
        "OverBudget"
        in kernel.run("try: chat('hello')\nexcept Exception as e: print(type(e).__name__)").printed
    )
    kernel.run("found = chat.map([f'q{n}' for n in range(8)], progress=False, max_tokens=300)")
    assert kernel.value("[getattr(one, 'text', str(one)) for one in found]") == ["Yes."] * 8
    kernel.run("other = chat.fork()")
    assert (
        "OverBudget"
        in kernel.run("try: other('hello')\nexcept Exception as e: print(type(e).__name__)").printed
    )
    kernel.run("chat.budget = None")
    assert "no budget" in kernel.run("%chat budget").printed
    assert dollars(wire.requests) <= 0.02


def test_a_stopped_request_counts_with_its_maximum(wire: WireServer, kernel: Kernel) -> None:
    wire.script(Reply(words(400), chunk_delay=0.05))
    request = kernel.start("%%chat --max-tokens 500\nhello")
    kernel.finish(request, until="word word")
    kernel.interrupt()
    kernel.finish(request)
    printed = kernel.run("%chat budget").printed
    assert ", the maximum, for 1 request without a bill" in printed
    assert dollars(wire.requests) < 500 * 10e-6


def test_the_daily_budget_is_shared_by_all_kernels_and_outlives_them(
    wire: WireServer, kernel: Kernel, tmp_path: Path
) -> None:
    store = f"%config ChatMagics.store = {str(tmp_path / 'chats.db')!r}\n"
    kernel.run(store + "%chat budget 0.02 --day")
    assert not kernel.run("%%chat --max-tokens 300\nhello").error
    with ForkedKernel({**wire.env()}) as other:
        other.run("%load_ext ipycachechat")
        other.run(store + "%chat budget 0.02 --day")
        printed = other.run("%chat budget").printed
        assert f"today, all notebooks: spent ${dollars(wire.requests):.5f} of $0.02000" in printed
        wire.script(Reply(words(400), chunk_delay=0.05))
        request = other.start("%%chat --max-tokens 1400\nhello")
        other.finish(request, until="word word")
        error = kernel.run("%%chat --max-tokens 300\nand what else?").error
        assert "of your $0.02000 budget of the day" in error  # the maximum of the open request is reserved
        other.interrupt()
        other.finish(request)
    assert "budget of the day" in kernel.run("%%chat --max-tokens 700\nand what else?").error
    assert not kernel.run("%%chat --max-tokens 10\nand what else?").error
    assert dollars(wire.requests) <= 0.02
    kernel.run("%config ChatMagics.keep = False")
    error = kernel.run("%%chat --max-tokens 10\nand what else?").error
    assert "The day's budget cannot be checked" in error and len(error.splitlines()) == 2
    kernel.run("%chat budget off --day")
    assert not kernel.run("%%chat --max-tokens 10\nand what else?").error


def test_keeping_the_cache_warm_stays_within_the_budget(wire: WireServer, kernel: Kernel) -> None:
    assert not kernel.run(f"%%chat --max-tokens 100\n{words(3000)}").error
    kernel.run("%chat budget 0.015")
    error = kernel.run("%chat warm").error
    assert "of your $0.01500 budget" in error and len(wire.requests) == 1
