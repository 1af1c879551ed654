"""The stop button at random moments: the long form, with times, is `tests/stress/random_interrupts.py`."""

from __future__ import annotations

import random
import time

import pytest
from stress.random_interrupts import PIECES, WAYS, moments, told
from support.kernels import Kernel
from wire import Reply, WireServer

QUICK = tuple(name for name, way in WAYS.items() if not way.fresh and "local" not in way.line)


def test_stopped_at_any_moment_a_cell_keeps_what_arrived_and_the_next_question_is_accepted() -> None:
    seed = random.randrange(1 << 32)
    found = moments(2 * len(QUICK), seed, QUICK)
    print(f"seed {seed}:", told(found))
    assert sum(one.stopped for one in found) > len(found) // 3
    assert not [one for one in found if one.wrong], f"seed {seed}"


def test_stopped_while_litellm_is_imported_a_cell_leaves_no_half_of_it(wire: WireServer) -> None:
    with Kernel(wire.env()) as kernel:
        kernel.run("%load_ext ipycachechat")
        stopped = 0
        for seconds in (0.2, 0.6, 1.2):
            request = kernel.start("%%chat\nhello", cell="a")
            kernel.finish(request, until="tokens to")  # the placeholder
            time.sleep(seconds)
            kernel.interrupt()
            ran = kernel.finish(request)
            stopped += bool(ran.error)
            if ran.error:  # a fast machine may have been done by then
                assert ran.error == "Stopped. The conversation is unchanged. Rerun the cell to retry."
        assert stopped
        for model in ("anthropic/claude-sonnet-5", "openai/gpt-5.5", "gemini/gemini-3.8-flash"):
            ran = kernel.run(f"%%chat -m {model}\nhello", cell="a")
            assert ran.answer and not ran.printed, ran.text
        assert kernel.value("len(__import__('logging').getLogger('LiteLLM').handlers)") == 1


ASKS = {"get_chat": "get_chat()('hello')", "a chat cell": "get_ipython().run_cell_magic('chat', '', 'hello')"}


@pytest.mark.parametrize("asks", ASKS)
@pytest.mark.parametrize(("awaits", "presses"), [("", 4), ("import asyncio\nawait asyncio.sleep(0)\n", 1)])
def test_who_asks_in_the_midst_of_a_cell_is_stopped_also_where_it_awaits(
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
    ran = kernel.finish(request)
    assert ran.printed.strip() in ("KeyboardInterrupt", "Interrupted"), ran.text
    wire.requests[0].wait(5)
    assert wire.requests[0].closed == "client"
    assert "word" in kernel.run("print(get_chat().hist[-1]['content'])").printed
    wire.clear()
    assert kernel.run("%%chat\nand now?").answer and not wire.requests[-1].error
