"""One send, from prompt to finished turn: the only place where conversation, model and notebook meet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from ipycachechat.core import cache, request
from ipycachechat.core.conversation import Cell, Conversation, History, Message, State, Turn
from ipycachechat.core.defaults import LOCAL, LOCAL_TOKENS, MOST_TOKENS, TTLS
from ipycachechat.core.errors import ChatError, Dropped
from ipycachechat.core.events import Done, Event, Sending, Text
from ipycachechat.core.usage import NOTHING_REPORTED, Ledger, cost
from ipycachechat.model.local import LocalServers
from ipycachechat.model.provider import Exchange, Target, local_target, target


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
    ttl: cache.Ttl = TTLS["auto"]


class AsyncChat:
    """A conversation with a model: every `send` adds a turn, or leaves the conversation as it was."""

    def __init__(self, system: str = "") -> None:
        self.history = History((Conversation(system),))
        self.ledger = Ledger()
        self._servers = LocalServers()

    def sending(self, ask: Ask) -> Sending:
        """What a prompt would send, before anything is sent."""
        past = self.history.now.before(ask.cell)
        sent = request.messages(past, ask.prompt, ask.system)
        return Sending(ask.model, request.estimate(sent), len(past.turns))

    async def send(self, ask: Ask, tell: Callable[[Event], None]) -> Done:
        """Ask and keep the answer; what happens meanwhile is told, the last event being the `Done` returned.

        Cancelling keeps what has arrived as an interrupted turn; so does a connection that drops.
        """
        sent = request.messages(self.history.now.before(ask.cell), ask.prompt, ask.system)
        exchange: Exchange | None = None
        error: ChatError | None = None
        cancelled = False
        try:
            to = await self._target(ask.model, tell)
            tell(self.sending(ask))
            exchange = Exchange(
                to, cache.mark(sent, to.rules, ask.ttl), ask.max_tokens or to.most_tokens, ask.ttl
            )
            await exchange.run(lambda text: tell(Text(text)))
        except asyncio.CancelledError:
            cancelled = True
        except ChatError as failure:
            error = failure
        done = self._finish(ask, exchange, error, cancelled)
        tell(done)
        if cancelled:
            raise asyncio.CancelledError
        return done

    async def stop(self) -> None:
        """End the local models."""
        await self._servers.stop()

    async def _target(self, model: str, tell: Callable[[Event], None]) -> Target:
        if model == LOCAL or model.startswith(f"{LOCAL}:"):
            return local_target(model, await self._servers.address(model, tell), LOCAL_TOKENS)
        return target(model, MOST_TOKENS)

    def _finish(self, ask: Ask, exchange: Exchange | None, error: ChatError | None, cancelled: bool) -> Done:
        """Book the request, and add its turn unless nothing came."""
        if exchange is None:
            return Done(None, error=error)
        used = exchange.usage
        bill = cost(used, exchange.target.price)
        if exchange.text or used != NOTHING_REPORTED:
            self.ledger = self.ledger.add(used, bill)
        broken = cancelled or isinstance(error, Dropped)
        if not exchange.text.strip() or (error and not broken):
            return Done(None, bill, error)
        state = (
            State.INTERRUPTED if broken else State.CUT_OFF if exchange.finish == "length" else State.COMPLETE
        )
        reply = Message("assistant", exchange.text)
        turn = Turn(ask.prompt, (reply,), ask.model, used, state, ask.cell, ask.system)
        self.history = self.history.change(self.history.now.add(turn))
        turns = self.history.now.turns
        number = next(n for n, kept in enumerate(turns, 1) if kept is turn)
        return Done(turn, bill, error, number, sum(later.stale for later in turns[number:]))

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
