"""A conversation with a model as it goes on: one send, from prompt to finished turn."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextvars import ContextVar
from dataclasses import replace

from ipycachechat.billing.forecast import Forecast
from ipycachechat.billing.records import Ledger, RequestRecord
from ipycachechat.caching import request
from ipycachechat.caching.breakdown import RequestPreview
from ipycachechat.caching.planner import SCRIPT, PauseStats
from ipycachechat.caching.prefix import PromptMessage, TokenCounter
from ipycachechat.conversation.events import Event, Progress
from ipycachechat.conversation.history import History
from ipycachechat.conversation.model_view import ModelView
from ipycachechat.conversation.placement import Placement, past_for, place_turn, replaced
from ipycachechat.conversation.turns import Conversation, Turn, TurnStatus
from ipycachechat.defaults import LOCAL, LOCAL_TOKENS, MOST_TOKENS
from ipycachechat.engine import doctor, keepalive
from ipycachechat.engine.autosave import AutoSaver, ConversationObserver
from ipycachechat.engine.client import LATEST, ModelClient
from ipycachechat.engine.events import RequestStarted, TurnResult
from ipycachechat.engine.keepalive import CacheKeepalive
from ipycachechat.engine.turn_request import TurnRequest, endpoint_for, request_options, validate_request
from ipycachechat.engine.turn_runner import TurnRunner
from ipycachechat.errors import BadInput, ChatError, ConnectionLost
from ipycachechat.providers.endpoint import ModelEndpoint, endpoint, local_endpoint
from ipycachechat.providers.local.servers import Address, LocalServers
from ipycachechat.providers.timeouts import Sleep
from ipycachechat.runtime.interrupts import deferred_interrupts

_ACTIVE_SESSIONS: ContextVar[tuple[ChatSession, ...]] = ContextVar("ipycachechat-inside", default=())
"""The dialogues whose answer is being waited for where this is looked up: in a tool, those that have called it."""
OFFLINE_ADDRESS = Address("", "", "", 2 * LOCAL_TOKENS)
PLACEHOLDER = "."
"""The smallest prompt: a request has to end with one."""


class ChatSession:
    """Every `send` adds a turn to the conversation, or leaves it as it was; one after the other."""

    def __init__(
        self,
        conversation: Conversation = Conversation(),
        *,
        engine: ModelClient | None = None,
        servers: LocalServers | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Sleep = asyncio.sleep,
        count: TokenCounter | None = None,
        pace: PauseStats = SCRIPT,
    ) -> None:
        self.observer: ConversationObserver | None = None
        """Who writes down every change, if somebody does."""
        self._changing = threading.RLock()
        self._history = History.of(conversation)
        self.client = engine or ModelClient(clock=clock, count=count, pace=pace)
        self.results: deque[TurnResult] = deque(maxlen=LATEST)
        """The latest answers, with what was expected of its requests and what they were billed, in order."""
        self.failed: ChatError | None = None
        """What went wrong with the last prompt, if anything did."""
        self.totals = Ledger()
        """This conversation's requests added up, those that failed or were undone included."""
        self.keepalive: CacheKeepalive | None = None
        """What keeps the cache warm, or last did."""
        self._servers = servers or LocalServers()
        self._sleep = sleep
        self._lock: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None

    @property
    def history(self) -> History:
        """All versions of the conversation."""
        return self._history

    @history.setter
    def history(self, history: History) -> None:
        self.change(lambda _: history)

    def change(self, make: Callable[[History], History]) -> bool:
        """Make another history of the one that there is, and have it written down; False if it is the same.

        Cells, tools and answers come by several threads: none may change what another has not seen.
        """
        with deferred_interrupts(), self._changing:
            new = make(self._history)
            moved = new is not self._history
            self._history = new
            if moved and self.observer is not None:
                self.observer.changed(new)
        return moved

    @property
    def ledger(self) -> Ledger:
        """All requests of this kernel added up."""
        return self.client.ledger

    def fork(self) -> ChatSession:
        """Another dialogue that goes on from here by itself; what the cache holds is known to both."""
        return ChatSession(self.history.current, engine=self.client, servers=self._servers, sleep=self._sleep)

    def sending(self, ask: TurnRequest) -> RequestStarted:
        """What a prompt would send, before the model has been looked up."""
        return RequestStarted(ask.model, request.estimate_prompt(self._said(ask)), self._turns(ask))

    async def send(self, ask: TurnRequest, tell: Callable[[Event], None]) -> TurnResult:
        """Ask and keep the answer; what happens meanwhile is told, the last event being the `Done` returned.

        Cancelling keeps what has arrived as an interrupted turn; so does a connection that drops.
        """
        if self in _ACTIVE_SESSIONS.get():
            raise BadInput(
                "A tool cannot ask the chat that has called it", "Ask a fork of it: chat.fork()(…)"
            )
        inside = _ACTIVE_SESSIONS.set((*_ACTIVE_SESSIONS.get(), self))
        try:
            async with self._one_at_a_time():
                return await self._send(self._placed(ask), tell)
        finally:
            _ACTIVE_SESSIONS.reset(inside)

    async def _send(self, ask: TurnRequest, tell: Callable[[Event], None]) -> TurnResult:
        if ask.placement.cell is not None:  # which runs, so that it is there
            self.attach({ask.placement.cell.id})
        rounds: TurnRunner | None = None
        error: ChatError | None = None
        fault: BaseException | None = None
        partial = AutoSaver(self.observer, ask.placement, tell)
        try:
            to = await self._target(ask, tell)
            validate_request(ask, to)
            rounds = TurnRunner(self.client, to, self._past(ask), ask, partial.on_event, self._sleep)
            partial.of(rounds)
            await rounds.run()
        except ChatError as failure:
            error = failure
        except BaseException as failure:
            # Cancelled, or a mistake of ours: what was paid and came is kept all the same.
            fault = failure
        partial.end()
        done = self._finish(ask, rounds, error, fault)
        self.failed = rounds.stopped if rounds and isinstance(fault, asyncio.CancelledError) else error
        if done.turn:
            # Litellm's object is ten times as large as all else: that of the last answer is kept.
            if self.results:
                self.results[-1] = replace(self.results[-1], response=None)
            self.results.append(done)
        tell(done)
        if fault is not None:
            raise fault
        return done

    def _one_at_a_time(self) -> asyncio.Lock:
        """Two prompts at once would both follow the same past. A lock belongs to one event loop."""
        loop = asyncio.get_running_loop()
        if self._lock is None or self._lock[0] is not loop:
            self._lock = loop, asyncio.Lock()
        return self._lock[1]

    def answer(self, number: int = 0) -> TurnResult | None:
        """What was told of a turn's answer (from 1; 0: of the last one given)."""
        if not number:
            return self.results[-1] if self.results else None
        turn = self.history.current.turns[number - 1]
        known = (done for done in reversed(self.results) if done.turn and done.turn.replies is turn.replies)
        return next(known, None)

    def _past(self, ask: TurnRequest) -> Conversation:
        """What the prompt follows."""
        return past_for(self.history.current, self._placed(ask).placement)

    def _placed(self, ask: TurnRequest) -> TurnRequest:
        """The prompt with the place of its turn: a question that waits for its answer stands there already."""
        if not ask.answers_pending_prompt:
            return ask
        return replace(
            ask, answers_pending_prompt=False, placement=Placement(replaces=self.history.current.turns[-1])
        )

    def _said(self, ask: TurnRequest, shown: ModelView = ModelView()) -> list[PromptMessage]:
        past = self._past(ask)
        return request.prompt_messages(
            past, Turn(ask.prompt, (), cell=ask.placement.cell, cell_runs=ask.cell_runs), shown, ask.system
        )

    def _turns(self, ask: TurnRequest) -> int:
        return len(self._past(ask).turns)

    async def plan(self, ask: TurnRequest, tell: Callable[[Event], None]) -> Forecast:
        """What the prompt would read, write and cost; an empty one stands for the next, whatever it is."""
        to = await self._target(ask, tell)
        past = self._past(ask)
        to = endpoint_for(to, ask, past)
        along = request_options(ask, past, to)
        return self.client.forecast(to, self._said(ask, to.view), along, ask.ttl, cache=ask.cache)

    async def contents(self, ask: TurnRequest, tell: Callable[[Event], None]) -> RequestPreview:
        """What the prompt's request would contain; of an empty one, all that goes before the next."""
        to = await self._target(ask, tell)
        past = self._past(ask)
        to = endpoint_for(to, ask, past)
        said = self._said(ask, to.view)
        said = said if ask.prompt or ask.cell_runs else said[:-1]
        return self.client.preview(to, said, request_options(ask, past, to), ask.ttl)

    async def warm(self, ask: TurnRequest, tell: Callable[[Event], None]) -> RequestRecord:
        """Write the conversation so far to the cache, now. Raises ChatError."""
        to = endpoint_for(await self._target(ask, tell), ask, self.history.current)
        booked = await keepalive.write_cache(
            self.client, to, self._resting(ask, to), request_options(ask, self.history.current, to), ask.ttl
        )
        self.totals = self.totals.add(booked.usage, booked.cost)
        return booked

    def keep_warm(self, ask: TurnRequest, seconds: float) -> CacheKeepalive:
        """What refreshes what is warm shortly before it expires, for so long or as long as it is worth it, once run."""
        to = endpoint(ask.model, MOST_TOKENS, ask.api_base, ask.api_key, self.client.identity)
        self.keepalive = CacheKeepalive(
            self.client,
            to,
            lambda: (self._resting(ask, to), request_options(ask, self.history.current, to)),
            seconds,
            self._sleep,
        )
        return self.keepalive

    async def examination(self, model: str, tell: Callable[[Event], None]) -> tuple[int, int, float | None]:
        """Requests, tokens and dollars (None: unknown) that `examine` would take, at most."""
        return doctor.price(await self._target(TurnRequest("", model), tell))

    async def examine(self, model: str, tell: Callable[[Event], None]) -> list[doctor.Check]:
        """Hold the rules for a model against what it bills; all of it counts in the ledger."""
        self.client.check_open()
        to = await self._target(TurnRequest("", model), tell)
        found: list[doctor.Check] = []
        rules = doctor.probes(to.rules, to.minimum)
        tell(Progress(f"checking: {rules[0].rule}"))
        async for result in doctor.examine(self.client, to, self._sleep):
            found.append(result)
            if len(found) < len(rules):
                tell(Progress(f"{len(found)} of {len(rules)} checked: {rules[len(found)].rule}"))
        return found

    def pin(self, number: int | None) -> None:
        """Keep a checkpoint after a turn (from 1), or, with None, after none; can be undone."""

        def pinned(history: History) -> History:
            now = history.current
            chosen = now.turns[number - 1] if number and number <= len(now.turns) else None
            pins = [number is not None and (turn.pinned or turn is chosen) for turn in now.all_turns]
            pairs = zip(now.all_turns, pins, strict=True)
            placed = tuple(turn if turn.pinned == pin else replace(turn, pinned=pin) for turn, pin in pairs)
            return history.change(replace(now, all_turns=placed))

        self.change(pinned)

    def _resting(self, ask: TurnRequest, to: ModelEndpoint) -> list[PromptMessage]:
        """The conversation with a last message that only stands for the next one."""
        return self._said(replace(ask, prompt=PLACEHOLDER), to.view)

    async def stop(self) -> None:
        """End the local models."""
        await self._servers.stop()

    async def _target(self, ask: TurnRequest, tell: Callable[[Event], None]) -> ModelEndpoint:
        model = ask.model
        if model == LOCAL or model.startswith(f"{LOCAL}:"):
            replies = self.client.cassette
            nobody = replies is not None and replies.strict  # who is not asked need not be there
            address = OFFLINE_ADDRESS if nobody else await self._servers.address(model, tell)
            return local_endpoint(model, address, LOCAL_TOKENS)
        return endpoint(model, MOST_TOKENS, ask.api_base, ask.api_key, self.client.identity)

    def _finish(
        self,
        ask: TurnRequest,
        rounds: TurnRunner | None,
        error: ChatError | None,
        fault: BaseException | None,
    ) -> TurnResult:
        """Add the turn, unless nothing came of it that could be kept."""
        if rounds is None:
            return TurnResult(None, error=error)
        bills = rounds.records
        for one in (booked for booked in (*bills.records, *bills.unreported) if not booked.replayed):
            self.totals = self.totals.add(one.usage, one.cost)
        if fault is not None or isinstance(error, ConnectionLost):
            rounds.interrupted()
        if not rounds.replies:
            if self.observer is not None:
                self.observer.dropped()
            return TurnResult(None, bills.cost, error)
        if error is not None and not isinstance(error, ConnectionLost):  # what the tools did, they did
            error = type(error)(
                error.message, f"{error.hint} The calls before it are kept, marked as interrupted."
            )
        turn = rounds.finished(TurnStatus.INTERRUPTED if error or fault else rounds.ending)
        with self._changing:
            number, old = self._turns(ask) + 1, self.history.current
            self.change(lambda history: history.change(self._with(ask, rounds, turn)))
            last, now = bills.records[-1], self.history.current
        stale = tuple(sorted(later for later in now.stale if later > number))
        return TurnResult(
            turn,
            bills.cost,
            error,
            number,
            bills.expected,
            bills.reason,
            last.cache_is_promised,
            last.warm_until,
            replaced(old, ask.placement) > 0,
            stale,
            self._lost(ask, rounds.endpoint, old) if len(now.turns) > number else 0,
            self._left(old),
            len(bills.records),
            rounds.prefix,
            bills.timing,
            last.request_id,
            notes=(*ask.notes, *redaction_note(rounds.masked)),
            response=rounds.response,
        )

    def _lost(self, ask: TurnRequest, to: ModelEndpoint, old: Conversation) -> int:
        """Tokens that the next prompt would have read behind the `old` conversation, and will not behind this."""

        def read(conversation: Conversation) -> int:
            said = request.prompt_messages(conversation, Turn(PLACEHOLDER, ()), to.view)
            along = request_options(ask, conversation, to)
            return self.client.prepare(to, said, along, ask.ttl).plan.expected.read

        return max(0, read(old) - read(self.history.current))

    def _left(self, old: Conversation) -> tuple[Turn, ...]:
        """Turns that have been detached since the last answer before this one."""
        since = max((turn.asked_at for turn in old.all_turns), default=0.0)
        return tuple(
            t for t in self.history.current.all_turns if t.detached is not None and t.detached > since
        )

    def _with(self, ask: TurnRequest, rounds: TurnRunner, turn: Turn) -> Conversation:
        """The conversation with a turn added; results of tools in its past may have been shortened on the way."""
        now = self.history.current
        placed = now.all_turns
        pairs = zip(rounds.original_past.turns, rounds.past.turns, strict=True)
        if shorter := {id(long): short for long, short in pairs if long is not short}:
            placed = tuple(shorter.get(id(one), one) for one in placed)
        return place_turn(replace(now, all_turns=placed, tools=rounds.definitions), turn, ask.placement)

    def undo(self) -> bool:
        """Back to the version before the last change; False where there is none."""
        return self.change(History.undo)

    def redo(self) -> bool:
        """Forward to the version that was undone last; False where there is none."""
        return self.change(History.redo)

    def detach(self, cells: Collection[str], now: float) -> None:
        """Leave the turns of these cells out of every request, on all branches; they keep their places."""
        self.change(lambda history: history.mark_deleted(cells, now))

    def attach(self, cells: Collection[str]) -> None:
        """Have the turns of these cells back."""
        self.change(lambda history: history.mark_restored(cells))

    def reset(self) -> None:
        """No turns, the same system prompt; can be undone."""
        self.change(lambda history: history.change(replace(history.current, all_turns=())))

    def set_system(self, text: str) -> None:
        """Another system prompt from now on; can be undone."""
        self.change(lambda history: history.change(replace(history.current, system=text)))


def redaction_note(masked: Sequence[str]) -> tuple[str, ...]:
    """What is to be said of secrets that were not sent."""
    if not masked:
        return ()
    from ipycachechat.text.redaction import describe_redactions  # whose patterns take a moment to make

    return (describe_redactions(masked),)
