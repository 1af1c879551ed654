"""Litellm behind one seam: a request goes in, text comes out as it arrives, and at the end the bill."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ipycachechat.conversation import from_wire
from ipycachechat.conversation.events import StreamChunk
from ipycachechat.conversation.messages import Message, Thinking
from ipycachechat.conversation.usage import NOTHING_REPORTED, Timing, Usage
from ipycachechat.errors import BILLING_UNKNOWN, NOT_BILLED, ChatError, EmptyAnswer, KeyMissing
from ipycachechat.providers.endpoint import ModelEndpoint
from ipycachechat.providers.error_mapping import dropped, given_up, late, translate, was_not_billed
from ipycachechat.providers.stream_accumulator import StreamAccumulator
from ipycachechat.providers.timeouts import ONCE, RequestLimits
from ipycachechat.providers.usage_parser import usage
from ipycachechat.text.redaction import strip_known_secrets

if TYPE_CHECKING:
    from ipycachechat.providers.response import Response

Json = dict[str, Any]
NO_CACHE = {"no-cache": True, "no-store": True}
"""Of whole answers, which the person may have set up in litellm: what it serves would be told as billed."""


class Exchange:
    """One request and what has come back of it so far."""

    def __init__(
        self,
        target: ModelEndpoint,
        messages: list[Json],
        max_tokens: int | None,
        hour: float,
        options: Json | None = None,
        limits: RequestLimits = ONCE,
    ) -> None:
        """`max_tokens`: None for the model's own limit; 0 for no answer, where the provider takes that."""
        self.endpoint = target
        # Litellm looks for servers of tools in the definitions, with a package that need not be there.
        self._options = {**target.options, **(options or {})}
        if "tools" in self._options:
            self._options["_skip_mcp_handler"] = True
        self.text = ""
        self.started = False
        """Whether anything of an answer has arrived, so that the prompt is in the cache."""
        self.billable = False
        """Whether it may have been billed: it was sent, and not refused."""
        self.finish = ""
        self._started = self._first = self._latest = 0.0
        """Seconds of a clock that runs evenly: the request, the first token, the latest one."""
        self._thought = False
        self._messages = messages
        self._max_tokens = max_tokens
        self._hour = hour
        self._limits = limits
        self._stream: Any = None
        self._source: Any = None
        """What litellm reads the stream from, which it forgets at its end."""
        self._usage: Any = None
        self._kept = StreamAccumulator()

    async def run(self, arrived: Callable[[StreamChunk], None]) -> None:
        """Ask, and tell each piece as it arrives. Raises ModelError; cancelling closes the connection."""
        nothing, loop = self._max_tokens == 0, asyncio.get_running_loop()
        failure: ChatError | None = None
        self._started = time.monotonic()
        clock = asyncio.timeout(self._patience)
        self.billable = True
        try:
            async with clock:
                await self._ask(nothing)
                if nothing:
                    self._usage = self._stream.usage
                    return
                async for chunk in self._stream:
                    self._take(chunk, arrived)
                    patience = self._patience
                    clock.reschedule(None if patience is None else loop.time() + patience)
        except Exception as error:
            failure = self._failure(error, silent=clock.expired())
            self.billable = self.started or not (was_not_billed(error) or isinstance(failure, KeyMissing))
            if self.billable and failure.billed == NOT_BILLED:
                failure.billed = BILLING_UNKNOWN
        finally:
            await self._close()
        if failure is not None:  # raised out here it does not hold litellm's, which may tell the key
            raise failure
        if not self.finished:
            raise dropped(self.endpoint.model, kept=bool(self.text.strip()))
        if not self.text.strip() and not self.message.tool_calls:
            raise EmptyAnswer(
                f"{self.endpoint.model} finished ({self.finish or 'no reason given'}) and had said nothing",
                "The conversation is as it was. Change the prompt, or allow a longer answer (max-tokens).",
            )

    def _failure(self, error: Exception, *, silent: bool) -> ChatError:
        """What went wrong; `silent`: nothing came in time."""
        model = self.endpoint.model
        if silent and self._over:
            return late(model, self._limits.total_timeout)
        if silent:
            return given_up(model, self._wait or 0, began=bool(self.text))
        return translate(error, model, self._missing(error), bool(self.text), self._key)

    async def _ask(self, nothing: bool) -> None:
        """Send it. `nothing`: no answer is wanted, so that none is streamed."""
        import litellm
        from httpx import Timeout

        limits = self._limits
        # A provider that gives signs of life is known to be gone by the first silence, also while it thinks.
        read = limits.read_timeout if self.endpoint.rules.sends_pings else limits.first_token_timeout
        self._stream = await litellm.acompletion(
            model=self.endpoint.wire,
            messages=self._messages,
            num_retries=0,
            max_retries=0,
            cache=NO_CACHE,
            **{"timeout": Timeout(read, connect=limits.connect_timeout)} | self._options,
            **({} if nothing else {"stream": True, "stream_options": {"include_usage": True}}),
            **({} if self._max_tokens is None else {"max_tokens": self._max_tokens}),
        )

    @property
    def _wait(self) -> float | None:
        """Seconds in which something has to come; None: nobody waits in vain, since the connection tells."""
        if not self.started:
            return self._limits.first_token_timeout
        return None if self.endpoint.rules.sends_pings else self._limits.read_timeout

    @property
    def _patience(self) -> float | None:
        """Seconds from now after which to give up; None: never."""
        total = self._limits.total_timeout
        left = self._started + total - time.monotonic() if total else None
        return min((one for one in (self._wait, left) if one is not None), default=None)

    @property
    def _over(self) -> bool:
        """Whether all of the answer's time is over."""
        return (
            bool(self._limits.total_timeout)
            and time.monotonic() - self._started >= self._limits.total_timeout
        )

    @property
    def complete(self) -> bool:
        """Whether it came to its end, so that its usage is all that there is."""
        return self._usage is not None and (self._max_tokens == 0 or self.finished)

    @property
    def finished(self) -> bool:
        """Whether the provider said that this is the end: of a connection that ends too early litellm makes up one."""
        told = getattr(self._stream, "received_finish_reason", None)
        if self.endpoint.rules.provider != "gemini":
            return told is not None
        # Of Gemini litellm tells no end, but has a rest where one of its events was cut.
        return bool(self.finish) and not getattr(self._source, "accumulated_json", "")

    def _take(self, chunk: Any, arrived: Callable[[StreamChunk], None]) -> None:
        self._usage = getattr(chunk, "usage", None) or self._usage
        self._source = getattr(self._stream, "completion_stream", None) or self._source
        self._kept.add(chunk)
        if not chunk.choices:  # the usage alone, which the whole response has too
            return
        choice = chunk.choices[0]
        self.finish = choice.finish_reason or self.finish
        text = choice.delta.content or ""
        thought = getattr(choice.delta, "reasoning_content", None) or ""
        if text or thought or choice.delta.tool_calls:
            self._latest = time.monotonic()
            self._first = self._first or self._latest
            self._thought = self._thought or bool(thought)
            self.started = True
        self.text += text
        arrived(StreamChunk(text, thought, chunk, last=bool(choice.finish_reason)))

    @cached_property
    def response(self) -> Response | None:
        """The whole answer as litellm's ModelResponse, as far as it came; None if nothing did."""
        return self._kept.response(self.usage, told=bool(self._told)) if self.started else None

    @property
    def timing(self) -> Timing | None:
        """How fast the answer came; None if nothing did."""
        if not self.started:
            return None
        used = self.usage
        hidden = 0 if self._thought else used.thinking or 0
        tokens = None if used.output is None or used.at_least else used.output - hidden
        return Timing(self._first - self._started, self._latest - self._first, tokens)

    @property
    def request_id(self) -> str:
        """The provider's name for the request, as its support asks for it; "" if it tells none."""
        hidden = getattr(self._stream, "_hidden_params", None) or {}
        told = (hidden.get("additional_headers") or {}).get("llm_provider-request-id")
        return strip_known_secrets(
            str(told or self._kept.id), os.environ, [self._key]
        )  # a header may echo anything

    @property
    def message(self) -> Message:
        """What was said, thought and called for; calls that were cut off are none."""
        whole = self.response.choices[0].message.model_dump() if self.response else {}
        if self.finish == "length" or not self.finished:
            whole.pop("tool_calls", None)
        said = from_wire.message({**whole, "role": "assistant", "content": self.text})
        return replace(said, thinking=tuple(self._owned(thought) for thought in said.thinking))

    def _owned(self, thought: Thinking) -> Thinking:
        """A thought as the one of whoever was asked: only that one knows its seals again."""
        return (
            thought
            if thought.provider == self.endpoint.view.thinking_format
            else replace(thought, provider="", signature="", encrypted="")
        )

    @property
    def usage(self) -> Usage:
        """The tokens as far as they are known; of an answer that broke off, those of its beginning."""
        if not self._told:
            return NOTHING_REPORTED
        # Of a connection that ends too early litellm makes up a last one.
        raw = self._usage if self.complete else self._latest_told
        return usage(raw, self.endpoint.rules, self._hour, finished=self.complete)

    @property
    def _told(self) -> Any:
        """The first usage that the provider itself told; where it tells none, litellm makes up one at the end."""
        if getattr(self._stream, "chunks", None) is None:
            return self._usage
        return next(self._all_told(self._stream.chunks), None)

    @property
    def _latest_told(self) -> Any:
        """The last one: some tell with every chunk what has been answered by then."""
        return next(self._all_told(reversed(self._stream.chunks)), None)

    @staticmethod
    def _all_told(chunks: Iterable[Any]) -> Iterator[Any]:
        return (raw for chunk in chunks if (raw := getattr(chunk, "usage", None)))

    @property
    def _key(self) -> str:
        return str(self._options.get("api_key", ""))

    def _missing(self, error: BaseException) -> list[str]:
        """The environment variables that would hold this model's key, if none of them is set."""
        import litellm

        with contextlib.suppress(Exception):
            found = litellm.validate_environment(self.endpoint.wire, api_key=self._key or None)
            if not found["keys_in_environment"]:
                return [name for name in found["missing_keys"] if not os.environ.get(name)]
        return []

    async def _close(self) -> None:
        """Litellm's `aclose` leaves Anthropic's connection open, so the response itself is closed."""
        response = getattr(getattr(self._stream, "completion_stream", None), "streaming_response", None)
        for closable in (response, self._stream):
            if closable is not None and hasattr(closable, "aclose"):
                with contextlib.suppress(Exception):
                    await closable.aclose()
