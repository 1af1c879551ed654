"""ChatSession: one conversation with a model, which sends one prompt at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import replace

from ipycachechat.billing.pricing import Forecast
from ipycachechat.billing.records import Ledger, RequestRecord
from ipycachechat.caching.breakdown import RequestPreview
from ipycachechat.conversation.events import Event
from ipycachechat.conversation.history import History
from ipycachechat.conversation.turns import Conversation
from ipycachechat.defaults import MAX_OUTPUT_TOKENS
from ipycachechat.engine import doctor, keepalive, preview
from ipycachechat.engine.autosave import AutoSaver
from ipycachechat.engine.client import MAX_RECORDS, ModelClient
from ipycachechat.engine.events import RequestStarted, TurnResult
from ipycachechat.engine.keepalive import CacheKeepalive
from ipycachechat.engine.turn_draft import TurnDraft
from ipycachechat.engine.turn_request import PLACEHOLDER, TurnRequest, past_of, placed, validate_request
from ipycachechat.engine.turn_result import finish_turn
from ipycachechat.engine.turn_runner import TurnRunner
from ipycachechat.engine.versions import Versions
from ipycachechat.errors import BadInput, ChatError
from ipycachechat.providers.endpoint import EndpointResolver, ModelEndpoint, provider_endpoint
from ipycachechat.providers.timeouts import Sleep

_ACTIVE_SESSIONS: ContextVar[tuple[ChatSession, ...]] = ContextVar("ipycachechat-active", default=())
"""Sessions that are sending in this context; in a tool, those that have called it."""


class ChatSession:
    """Each `send` adds a turn to the conversation or leaves it unchanged; prompts wait for each other."""

    def __init__(
        self,
        conversation: Conversation = Conversation(),
        *,
        client: ModelClient | None = None,
        resolver: EndpointResolver | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.client = client or ModelClient()
        self.versions = Versions(conversation)
        self.results: deque[TurnResult] = deque(maxlen=MAX_RECORDS)
        """Results of the latest turns, oldest first."""
        self.last_error: ChatError | None = None
        """The error of the last prompt, if it failed."""
        self.totals = Ledger()
        """The sum of this conversation's requests, those that failed or were undone included."""
        self.keepalive: CacheKeepalive | None = None
        """The running or the last keepalive."""
        self._resolver = resolver or EndpointResolver()
        self._sleep = sleep
        self._lock: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None

    @property
    def history(self) -> History:
        """All versions of the conversation."""
        return self.versions.history

    def fork(self) -> ChatSession:
        """Return a session that continues from here on its own; both know what the cache holds."""
        return ChatSession(
            self.versions.current, client=self.client, resolver=self._resolver, sleep=self._sleep
        )

    async def send(self, request: TurnRequest, emit: Callable[[Event], None]) -> TurnResult:
        """Send a prompt, add its turn to the conversation, and emit events; the last is the TurnResult returned.

        After cancelling or a lost connection the partial answer is kept as an interrupted turn.
        Raises BadInput if a tool asks the session that called it.
        """
        if self in _ACTIVE_SESSIONS.get():
            raise BadInput(
                "A tool cannot ask the chat that has called it", "Ask a fork of it: chat.fork()(…)"
            )
        active = _ACTIVE_SESSIONS.set((*_ACTIVE_SESSIONS.get(), self))
        try:
            async with self._one_at_a_time():
                return await self._send(placed(request, self.versions.current), emit)
        finally:
            _ACTIVE_SESSIONS.reset(active)

    async def _send(self, request: TurnRequest, emit: Callable[[Event], None]) -> TurnResult:
        if request.placement.cell is not None:  # it is running, so it exists
            self.versions.attach({request.placement.cell.id})
        runner: TurnRunner | None = None
        error: ChatError | None = None
        fault: BaseException | None = None
        try:
            model = await self._endpoint(request, emit)
            validate_request(request, model)
            draft = TurnDraft(request, past_of(request, self.versions.current), self.client.clock())
            with AutoSaver(self.versions.observer, draft, emit) as saver:
                runner = TurnRunner(self.client, model, draft, saver.on_event, self._sleep)
                await runner.run()
        except ChatError as failure:
            error = failure
        except BaseException as failure:
            # Cancelled, or a bug: the partial answer was paid for, so it is kept.
            fault = failure
        result = self._finish(runner, error, fault)
        emit(result)
        if fault is not None:
            raise fault
        return result

    def _finish(
        self, runner: TurnRunner | None, error: ChatError | None, fault: BaseException | None
    ) -> TurnResult:
        if runner is None:
            result = TurnResult(error=error)
        else:
            records = runner.draft.records
            for record in (*records.records, *records.unreported):
                if not record.replayed:
                    self.totals = self.totals.add(record.usage, record.cost)
            result = finish_turn(self.client, self.versions, runner, error, cancelled=fault is not None)
        cancelled = isinstance(fault, asyncio.CancelledError)
        self.last_error = runner.draft.stopped if runner and cancelled else error
        if result.turn:
            # Litellm's object is ten times as large as everything else: only the last one is kept.
            if self.results:
                self.results[-1] = replace(self.results[-1], response=None)
            self.results.append(result)
        return result

    def _one_at_a_time(self) -> asyncio.Lock:
        """Return the running loop's lock: two prompts at once would both follow the same past."""
        loop = asyncio.get_running_loop()
        if self._lock is None or self._lock[0] is not loop:
            self._lock = loop, asyncio.Lock()
        return self._lock[1]

    def add_totals(self, totals: Ledger) -> None:
        """Count the requests of a fork as this conversation's own, too."""
        self.totals = self.totals.merge(totals)

    def answer(self, number: int = 0) -> TurnResult | None:
        """Return the result of a turn (from 1; 0: the last answer), or None if it is no longer kept."""
        if not number:
            return self.results[-1] if self.results else None
        replies = self.versions.current.turns[number - 1].replies
        results = (result for result in reversed(self.results) if result.turn)
        return next((result for result in results if result.turn and result.turn.replies is replies), None)

    def sending(self, request: TurnRequest) -> RequestStarted:
        """Return a rough estimate of a request, before its model is looked up."""
        return preview.sending(request, self.versions.current)

    async def plan(self, request: TurnRequest, emit: Callable[[Event], None]) -> Forecast:
        """Return what the request would read, write and cost; an empty prompt stands for any next one."""
        model = await self._endpoint(request, emit)
        return preview.plan(self.client, request, self.versions.current, model)

    async def contents(self, request: TurnRequest, emit: Callable[[Event], None]) -> RequestPreview:
        """Return what the request would contain; with an empty prompt, everything in front of the next one."""
        model = await self._endpoint(request, emit)
        return preview.contents(self.client, request, self.versions.current, model)

    async def warm(self, request: TurnRequest, emit: Callable[[Event], None]) -> RequestRecord:
        """Write the conversation so far to the cache now. Raises ChatError."""
        record = await keepalive.write_cache(
            self.client, self._placeholder_request(request, await self._endpoint(request, emit)), request.ttl
        )
        self.totals = self.totals.add(record.usage, record.cost)
        return record

    def keep_warm(self, request: TurnRequest, seconds: float) -> CacheKeepalive:
        """Return a keepalive that refreshes the cache before it expires, for up to `seconds`; the caller runs it."""
        model = provider_endpoint(
            request.model, MAX_OUTPUT_TOKENS, request.api_base, request.api_key, self.client.identity
        )
        self.keepalive = CacheKeepalive(
            self.client, lambda: self._placeholder_request(request, model), seconds, self._sleep
        )
        return self.keepalive

    async def doctor_cost(self, model: str, emit: Callable[[Event], None]) -> tuple[int, int, float | None]:
        """Return the number of requests, and the most tokens and US dollars (None: unknown), that `examine` takes."""
        return doctor.price(await self._endpoint(TurnRequest("", model), emit))

    async def examine(self, model: str, emit: Callable[[Event], None]) -> list[doctor.Check]:
        """Check the cache rules of a model against what it bills; the requests count in the ledger."""
        self.client.check_open()
        return await doctor.examine(
            self.client, await self._endpoint(TurnRequest("", model), emit), self._sleep, emit
        )

    async def stop(self) -> None:
        """Stop the local models."""
        await self._resolver.stop()

    def _placeholder_request(self, request: TurnRequest, model: ModelEndpoint) -> preview.NextRequest:
        return preview.next_request(replace(request, prompt=PLACEHOLDER), self.versions.current, model)

    async def _endpoint(self, request: TurnRequest, emit: Callable[[Event], None]) -> ModelEndpoint:
        client = self.client
        offline = client.cassette is not None and client.cassette.strict
        return await self._resolver.resolve(
            request.model, request.api_base, request.api_key, client.identity, emit, offline=offline
        )
