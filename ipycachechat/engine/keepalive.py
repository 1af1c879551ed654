"""Write a conversation's prefix to the cache, or keep it there while that is cheaper than writing it again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from ipycachechat.billing.records import RequestRecord
from ipycachechat.caching.planner import PlannedRequest, best_keepalive
from ipycachechat.defaults import EFFORT_OPTION
from ipycachechat.engine.client import ModelClient
from ipycachechat.engine.preview import NextRequest
from ipycachechat.errors import BadInput, ChatError, EmptyAnswer
from ipycachechat.providers.endpoint import ModelEndpoint
from ipycachechat.providers.timeouts import Sleep

MARGIN = 30.0
"""Seconds before its expiry at which an entry is refreshed."""
MAX_MARGIN = 0.2
"""Largest margin as a share of the lifetime, for short lifetimes."""
WAIT = 5.0
"""Seconds until the next check while a request is in flight."""


async def write_cache(client: ModelClient, request: NextRequest, ttl: int | None) -> RequestRecord:
    """Write everything but the last message to the cache now, without an answer. Raises BadInput where impossible."""
    check(request)
    endpoint = request.endpoint
    planned = client.prepare(endpoint, request.messages, request.options, ttl, keep=True)
    if not planned.expected.read and not planned.expected.written:
        raise BadInput(
            f"{endpoint.model} caches nothing below {endpoint.min_cacheable_tokens:,} tokens",
            "Ask something first, or set a longer system prompt (%chat system).",
        )
    return await send(client, endpoint, planned)


async def send(client: ModelClient, endpoint: ModelEndpoint, planned: PlannedRequest) -> RequestRecord:
    """Send a request for no answer, or the shortest possible one, and record it."""
    exchange = client.exchange(endpoint, planned, endpoint.rules.keepalive_max_tokens)
    try:
        with suppress(EmptyAnswer):
            await exchange.run(lambda _: None)
    finally:  # even if it was refused: else it would count as in flight forever
        record = client.record(planned, exchange, keep=True)
    return record


def check(request: NextRequest) -> None:
    """Raise BadInput if the provider has no request that only reads and writes the cache."""
    if any(name == EFFORT_OPTION for name, _ in request.options.options):
        raise BadInput(
            "The cache of a chat that thinks cannot be kept warm: thinking needs an answer",
            "Leave think out, or use a lifetime of an hour (ttl).",
        )
    if request.endpoint.rules.keepalive_max_tokens is None:
        raise BadInput(
            f"{request.endpoint.model} has no request that only keeps its cache warm",
            "Nothing was sent. Claude is the only model known to have one.",
        )


class CacheKeepalive:
    """Refreshes the prefix shortly before it expires; ends on its own, with a reason."""

    def __init__(
        self, client: ModelClient, next_request: Callable[[], NextRequest], seconds: float, sleep: Sleep
    ) -> None:
        """`next_request`: the conversation at that moment, with a last message that is not cached. Raises BadInput."""
        request = next_request()
        check(request)
        self.until = client.clock() + seconds
        self.refreshed = 0
        self.ended = ""
        """Why it has ended; "" while it runs."""
        self._client, self._next_request, self._sleep = client, next_request, sleep
        self._scope = request.endpoint.cache_scope

    async def run(self) -> None:
        """Refresh the cache until there is a reason to end."""
        try:
            self.ended = await self._run()
        except ChatError as error:
            self.ended = error.message
        except asyncio.CancelledError:
            self.ended = "stopped"
            raise

    async def _run(self) -> str:
        client = self._client
        requests, paid = client.user_requests, 0.0
        scopes = (client.last_scope, self._scope)
        while True:
            while client.busy and client.clock() < self.until:  # a request refreshes what it reads
                await self._sleep(WAIT)
            if client.user_requests != requests:  # the user came back: the keepalives were worth it
                requests, paid = client.user_requests, 0.0
            if client.last_scope not in scopes:
                return "another model was used since"
            endpoint, messages, options = self._next_request()
            planned = client.prepare(endpoint, messages, options, keep=True)
            best = best_keepalive(planned.context, paid)
            if best is None:
                return "writing it again is now cheaper" if paid else "nothing is warm that is worth keeping"
            refresh = client.trackers.get(endpoint).plan_keepalive(planned, best.index)
            due = best.expires - min(MARGIN, MAX_MARGIN * refresh.checkpoints[0].ttl)
            if due > self.until:
                return "its time is over" if self.refreshed else "it stays warm that long without requests"
            if due > planned.context.now:
                await self._sleep(due - planned.context.now)
                continue
            record = await send(client, endpoint, refresh)
            self.refreshed += 1
            paid += best.cost
            if not record.usage.read:
                return "the provider had dropped it"
