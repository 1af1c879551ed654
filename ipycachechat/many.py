"""Many prompts that follow one conversation: the first writes it to the cache, the others read it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from ipycachechat.core.errors import BadInput, ChatError, ModelError
from ipycachechat.core.events import Called, Do, Done, Event, Piece, Progress
from ipycachechat.dialogue import Dialogue
from ipycachechat.rounds import Ask

if TYPE_CHECKING:
    from ipycachechat.model.response import Response


async def answers(
    dialogue: Dialogue, asks: Sequence[Ask | BadInput], n: int, tell: Callable[[Event], None]
) -> list[Response | Exception]:
    """The answer to each, or what went wrong with it, in order; at most `n` at a time. Raises BadInput.

    The first one is alone until its answer begins: not before can what it writes be read by another.
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise BadInput(f"n={n!r}: this is no number of prompts at a time", "Give a whole number, 1 or more.")
    found: list[Response | Exception | None] = [ask if isinstance(ask, BadInput) else None for ask in asks]
    waiting = iter([(place, ask) for place, ask in enumerate(asks) if isinstance(ask, Ask)])
    done = sum(one is not None for one in found)
    free = asyncio.Event()
    free.set()

    async def work() -> None:
        nonlocal done
        for place, ask in waiting:
            await free.wait()
            found[place] = await _one(dialogue, ask, tell, free)
            done += 1
            tell(Progress("prompts", done, len(asks)))

    first = next(waiting, None)
    if first is not None:
        free.clear()
        workers = [asyncio.create_task(work()) for _ in range(n - 1)]

        async def lead() -> None:
            nonlocal done
            place, ask = first
            found[place] = await _one(dialogue, ask, tell, free)
            free.set()  # whatever became of it
            done += 1
            tell(Progress("prompts", done, len(asks)))
            await work()

        workers.append(asyncio.create_task(lead()))
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
    return [one if one is not None else ModelError("This prompt was not answered") for one in found]


async def _one(
    dialogue: Dialogue, ask: Ask, tell: Callable[[Event], None], begun: asyncio.Event
) -> Response | Exception:
    """The answer to one prompt, on a fork of the conversation."""
    fork = dialogue.fork()

    def heard(event: Event) -> None:
        if isinstance(event, Called) or (isinstance(event, Piece) and (event.text or event.thought)):
            begun.set()
        if isinstance(event, Do):
            tell(event)

    done: Done | None = None
    try:
        done = await fork.send(replace(ask, branch=True), heard)
    except ChatError as error:
        return error
    finally:
        dialogue.spent = dialogue.spent.together(fork.spent)
    if done.error is not None:
        return done.error
    assert fork.last is not None  # a turn without an error has an answer
    return fork.last


@contextmanager
def bar(total: int, shown: bool) -> Iterator[Callable[[Event], None]]:
    """A progress bar in text, which stays readable in a saved notebook; it grows with what it is told."""
    from tqdm import tqdm

    with tqdm(total=total, disable=not shown, unit="prompt") as drawn:

        def told(event: Event) -> None:
            if isinstance(event, Progress) and event.total == total and event.done is not None:
                drawn.update(event.done - drawn.n)

        yield told
