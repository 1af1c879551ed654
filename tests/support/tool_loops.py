"""A conversation with tools, message by message, against the wire server."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from itertools import count as counter
from typing import Any

from support.talks import SONNET
from wire import Bill, Reply, WireServer, count, words

from ipycachechat.caching.miss_reasons import MissCause, MissReason
from ipycachechat.caching.planner import NOTEBOOK
from ipycachechat.caching.prefix import PromptMessage
from ipycachechat.caching.request import request_options as sent_along
from ipycachechat.caching.state import ExpectedUsage
from ipycachechat.conversation.messages import Message, ToolCall
from ipycachechat.engine.client import ModelClient
from ipycachechat.providers.endpoint import provider_endpoint

Json = dict[str, Any]


def tool(name: str) -> Json:
    parameters = {"type": "object", "properties": {"q": {"type": "string"}}}
    return {
        "type": "function",
        "function": {"name": name, "description": words(300), "parameters": parameters},
    }


def sized(text: str) -> int:
    """The server's count; of a tool's definition in the form in which Anthropic gets it."""
    if not text.startswith('{"type":"function"'):
        return count(text)
    given = json.loads(text)["function"]
    parts = {"name": given["name"], "input_schema": given["parameters"], "description": given["description"]}
    bare = json.dumps({**parts, "type": "custom"}, separators=(",", ":"))
    return count(bare)


@dataclass
class Loop:
    """A conversation with tools, message by message."""

    server: WireServer
    loop: asyncio.AbstractEventLoop
    said: list[PromptMessage] = field(default_factory=list)
    tools: list[Json] = field(default_factory=list)
    options: Json = field(default_factory=dict)
    number: Any = field(default_factory=counter)

    def __post_init__(self) -> None:
        self.server.clear()
        self.server.forget()
        self.engine = ModelClient(clock=lambda: self.server.clock.now, count=sized, pauses=NOTEBOOK)

    def send(self) -> tuple[ExpectedUsage, Bill, MissReason | None]:
        to = provider_endpoint(SONNET, 16_000)
        self.server.script(Reply("ok"))
        along = sent_along(to.rules, self.tools, self.options)
        prepared = self.engine.prepare(to, self.said, along)
        exchange = self.engine.exchange(to, prepared, 16)
        self.loop.run_until_complete(exchange.run(lambda _: None))
        booked = self.engine.record(prepared, exchange)
        bill = self.server.requests[-1].bill
        assert bill is not None
        return prepared.plan.expected, bill, booked.reason

    def user(self, size: int, turn: int, cell: str = "") -> None:
        self.said.append(PromptMessage(Message("user", f"u{next(self.number)} {words(size)}"), turn, cell))

    def answer(self, size: int, turn: int) -> None:
        self.said.append(PromptMessage(Message("assistant", f"a{next(self.number)} {words(size)}"), turn))

    def step(self, text: int, results: list[int], turn: int) -> None:
        calls = [ToolCall(f"t{next(self.number)}", "look", '{"q":"x"}') for _ in results]
        told = words(text) if text else ""
        self.said.append(PromptMessage(Message("assistant", told, tuple(calls)), turn))
        for call, size in zip(calls, results, strict=True):
            self.said.append(PromptMessage(Message("tool", words(size), tool_call_id=call.id), turn))


def begun(talk: Loop) -> None:
    for turn in range(4):
        talk.user(1500, turn, f"cell-{turn}")
        _, _, reason = talk.send()
        assert reason is None or reason.cause is MissCause.FIRST
        talk.answer(40, turn)
