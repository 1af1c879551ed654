"""A conversation with a model: one send, from prompt to finished turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from ipycachechat import doctor, warm
from ipycachechat.core import request
from ipycachechat.core.conversation import Cell, Conversation, History, Message, State, Turn
from ipycachechat.core.defaults import LOCAL, LOCAL_TOKENS, MOST_TOKENS, REWRITE
from ipycachechat.core.errors import ChatError, Dropped
from ipycachechat.core.events import Done, Event, Progress, Sending, Text
from ipycachechat.core.forecast import Forecast
from ipycachechat.core.plan import SCRIPT, Pace, Prepared
from ipycachechat.core.prefix import Count, Said
from ipycachechat.core.usage import Ledger
from ipycachechat.engine import Booked, Engine
from ipycachechat.model.local import LocalServers
from ipycachechat.model.provider import Exchange, Target, local_target, target
from ipycachechat.warm import KeepWarm, Sleep

PLACEHOLDER = "."
"""The smallest prompt: a request has to end with one."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A prompt and what holds for it."""

    prompt: str
    model: str
    cell: Cell | None = None
    system: str | None = None
    """For this turn alone, in place of the conversation's."""
    max_tokens: int = 0
    """0: the model's own limit."""
    ttl: int | None = None
    """Seconds that the cache is to live; None: whichever is cheaper."""


class AsyncChat:
    """A conversation with a model: every `send` adds a turn, or leaves the conversation as it was."""

    def __init__(
        self,
        system: str = "",
        *,
        clock: Callable[[], float] = time.time,
        sleep: Sleep = asyncio.sleep,
        count: Count | None = None,
        pace: Pace = SCRIPT,
    ) -> None:
        self.history = History((Conversation(system),))
        self.engine = Engine(clock=clock, count=count, pace=pace)
        self.answered: list[Done] = []
        """Every answer, with what was expected of its request and what it was billed, in order."""
        self.kept: KeepWarm | None = None
        """What keeps the cache warm, or last did."""
        self._servers = LocalServers()
        self._sleep = sleep

    @property
    def ledger(self) -> Ledger:
        """All requests of this kernel added up."""
        return self.engine.ledger

    def sending(self, ask: Ask) -> Sending:
        """What a prompt would send, before the model has been looked up."""
        return Sending(ask.model, request.estimate(self._said(ask)), self._turns(ask))

    async def send(self, ask: Ask, tell: Callable[[Event], None]) -> Done:
        """Ask and keep the answer; what happens meanwhile is told, the last event being the `Done` returned.

        Cancelling keeps what has arrived as an interrupted turn; so does a connection that drops.
        """
        exchange: Exchange | None = None
        prepared: Prepared | None = None
        error: ChatError | None = None
        cancelled = False
        try:
            to = await self._target(ask.model, tell)
            prepared = self.engine.prepare(to, self._said(ask), ttl=ask.ttl)
            tell(self._foreseen(ask, to, prepared))
            exchange = self.engine.exchange(to, prepared, ask.max_tokens or to.most_tokens)
            await exchange.run(lambda text: tell(Text(text)))
        except asyncio.CancelledError:
            cancelled = True
        except ChatError as failure:
            error = failure
        done = self._finish(ask, exchange, prepared, error, cancelled)
        if done.turn:
            self.answered.append(done)
        tell(done)
        if cancelled:
            raise asyncio.CancelledError
        return done

    def answer(self, number: int = 0) -> Done | None:
        """What was told of a turn's answer (from 1; 0: of the last one given)."""
        if not number:
            return self.answered[-1] if self.answered else None
        turn = self.history.now.turns[number - 1]
        known = (done for done in reversed(self.answered) if done.turn and done.turn.replies is turn.replies)
        return next(known, None)

    def _said(self, ask: Ask) -> list[Said]:
        past = self.history.now.before(ask.cell)
        return request.said(past, ask.prompt, ask.system, ask.cell.id if ask.cell else "")

    def _turns(self, ask: Ask) -> int:
        return len(self.history.now.before(ask.cell).turns)

    def _foreseen(self, ask: Ask, to: Target, prepared: Prepared) -> Sending:
        """What is expected, and a warning if it means to pay for much once more."""
        expected = prepared.plan.expected
        reason = self.engine.foresee(to, prepared)
        much = reason is not None and (reason.tokens or 0) > REWRITE
        warning = reason.told("are paid") if reason and much else ""
        return Sending(ask.model, max(1, expected.input), self._turns(ask), expected, warning)

    async def plan(self, ask: Ask, tell: Callable[[Event], None]) -> Forecast:
        """What the prompt would read, write and cost; "" stands for the next one, whatever it is."""
        to = await self._target(ask.model, tell)
        return self.engine.forecast(to, self._said(ask), ttl=ask.ttl)

    async def warm(self, ask: Ask, tell: Callable[[Event], None]) -> Booked:
        """Write the conversation so far to the cache, now. Raises ChatError."""
        to = await self._target(ask.model, tell)
        return await warm.write(self.engine, to, self._resting(ask), ask.ttl)

    async def keep_warm(self, ask: Ask, seconds: float) -> None:
        """Refresh what is warm shortly before it expires, for so long or as long as it is worth it."""
        self.kept = KeepWarm(
            self.engine, target(ask.model, MOST_TOKENS), lambda: self._resting(ask), seconds, self._sleep
        )
        await self.kept.run()

    async def examination(self, model: str, tell: Callable[[Event], None]) -> tuple[int, int, float | None]:
        """Requests, tokens and dollars (None: unknown) that `examine` would take, at most."""
        return doctor.price(await self._target(model, tell))

    async def examine(self, model: str, tell: Callable[[Event], None]) -> list[doctor.Check]:
        """Hold the rules for a model against what it bills; all of it counts in the ledger."""
        to = await self._target(model, tell)
        found: list[doctor.Check] = []
        rules = doctor.probes(to.rules, to.minimum)
        tell(Progress(f"checking: {rules[0].rule}"))
        async for check in doctor.examine(to, self._sleep):
            self.engine.ledger = self.engine.ledger.add(check.usage, check.bill)
            found.append(check)
            if len(found) < len(rules):
                tell(Progress(f"{len(found)} of {len(rules)} checked: {rules[len(found)].rule}"))
        return found

    def pin(self, number: int | None) -> None:
        """Keep a checkpoint after a turn (from 1), or, with None, after none; can be undone."""
        now = self.history.now
        turns = [
            replace(turn, pinned=number is not None and (turn.pinned or n == number))
            for n, turn in enumerate(now.turns, 1)
        ]
        self.history = self.history.change(replace(now, turns=tuple(turns)))

    def _resting(self, ask: Ask) -> list[Said]:
        """The conversation with a last message that only stands for the next one."""
        return self._said(replace(ask, prompt=PLACEHOLDER))

    async def stop(self) -> None:
        """End the local models."""
        await self._servers.stop()

    async def _target(self, model: str, tell: Callable[[Event], None]) -> Target:
        if model == LOCAL or model.startswith(f"{LOCAL}:"):
            return local_target(model, await self._servers.address(model, tell), LOCAL_TOKENS)
        return target(model, MOST_TOKENS)

    def _finish(
        self,
        ask: Ask,
        exchange: Exchange | None,
        prepared: Prepared | None,
        error: ChatError | None,
        cancelled: bool,
    ) -> Done:
        """Book the request, learn from its bill, and add its turn unless nothing came."""
        if exchange is None or prepared is None:
            return Done(None, error=error)
        booked = self.engine.book(prepared, exchange)
        broken = cancelled or isinstance(error, Dropped)
        if not exchange.text.strip() or (error and not broken):
            return Done(None, booked.bill, error)
        state = (
            State.INTERRUPTED if broken else State.CUT_OFF if exchange.finish == "length" else State.COMPLETE
        )
        reply = Message("assistant", exchange.text)
        turn = Turn(ask.prompt, (reply,), ask.model, booked.usage, state, ask.cell, ask.system)
        number = self._turns(ask) + 1
        self.history = self.history.change(self.history.now.add(turn))
        stale = sum(later.stale for later in self.history.now.turns[number:])
        return Done(
            turn,
            booked.bill,
            error,
            number,
            prepared.plan.expected,
            booked.reason,
            booked.promised,
            booked.warm_until,
            stale,
        )

    def undo(self) -> bool:
        """Back to the version before the last change; False where there is none."""
        before = self.history
        self.history = before.undo()
        return self.history is not before

    def reset(self) -> None:
        """No turns, the same system prompt; can be undone."""
        self.history = self.history.change(replace(self.history.now, turns=()))

    def set_system(self, text: str) -> None:
        """Another system prompt from now on; can be undone."""
        self.history = self.history.change(replace(self.history.now, system=text))
