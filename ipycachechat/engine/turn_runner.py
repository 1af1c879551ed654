"""One turn: ask, call the tools that the model asks for, ask again, until it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ipycachechat.billing.records import RequestRecord, TurnRecords
from ipycachechat.caching import request
from ipycachechat.caching.breakdown import BlockRow, block_rows, summarize_rows
from ipycachechat.caching.planner import PlannedRequest
from ipycachechat.caching.prefix import PromptMessage
from ipycachechat.caching.state import ExpectedUsage
from ipycachechat.conversation.events import Event, RetryScheduled, StreamBroken, StreamChunk
from ipycachechat.conversation.messages import Message
from ipycachechat.conversation.turns import Conversation, Turn, TurnStatus, past_digests
from ipycachechat.conversation.usage import NOTHING_REPORTED, Cost
from ipycachechat.defaults import REWRITE
from ipycachechat.engine import compaction
from ipycachechat.engine.approval import open_request
from ipycachechat.engine.client import ModelClient
from ipycachechat.engine.events import RequestStarted
from ipycachechat.engine.turn_request import TurnRequest, endpoint_for, request_options, tool_definitions
from ipycachechat.errors import (
    ARRIVED,
    AT_LEAST,
    BILLING_UNKNOWN,
    NOTHING_SENT,
    ChatError,
    ConnectionLost,
    ContextTooLong,
    EmptyAnswer,
    Interrupted,
    ModelError,
    ResponseTimeout,
)
from ipycachechat.providers.endpoint import ModelEndpoint
from ipycachechat.providers.exchange import Exchange
from ipycachechat.providers.replay import ReplayedExchange
from ipycachechat.providers.retry import retrying
from ipycachechat.providers.timeouts import Sleep
from ipycachechat.storage.cassette import request_key
from ipycachechat.text import truncate
from ipycachechat.tools.runner import ToolRunner

if TYPE_CHECKING:
    from ipycachechat.providers.response import Response


class TurnRunner:
    """The requests of one turn and what has come of them so far."""

    def __init__(
        self,
        engine: ModelClient,
        to: ModelEndpoint,
        past: Conversation,
        ask: TurnRequest,
        tell: Callable[[Event], None],
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """`sleep`: what passes the time between two tries."""
        self.replies: list[Message] = []
        self.records = TurnRecords()
        self.definitions = tool_definitions(ask, past)
        self.exchange: Exchange | None = None
        """The request under way, or the one that did not come to its end."""
        self.past = self.original_past = past
        """What came before; the past may have had the results of tools shortened since it was given."""
        self.at = engine.clock()
        self.endpoint = endpoint_for(to, ask, past)
        self._engine, self._ask, self._tell, self._sleep = engine, ask, tell, sleep
        self._prepared: PlannedRequest | None = None
        self._calling = ToolRunner(ask, tell)
        self._reported_start = self._opened = False
        self._last: Exchange | ReplayedExchange | None = None

    async def run(self) -> None:
        """Until the model has answered. Raises ChatError; whatever has come so far is in `replies`."""
        steps = 0
        while True:
            reply = await self._answer(closing=steps > self._ask.max_steps)
            if not reply.tool_calls:
                self.replies.append(reply)
                return
            steps += 1
            results = await self._calling.results(
                reply, last=steps >= self._ask.max_steps, over=steps > self._ask.max_steps
            )
            self.replies += [reply, *results]

    def interrupted(self) -> None:
        """Keep what there is of an answer that did not come to its end."""
        found = self._so_far
        if not self._calling.busy and self.exchange is not None and len(found) > len(self.replies):
            # To be read, and not to be sent: providers take a sealed thought only with all that followed from it.
            thoughts = (
                replace(t, provider="", signature="", encrypted="") for t in self.exchange.message.thinking
            )
            found[-1] = replace(found[-1], thinking=tuple(thoughts))
        self.replies = found
        self._calling.end()

    @property
    def stopped(self) -> Interrupted:
        """What is to be told if it was stopped."""
        kept = "What arrived is kept, marked." if self.replies else "The conversation is as it was."
        error = Interrupted("Stopped.", kept)
        if self.records.records:
            error.billed = AT_LEAST if self.records.usage.at_least else ARRIVED
        else:
            error.billed = BILLING_UNKNOWN if self.records.unreported else NOTHING_SENT
        return error

    @property
    def _so_far(self) -> list[Message]:
        """The replies, with what there is of the last one; a call without a result is none."""
        if self._calling.busy:
            return [*self.replies, *self._calling.partial_results()]
        if self.exchange is None:
            return self.replies
        text = self.exchange.text if self.exchange.finished else truncate.whole_words(self.exchange.text)
        return [*self.replies, Message("assistant", text)] if text.strip() else self.replies

    @property
    def masked(self) -> tuple[str, ...]:
        """Labels of what was secret, and was not sent."""
        return (*self._ask.redacted, *self._calling.redacted)

    @property
    def turn(self) -> Turn:
        """As far as it has come, with no answer that is under way."""
        return Turn(
            self._ask.prompt,
            tuple(self.replies),
            cell=self._ask.placement.cell,
            cell_runs=self._ask.cell_runs,
        )

    def finished(self, state: TurnStatus) -> Turn:
        """The turn as it stays."""
        bills = self.records
        known = replace(self._known, usage=bills.usage, cost=bills.cost, status=state)
        return replace(known, replayed=bills.replayed)

    @property
    def partial(self) -> Turn | None:
        """The turn as it would stay if it ended now; None while nothing has come."""
        replies = tuple(self._so_far)
        return replace(self._known, replies=replies, status=TurnStatus.INTERRUPTED) if replies else None

    @property
    def _known(self) -> Turn:
        *_, past = past_digests(self.past.turns)
        return replace(
            self.turn, model=self._ask.model, system=self._ask.system, asked_at=self.at, past_digest=past
        )

    @property
    def ending(self) -> TurnStatus:
        """Of a turn that came to its end."""
        cut_off = self._last is not None and self._last.finish == "length"
        return TurnStatus.CUT_OFF if cut_off else TurnStatus.COMPLETE

    @property
    def response(self) -> Response | None:
        """The last answer as litellm has it, as far as it came."""
        last = self.exchange or self._last
        return last.response if last else None

    @property
    def prefix(self) -> tuple[BlockRow, ...]:
        """That of the last request, and what of it is warm now, in a few rows."""
        if self._prepared is None:
            return ()
        return summarize_rows(block_rows(self._prepared, self._engine.tracker(self.endpoint).state))

    async def _answer(self, *, closing: bool) -> Message:
        """One request; if it is too long, once more with shorter results of tools."""
        while True:
            try:
                reply = await self._send(closing=closing)
            except ContextTooLong as error:
                if not self._shorten():
                    raise self._too_long(error) from None
                continue
            if closing and reply.tool_calls:  # told not to, and to do so all the same
                reply = replace(reply, tool_calls=())
                if not reply.text.strip():
                    raise EmptyAnswer(
                        f"{self._ask.model} asks for tools and gives no answer, after {self._ask.max_steps} rounds",
                        "Allow it more (max_steps), or ask for less at a time.",
                    )
            return reply

    def _shorten(self) -> bool:
        """Cut the results of tools, this turn's first; False if none is long."""
        if shorter := compaction.shortened(self.replies):
            self.replies = shorter
        elif turns := compaction.shortened_turns(self.past.turns):
            self.past = replace(self.past, all_turns=turns)
        else:
            return False
        return True

    async def _send(self, *, closing: bool) -> Message:
        to, replies = self.endpoint, self._engine.cassette
        prepared = self._prepare(closing=closing)
        if replies is None:
            return await self._send_with_resume(closing=closing)
        name = request_key(to.model, prepared.chain, self._ask.max_tokens)
        async with replies.single_flight(name):
            if known := replies.find(name):
                return await self._replay(ReplayedExchange(to, *known), prepared)
            reply = await self._send_with_resume(closing=closing)
            if self._last is not None:
                replies.add(name, to.model, prepared.chain, self._last.message, self._last.finish)
            return reply

    def _prepare(self, *, closing: bool) -> PlannedRequest:
        """Plan the request, and tell what is expected of it."""
        ask, to = self._ask, self.endpoint
        branch = ask.shares_prefix and not self.replies
        # At the very end of a loop: calls are forbidden, at the price of what that changes in the cache.
        changed = {"tool_choice": "none"} if closing and self.definitions else {}
        options = request_options(replace(ask, options={**ask.options, **changed}), self.past, to)
        prepared = self._engine.prepare(
            to, self.prompt_messages, options, ask.ttl, keep=branch, cache=ask.cache
        )
        self._prepared, self._reported_start = prepared, False
        self._tell(self._request_started(prepared))
        return prepared

    async def _send_with_resume(self, *, closing: bool) -> Message:
        """The reply; of one that breaks off, what had come is folded up, and it is asked for once more."""
        try:
            return await self._send_with_retries(closing=closing)
        except ConnectionLost as error:
            broken, ask = self.exchange, self._ask
            if broken is None or not (broken.text.strip() and ask.retry_broken_stream and ask.limits.retries):
                raise
            if isinstance(error, ResponseTimeout):
                raise
            self._tell(StreamBroken(broken.text))
            self._prepared = None
            try:
                return await self._send_with_retries(closing=closing)
            except ChatError as second:
                failed = ConnectionLost(
                    error.message, f"Asked again, which failed: {second.message}. {error.hint}"
                )
                failed.provider_message = "; then: ".join(
                    filter(None, (error.provider_message, getattr(second, "provider_message", "")))
                )
                raise failed from None
            finally:
                if self.exchange is not None and not self.exchange.text.strip():
                    self.exchange = broken

    async def _send_with_retries(self, *, closing: bool) -> Message:
        """The reply of the model, asked several times if it fails in a way that may pass."""
        limits, tries = self._ask.limits, 0

        def pausing(error: ModelError, seconds: float, tries: int) -> None:
            self._prepared = None
            self._tell(RetryScheduled(error.message, seconds, tries, limits.retries + 1))

        async def once() -> Message:
            nonlocal tries
            tries += 1
            return await self._send_once(self._prepared or self._prepare(closing=closing))

        try:
            reply: Message = await retrying(limits, self._sleep, pausing)(once)
            return reply
        except ModelError as error:
            error.tries = tries
            raise

    async def _send_once(self, prepared: PlannedRequest) -> Message:
        """The reply of the model."""
        to, engine = self.endpoint, self._engine
        exchange = await open_request(
            engine, to, prepared, self._ask, self._calling.run_on_caller, first=not self._opened
        )
        self._opened = True
        self.exchange = exchange
        try:
            await exchange.run(self._on_chunk)
        finally:
            booked = engine.record(prepared, exchange)
            if exchange.started or booked.usage != NOTHING_REPORTED:
                self.records = self.records.add(booked)
            elif exchange.billable:
                self.records = self.records.add_unreported(booked)
        self.exchange, self._last = None, exchange
        return self._unique_call_ids(exchange.message)

    async def _replay(self, served: ReplayedExchange, prepared: PlannedRequest) -> Message:
        """A reply that is at hand."""
        await served.run(self._tell)
        nothing = ExpectedUsage(0, 0, 0, 0, exact=True)
        free = Cost(0.0, 0.0)
        booked = RequestRecord(
            self.endpoint.model,
            prepared.at,
            nothing,
            served.usage,
            free,
            cache_is_promised=False,
            replayed=True,
        )
        self.records = self.records.add(booked)
        self._last = served
        return self._unique_call_ids(served.message)

    def _unique_call_ids(self, reply: Message) -> Message:
        """The reply with ids of calls that nothing before it has: some servers begin anew with each answer."""
        taken = {
            call.id
            for turn in (*self.past.turns, self.turn)
            for one in turn.replies
            for call in one.tool_calls
        }
        calls = []
        for call in reply.tool_calls:
            number, name = 1, call.id or "call"
            while name in taken or (not call.id and number == 1):
                name, number = f"{call.id or 'call'}-{number}", number + 1
            taken.add(name)
            calls.append(replace(call, id=name))
        return replace(reply, tool_calls=tuple(calls))

    @property
    def prompt_messages(self) -> list[PromptMessage]:
        """All that the next request would say."""
        return request.prompt_messages(self.past, self.turn, self.endpoint.view, self._ask.system)

    def _on_chunk(self, piece: StreamChunk) -> None:
        exchange, prepared = self.exchange, self._prepared
        if not self._reported_start and exchange is not None and prepared is not None and exchange.started:
            self._reported_start = True
            self._engine.response_started(self.endpoint, prepared)
        self._tell(piece)

    def _request_started(self, prepared: PlannedRequest) -> RequestStarted:
        """What is expected, and a warning if it means to pay for much once more."""
        expected = prepared.plan.expected
        reason = self._engine.predict_miss(self.endpoint, prepared)
        much = reason is not None and (reason.tokens or 0) > REWRITE
        warning = reason.sentence_with("are paid") if reason and much else ""
        return RequestStarted(
            self._ask.model, max(1, expected.input), len(self.past.turns), expected, warning
        )

    def _too_long(self, error: ContextTooLong) -> ContextTooLong:
        """The error with the largest turns named."""
        if self._prepared is None:
            return error
        sizes = [
            (row.turn, row.tokens)
            for row in block_rows(self._prepared, self._engine.tracker(self.endpoint).state)
        ]
        largest = compaction.describe_largest_turns(sizes, len(self.past.turns))
        return ContextTooLong(
            error.message,
            f"Largest: {largest}. Take turns away (undo), go on from earlier (fork), or choose a larger model.",
        )
