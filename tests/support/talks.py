"""A conversation with the wire server, on its clock and with its tokenizer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count as counter

from wire import Bill, Reply, WireServer, count

from ipycachechat.caching.miss_reasons import MissCause
from ipycachechat.caching.planner import NOTEBOOK
from ipycachechat.conversation.placement import Placement
from ipycachechat.conversation.turns import CellRef
from ipycachechat.engine.client import ModelClient
from ipycachechat.engine.events import TurnResult
from ipycachechat.engine.session import ChatSession
from ipycachechat.engine.turn_request import TurnRequest

SONNET, OPUS = "anthropic/claude-sonnet-5", "anthropic/claude-opus-5"


def nothing(_: object) -> None:
    pass


@dataclass
class Talk:
    """A chat session that sends prompts to the wire server, whose bills are compared with predictions."""

    server: WireServer
    loop: asyncio.AbstractEventLoop
    model: str = SONNET
    ttl: int | None = None
    tokenizer: Callable[[str], int] | None = count
    runs: Iterator[int] = field(default_factory=counter)

    def __post_init__(self) -> None:
        self.server.clear()
        self.server.forget()

        async def sleep(seconds: float) -> None:
            self.wait(seconds)

        client = ModelClient(clock=lambda: self.server.clock.now, count=self.tokenizer, pauses=NOTEBOOK)
        self.chat = ChatSession(client=client, sleep=sleep)

    def next(self, prompt: str = "", cell: str = "") -> TurnRequest:
        cell_ref = CellRef(cell, f"{cell}-{next(self.runs)}") if cell else None
        return TurnRequest(prompt, self.model, Placement(cell_ref), ttl=self.ttl)

    def ask(
        self, prompt: str, cell: str = "", answer: str | tuple[str, ...] = "yes, that is so"
    ) -> TurnResult:
        self.server.script(Reply(answer))
        result = self.loop.run_until_complete(self.chat.send(self.next(prompt, cell), nothing))
        assert result.error is None, result.error
        return result

    @property
    def bill(self) -> Bill:
        bill = self.server.requests[-1].bill
        assert bill is not None
        return bill

    def wait(self, seconds: float) -> None:
        self.server.clock.advance(seconds)


def assert_predicted_and_billed_alike(result: TurnResult, bill: Bill) -> None:
    """Assert that prediction, usage and bill have the same tokens."""
    assert result.turn and result.expected
    used, expected = result.turn.usage, result.expected
    assert (expected.read, expected.written_1h, expected.written, expected.fresh) == (
        bill.read,
        bill.written_1h,
        bill.written,
        bill.fresh,
    )
    assert (used.read, used.written, used.fresh, used.input) == (
        bill.read,
        bill.written,
        bill.fresh,
        bill.prompt,
    )
    assert bill.read + bill.written + bill.fresh == bill.prompt


def cause(result: TurnResult) -> MissCause | None:
    return result.reason.cause if result.reason else None
