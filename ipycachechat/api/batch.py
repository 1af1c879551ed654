"""Many prompts that follow one conversation: the first writes it to the cache, the others read it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ipycachechat.api.results import response_of
from ipycachechat.conversation.events import Event, Progress, RunOnCallerThread, StreamChunk, ToolCallStarted
from ipycachechat.engine.events import TurnResult
from ipycachechat.engine.session import ChatSession
from ipycachechat.engine.turn_request import TurnRequest
from ipycachechat.errors import BadInput
from ipycachechat.prompts.data_summary import is_missing

if TYPE_CHECKING:
    from ipycachechat.providers.response import Response


def requests(
    prompts: Iterable[Any], to_request: Callable[[Any], TurnRequest]
) -> list[TurnRequest | BadInput]:
    """Return the request of each prompt, or the error if it cannot be sent. Raises BadInput without a list."""
    is_table = hasattr(type(prompts), "columns")
    if is_table or not isinstance(prompts, Iterable) or isinstance(prompts, str | bytes | Mapping):
        raise BadInput(
            f"The prompts are a {type(prompts).__name__}", "Give a list, or a column of a dataframe."
        )
    requests: list[TurnRequest | BadInput] = []
    for prompt in prompts:
        try:
            if is_missing(prompt):
                raise BadInput("The prompt is a missing value", "Fill it in or leave it out.")
            requests.append(to_request(prompt))
        except BadInput as error:
            requests.append(error)
    return requests


async def run_batch(
    session: ChatSession, requests: Sequence[TurnRequest | BadInput], n: int, emit: Callable[[Event], None]
) -> list[TurnResult | Exception]:
    """Return the result of each request, in order, running at most `n` at a time. Raises BadInput.

    The first runs alone until its answer begins; only then can others read what it wrote to the cache.
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise BadInput(f"n={n!r} is not a number of prompts", "Give a whole number, 1 or more.")
    results: dict[int, TurnResult | Exception] = {
        index: request for index, request in enumerate(requests) if isinstance(request, BadInput)
    }
    waiting = iter([(i, request) for i, request in enumerate(requests) if isinstance(request, TurnRequest)])
    answering = asyncio.Event()

    async def work(*, lead: bool) -> None:
        if not lead:
            await answering.wait()
        for index, request in waiting:
            results[index] = await _send_on_fork(session, request, emit, answering)
            emit(Progress("prompts", len(results), len(requests)))
        answering.set()

    workers = [asyncio.create_task(work(lead=number == 0)) for number in range(min(n, len(requests)) or 1)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return [results[index] for index in range(len(requests))]


def responses(results: Iterable[TurnResult | Exception]) -> list[Response | Exception]:
    """Return each result's response, or the error of its turn."""
    return [
        result if isinstance(result, Exception) else result.error or response_of(result) for result in results
    ]


async def _send_on_fork(
    session: ChatSession, request: TurnRequest, emit: Callable[[Event], None], answering: asyncio.Event
) -> TurnResult | Exception:
    """Return the result of a request on a fork of the conversation; set `answering` when its answer begins."""
    fork = session.fork()

    def on_event(event: Event) -> None:
        if isinstance(event, ToolCallStarted) or (
            isinstance(event, StreamChunk) and (event.text or event.thinking)
        ):
            answering.set()
        if isinstance(event, RunOnCallerThread):
            emit(event)

    try:
        return await fork.send(replace(request, shares_prefix=True), on_event)
    except Exception as error:  # whatever it is, the others go on
        return error
    finally:
        session.add_totals(fork.totals)


@contextmanager
def progress_bar(total: int, shown: bool) -> Iterator[Callable[[Event], None]]:
    """Show a progress bar in text, which stays readable in a saved notebook; yield its event handler."""
    from tqdm import tqdm

    # A notebook shows stderr as if something were wrong.
    file = sys.stdout if "ipykernel" in sys.modules else sys.stderr
    with tqdm(total=total, disable=not shown, unit="prompt", file=file) as bar:

        def on_event(event: Event) -> None:
            if isinstance(event, Progress) and event.total == total and event.done is not None:
                bar.update(event.done - bar.n)

        yield on_event
