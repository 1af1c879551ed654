"""Whatever happens to a conversation, the cause named is the one that was there, with the tokens that it cost.

What was lost is reckoned here from the requests alone: the tokens of the blocks that the last request had too, less
those that were read.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from dataclasses import dataclass, field
from itertools import count as counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.talks import OPUS, SONNET
from support.tool_loops import count_text, tool
from wire import Bill, Reply, WireServer, words

from ipycachechat.caching.miss_reasons import MissCause, MissReason
from ipycachechat.caching.planner import NOTEBOOK
from ipycachechat.caching.prefix import PromptMessage
from ipycachechat.caching.request import request_options as sent_along
from ipycachechat.conversation.messages import Attachment, Message, ToolCall
from ipycachechat.engine.client import ModelClient
from ipycachechat.providers.endpoint import provider_endpoint

Json = dict[str, Any]
Block = tuple[str, str]


@dataclass
class SentTurn:
    """A turn as it is sent."""

    prompt: Message
    rest: list[Message]
    cell: str


@dataclass
class World:
    """A conversation to which things happen, and what the last request had in it."""

    server: WireServer
    loop: asyncio.AbstractEventLoop
    ttl: int | None
    cells: bool
    turns: list[SentTurn] = field(default_factory=list)
    system: str = words(1500, "rule")
    tools: list[Json] = field(default_factory=lambda: [tool("look")])
    options: Json = field(default_factory=dict)
    model: str = SONNET
    number: Any = field(default_factory=counter)
    sent: dict[str, int] = field(default_factory=dict)
    """Tokens by block of the last request."""

    def __post_init__(self) -> None:
        self.server.clear()
        self.server.forget()
        self.engine = ModelClient(clock=lambda: self.server.clock.now, count=count_text, pauses=NOTEBOOK)

    def text(self, size: int) -> str:
        return f"n{next(self.number)} {words(size)}"

    def turn(self, size: int, steps: list[int]) -> SentTurn:
        rest = []
        for result in steps:
            call = ToolCall(f"t{next(self.number)}", "look", '{"q":"x"}')
            rest += [Message("assistant", "", (call,)), Message("tool", words(result), tool_call_id=call.id)]
        cell = f"cell-{next(self.number)}" if self.cells else ""
        return SentTurn(Message("user", (*self.files, self.text(size))), rest, cell)

    def ask(self, size: int = 20, steps: list[int] | None = None) -> tuple[Bill, MissReason | None, int]:
        """One more turn, asked in one request: its bill, the reason, and what the last request had too."""
        turn = self.turn(size, steps or [])
        self.files = ()
        self.turns.append(turn)
        said = [PromptMessage(Message("system", self.system))]
        for n, one in enumerate(self.turns):
            said += [PromptMessage(message, n, one.cell) for message in (one.prompt, *one.rest)]
        to = provider_endpoint(self.model, 16_000)
        self.server.script(Reply("ok"))
        prepared = self.engine.prepare(to, said, sent_along(to.rules, self.tools, self.options), self.ttl)
        exchange = self.engine.exchange(to, prepared, 16)
        self.loop.run_until_complete(exchange.run(lambda _: None))
        reason = self.engine.record(prepared, exchange).reason
        request = self.server.requests[-1]
        assert request.bill and request.call
        bill, expected = request.bill, prepared.expected
        if self.model not in self.forgotten:
            assert (expected.read, expected.written, expected.fresh) == (bill.read, bill.written, bill.fresh)
        assert bill.read + bill.written + bill.fresh == bill.prompt
        blocks = {block.wire: block.tokens for block in request.call.blocks}
        again = sum(tokens for wire, tokens in blocks.items() if wire in self.sent)
        self.sent = blocks
        turn.rest.append(Message("assistant", self.text(30)))
        return bill, reason, again

    files: tuple[Attachment, ...] = ()
    """That go with the next question."""
    forgotten: set[str] = field(default_factory=set)
    """Models of which the server has nothing any more, and that have not been asked since."""

    @property
    def pictured(self) -> bool:
        return any(turn.prompt.files for turn in self.turns)

    # What may happen

    def nothing(self, n: int) -> MissCause | None:
        return None

    def expired(self, n: int) -> MissCause | None:
        self.server.clock.advance(3600 + n)
        return MissCause.EXPIRED

    def edited(self, n: int) -> MissCause | None:
        self.turns[n].prompt = Message("user", (*self.turns[n].prompt.files, self.text(30)))
        return MissCause.EDITED

    def answered_again(self, n: int) -> MissCause | None:
        self.turns[n].rest[-1] = Message("assistant", self.text(30))
        return MissCause.EDITED

    def removed(self, n: int) -> MissCause | None:
        last = n == len(self.turns) - 1
        pictured = self.pictured
        del self.turns[n]
        if n and pictured and not self.pictured:
            return MissCause.IMAGE  # from the first message on the prefix is another one
        # The last turn gone and another one asked is the same request as if it had been asked otherwise.
        return MissCause.REMOVED if self.cells or not last else MissCause.EDITED

    def inserted(self, n: int) -> MissCause | None:
        turn = self.turn(30, [])
        turn.rest.append(Message("assistant", self.text(30)))
        self.turns.insert(n, turn)
        return MissCause.INSERTED

    def system_changed(self, n: int) -> MissCause | None:
        self.system = f"s{next(self.number)} {words(1500, 'rule')}"
        return MissCause.SYSTEM

    def tool_added(self, n: int) -> MissCause | None:
        self.tools = [*self.tools, tool(f"tool{next(self.number)}")]
        return MissCause.TOOLS

    def tool_changed(self, n: int) -> MissCause | None:
        self.tools = [tool(f"tool{next(self.number)}"), *self.tools[1:]]
        return MissCause.TOOLS

    def effort(self, n: int) -> MissCause | None:
        now = self.options.get("reasoning_effort")
        self.options = self.options | {"reasoning_effort": "low" if now != "low" else "medium"}
        return MissCause.THINKING

    def tool_choice(self, n: int) -> MissCause | None:
        now = self.options.get("tool_choice")
        self.options = self.options | {"tool_choice": "none" if now != "none" else "auto"}
        return MissCause.TOOL_CHOICE

    def image_came(self, n: int) -> MissCause | None:
        first = not self.pictured
        self.files = (Attachment("image/png", b64encode(f"picture {next(self.number)}".encode()).decode()),)
        return MissCause.IMAGE if first else None

    def model_changed(self, n: int) -> MissCause | None:
        self.model = OPUS if self.model == SONNET else SONNET
        return MissCause.MODEL

    def dropped(self, n: int) -> MissCause | None:
        self.server.forget()
        self.forgotten = {SONNET, OPUS}
        return MissCause.DROPPED


HAPPENINGS = [
    World.nothing,
    World.expired,
    World.edited,
    World.answered_again,
    World.removed,
    World.inserted,
    World.system_changed,
    World.tool_added,
    World.tool_changed,
    World.effort,
    World.tool_choice,
    World.image_came,
    World.model_changed,
    World.dropped,
]
turns = st.lists(
    st.tuples(st.integers(1, 800), st.lists(st.integers(1, 300), max_size=4), st.sampled_from([5, 100, 290])),
    min_size=2,
    max_size=7,
)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    turns=turns,
    ttl=st.sampled_from([None, 300, 3600]),
    cells=st.booleans(),
    happenings=st.lists(
        st.tuples(st.integers(0, len(HAPPENINGS) - 1), st.integers(0, 99), st.integers(0, 2)),
        min_size=1,
        max_size=5,
    ),
)
def test_the_cause_named_is_the_cause_there_was(
    server: WireServer,
    loop: asyncio.AbstractEventLoop,
    turns: list[Any],
    ttl: int | None,
    cells: bool,
    happenings: list[tuple[int, int, int]],
) -> None:
    world = World(server, loop, ttl, cells)
    for number, (size, steps, pause) in enumerate(turns):
        _, reason, _ = world.ask(size, steps)
        assert (reason and reason.cause) is (None if number else MissCause.FIRST)
        server.clock.advance(pause)
    for which, where, quiet in happenings:
        tokens_of_old_model = sum(world.sent.values())
        was = world.model
        cause = HAPPENINGS[which](world, where % len(world.turns))
        bill, reason, again = world.ask()
        lost = (tokens_of_old_model if world.model != was else again) - bill.read
        surprise = cause is not MissCause.DROPPED and world.model in world.forgotten
        world.forgotten.discard(world.model)
        if surprise:
            continue  # two things at once
        if lost > 0 and cause is not None:
            assert reason and (reason.cause, reason.tokens) == (cause, lost), (cause, lost, reason)
        else:
            assert reason is None, (cause, reason)
        for _ in range(quiet):
            server.clock.advance(10)
            _, reason, _ = world.ask()
            assert reason is None, reason


@pytest.mark.parametrize("happening", HAPPENINGS, ids=lambda one: one.__name__)
def test_each_of_them_in_a_plain_conversation(
    server: WireServer, loop: asyncio.AbstractEventLoop, happening: Any
) -> None:
    world = World(server, loop, 300, True)
    for _ in range(4):
        world.ask(400)
    before = sum(world.sent.values())
    cause = happening(world, 1)
    bill, reason, again = world.ask()
    assert (reason and reason.cause) is cause
    if reason:
        assert reason.tokens == (before if cause is MissCause.MODEL else again) - bill.read > 0
