"""RequestRunner: one request of a turn: plan it, replay or send it, retry, resume, record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ipycachechat.billing.records import RequestRecord
from ipycachechat.caching.breakdown import BlockRow, block_rows
from ipycachechat.caching.planner import PlannedRequest
from ipycachechat.caching.request import prompt_messages
from ipycachechat.caching.state import ExpectedUsage
from ipycachechat.conversation.events import Event, RetryScheduled, StreamBroken, StreamChunk
from ipycachechat.conversation.messages import Message
from ipycachechat.conversation.usage import NOTHING_REPORTED, Cost
from ipycachechat.defaults import REWRITE_WARNING_TOKENS
from ipycachechat.engine.approval import RunOnCaller, open_request
from ipycachechat.engine.client import ModelClient
from ipycachechat.engine.events import RequestStarted
from ipycachechat.engine.turn_draft import TurnDraft
from ipycachechat.engine.turn_request import request_options
from ipycachechat.errors import ChatError, ConnectionLost, ModelError, ResponseTimeout
from ipycachechat.providers.endpoint import ModelEndpoint
from ipycachechat.providers.replay import ReplayedExchange
from ipycachechat.providers.retry import retrying
from ipycachechat.providers.timeouts import Sleep
from ipycachechat.storage.cassette import request_key


class RequestRunner:
    """Sends the requests of one turn, one after the other; what arrives goes into the draft."""

    def __init__(
        self,
        client: ModelClient,
        endpoint: ModelEndpoint,
        draft: TurnDraft,
        emit: Callable[[Event], None],
        run_on_caller: RunOnCaller,
        sleep: Sleep,
    ) -> None:
        """`run_on_caller` asks for confirmations; `sleep` waits between two tries."""
        self._client, self._endpoint, self._draft = client, endpoint, draft
        self._emit, self._run_on_caller, self._sleep = emit, run_on_caller, sleep
        self._planned: PlannedRequest | None = None
        self._reported_start = self._opened = False

    async def run(self, *, closing: bool) -> Message:
        """Return the model's next reply. Raises ChatError. `closing`: tool calls are forbidden."""
        endpoint, cassette = self._endpoint, self._client.cassette
        planned = self._plan(closing=closing)
        if cassette is None:
            return await self._send_with_resume(closing=closing)
        key = request_key(endpoint.model, planned.chain, self._draft.request.max_tokens)
        async with cassette.single_flight(key):
            if recorded := cassette.find(key):
                return await self._replay(ReplayedExchange(endpoint, *recorded), planned)
            reply = await self._send_with_resume(closing=closing)
            if exchange := self._draft.last_exchange:
                cassette.add(key, endpoint.model, planned.chain, exchange.message, exchange.finish_reason)
            return reply

    @property
    def rows(self) -> tuple[BlockRow, ...]:
        """The blocks of the last request, and when they expire."""
        if self._planned is None:
            return ()
        return block_rows(self._planned, self._client.trackers.get(self._endpoint).state)

    def _plan(self, *, closing: bool) -> PlannedRequest:
        """Plan the request and report its expected usage."""
        draft, request, endpoint = self._draft, self._draft.request, self._endpoint
        # Only at the end of a tool loop: it changes what can be read from the cache.
        forbidden = {"tool_choice": "none"} if closing and draft.definitions else {}
        planned = self._client.prepare(
            endpoint,
            prompt_messages(draft.past, draft.turn, endpoint.view, request.system),
            request_options(replace(request, options={**request.options, **forbidden}), draft.past, endpoint),
            request.ttl,
            keep=request.shares_prefix and not draft.replies,
            cache=request.cache,
        )
        self._planned, self._reported_start = planned, False
        self._emit(self._request_started(planned))
        return planned

    def _request_started(self, planned: PlannedRequest) -> RequestStarted:
        """Return the expected usage, with a warning if many tokens are expected to be charged again."""
        expected = planned.expected
        reason = self._client.predict_miss(self._endpoint, planned)
        large = reason is not None and (reason.tokens or 0) > REWRITE_WARNING_TOKENS
        warning = reason.sentence if reason and large else ""
        return RequestStarted(
            model=self._draft.request.model,
            tokens=max(1, expected.input),
            turns=len(self._draft.past.turns),
            expected=expected,
            warning=warning,
        )

    async def _send_with_resume(self, *, closing: bool) -> Message:
        """Return the reply; repeat the request once if the connection breaks in the middle of it."""
        try:
            return await self._send_with_retries(closing=closing)
        except ConnectionLost as error:
            broken, request = self._draft.exchange, self._draft.request
            resumable = request.retry_broken_stream and request.limits.retries > 0
            if broken is None or not (broken.text.strip() and resumable):
                raise
            if isinstance(error, ResponseTimeout):
                raise
            self._emit(StreamBroken(broken.text))
            self._planned = None
            try:
                return await self._send_with_retries(closing=closing)
            except ChatError as retry_error:
                messages = (error.provider_message, getattr(retry_error, "provider_message", ""))
                raise ConnectionLost(
                    error.message,
                    f"The retry failed too ({retry_error.message}). {error.hint}",
                    provider_message="; then: ".join(filter(None, messages)),
                ) from None
            finally:
                exchange = self._draft.exchange
                if exchange is not None and not exchange.text.strip():
                    self._draft.begin_request(broken)

    async def _send_with_retries(self, *, closing: bool) -> Message:
        """Return the reply; retry after errors that may be temporary."""
        limits, tries = self._draft.request.limits, 0

        def on_pause(error: ModelError, seconds: float, tries: int) -> None:
            self._planned = None
            self._emit(RetryScheduled(error.message, seconds, tries, limits.retries + 1))

        async def send() -> Message:
            nonlocal tries
            tries += 1
            return await self._send(self._planned or self._plan(closing=closing))

        try:
            reply: Message = await retrying(limits, self._sleep, on_pause)(send)
            return reply
        except ModelError as error:
            raise error.with_tries(tries) from None

    async def _send(self, planned: PlannedRequest) -> Message:
        """Send the request once, record what it was billed, and return the reply."""
        client, draft = self._client, self._draft
        exchange = await open_request(
            client, self._endpoint, planned, draft.request, self._run_on_caller, first=not self._opened
        )
        self._opened = True
        draft.begin_request(exchange)
        try:
            await exchange.run(self._on_chunk)
        finally:
            record = client.record(planned, exchange)
            reported = exchange.started or record.usage != NOTHING_REPORTED
            if reported or exchange.billable:
                draft.add_record(record, reported=reported)
                draft.note_impossible_counts(exchange.impossible_counts)
        draft.end_request(exchange)
        return self._unique_call_ids(exchange.message)

    async def _replay(self, exchange: ReplayedExchange, planned: PlannedRequest) -> Message:
        """Return a recorded reply; nothing is sent."""
        await exchange.run(self._emit)
        record = RequestRecord(
            model=self._endpoint.model,
            sent_at=planned.context.now,
            expected=ExpectedUsage(0, 0, 0, 0, exact=True),
            usage=exchange.usage,
            cost=Cost(0.0, 0.0),
            cache_is_promised=False,
            replayed=True,
        )
        self._draft.add_record(record)
        self._draft.end_request(exchange)
        return self._unique_call_ids(exchange.message)

    def _on_chunk(self, chunk: StreamChunk) -> None:
        exchange, planned = self._draft.exchange, self._planned
        started = exchange is not None and exchange.started
        if started and planned is not None and not self._reported_start:
            self._reported_start = True
            self._client.trackers.response_started(self._endpoint, planned)
        self._emit(chunk)

    def _unique_call_ids(self, reply: Message) -> Message:
        """Return the reply with unique call ids: some servers number them from the start in each reply."""
        turns = (*self._draft.past.turns, self._draft.turn)
        taken = {call.id for turn in turns for message in turn.replies for call in message.tool_calls}
        calls = []
        for call in reply.tool_calls:
            number, name = 1, call.id or "call"
            while name in taken or (not call.id and number == 1):
                name, number = f"{call.id or 'call'}-{number}", number + 1
            taken.add(name)
            calls.append(replace(call, id=name))
        return replace(reply, tool_calls=tuple(calls))
