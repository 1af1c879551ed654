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
from ipycachechat.api.results import Plan, answer_text, response_of
from ipycachechat.conversation.events import Event, StreamChunk
from ipycachechat.engine.turn_request import TurnRequest
from ipycachechat.providers.litellm_import import import_in_portions
from ipycachechat.runtime.streaming import Result, Work, aiter_events, iter_events
from ipycachechat.tools.calls import await_result

if TYPE_CHECKING:
    from ipycachechat.providers.response import Response

T = TypeVar("T")


class AsyncChat(BaseChat):
    """A conversation with a model, for async code. Each call adds a turn.

    Calls on one chat run one after the other; for several at once, use `fork` or `map`.
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
        """Send a prompt and return litellm's ModelResponse; with `stream`, an async iterator of its chunks.

        `prompt`: a text, a list of parts (texts, bytes, Paths, images, figures, dataframes), or a message; None:
        the question with which `hist` ends. The iterator ends with the ModelResponse; leaving it early stops the
        answer. `per_call`: options of the chat, or of litellm, for this call alone.
        A turn with tool calls returns its last answer; `usage` counts all of its requests.
        Raises ChatError: KeyMissing, RateLimited, ContextTooLong and so on; the conversation stays valid.

        >>> chat = AsyncChat("anthropic/claude-sonnet-5")
        >>> response = asyncio.run(chat("Say hello"))
        >>> response.text
        'Reply 1: you said Say hello'
        """
        request = _with_tools_on_this_loop(self._request(prompt, per_call))
        if stream:
            return self._chunks(request)
        return response_of(await self._wait(partial(self.session.send, request)))

    async def _chunks(self, request: TurnRequest) -> AsyncGenerator[Any, None]:
        import_litellm()
        request = replace(request, retry_broken_stream=False)  # chunks cannot be taken back
        async with aclosing(aiter_events(self._loop, partial(self.session.send, request))) as events:
            async for event in events:
                if isinstance(event, StreamChunk):
                    yield event.chunk
                elif isinstance(event, Result):
                    yield response_of(event.value)

    async def _wait(self, work: Work[T], on_event: Callable[[Event], None] | None = None) -> T:
        """Return the result of the work; handle its events and run sync tools on this thread."""
        import_litellm()
        async with aclosing(aiter_events(self._loop, work)) as events:
            async for event in events:
                if isinstance(event, Result):
                    value: T = event.value
                    return value
                if on_event is not None:
                    on_event(event)
        raise RuntimeError("the event loop of the network has ended")

    async def plan(self, prompt: Any = None, **per_call: Any) -> Plan:
        """Predict what a prompt would read, write and cost; see `Chat.plan`."""
        request = self._request(prompt, per_call, planning=True)
        return Plan.from_forecast(await self._wait(partial(self.session.plan, request)))

    async def structured(self, prompt: Any, schema: Callable[..., T], **per_call: Any) -> T:
        """Return the answer as a pydantic model, a dataclass, or the result of a function called with it.

        The schema is part of the prompt, so the cached prefix stays valid. An answer that does not fit is sent back
        once with its errors. Raises BadAnswer if the second one does not fit either.

        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class City:
        ...     name: str
        >>> asyncio.run(AsyncChat("openai/gpt-5.6-terra").structured("The capital of France?", City))
        City(name='Paris')
        """
        rounds = structured.rounds(schema, _with_tools_on_this_loop(self._request(prompt, per_call)))
        request = next(rounds)
        while True:
            result = await self._wait(partial(self.session.send, request))
            try:
                request = rounds.send(answer_text(result))
            except StopIteration as end:
                value: Any = end.value
                break
        typed: T = await value if inspect.isawaitable(value) else value
        return typed

    async def map(
        self, prompts: Iterable[Any], n: int = 8, progress: bool = True, **per_call: Any
    ) -> list[Response | Exception]:
        """Return the answers to many prompts, in their order; each follows this conversation, which stays unchanged.

        The first prompt runs alone until its answer begins, since only then can the others read from the cache what it
        wrote; then `n` run at a time. A prompt that fails returns its exception and does not stop the others.

        >>> chat = AsyncChat("anthropic/claude-sonnet-5", system="Answer in a word.")
        >>> [answer.text for answer in asyncio.run(chat.map(["a", "b"], progress=False))]
        ['Reply 1: you said a', 'Reply 1: you said b']
        """
        requests = batch.requests(prompts, lambda p: _with_tools_on_this_loop(self._request(p, per_call)))
        with batch.progress_bar(len(requests), progress) as on_event:
            work = partial(batch.run_batch, self.session, requests, n)
            return batch.responses(await self._wait(work, on_event))

    def fork(self) -> AsyncChat:
        """Return a chat that continues from here on its own, with the same options and the same cached prefix."""
        return AsyncChat(session=self.session.fork(), **self._settings(), **self.options)


class Chat(BaseChat):
    """A conversation with a model. Each call adds a turn.

    Network work runs on a background thread; sync tools run on the caller's.
    """

    @overload
    def __call__(self, prompt: Any = None, stream: Literal[False] = False, **per_call: Any) -> Response: ...
    @overload
    def __call__(self, prompt: Any, stream: Literal[True], **per_call: Any) -> Iterator[Any]: ...
    def __call__(self, prompt: Any = None, stream: bool = False, **per_call: Any) -> Any:
        """Send a prompt and return litellm's ModelResponse; with `stream`, an iterator of its chunks.

        Arguments, errors and the end of the iterator are those of `AsyncChat`. KeyboardInterrupt keeps the partial
        answer as an interrupted turn.

        >>> chat = Chat("anthropic/claude-sonnet-5")
        >>> chat("Say hello").text
        'Reply 1: you said Say hello'
        >>> *chunks, response = chat("And again", stream=True)
        >>> response.usage.prompt_tokens_details.cached_tokens
        0
        """
        request = self._request(prompt, per_call)
        if stream:
            chunks = self._chunks(request)
            self._stream = weakref.ref(chunks)
            return chunks
        return response_of(self._wait(partial(self.session.send, request)))

    def _chunks(self, request: TurnRequest) -> Iterator[Any]:
        import_litellm()
        request = replace(request, retry_broken_stream=False)  # chunks cannot be taken back
        with closing(iter_events(self._loop, partial(self.session.send, request))) as events:
            for event in events:
                if isinstance(event, StreamChunk):
                    yield event.chunk
                elif isinstance(event, Result):
                    yield response_of(event.value)

    def _wait(self, work: Work[T], on_event: Callable[[Event], None] | None = None) -> T:
        """Return the result of the work; handle its events and run sync tools on this thread."""
        import_litellm()
        with closing(iter_events(self._loop, work)) as events:
            for event in events:
                if isinstance(event, Result):
                    value: T = event.value
                    return value
                if on_event is not None:
                    on_event(event)
        raise RuntimeError("the event loop of the network has ended")

    def plan(self, prompt: Any = None, **per_call: Any) -> Plan:
        """Predict what a prompt (None: any next one) would read, write and cost, and why; nothing is sent.

        Token counts come from the provider's bills where possible, else they are estimates; costs are US dollars for
        the prompt without its answer, None where the price is unknown.

        >>> chat = Chat("anthropic/claude-sonnet-5", system="Be brief. " * 800)
        >>> expected = chat.plan("What is new?").expected
        >>> expected.read, expected.read + expected.written + expected.fresh == expected.input
        (0, True)
        """
        request = self._request(prompt, per_call, planning=True)
        return Plan.from_forecast(self._wait(partial(self.session.plan, request)))

    def structured(self, prompt: Any, schema: Callable[..., T], **per_call: Any) -> T:
        """Return the answer as a typed value; see `AsyncChat.structured`."""
        rounds = structured.rounds(schema, self._request(prompt, per_call))
        request = next(rounds)
        while True:
            result = self._wait(partial(self.session.send, request))
            try:
                request = rounds.send(answer_text(result))
            except StopIteration as end:
                value: Any = end.value
                break
        typed: T = self._wait(lambda _: await_result(lambda: value)) if inspect.isawaitable(value) else value
        return typed

    def map(
        self, prompts: Iterable[Any], n: int = 8, progress: bool = True, **per_call: Any
    ) -> list[Response | Exception]:
        """Return the answers to many prompts; see `AsyncChat.map`."""
        requests = batch.requests(prompts, lambda p: self._request(p, per_call))
        with batch.progress_bar(len(requests), progress) as on_event:
            return batch.responses(self._wait(partial(batch.run_batch, self.session, requests, n), on_event))

    def fork(self) -> Chat:
        """Return a chat that continues from here on its own, with the same options and the same cached prefix.

        >>> chat = Chat("anthropic/claude-sonnet-5", hist=["hi", "Hello"])
        >>> other = chat.fork()
        >>> other("What if?").text
        'Reply 2: you said What if?'
        >>> len(chat.hist), len(other.hist)
        (2, 4)
        """
        return Chat(session=self.session.fork(), **self._settings(), **self.options)


def _with_tools_on_this_loop(request: TurnRequest) -> TurnRequest:
    """Return the request with async tools run on the running event loop, where the objects that they use may live."""
    loop = asyncio.get_running_loop()

    async def run_async_tool(work: Callable[[], Any]) -> Any:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(await_result(work), loop))

    return replace(request, run_async_tool=run_async_tool)


def import_litellm() -> None:
    """Import litellm on this thread."""
    for _ in import_in_portions():
        pass


def register_model(models: Mapping[str, Mapping[str, Any]] | str) -> None:
    """Register prices and abilities of models that litellm does not know, in the form of its own `register_model`.

    Prices are US dollars per token; what is not given is unknown.

    >>> register_model({"openai/mine": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-6,
    ...     "output_cost_per_token": 2e-6, "max_input_tokens": 32768, "supports_function_calling": True}})
    """
    from ipycachechat.providers import model_data

    import_litellm()
    model_data.register(models)
