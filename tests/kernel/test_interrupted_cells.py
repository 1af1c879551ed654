"""The stop button at random moments; `tests/stress/random_interrupts.py` is the long form, with times."""

from __future__ import annotations

import random
import time

import pytest
from stress.random_interrupts import PIECES, WAYS, moments, summary
from support.kernels import Kernel
from wire import Reply, WireServer

QUICK = tuple(name for name, way in WAYS.items() if not way.fresh and "local" not in way.line)


def test_a_cell_stopped_at_any_moment_keeps_what_arrived_and_the_next_question_works() -> None:
    seed = random.randrange(1 << 32)
    moments_found = moments(2 * len(QUICK), seed, QUICK)
    print(f"seed {seed}:", summary(moments_found))
    assert sum(moment.stopped for moment in moments_found) > len(moments_found) // 3
    assert not [moment for moment in moments_found if moment.wrong], f"seed {seed}"


def test_a_cell_stopped_during_the_import_of_litellm_leaves_no_partial_import(wire: WireServer) -> None:
    with Kernel(wire.env()) as kernel:
        kernel.run("%load_ext ipycachechat")
        stopped = 0
        for seconds in (0.2, 0.6, 1.2):
            request = kernel.start("%%chat\nhello", cell="a")
            kernel.finish(request, until="Waiting for")  # the placeholder
            time.sleep(seconds)
            kernel.interrupt()
            result = kernel.finish(request)
            stopped += bool(result.error)
            if result.error:  # a fast machine may have finished by then
                assert result.error == "Stopped. The conversation is unchanged. Rerun the cell to retry."
        assert stopped
        for model in ("anthropic/claude-sonnet-5", "openai/gpt-5.5", "gemini/gemini-3.8-flash"):
            result = kernel.run(f"%%chat -m {model}\nhello", cell="a")
            assert result.answer and not result.printed, result.text
        assert kernel.value("len(__import__('logging').getLogger('LiteLLM').handlers)") == 1


ASKS = {"get_chat": "get_chat()('hello')", "a chat cell": "get_ipython().run_cell_magic('chat', '', 'hello')"}


@pytest.mark.parametrize("asks", ASKS)
@pytest.mark.parametrize(("awaits", "presses"), [("", 4), ("import asyncio\nawait asyncio.sleep(0)\n", 1)])
def test_a_cell_that_asks_from_python_can_be_stopped_also_while_it_awaits(
    kernel: Kernel, wire: WireServer, asks: str, awaits: str, presses: int
) -> None:
    kernel.run("from ipycachechat import get_chat\n%chat model anthropic/claude-sonnet-5")
    wire.script(Reply(PIECES, chunk_delay=0.02))
    cell = f"{awaits}try:\n    {ASKS[asks]}\nexcept BaseException as error:\n    print(type(error).__name__)"
    request = kernel.start(cell, cell="a")
    wire.wait(1, 30)
    time.sleep(0.5)
    for _ in range(presses):
        kernel.interrupt()
        time.sleep(0.003)
    result = kernel.finish(request)
    assert result.printed.strip() in ("KeyboardInterrupt", "Interrupted"), result.text
    wire.requests[0].wait(5)
    assert wire.requests[0].closed == "client"
    assert "word" in kernel.run("print(get_chat().hist[-1]['content'])").printed
    wire.clear()
    assert kernel.run("%%chat\nand now?").answer and not wire.requests[-1].error
