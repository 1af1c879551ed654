"""Keep a conversation's prefix in the cache while nobody asks, as long as that is cheaper than to write it again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from ipycachechat.billing.records import RequestRecord
from ipycachechat.caching.keepalive import best_keepalive
from ipycachechat.caching.planner import PlannedRequest
from ipycachechat.caching.prefix import PromptMessage, RequestOptions
from ipycachechat.defaults import THINK
from ipycachechat.engine.client import ModelClient
from ipycachechat.errors import BadInput, ChatError, EmptyAnswer
from ipycachechat.providers.endpoint import ModelEndpoint
from ipycachechat.providers.timeouts import Sleep

MARGIN = 30.0
"""Seconds before the end of a lifetime at which it is renewed."""
SHARE = 0.2
"""Of a lifetime that is so short that the margin would be most of it."""

AGAIN = 5.0
"""Seconds until the next look, while a question is being answered."""


async def write_cache(
    engine: ModelClient,
    to: ModelEndpoint,
    said: Sequence[PromptMessage],
    settings: RequestOptions,
    ttl: int | None,
) -> RequestRecord:
    """Write the prefix now, all but the last message; ask for no answer. Raises BadInput where that cannot be."""
    check(to, settings)
    prepared = engine.prepare(to, said, settings, ttl, keep=True)
    if not prepared.plan.expected.read and not prepared.plan.expected.written:
        raise BadInput(
            f"There are not the {to.minimum:,} tokens yet that {to.model} needs to cache anything",
            "Ask something first, or give it a longer system prompt (%chat system).",
        )
    return await send(engine, to, prepared)


async def send(engine: ModelClient, to: ModelEndpoint, prepared: PlannedRequest) -> RequestRecord:
    """Send a request that asks for no answer, or the shortest, and book it."""
    exchange = engine.exchange(to, prepared, to.rules.keepalive_max_tokens)
    try:
        with suppress(EmptyAnswer):
            await exchange.run(lambda _: None)
    finally:  # booked also if it was refused, or it would stay on its way for ever
        booked = engine.record(prepared, exchange, keep=True)
    return booked


def check(to: ModelEndpoint, settings: RequestOptions = RequestOptions()) -> None:
    """Raises BadInput if the provider has no request that only reads and writes the cache."""
    if any(name == THINK for name, _ in settings.options):
        raise BadInput(
            "A chat that thinks cannot be kept warm: no request may think and give no answer",
            "Leave think out; the lifetime can be an hour all the same (ttl).",
        )
    if to.rules.keepalive_max_tokens is None:
        raise BadInput(
            f"{to.model} has no request that only keeps its cache warm",
            "Only Claude is known to have one; nothing was sent.",
        )


class CacheKeepalive:
    """Refreshes the prefix shortly before it expires; ends by itself, and says why."""

    def __init__(
        self,
        engine: ModelClient,
        to: ModelEndpoint,
        said: Callable[[], tuple[Sequence[PromptMessage], RequestOptions]],
        seconds: float,
        sleep: Sleep,
    ) -> None:
        """`said`: the conversation as it is then, with a last message that is not cached, and what goes along."""
        check(to, said()[1])
        self.until = engine.clock() + seconds
        self.refreshed = 0
        self.ended = ""
        """Why it has ended; "" while it goes on."""
        self._engine, self._to, self._said, self._sleep = engine, to, said, sleep

    async def run(self) -> None:
        """Until there is a reason to end."""
        try:
            self.ended = await self._keep()
        except ChatError as error:
            self.ended = error.message
        except asyncio.CancelledError:
            self.ended = "stopped"
            raise

    async def _keep(self) -> str:
        engine, to = self._engine, self._to
        requests, paid = engine.user_requests, 0.0
        here = (engine.latest, to.cache_scope)
        while True:
            while engine.busy and engine.clock() < self.until:  # what is being asked refreshes what it reads
                await self._sleep(AGAIN)
            if engine.user_requests != requests:  # the person is there: what was paid has served its end
                requests, paid = engine.user_requests, 0.0
            if engine.latest not in here:
                return "another model has been asked since"
            said, settings = self._said()
            prepared = engine.prepare(to, said, settings, keep=True)
            memory = engine.tracker(to)
            next_one = best_keepalive(prepared.chain, memory.state, to.rules, prepared.at, paid)
            if next_one is None:
                return "to write it again is cheaper by now" if paid else "nothing is warm that is worth it"
            ttl = memory.plan_keepalive(prepared, next_one.at).plan.checkpoints[0].ttl
            due = next_one.expires - min(MARGIN, SHARE * ttl)
            if due > self.until:
                return "the time is over" if self.refreshed else "it stays warm for so long by itself"
            if due > prepared.at:
                await self._sleep(due - prepared.at)
                continue
            booked = await send(engine, to, memory.plan_keepalive(prepared, next_one.at))
            self.refreshed += 1
            paid += next_one.cost
            if not booked.usage.read:
                return "the provider had not kept it"
