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
from ipycachechat.caching.request import request_options
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


def count_text(text: str) -> int:
    """Count tokens as the server does: a tool definition in Anthropic's form."""
    if not text.startswith('{"type":"function"'):
        return count(text)
    function = json.loads(text)["function"]
    tool_fields = {
        "name": function["name"],
        "input_schema": function["parameters"],
        "description": function["description"],
    }
    wire_text = json.dumps({**tool_fields, "type": "custom"}, separators=(",", ":"))
    return count(wire_text)


@dataclass
class ToolLoop:
    """A conversation with tools, message by message."""

    server: WireServer
    loop: asyncio.AbstractEventLoop
    messages: list[PromptMessage] = field(default_factory=list)
    tools: list[Json] = field(default_factory=list)
    options: Json = field(default_factory=dict)
    number: Any = field(default_factory=counter)

    def __post_init__(self) -> None:
        self.server.clear()
        self.server.forget()
        self.client = ModelClient(clock=lambda: self.server.clock.now, count=count_text, pauses=NOTEBOOK)

    def send(self) -> tuple[ExpectedUsage, Bill, MissReason | None]:
        model_endpoint = provider_endpoint(SONNET, 16_000)
        self.server.script(Reply("ok"))
        request_part = request_options(model_endpoint.rules, self.tools, self.options)
        planned = self.client.prepare(model_endpoint, self.messages, request_part)
        exchange = self.client.exchange(model_endpoint, planned, 16)
        self.loop.run_until_complete(exchange.run(lambda _: None))
        record = self.client.record(planned, exchange)
        bill = self.server.requests[-1].bill
        assert bill is not None
        return planned.expected, bill, record.reason

    def user(self, size: int, turn: int, cell: str = "") -> None:
        self.messages.append(
            PromptMessage(Message("user", f"u{next(self.number)} {words(size)}"), turn, cell)
        )

    def answer(self, size: int, turn: int) -> None:
        self.messages.append(PromptMessage(Message("assistant", f"a{next(self.number)} {words(size)}"), turn))

    def step(self, text: int, results: list[int], turn: int) -> None:
        calls = [ToolCall(f"t{next(self.number)}", "look", '{"q":"x"}') for _ in results]
        content = words(text) if text else ""
        self.messages.append(PromptMessage(Message("assistant", content, tuple(calls)), turn))
        for call, size in zip(calls, results, strict=True):
            self.messages.append(PromptMessage(Message("tool", words(size), tool_call_id=call.id), turn))


def send_four_turns(talk: ToolLoop) -> None:
    for turn in range(4):
        talk.user(1500, turn, f"cell-{turn}")
        _, _, reason = talk.send()
        assert reason is None or reason.cause is MissCause.FIRST
        talk.answer(40, turn)
