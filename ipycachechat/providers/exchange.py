"""One streamed completion through litellm: send the request, collect the chunks, close the connection."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ipycachechat.conversation import from_wire
from ipycachechat.conversation.events import StreamChunk
from ipycachechat.conversation.messages import Message
from ipycachechat.conversation.usage import NOTHING_REPORTED, Timing, Usage
from ipycachechat.errors import BILLING_UNKNOWN, NOT_BILLED, KeyMissing, ModelError
from ipycachechat.providers import error_mapping
from ipycachechat.providers.endpoint import ModelEndpoint
from ipycachechat.providers.model_data import missing_keys
from ipycachechat.providers.redirects import guarded_client
from ipycachechat.providers.stream_accumulator import StreamAccumulator
from ipycachechat.providers.timeouts import NO_RETRIES, RequestLimits, ResponseClock
from ipycachechat.providers.usage_parser import impossible_counts, parse_usage
from ipycachechat.text.redaction import strip_known_secrets

if TYPE_CHECKING:
    from ipycachechat.providers.response import Response

Json = dict[str, Any]
NO_CACHE = {"no-cache": True, "no-store": True}
"""Bypass litellm's own response cache, if the user set one up: its answers would be counted as billed."""


class Exchange:
    """One request and what has arrived of its response."""

    def __init__(
        self,
        endpoint: ModelEndpoint,
        messages: list[Json],
        max_tokens: int | None,
        one_hour_share: float,
        options: Json | None = None,
        limits: RequestLimits = NO_RETRIES,
    ) -> None:
        """`max_tokens`: None for the model's own limit; 0 for no answer, where the provider accepts that.

        `one_hour_share`: the share (0 to 1) of the tokens to be written that is requested with a TTL of one hour.
        """
        self.endpoint = endpoint
        self._options = {**endpoint.options, **(options or {})}
        if "tools" in self._options:
            # Otherwise litellm looks for MCP servers in the tools, with a package that may not be installed.
            self._options["_skip_mcp_handler"] = True
        self.text = ""
        self.started = False
        """True once part of the answer has arrived; then the prompt is in the cache."""
        self.billable = False
        """True if the request may be billed: it was sent, and not refused."""
        self.finish_reason = ""
        """The provider's finish reason, such as "stop" or "length"; "" while there is none."""
        self._first_at = self._latest_at = 0.0  # time.monotonic() of the first and the latest token
        self._thinking_seen = False
        self._messages = messages
        self._max_tokens = max_tokens
        self._one_hour_share = one_hour_share
        self._clock = ResponseClock(limits, endpoint.rules.sends_pings)
        self._stream: Any = None
        self._source: Any = None  # litellm's inner stream, which litellm drops at the end
        self._last_usage: Any = None
        self._chunks = StreamAccumulator()

    async def run(self, emit: Callable[[StreamChunk], None]) -> None:
        """Send the request and emit each chunk as it arrives. Raises ModelError; cancelling closes the connection."""
        loop, failure = asyncio.get_running_loop(), None
        self._clock.start()
        timeout = asyncio.timeout(self._clock.remaining(self.started))
        self.billable = True
        try:
            async with timeout:
                await self._send()
                if self._max_tokens == 0:
                    self._last_usage = self._stream.usage
                    return
                async for chunk in self._stream:
                    self._receive(chunk, emit)
                    remaining = self._clock.remaining(self.started)
                    timeout.reschedule(None if remaining is None else loop.time() + remaining)
        except Exception as error:
            failure = self._failure(error, timed_out=timeout.expired())
        finally:
            await self._close()
        if failure is not None:  # raised here: as its context, litellm's error could reveal the key
            raise failure
        if not self.has_finish_reason:
            raise error_mapping.connection_lost(self.endpoint.model, kept=bool(self.text.strip()))
        if not self.text.strip() and not self.message.tool_calls:
            raise error_mapping.empty_answer(self.endpoint.model, self.finish_reason)

    async def _send(self) -> None:
        """Start the request; its answer is streamed, unless none is wanted."""
        import litellm
        from httpx import Timeout

        timeout = Timeout(self._clock.socket_timeout, connect=self._clock.limits.connect_timeout)
        streaming = {"stream": True, "stream_options": {"include_usage": True}}
        self._stream = await litellm.acompletion(
            model=self.endpoint.litellm_model,
            messages=self._messages,
            num_retries=0,
            max_retries=0,
            cache=NO_CACHE,
            **{"timeout": timeout} | guarded_client(self.endpoint.cache_scope[0]) | self._options,
            **({} if self._max_tokens == 0 else streaming),
            **({} if self._max_tokens is None else {"max_tokens": self._max_tokens}),
        )

    def _receive(self, chunk: Any, emit: Callable[[StreamChunk], None]) -> None:
        self._last_usage = getattr(chunk, "usage", None) or self._last_usage
        self._source = getattr(self._stream, "completion_stream", None) or self._source
        self._chunks.add(chunk)
        if not chunk.choices:  # a chunk with the usage alone
            return
        choice = chunk.choices[0]
        self.finish_reason = choice.finish_reason or self.finish_reason
        text = choice.delta.content or ""
        thinking = getattr(choice.delta, "reasoning_content", None) or ""
        if text or thinking or choice.delta.tool_calls:
            self._latest_at = time.monotonic()
            self._first_at = self._first_at or self._latest_at
            self._thinking_seen = self._thinking_seen or bool(thinking)
            self.started = True
        self.text += text
        emit(StreamChunk(text, thinking, chunk, last=bool(choice.finish_reason)))

    def _failure(self, error: Exception, *, timed_out: bool) -> ModelError:
        """Return our error for litellm's, and note whether the request may be billed."""
        model, answering = self.endpoint.model, bool(self.text)
        failure: ModelError
        if timed_out and self._clock.total_is_over:
            failure = error_mapping.response_timeout(model, self._clock.limits.total_timeout)
        elif timed_out:
            seconds = self._clock.max_silence(self.started) or 0
            failure = error_mapping.stalled(model, seconds, answering=answering)
        else:
            missing = missing_keys(self.endpoint.litellm_model, self._key)
            failure = error_mapping.translate(error, model, missing, self._key, answering=answering)
        refused = error_mapping.was_not_billed(error) or isinstance(failure, KeyMissing)
        self.billable = self.started or not refused
        if self.billable and failure.billed == NOT_BILLED:
            return failure.with_billing(BILLING_UNKNOWN)
        return failure

    async def _close(self) -> None:
        """Close the connection. litellm's `aclose` leaves Anthropic's open, so the HTTP response is closed, too."""
        response = getattr(getattr(self._stream, "completion_stream", None), "streaming_response", None)
        for closable in (response, self._stream):
            if closable is not None and hasattr(closable, "aclose"):
                with contextlib.suppress(Exception):
                    await closable.aclose()

    @property
    def usage_is_final(self) -> bool:
        """True if the response came to its end, so that its usage is final."""
        return self._last_usage is not None and (self._max_tokens == 0 or self.has_finish_reason)

    @property
    def has_finish_reason(self) -> bool:
        """True if the provider itself sent a finish reason; litellm invents one if the connection ends early."""
        if self.endpoint.rules.provider != "gemini":
            return getattr(self._stream, "received_finish_reason", None) is not None
        # litellm does not record Gemini's, but keeps the rest of an event that was cut.
        return bool(self.finish_reason) and not getattr(self._source, "accumulated_json", "")

    @cached_property
    def response(self) -> Response | None:
        """The response so far as litellm's ModelResponse; None if nothing arrived."""
        return self._chunks.response(self.usage, reported=bool(self._reported)) if self.started else None

    @property
    def timing(self) -> Timing | None:
        """Time to the first token and speed of the answer; None if nothing arrived."""
        if not self.started:
            return None
        usage = self.usage
        hidden = 0 if self._thinking_seen else usage.thinking or 0
        tokens = None if usage.output is None or usage.at_least else usage.output - hidden
        return Timing(self._first_at - self._clock.started_at, self._latest_at - self._first_at, tokens)

    @property
    def request_id(self) -> str:
        """The provider's id of the request, for its support; "" if there is none."""
        hidden = getattr(self._stream, "_hidden_params", None) or {}
        header = (hidden.get("additional_headers") or {}).get("llm_provider-request-id")
        # A header may contain anything, even the key.
        return strip_known_secrets(str(header or self._chunks.id), os.environ, [self._key])

    @property
    def message(self) -> Message:
        """The assistant message so far, without tool calls that were cut off.

        Signatures of thinking are kept only for the provider that made them: no other can check them.
        """
        fields = self.response.choices[0].message.model_dump() if self.response else {}
        if self.finish_reason == "length" or not self.has_finish_reason:
            fields.pop("tool_calls", None)
        message = from_wire.message({**fields, "role": "assistant", "content": self.text})
        provider = self.endpoint.view.thinking_format
        thinking = (
            part if part.provider == provider else replace(part, provider="", signature="", encrypted="")
            for part in message.thinking
        )
        return replace(message, thinking=tuple(thinking))

    @property
    def usage(self) -> Usage:
        """The usage; of an incomplete answer the last that was reported."""
        reported = self._reported
        if not reported:
            return NOTHING_REPORTED
        raw = self._last_usage if self.usage_is_final else reported[-1]
        return parse_usage(
            raw,
            self.endpoint.rules,
            self._one_hour_share,
            context=self.endpoint.terms.context,
            finished=self.usage_is_final,
        )

    @property
    def impossible_counts(self) -> tuple[str, ...]:
        """The counts that the provider reported last and that cannot be right; they are unknown."""
        reported = self._reported
        return impossible_counts(reported[-1], self.endpoint.terms.context) if reported else ()

    @property
    def _reported(self) -> list[Any]:
        """The usages that the provider reported so far, in litellm's form.

        litellm's own estimate, at the end of a stream without usage or of a lost connection, is not among its chunks.
        """
        chunks = getattr(self._stream, "chunks", None)
        usages = [self._last_usage] if chunks is None else [getattr(chunk, "usage", None) for chunk in chunks]
        return [usage for usage in usages if usage]

    @property
    def _key(self) -> str:
        return str(self._options.get("api_key", ""))
