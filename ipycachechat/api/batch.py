"""Many prompts that follow one conversation: the first writes it to the cache, the others read it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from ipycachechat.conversation.events import Event, Progress, RunOnCallerThread, StreamChunk, ToolCallStarted
from ipycachechat.engine.events import TurnResult
from ipycachechat.engine.session import ChatSession
from ipycachechat.engine.turn_request import TurnRequest
from ipycachechat.errors import BadInput

Found = TurnResult | Exception


async def run_batch(
    dialogue: ChatSession, asks: Sequence[TurnRequest | BadInput], n: int, tell: Callable[[Event], None]
) -> list[Found]:
    """Return the result of each prompt, in order, running at most `n` at a time. Raises BadInput.

    One is alone until its answer begins: not before can what it writes be read by another.
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise BadInput(f"n={n!r}: this is no number of prompts at a time", "Give a whole number, 1 or more.")
    found: dict[int, Found] = {place: ask for place, ask in enumerate(asks) if isinstance(ask, BadInput)}
    waiting = iter([(place, ask) for place, ask in enumerate(asks) if isinstance(ask, TurnRequest)])
    begun = asyncio.Event()

    async def work() -> None:
        for place, ask in waiting:
            found[place] = await _one(dialogue, ask, tell, begun)
            tell(Progress("prompts", len(found), len(asks)))

    async def lead() -> None:
        for place, ask in waiting:
            found[place] = await _one(dialogue, ask, tell, begun)
            tell(Progress("prompts", len(found), len(asks)))
            if begun.is_set():
                break  # else it wrote nothing, and the next one leads
        begun.set()
        await work()

    async def follow() -> None:
        await begun.wait()
        await work()

    workers = [asyncio.create_task(lead())]
    workers += [asyncio.create_task(follow()) for _ in range(min(n, len(asks)) - 1)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return [found[place] for place in range(len(asks))]


async def _one(
    dialogue: ChatSession, ask: TurnRequest, tell: Callable[[Event], None], begun: asyncio.Event
) -> Found:
    """Return the result of one prompt, asked on a fork of the conversation."""
    fork = dialogue.fork()

    def heard(event: Event) -> None:
        if isinstance(event, ToolCallStarted) or (
            isinstance(event, StreamChunk) and (event.text or event.thinking)
        ):
            begun.set()
        if isinstance(event, RunOnCallerThread):
            tell(event)

    try:
        return await fork.send(replace(ask, shares_prefix=True), heard)
    except Exception as error:  # whatever it is, the others go on
        return error
    finally:
        dialogue.add_totals(fork.totals)


@contextmanager
def bar(total: int, shown: bool) -> Iterator[Callable[[Event], None]]:
    """A progress bar in text, which stays readable in a saved notebook; it grows with what it is told."""
    from tqdm import tqdm

    # A notebook shows what is written to stderr as if something were wrong.
    where = sys.stdout if "ipykernel" in sys.modules else sys.stderr
    with tqdm(total=total, disable=not shown, unit="prompt", file=where) as drawn:

        def told(event: Event) -> None:
            if isinstance(event, Progress) and event.total == total and event.done is not None:
                drawn.update(event.done - drawn.n)

        yield told
