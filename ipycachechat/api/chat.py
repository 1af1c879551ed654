"""`Chat` and `AsyncChat`: a conversation from Python, on the same engine as the chat cells."""

from __future__ import annotations

import asyncio
import inspect
import weakref
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from ipycachechat.api import batch, structured
from ipycachechat.api.base_chat import BaseChat
from ipycachechat.api.results import Plan, answered, or_error, planned, said
from ipycachechat.conversation.events import Event, StreamChunk
from ipycachechat.engine.turn_request import TurnRequest
from ipycachechat.providers.litellm_import import import_in_portions
from ipycachechat.runtime.streaming import Result, Work, aiter_events, iter_events
from ipycachechat.tools.calls import await_result

if TYPE_CHECKING:
    from ipycachechat.providers.response import Response

T = TypeVar("T")


class AsyncChat(BaseChat):
    """A conversation with a model, for code that awaits. Each call adds a turn.

    Calls on one chat are answered one after the other; for several at once, `fork` it, or use `map`.
    """

    @overload
    async def __call__(
        self, prompt: Any = None, stream: Literal[False] = False, **per_call: Any
    ) -> Response: ...
    @overload
    async def __call__(
        self, prompt: Any, stream: Literal[True], **per_call: Any
    ) -> AsyncGenerator[Any, None]: ...
    async def __call__(self, prompt: Any = None, stream: bool = False, **per_call: Any) -> Any:
        """Ask, and return the answer as litellm's ModelResponse; with `stream` an async iterator of its chunks.

        `prompt`: a text, a list of parts (texts, bytes, Paths, images, figures, dataframes), or a message; None:
        the question with which `hist` ends. The iterator ends with the ModelResponse; leaving it stops the answer.
        `per_call`: any of the chat's settings, and whatever litellm takes, for this call alone.
        Of a turn with tool calls the last answer is returned; what all of it took is in `usage`.
        Raises ChatError: KeyMissing, RateLimited, ContextTooLong and so on; the conversation stays valid.

        >>> chat = AsyncChat("anthropic/claude-sonnet-5")
        >>> response = asyncio.run(chat("Say hello"))
        >>> response.text
        'Reply 1: you said Say hello'
        """
        ask = self._mine(self._next(prompt, per_call))
        if stream:
            return self._streamed(ask)
        return answered(await self._wait(lambda tell: self.session.send(ask, tell)))

    async def _streamed(self, ask: TurnRequest) -> AsyncGenerator[Any, None]:
        import_litellm()
        ask = replace(ask, retry_broken_stream=False)  # what was handed on cannot be taken back
        async with aclosing(aiter_events(self._loop, lambda tell: self.session.send(ask, tell))) as events:
            async for event in events:
                if isinstance(event, StreamChunk):
                    yield event.chunk
                elif isinstance(event, Result):
                    yield answered(event.value)

    async def _wait(self, work: Work[T], told: Callable[[Event], None] | None = None) -> T:
        """Return the result of the work; its events are handled, and sync tools run, on this thread."""
        import_litellm()
        async with aclosing(aiter_events(self._loop, work)) as events:
            async for event in events:
                if isinstance(event, Result):
                    value: T = event.value
                    return value
                if told is not None:
                    told(event)
        raise RuntimeError("the event loop of the network has ended")

    def _mine(self, ask: TurnRequest) -> TurnRequest:
        """With async tools run on the caller's own event loop, where what they use may live."""
        mine = asyncio.get_running_loop()

        async def elsewhere(work: Callable[[], Any]) -> Any:
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(await_result(work), mine))

        return replace(ask, run_async_tool=elsewhere)

    async def plan(self, prompt: Any = None, **per_call: Any) -> Plan:
        """As `Chat.plan`."""
        ask = self._planned(prompt, per_call)
        return planned(await self._wait(lambda tell: self.session.plan(ask, tell)))

    async def structured(self, prompt: Any, schema: Callable[..., T], **per_call: Any) -> T:
        """The answer as a pydantic model, a dataclass, or what a function returns for the arguments given.

        The schema goes into the prompt, so that it costs no cache. What does not fit is sent back once, with what is
        wrong. Raises BadAnswer if it then still does not fit.

        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class City:
        ...     name: str
        >>> asyncio.run(AsyncChat("openai/gpt-5.6-terra").structured("The capital of France?", City))
        City(name='Paris')
        """
        rounds = structured.rounds(schema, self._mine(self._next(prompt, per_call)))
        ask = next(rounds)
        while True:
            done = await self._wait(partial(self.session.send, ask))
            try:
                ask = rounds.send(said(done))
            except StopIteration as end:
                value: Any = end.value
                break
        found: T = await value if inspect.isawaitable(value) else value
        return found

    async def map(
        self, prompts: Iterable[Any], n: int = 8, progress: bool = True, **per_call: Any
    ) -> list[Response | Exception]:
        """Answers to many prompts that all follow this conversation, in their order; it stays as it is.

        The first is asked alone until its answer begins, since only then can the others read what it wrote to the
        cache; then `n` at a time. What goes wrong with one is its value, and stops none of the others.

        >>> chat = AsyncChat("anthropic/claude-sonnet-5", system="Answer in a word.")
        >>> [answer.text for answer in asyncio.run(chat.map(["a", "b"], progress=False))]
        ['Reply 1: you said a', 'Reply 1: you said b']
        """
        asks = [
            self._mine(ask) if isinstance(ask, TurnRequest) else ask for ask in self._asks(prompts, per_call)
        ]
        with batch.bar(len(asks), progress) as told:
            found = await self._wait(lambda tell: batch.run_batch(self.session, asks, n, tell), told)
        return [or_error(one) for one in found]

    def fork(self) -> AsyncChat:
        """A chat that goes on from here by itself, with the same settings; what is warm is warm for both."""
        return AsyncChat._with_session(self.session.fork(), self._loop, **self._settings(), **self.options)


class Chat(BaseChat):
    """A conversation with a model. Each call adds a turn.

    The network's work is done on a thread of the chat's own; plain functions used as tools run on the caller's.
    """

    @overload
    def __call__(self, prompt: Any = None, stream: Literal[False] = False, **per_call: Any) -> Response: ...
    @overload
    def __call__(self, prompt: Any, stream: Literal[True], **per_call: Any) -> Iterator[Any]: ...
    def __call__(self, prompt: Any = None, stream: bool = False, **per_call: Any) -> Any:
        """Ask, and return the answer as litellm's ModelResponse; with `stream` an iterator of its chunks.

        Arguments, errors and the end of the iterator are those of `AsyncChat`. KeyboardInterrupt keeps what has
        arrived, as an interrupted turn.

        >>> chat = Chat("anthropic/claude-sonnet-5")
        >>> chat("Say hello").text
        'Reply 1: you said Say hello'
        >>> *chunks, response = chat("And again", stream=True)
        >>> response.usage.prompt_tokens_details.cached_tokens
        0
        """
        ask = self._next(prompt, per_call)
        if stream:
            pieces = self._streamed(ask)
            self._open = weakref.ref(pieces)
            return pieces
        return answered(self._wait(lambda tell: self.session.send(ask, tell)))

    def _streamed(self, ask: TurnRequest) -> Iterator[Any]:
        import_litellm()
        ask = replace(ask, retry_broken_stream=False)  # what was handed on cannot be taken back
        with closing(iter_events(self._loop, lambda tell: self.session.send(ask, tell))) as events:
            for event in events:
                if isinstance(event, StreamChunk):
                    yield event.chunk
                elif isinstance(event, Result):
                    yield answered(event.value)

    def _wait(self, work: Work[T], told: Callable[[Event], None] | None = None) -> T:
        """Return the result of the work; its events are handled, and sync tools run, on this thread."""
        import_litellm()
        with closing(iter_events(self._loop, work)) as events:
            for event in events:
                if isinstance(event, Result):
                    value: T = event.value
                    return value
                if told is not None:
                    told(event)
        raise RuntimeError("the event loop of the network has ended")

    def plan(self, prompt: Any = None, **per_call: Any) -> Plan:
        """Predict what a prompt would read, write and cost, and why; nothing is sent. None: any next prompt.

        Tokens are the provider's as far as they are known from its bills, else estimates; dollars are for the prompt
        alone, None where the price is unknown.

        >>> chat = Chat("anthropic/claude-sonnet-5", system="Be brief. " * 800)
        >>> expected = chat.plan("What is new?").expected
        >>> expected.read, expected.read + expected.written + expected.fresh == expected.input
        (0, True)
        """
        ask = self._planned(prompt, per_call)
        return planned(self._wait(lambda tell: self.session.plan(ask, tell)))

    def structured(self, prompt: Any, schema: Callable[..., T], **per_call: Any) -> T:
        """As `AsyncChat.structured`."""
        rounds = structured.rounds(schema, self._next(prompt, per_call))
        ask = next(rounds)
        while True:
            done = self._wait(partial(self.session.send, ask))
            try:
                ask = rounds.send(said(done))
            except StopIteration as end:
                value: Any = end.value
                break
        found: T = self._wait(lambda tell: _awaited(value)) if inspect.isawaitable(value) else value
        return found

    def map(
        self, prompts: Iterable[Any], n: int = 8, progress: bool = True, **per_call: Any
    ) -> list[Response | Exception]:
        """As `AsyncChat.map`."""
        asks = self._asks(prompts, per_call)
        with batch.bar(len(asks), progress) as told:
            found = self._wait(lambda tell: batch.run_batch(self.session, asks, n, tell), told)
        return [or_error(one) for one in found]

    def fork(self) -> Chat:
        """A chat that goes on from here by itself, with the same settings; what is warm is warm for both.

        >>> chat = Chat("anthropic/claude-sonnet-5", hist=["hi", "Hello"])
        >>> other = chat.fork()
        >>> other("What if?").text
        'Reply 2: you said What if?'
        >>> len(chat.hist), len(other.hist)
        (2, 4)
        """
        return Chat._with_session(self.session.fork(), self._loop, **self._settings(), **self.options)


async def _awaited(value: Any) -> Any:
    return await value


def import_litellm() -> None:
    for _ in import_in_portions():
        pass


def register_model(models: Mapping[str, Mapping[str, Any]] | str) -> None:
    """Tell litellm of models it does not know, as its own `register_model` takes them: what they cost and can.

    Dollars are for one token; what is not given is unknown.

    >>> register_model({"openai/mine": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-6,
    ...     "output_cost_per_token": 2e-6, "max_input_tokens": 32768, "supports_function_calling": True}})
    """
    from ipycachechat.providers import model_data

    import_litellm()
    model_data.register(models)
