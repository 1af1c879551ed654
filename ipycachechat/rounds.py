"""One turn: ask, call the tools that the model asks for, ask again, until it answers."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from operator import add
from typing import TYPE_CHECKING, Any

from ipycachechat.core import request, shorten
from ipycachechat.core.cache import Outcome
from ipycachechat.core.conversation import Content, Conversation, Message, State, ToolCall, Turn, pasts
from ipycachechat.core.defaults import MOST_STEPS, REWRITE, THINK
from ipycachechat.core.errors import (
    BadInput,
    ChatError,
    ContextTooLong,
    Dropped,
    EmptyAnswer,
    ModelError,
    TooLate,
)
from ipycachechat.core.events import Broken, Called, Do, Event, Pausing, Piece, Returned, Sending
from ipycachechat.core.forecast import Row, condensed, rows
from ipycachechat.core.limits import LIMITS, Limits
from ipycachechat.core.placing import END, Place
from ipycachechat.core.plan import Prepared
from ipycachechat.core.prefix import Said, Settings
from ipycachechat.core.reason import Reason
from ipycachechat.core.usage import NOTHING_REPORTED, Cost, Timing, Usage
from ipycachechat.engine import Booked, Engine
from ipycachechat.model import tools as toolbox
from ipycachechat.model.provider import Exchange, Target
from ipycachechat.model.retrying import retrying
from ipycachechat.model.served import Served
from ipycachechat.model.tools import Failed, Tools
from ipycachechat.permission import opened
from ipycachechat.replies import key
from ipycachechat.warm import Sleep

if TYPE_CHECKING:
    from ipycachechat.core.masking import Mask
    from ipycachechat.core.watched import Watched
    from ipycachechat.model.response import Response

NO_MORE = "[No more tools can be called in this turn: answer with what is known by now.]"
REFUSED = "The person did not allow this call."


@dataclass(frozen=True, slots=True)
class Ask:
    """A prompt and what holds for it."""

    prompt: Content
    model: str
    place: Place = END
    system: str | None = None
    """For this turn alone, in place of the conversation's."""
    max_tokens: int = 0
    """0: the model's own limit."""
    ttl: int | None = None
    """Seconds that the cache is to live; None: whichever is cheaper."""
    cache: bool = True
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What else is sent, by litellm's names."""
    tools: Tools = Tools()
    max_steps: int = MOST_STEPS
    """Rounds of calls, before the model is told to answer."""
    elsewhere: Callable[[Callable[[], Any]], Awaitable[Any]] | None = None
    """Runs an async tool on the event loop of whoever asked, as `tools.awaited` does on this one."""
    allow: Callable[[ToolCall], bool] | None = None
    """Asked before each call, on the thread of whoever asked."""
    person: Callable[[str], bool] | None = None
    """Says yes or no to a question, on the thread of whoever asked; None: nobody is there."""
    confirm: bool = False
    """Whether that one is asked about what is over a budget."""
    confirm_over: float = 0.0
    """Dollars that the prompt can cost over which that one is asked; 0: never."""
    watched: tuple[Watched, ...] = ()
    """Cells that ran, of which is told in front of the prompt."""
    mask: Mask | None = None
    """Takes what is secret out of what tools return."""
    masked: tuple[str, ...] = ()
    """Labels of what was taken out of the prompt."""
    notes: tuple[str, ...] = ()
    """What is to be said of the prompt under the answer."""
    waits: bool = False
    """Whether the prompt stands in the conversation already, at its end, and waits for an answer."""
    limits: Limits = LIMITS
    again: bool = True
    """Whether an answer that broke off is asked for again: not where each piece is handed on for good."""
    branch: bool = False
    """Whether the prompt is one of several that follow the same past: only that is cached."""
    api_base: str = ""
    api_key: str = field(default="", repr=False)


def settings(ask: Ask, past: Conversation, to: Target) -> Settings:
    """What is sent beside the messages."""
    return request.settings(to.rules, [request.loads(one) for one in definitions(ask, past)], ask.options)


def definitions(ask: Ask, past: Conversation) -> tuple[str, ...]:
    """The tools to send: today's, and those of a past with calls, without which it could be neither sent nor read."""
    calls = [call for turn in past.turns for message in turn.replies for call in message.calls]
    if not calls:
        return ask.tools.definitions
    now = dict(zip(ask.tools.names, ask.tools.definitions, strict=True))
    before = {toolbox.name_of(one): one for one in past.tools}
    sent = {name: now.get(name, one) for name, one in before.items()} | now
    return tuple(sent.values()) or toolbox.stand_ins(calls)


def aimed(to: Target, ask: Ask, past: Conversation) -> Target:
    """The target as this prompt reaches it.

    Litellm asks OpenAI's newer models at another address if there are tools and they are to think of them: another
    cache, and the only place that takes their thoughts back.
    """
    if to.rules.signer != "openai":
        return to
    if ask.options.get(THINK) and definitions(ask, past):
        return replace(to, scope=(*to.scope, "responses"))
    return replace(to, eyes=replace(to.eyes, signer=""))


class Rounds:
    """The requests of one turn and what has come of them so far."""

    def __init__(
        self,
        engine: Engine,
        to: Target,
        past: Conversation,
        ask: Ask,
        tell: Callable[[Event], None],
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """`sleep`: what passes the time between two tries."""
        self.replies: list[Message] = []
        self.booked: list[Booked] = []
        self.definitions = definitions(ask, past)
        self.masked = [*ask.masked]
        """Labels of what was secret, and was not sent."""
        self.exchange: Exchange | None = None
        """The request under way, or the one that did not come to its end."""
        self.past = self.given = past
        """What came before; the past may have had the results of tools shortened since it was given."""
        self.at = engine.clock()
        self.to = aimed(to, ask, past)
        self._engine, self._ask, self._tell, self._sleep = engine, ask, tell, sleep
        self._prepared: Prepared | None = None
        self._calling: tuple[Message, list[Message | None]] | None = None
        """The answer whose tools are being called, and their results so far."""
        self._told_begun = self._opened = False
        self._last: Exchange | Served | None = None

    async def run(self) -> None:
        """Until the model has answered. Raises ChatError; whatever has come so far is in `replies`."""
        steps = 0
        while True:
            reply = await self._answer(closing=steps > self._ask.max_steps)
            if not reply.calls:
                self.replies.append(reply)
                return
            steps += 1
            results = await self._results(
                reply, last=steps >= self._ask.max_steps, over=steps > self._ask.max_steps
            )
            self.replies += [reply, *results]

    def interrupted(self) -> None:
        """Keep what there is of an answer that did not come to its end."""
        self.replies, self._calling = self._so_far, None

    @property
    def _so_far(self) -> list[Message]:
        """The replies, with what there is of the last one; a call without a result is none."""
        if self._calling is not None:
            reply, results = self._calling
            done = [(call, one) for call, one in zip(reply.calls, results, strict=True) if one is not None]
            if done or reply.text.strip():
                kept = replace(reply, calls=tuple(call for call, _ in done))
                return [*self.replies, kept, *(result for _, result in done)]
        elif self.exchange is not None and self.exchange.text.strip():
            return [*self.replies, Message("assistant", self.exchange.text)]
        return self.replies

    @property
    def turn(self) -> Turn:
        """As far as it has come, with no answer that is under way."""
        return Turn(
            self._ask.prompt, tuple(self.replies), cell=self._ask.place.cell, watched=self._ask.watched
        )

    def finished(self, state: State) -> Turn:
        """The turn as it stays."""
        replayed = all(one.replayed for one in self.booked)
        return replace(self._known, usage=self.usage, cost=self.bill, state=state, replayed=replayed)

    @property
    def partial(self) -> Turn | None:
        """The turn as it would stay if it ended now; None while nothing has come."""
        replies = tuple(self._so_far)
        return replace(self._known, replies=replies, state=State.INTERRUPTED) if replies else None

    @property
    def _known(self) -> Turn:
        *_, past = pasts(self.past.turns)
        return replace(self.turn, model=self._ask.model, system=self._ask.system, at=self.at, past=past)

    @property
    def ending(self) -> State:
        """Of a turn that came to its end."""
        cut_off = self._last is not None and self._last.finish == "length"
        return State.CUT_OFF if cut_off else State.COMPLETE

    @property
    def response(self) -> Response | None:
        """The last answer as litellm has it, as far as it came."""
        last = self.exchange or self._last
        return last.response if last else None

    @property
    def usage(self) -> Usage:
        """Of all its requests."""
        return reduce(add, (one.usage for one in self.booked)) if self.booked else Usage()

    @property
    def bill(self) -> Cost:
        """Of all its requests."""
        return reduce(add, (one.bill for one in self.booked)) if self.booked else Cost()

    @property
    def expected(self) -> Outcome | None:
        """What all its requests should have been billed."""
        return reduce(add, (one.expected for one in self.booked)) if self.booked else None

    @property
    def timing(self) -> Timing | None:
        """Of all its requests that were answered."""
        told = [one.timing for one in self.booked if one.timing]
        return reduce(add, told) if told else None

    @property
    def prefix(self) -> tuple[Row, ...]:
        """That of the last request, and what of it is warm now, in a few rows."""
        if self._prepared is None:
            return ()
        return condensed(rows(self._prepared, self._engine.memory(self.to).state))

    @property
    def reason(self) -> Reason | None:
        """Why less was read than could have been: that of the request in which it cost most."""
        told = [one.reason for one in self.booked if one.reason]
        return max(told, key=lambda reason: reason.tokens or 0, default=None)

    async def _answer(self, *, closing: bool) -> Message:
        """One request; if it is too long, once more with shorter results of tools."""
        while True:
            try:
                reply = await self._send(closing=closing)
            except ContextTooLong as error:
                if not self._shorten():
                    raise self._too_long(error) from None
                continue
            if closing and reply.calls:  # told not to, and to do so all the same
                reply = replace(reply, calls=())
                if not reply.text.strip():
                    raise EmptyAnswer(
                        f"{self._ask.model} asks for tools and gives no answer, after {self._ask.max_steps} rounds",
                        "Allow it more (max_steps), or ask for less at a time.",
                    )
            return reply

    def _shorten(self) -> bool:
        """Cut the results of tools, this turn's first; False if none is long."""
        if shorter := shorten.shortened(self.replies):
            self.replies = shorter
        elif turns := shorten.shortened_turns(self.past.turns):
            self.past = replace(self.past, placed=turns)
        else:
            return False
        return True

    async def _send(self, *, closing: bool) -> Message:
        to, replies = self.to, self._engine.replies
        prepared = self._prepare(closing=closing)
        if replies is None:
            return await self._whole(closing=closing)
        name = key(to.model, prepared.chain, self._ask.max_tokens)
        async with replies.answering(name):
            if known := replies.find(name):
                return await self._served(Served(to, *known), prepared)
            reply = await self._whole(closing=closing)
            if self._last is not None:
                replies.add(name, to.model, prepared.chain, self._last.message, self._last.finish)
            return reply

    def _prepare(self, *, closing: bool) -> Prepared:
        """Plan the request, and tell what is expected of it."""
        ask, to = self._ask, self.to
        branch = ask.branch and not self.replies
        # At the very end of a loop: calls are forbidden, at the price of what that changes in the cache.
        changed = {"tool_choice": "none"} if closing and self.definitions else {}
        options = settings(replace(ask, options={**ask.options, **changed}), self.past, to)
        prepared = self._engine.prepare(to, self.said, options, ask.ttl, keep=branch, cache=ask.cache)
        self._prepared, self._told_begun = prepared, False
        self._tell(self._foreseen(prepared))
        return prepared

    async def _whole(self, *, closing: bool) -> Message:
        """The reply; of one that breaks off, what had come is folded up, and it is asked for once more."""
        try:
            return await self._tried(closing=closing)
        except Dropped as error:
            broken, ask = self.exchange, self._ask
            if broken is None or not (broken.text.strip() and ask.again and ask.limits.retries):
                raise
            if isinstance(error, TooLate):
                raise
            self._tell(Broken(broken.text))
            self._prepared = None
            try:
                return await self._tried(closing=closing)
            except ChatError as second:
                failed = Dropped(error.what, f"Asked again, which failed: {second.what}. {error.todo}")
                failed.words = "; then: ".join(filter(None, (error.words, getattr(second, "words", ""))))
                raise failed from None
            finally:
                if self.exchange is not None and not self.exchange.text.strip():
                    self.exchange = broken

    async def _tried(self, *, closing: bool) -> Message:
        """The reply of the model, asked several times if it fails in a way that may pass."""
        limits, tries = self._ask.limits, 0

        def pausing(error: ModelError, seconds: float, tries: int) -> None:
            self._prepared = None
            self._tell(Pausing(error.what, seconds, tries, limits.retries + 1))

        async def once() -> Message:
            nonlocal tries
            tries += 1
            return await self._exchanged(self._prepared or self._prepare(closing=closing))

        try:
            reply: Message = await retrying(limits, self._sleep, pausing)(once)
            return reply
        except ModelError as error:
            error.tries = tries
            raise

    async def _exchanged(self, prepared: Prepared) -> Message:
        """The reply of the model."""
        to, engine = self.to, self._engine
        exchange = await opened(engine, to, prepared, self._ask, self._here, first=not self._opened)
        self._opened = True
        self.exchange = exchange
        try:
            await exchange.run(self._arrived)
        finally:
            booked = engine.book(prepared, exchange)
            if exchange.begun or booked.usage != NOTHING_REPORTED:  # else nothing was billed
                self.booked.append(booked)
        self.exchange, self._last = None, exchange
        return self._distinct(exchange.message)

    async def _served(self, served: Served, prepared: Prepared) -> Message:
        """A reply that is at hand."""
        await served.run(self._tell)
        nothing = Outcome(0, 0, 0, 0, exact=True)
        free = Cost(0.0, 0.0)
        booked = Booked(
            self.to.model, prepared.at, nothing, served.usage, free, promised=False, replayed=True
        )
        self.booked.append(booked)
        self._last = served
        return self._distinct(served.message)

    def _distinct(self, reply: Message) -> Message:
        """The reply with ids of calls that nothing before it has: some servers begin anew with each answer."""
        taken = {
            call.id for turn in (*self.past.turns, self.turn) for one in turn.replies for call in one.calls
        }
        calls = []
        for call in reply.calls:
            number, name = 1, call.id or "call"
            while name in taken or (not call.id and number == 1):
                name, number = f"{call.id or 'call'}-{number}", number + 1
            taken.add(name)
            calls.append(replace(call, id=name))
        return replace(reply, calls=tuple(calls))

    @property
    def said(self) -> list[Said]:
        """All that the next request would say."""
        return request.said(self.past, self.turn, self.to.eyes, self._ask.system)

    def _arrived(self, piece: Piece) -> None:
        exchange, prepared = self.exchange, self._prepared
        if not self._told_begun and exchange is not None and prepared is not None and exchange.begun:
            self._told_begun = True
            self._engine.begun(self.to, prepared)
        self._tell(piece)

    def _foreseen(self, prepared: Prepared) -> Sending:
        """What is expected, and a warning if it means to pay for much once more."""
        expected = prepared.plan.expected
        reason = self._engine.foresee(self.to, prepared)
        much = reason is not None and (reason.tokens or 0) > REWRITE
        warning = reason.told("are paid") if reason and much else ""
        return Sending(self._ask.model, max(1, expected.input), len(self.past.turns), expected, warning)

    async def _results(self, reply: Message, *, last: bool, over: bool) -> list[Message]:
        """The results of all calls, in their order: async tools run side by side, the others one by one."""
        works = [await self._work(call, over) for call in reply.calls]
        results: list[Message | None] = [None] * len(works)
        self._calling = reply, results

        def give(number: int, value: Any) -> None:
            call = reply.calls[number]
            content = self._masked(toolbox.told(value))
            if last and number == len(works) - 1:
                content = _with_note(content)
            results[number] = result = Message("tool", content, call_id=call.id)
            self._tell(Returned(call, result))

        async def beside(number: int, work: Callable[[], Any]) -> None:
            give(number, await (self._ask.elsewhere or toolbox.awaited)(work))

        running = []
        try:
            for number, work in enumerate(works):
                if not isinstance(work, Failed) and self._is_async(reply.calls[number]):
                    self._tell(Called(reply.calls[number]))
                    running.append(asyncio.create_task(beside(number, work)))
            for number, work in enumerate(works):
                if isinstance(work, Failed) or not self._is_async(reply.calls[number]):
                    self._tell(Called(reply.calls[number]))
                    give(number, work if isinstance(work, Failed) else await self._here(work))
            await asyncio.gather(*running)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        self._calling = None
        return [result for result in results if result is not None]

    def _masked(self, content: Content) -> Content:
        """Without what is secret."""
        mask = self._ask.mask
        if mask is None:
            return content
        told, found = mask.content(content)
        self.masked += found
        return told

    def _is_async(self, call: ToolCall) -> bool:
        return toolbox.is_async(self._ask.tools.functions.get(call.name))

    async def _work(self, call: ToolCall, over: bool) -> Callable[[], Any] | Failed:
        """What is to be done for a call, unless nothing can be, or the person does not want it done."""
        if over:
            return Failed(NO_MORE)
        try:
            work = toolbox.prepared(call, self._ask.tools)
        except Exception as error:  # of a library that looks at types and schemas
            return toolbox.failed(error)
        allow = self._ask.allow
        if isinstance(work, Failed) or allow is None:
            return work
        answer = await self._here(lambda: allow(call))
        if isinstance(answer, Failed):
            raise BadInput(f"Nobody could be asked about {call.name}: {answer.why}", "Nothing was called.")
        return work if answer is True else Failed(REFUSED)

    async def _here(self, work: Callable[[], Any]) -> Any:
        """What the work gives, or a `Failed`, from the thread of whoever asked."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def give(value: Any) -> None:
            if not future.done():
                future.set_result(value)

        def run() -> None:
            try:
                value = work()
            except (Exception, SystemExit) as error:
                value = toolbox.failed(error)
            loop.call_soon_threadsafe(give, value)

        # In this context, so that a tool is known for one wherever it runs.
        self._tell(Do(partial(copy_context().run, run)))
        value = await future
        if inspect.isawaitable(value):
            return await (self._ask.elsewhere or toolbox.awaited)(lambda: value)
        return value

    def _too_long(self, error: ContextTooLong) -> ContextTooLong:
        """The error with the largest turns named."""
        if self._prepared is None:
            return error
        sizes = [(row.turn, row.tokens) for row in rows(self._prepared, self._engine.memory(self.to).state)]
        largest = shorten.largest(sizes, len(self.past.turns))
        return ContextTooLong(
            error.what,
            f"Largest: {largest}. Take turns away (undo), go on from earlier (fork), or choose a larger model.",
        )


def _with_note(content: Content) -> Content:
    if isinstance(content, str):
        return f"{content}\n\n{NO_MORE}"
    return (*content, NO_MORE)
