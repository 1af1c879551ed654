"""A chat with a budget, and random steps of it."""

from __future__ import annotations

import asyncio
import random
import string
from base64 import b64encode
from dataclasses import dataclass, field, replace
from itertools import count as counter
from typing import Any

from support.talks import OPUS, SONNET, nothing
from wire import Drop, HttpError, Reply, StreamError, Truncated, WireServer, words
from wire.money import dollars
from wire.replies import ToolCall, default_reply

from ipycachechat.api import batch
from ipycachechat.conversation.events import RunOnCallerThread, StreamChunk
from ipycachechat.conversation.messages import Attachment, Content
from ipycachechat.conversation.placement import Placement
from ipycachechat.conversation.turns import CellRef
from ipycachechat.engine.client import ModelClient
from ipycachechat.engine.events import TurnResult
from ipycachechat.engine.session import ChatSession
from ipycachechat.engine.turn_request import TurnRequest
from ipycachechat.errors import ChatError, OverBudget
from ipycachechat.tools.schema import make_tools

GPT, OLDER, GEMINI = "openai/gpt-5.6-terra", "openai/gpt-5.5", "gemini/gemini-3.8-flash"


MODELS = (SONNET, OPUS, GPT, OLDER, GEMINI)


TINY = 1e-9


def look(q: str) -> str:
    "Look something up."
    return f"{q}: {words(60)}"


TOOLS = make_tools([look])


@dataclass
class World:
    """A chat with a budget, on a wire server whose bills it is compared with."""

    server: WireServer
    loop: asyncio.AbstractEventLoop
    budget: float
    model: str = SONNET
    number: Any = field(default_factory=counter)
    refused: int = 0
    """Number of prompts that were refused since they could exceed the budget."""

    def __post_init__(self) -> None:
        self.server.clear()
        self.server.forget()
        self.server.context_limit, self.server.always = None, default_reply

        async def sleep(seconds: float) -> None:
            self.server.clock.advance(seconds)

        self.chat = ChatSession(client=ModelClient(clock=lambda: self.server.clock.now), sleep=sleep)
        self.chat.client.budgets.set_limits(lambda: (self.budget, 0.0))

    @property
    def billed(self) -> float:
        """Dollars that the server billed; waits for open requests."""
        for request in self.server.requests:
            request.wait()
        return dollars(self.server.requests)

    @property
    def spent(self) -> float:
        state = self.chat.client.budgets.state
        assert not state.held
        return state.spent

    def text(self, size: int) -> str:
        """A unique text of about `size` words or characters."""
        name = next(self.number)
        kinds = (
            words(size),
            string.punctuation * (size // 30 + 1),
            "Übergröße 漢字かな交じり文 " * (size // 12 + 1),
        )
        return f"n{name} {kinds[name % 3]}"

    def request(
        self, prompt: Content, *, cell: str = "", max_tokens: int = 64, **options: Any
    ) -> TurnRequest:
        placement = Placement(CellRef(cell, f"{cell}-{next(self.number)}")) if cell else Placement()
        return TurnRequest(prompt, self.model, placement, max_tokens=max_tokens, **options)

    def send(self, request: TurnRequest, stop_after: int = 0) -> TurnResult | None:
        """Send a request; `stop_after` cancels it after so many chunks (0: never), and None is returned."""
        chunk_numbers = counter(1)

        async def main() -> TurnResult | None:
            def emit(event: object) -> None:
                if isinstance(event, RunOnCallerThread):
                    event.work()
                if isinstance(event, StreamChunk) and next(chunk_numbers) == stop_after:
                    sending.cancel()

            sending = asyncio.ensure_future(self.chat.send(request, emit))
            try:
                result = await sending
            except asyncio.CancelledError:
                return None
            self.refused += isinstance(result.error, OverBudget)
            return result

        return self.loop.run_until_complete(main())


def random_step(world: World, rng: random.Random) -> None:
    """Do one random thing: ask, edit, stop, undo, warm, let the connection break, …"""
    server, max_tokens = world.server, rng.choice([1, 20, 64, 300])
    long_answer = words(rng.choice([3, 50, 400]), "said")
    world.model = rng.choice(MODELS) if rng.random() < 0.3 else world.model
    kind = rng.choice(
        [
            "ask",
            "ask",
            "ask",
            "tools",
            "edit",
            "stop",
            "drop",
            "refused",
            "picture",
            "map",
            "warm",
            "pause",
            "long",
        ]
        + ["undo", "system", "silent", "usageless"]
    )
    prompt: Content = world.text(rng.choice([3, 40, 400, 3000]))
    replies = [Reply(long_answer)]
    request, stop = world.request(prompt, cell=rng.choice(["", "a", "b"]), max_tokens=max_tokens), 0
    if kind == "tools":
        calls = tuple(ToolCall("look", {"q": world.text(3)}) for _ in range(rng.randint(1, 3)))
        replies = [
            Reply(rng.choice(["", "so"]), tool_calls=calls) for _ in range(rng.randint(1, 4))
        ] + replies
        request = replace(request, tools=TOOLS)
    elif kind == "stop":
        stop = rng.randint(1, 6)
        replies = [Reply(words(40, "slow"), chunk_delay=0.003)]
    elif kind == "drop":
        fault = rng.choice(
            [Drop("headers"), Drop("first"), Drop("chunk", 2), Truncated(2), StreamError(2), StreamError(0)]
        )
        replies = [Reply(words(10), fault=fault)]
    elif kind == "refused":
        replies = [Reply(fault=HttpError(rng.choice([400, 429, 500, 503, 529])))]
    elif kind == "picture":
        picture = Attachment("image/png", b64encode(world.text(3).encode()).decode())
        request = world.request((picture, world.text(9)), max_tokens=max_tokens)
    elif kind == "long":
        server.context_limit = rng.choice([500, 2000])
    elif kind == "silent":
        replies = [Reply("")]
    elif kind == "usageless":
        replies = [Reply(long_answer, report_usage=False, report_cache=False)]
    if kind == "undo":
        world.chat.versions.undo()
    elif kind == "system":
        world.chat.versions.set_system(world.text(rng.choice([10, 1500])))
    elif kind == "pause":
        server.clock.advance(rng.choice([10, 200, 400, 4000]))
    elif kind == "warm":
        try:
            world.loop.run_until_complete(world.chat.warm(world.request(""), nothing))
            world.loop.run_until_complete(world.chat.keep_warm(world.request(""), 1000).run())
        except ChatError:
            pass
    elif kind == "map":
        server.always = Reply(long_answer, chunk_delay=0.001)
        requests = [world.request(world.text(20), max_tokens=max_tokens) for _ in range(rng.randint(2, 9))]
        world.loop.run_until_complete(batch.run_batch(world.chat, requests, 4, nothing))
    else:
        server.script(*replies)
        world.send(request, stop)
    server.clear_scripts()
    server.context_limit, server.always = None, default_reply
