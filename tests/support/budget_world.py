"""A chat with a budget, to which random things happen."""

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
    """A chat with a budget, to which things happen."""

    server: WireServer
    loop: asyncio.AbstractEventLoop
    budget: float
    model: str = SONNET
    number: Any = field(default_factory=counter)
    refused: int = 0
    """Prompts that were, or might have become, too much."""

    def __post_init__(self) -> None:
        self.server.clear()
        self.server.forget()
        self.server.context_limit, self.server.always = None, default_reply

        async def sleep(seconds: float) -> None:
            self.server.clock.advance(seconds)

        self.chat = ChatSession(clock=lambda: self.server.clock.now, sleep=sleep)
        self.chat.client.budgets.set_limits(lambda: (self.budget, 0.0))

    @property
    def billed(self) -> float:
        """By the server, as soon as nothing is open there."""
        for request in self.server.requests:
            request.wait()
        return dollars(self.server.requests)

    @property
    def spent(self) -> float:
        purse = self.chat.client.budgets.state
        assert not purse.held
        return purse.spent

    def text(self, size: int) -> str:
        """So many words or signs that no other text has."""
        name = next(self.number)
        kinds = (
            words(size),
            string.punctuation * (size // 30 + 1),
            "Übergröße 漢字かな交じり文 " * (size // 12 + 1),
        )
        return f"n{name} {kinds[name % 3]}"

    def ask(self, prompt: Content, *, cell: str = "", most: int = 64, **more: Any) -> TurnRequest:
        place = Placement(CellRef(cell, f"{cell}-{next(self.number)}")) if cell else Placement()
        return TurnRequest(prompt, self.model, place, max_tokens=most, **more)

    def send(self, ask: TurnRequest, stop_after: int = 0) -> TurnResult | None:
        """Ask; cancelled after so many pieces, if that is not 0: then None."""
        pieces = counter(1)

        async def main() -> TurnResult | None:
            def tell(event: object) -> None:
                if isinstance(event, RunOnCallerThread):
                    event.work()
                if isinstance(event, StreamChunk) and next(pieces) == stop_after:
                    sending.cancel()

            sending = asyncio.ensure_future(self.chat.send(ask, tell))
            try:
                done = await sending
            except asyncio.CancelledError:
                return None
            self.refused += isinstance(done.error, OverBudget)
            return done

        return self.loop.run_until_complete(main())


def happen(world: World, r: random.Random) -> None:
    """One thing that may happen to a conversation."""
    server, most = world.server, r.choice([1, 20, 64, 300])
    long_answer = words(r.choice([3, 50, 400]), "said")
    world.model = r.choice(MODELS) if r.random() < 0.3 else world.model
    kind = r.choice(
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
    prompt: Content = world.text(r.choice([3, 40, 400, 3000]))
    replies = [Reply(long_answer)]
    ask, stop = world.ask(prompt, cell=r.choice(["", "a", "b"]), most=most), 0
    if kind == "tools":
        calls = tuple(ToolCall("look", {"q": world.text(3)}) for _ in range(r.randint(1, 3)))
        replies = [Reply(r.choice(["", "so"]), tool_calls=calls) for _ in range(r.randint(1, 4))] + replies
        ask = replace(ask, tools=TOOLS)
    elif kind == "stop":
        stop = r.randint(1, 6)
        replies = [Reply(words(40, "slow"), chunk_delay=0.003)]
    elif kind == "drop":
        fault = r.choice(
            [Drop("headers"), Drop("first"), Drop("chunk", 2), Truncated(2), StreamError(2), StreamError(0)]
        )
        replies = [Reply(words(10), fault=fault)]
    elif kind == "refused":
        replies = [Reply(fault=HttpError(r.choice([400, 429, 500, 503, 529])))]
    elif kind == "picture":
        picture = Attachment("image/png", b64encode(world.text(3).encode()).decode())
        ask = world.ask((picture, world.text(9)), most=most)
    elif kind == "long":
        server.context_limit = r.choice([500, 2000])
    elif kind == "silent":
        replies = [Reply("")]
    elif kind == "usageless":
        replies = [Reply(long_answer, report_usage=False, report_cache=False)]
    if kind == "undo":
        world.chat.versions.undo()
    elif kind == "system":
        world.chat.versions.set_system(world.text(r.choice([10, 1500])))
    elif kind == "pause":
        server.clock.advance(r.choice([10, 200, 400, 4000]))
    elif kind == "warm":
        try:
            world.loop.run_until_complete(world.chat.warm(world.ask(""), nothing))
            world.loop.run_until_complete(world.chat.keep_warm(world.ask(""), 1000).run())
        except ChatError:
            pass
    elif kind == "map":
        server.always = Reply(long_answer, chunk_delay=0.001)
        asks = [world.ask(world.text(20), most=most) for _ in range(r.randint(2, 9))]
        world.loop.run_until_complete(batch.run_batch(world.chat, asks, 4, nothing))
    else:
        server.script(*replies)
        world.send(ask, stop)
    server.clear_scripts()
    server.context_limit, server.always = None, default_reply
