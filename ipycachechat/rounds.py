"""One turn: ask, call the tools that the model asks for, ask again, until it answers."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from operator import add
from typing import TYPE_CHECKING, Any

from ipycachechat.core import request, shorten
from ipycachechat.core.cache import Outcome
from ipycachechat.core.conversation import Cell, Content, Conversation, Message, State, ToolCall, Turn
from ipycachechat.core.defaults import MOST_STEPS, REWRITE
from ipycachechat.core.errors import ChatError, ContextTooLong, EmptyAnswer
from ipycachechat.core.events import Called, Do, Event, Piece, Returned, Sending
from ipycachechat.core.forecast import rows
from ipycachechat.core.plan import Prepared
from ipycachechat.core.prefix import Said, Settings
from ipycachechat.core.reason import Reason
from ipycachechat.core.shown import Eyes
from ipycachechat.core.usage import Cost, Usage
from ipycachechat.engine import Booked, Engine
from ipycachechat.model import tools as toolbox
from ipycachechat.model.provider import Exchange, Target
from ipycachechat.model.tools import Failed, Tools

if TYPE_CHECKING:
    from ipycachechat.model.response import Response

NO_MORE = "[No more tools can be called in this turn: answer with what is known by now.]"
REFUSED = "The person did not allow this call."


@dataclass(frozen=True, slots=True)
class Ask:
    """A prompt and what holds for it."""

    prompt: Content
    model: str
    cell: Cell | None = None
    system: str | None = None
    """For this turn alone, in place of the conversation's."""
    max_tokens: int = 0
    """0: the model's own limit."""
    ttl: int | None = None
    """Seconds that the cache is to live; None: whichever is cheaper."""
    cache: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)
    """What else is sent, by litellm's names."""
    tools: Tools = Tools()
    max_steps: int = MOST_STEPS
    """Rounds of calls, before the model is told to answer."""
    allow: Callable[[ToolCall], bool] | None = None
    """Asked before each call, on the thread of whoever asked."""
    waits: bool = False
    """Whether the prompt stands in the conversation already, at its end, and waits for an answer."""
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
    return (*sent.values(), *toolbox.stand_ins(calls, sent))


def eyes(ask: Ask, past: Conversation, to: Target) -> Eyes:
    """What the model is shown of a conversation."""
    # OpenAI's chat completions refuse its own thoughts; litellm asks elsewhere if there are tools to think of.
    if to.eyes.signer == "openai" and not (ask.options.get("reasoning_effort") and definitions(ask, past)):
        return replace(to.eyes, signer="")
    return to.eyes


class Rounds:
    """The requests of one turn and what has come of them so far."""

    def __init__(
        self, engine: Engine, to: Target, past: Conversation, ask: Ask, tell: Callable[[Event], None]
    ) -> None:
        self.replies: list[Message] = []
        self.booked: list[Booked] = []
        self.definitions = definitions(ask, past)
        self.exchange: Exchange | None = None
        """The last request."""
        self._engine, self._to, self._past, self._ask, self._tell = engine, to, past, ask, tell
        self._settings = settings(ask, past, to)
        self._prepared: Prepared | None = None
        self._told_begun = False
        self._last: Exchange | None = None

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
        """Keep what had been said of an answer that did not come to its end; its calls have no results."""
        text = self.exchange.text if self.exchange else ""
        if text.strip():
            self.replies.append(Message("assistant", text))

    @property
    def turn(self) -> Turn:
        """As far as it has come."""
        return Turn(self._ask.prompt, tuple(self.replies), cell=self._ask.cell)

    def finished(self, state: State) -> Turn:
        """The turn as it stays."""
        ask = self._ask
        return replace(self.turn, model=ask.model, usage=self.usage, state=state, system=ask.system)

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
                shorter = shorten.shortened(self.replies)
                if shorter is None:
                    raise self._too_long(error) from None
                self.replies = shorter
                continue
            if closing and reply.calls:  # told not to, and to do so all the same
                reply = replace(reply, calls=())
                if not reply.text.strip():
                    raise EmptyAnswer(
                        f"{self._ask.model} asks for tools and gives no answer, after {self._ask.max_steps} rounds",
                        "Allow it more (max_steps), or ask for less at a time.",
                    )
            return reply

    async def _send(self, *, closing: bool) -> Message:
        ask, to, engine = self._ask, self._to, self._engine
        said = self.said
        branch = ask.branch and not self.replies
        # At the very end of a loop: calls are forbidden, at the price of what that changes in the cache.
        changed = {"tool_choice": "none"} if closing and self.definitions else {}
        options = settings(replace(ask, options={**ask.options, **changed}), self._past, to)
        prepared = engine.prepare(to, said, options, ask.ttl, keep=branch, cache=ask.cache)
        self._prepared, self._told_begun = prepared, False
        self._tell(self._foreseen(prepared))
        exchange = engine.exchange(to, prepared, ask.max_tokens or to.most_tokens)
        self.exchange = exchange
        try:
            await exchange.run(self._arrived)
        finally:
            self.booked.append(engine.book(prepared, exchange))
        self.exchange, self._last = None, exchange
        return exchange.message

    @property
    def said(self) -> list[Said]:
        """All that the next request would say."""
        return request.said(self._past, self.turn, eyes(self._ask, self._past, self._to), self._ask.system)

    def _arrived(self, piece: Piece) -> None:
        exchange, prepared = self.exchange, self._prepared
        if not self._told_begun and exchange is not None and prepared is not None and exchange.begun:
            self._told_begun = True
            self._engine.begun(self._to, prepared)
        self._tell(piece)

    def _foreseen(self, prepared: Prepared) -> Sending:
        """What is expected, and a warning if it means to pay for much once more."""
        expected = prepared.plan.expected
        reason = self._engine.foresee(self._to, prepared)
        much = reason is not None and (reason.tokens or 0) > REWRITE
        warning = reason.told("are paid") if reason and much else ""
        return Sending(self._ask.model, max(1, expected.input), len(self._past.turns), expected, warning)

    async def _results(self, reply: Message, *, last: bool, over: bool) -> list[Message]:
        """The results of all calls, in their order: async tools run side by side, the others one by one."""
        made = [Failed(NO_MORE) if over else toolbox.prepared(call, self._ask.tools) for call in reply.calls]
        if self._ask.allow is not None:
            made = [await self._allowed(call, one) for call, one in zip(reply.calls, made, strict=True)]
        side_by_side = [self._is_async(call, one) for call, one in zip(reply.calls, made, strict=True)]
        running: dict[int, asyncio.Task[Any]] = {}
        values: list[Any] = list(made)
        try:
            for number, (call, work) in enumerate(zip(reply.calls, made, strict=True)):
                if side_by_side[number]:
                    self._tell(Called(call))
                    running[number] = asyncio.create_task(_run(work))
            for number, (call, work) in enumerate(zip(reply.calls, made, strict=True)):
                if not side_by_side[number]:
                    self._tell(Called(call))
                    values[number] = work if isinstance(work, Failed) else await self._here(work)
                    self._tell(Returned(call, _result(call, values[number])))
            for number, task in running.items():
                values[number] = await task
                self._tell(Returned(reply.calls[number], _result(reply.calls[number], values[number])))
        finally:
            for task in running.values():
                task.cancel()
        results = [_result(call, value) for call, value in zip(reply.calls, values, strict=True)]
        if last and not over:
            results[-1] = replace(results[-1], content=_with_note(results[-1].content))
        return results

    def _is_async(self, call: ToolCall, work: Any) -> bool:
        return not isinstance(work, Failed) and toolbox.is_async(self._ask.tools.functions[call.name])

    async def _allowed(self, call: ToolCall, work: Any) -> Any:
        """The work, unless the person does not want it done."""
        allow = self._ask.allow
        if isinstance(work, Failed) or allow is None:
            return work
        answer = await self._here(lambda: allow(call))
        if isinstance(answer, ChatError):
            raise answer
        return work if answer is True else Failed(REFUSED)

    async def _here(self, work: Callable[[], Any]) -> Any:
        """What the work gives, or raises, on the thread of whoever asked."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def give(value: Any) -> None:
            if not future.done():
                future.set_result(value)

        def run() -> None:
            try:
                value = work()
            except (Exception, SystemExit) as error:
                value = error
            loop.call_soon_threadsafe(give, value)

        # In this context, so that a tool is known for one wherever it runs.
        self._tell(Do(partial(copy_context().run, run)))
        value = await future
        return await toolbox.awaited(value) if inspect.isawaitable(value) else value

    def _too_long(self, error: ContextTooLong) -> ContextTooLong:
        """The error with the largest turns named."""
        if self._prepared is None:
            return error
        sizes = [(row.turn, row.tokens) for row in rows(self._prepared, self._engine.memory(self._to).state)]
        largest = shorten.largest(sizes, len(self._past.turns))
        return ContextTooLong(
            error.what,
            f"Largest: {largest}. Take turns away (undo), go on from earlier (fork), or choose a larger model.",
        )


async def _run(work: Any) -> Any:
    """What an async tool gives or raises; arguments that do not fit raise before there is anything to await."""
    try:
        return await work()
    except Exception as error:
        return error


def _result(call: ToolCall, value: Any) -> Message:
    return Message("tool", toolbox.told(value), call_id=call.id)


def _with_note(content: Content) -> Content:
    if isinstance(content, str):
        return f"{content}\n\n{NO_MORE}"
    return (*content, NO_MORE)
