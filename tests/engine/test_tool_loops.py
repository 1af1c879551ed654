"""Tool loops, tools and settings: what is predicted is billed, and the reason named is the real one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.tool_loops import Json, ToolLoop, send_four_turns, tool
from wire import WireServer, count, words

from ipycachechat.caching.miss_reasons import MissCause
from ipycachechat.caching.prefix import PromptMessage
from ipycachechat.conversation.messages import Message


@pytest.fixture
def talk(server: WireServer, loop: asyncio.AbstractEventLoop) -> ToolLoop:
    return ToolLoop(server, loop, tools=[tool("look")])


rounds = st.lists(
    st.tuples(st.integers(0, 30), st.lists(st.integers(1, 400), min_size=1, max_size=4)), max_size=25
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    turns=st.lists(
        st.tuples(st.integers(1, 600), rounds, st.sampled_from([5, 250, 301, 1200, 3700]), st.booleans()),
        min_size=1,
        max_size=5,
    )
)
def test_the_prediction_is_the_bill_in_tool_loops(
    server: WireServer, loop: asyncio.AbstractEventLoop, turns: list[Any]
) -> None:
    talk = ToolLoop(server, loop, tools=[tool("look")])
    for number, (prompt, steps, pause, batch) in enumerate(turns):
        talk.user(prompt, number)
        for text, results in [*steps, (None, [])]:
            if (
                not batch or text is None
            ):  # else many steps before the next request: further than the look-back
                expected, bill, _ = talk.send()
                got = (bill.read, bill.written, bill.written_1h, bill.fresh)
                assert (expected.read, expected.written, expected.written_1h, expected.fresh) == got
                assert expected.input == bill.prompt
                request = server.requests[-1]
                assert request.call is not None
                marked = [block.ttl for block in request.call.blocks if block.ttl]
                assert 0 < len(marked) <= 4
                assert marked == sorted(marked, reverse=True)
                assert "dummy" not in str(request.body["tools"])
            if text is not None:
                talk.step(text, results, number)
                server.clock.advance(5)
        talk.answer(50, number)
        server.clock.advance(pause)


def test_tools_changed(talk: ToolLoop) -> None:
    send_four_turns(talk)
    talk.tools.append(tool("other"))
    talk.user(10, 4)
    expected, bill, reason = talk.send()
    assert reason and reason.cause is MissCause.TOOLS
    assert expected.read == bill.read == 0
    # All but the new prompt had been sent before, and is charged again.
    assert reason.tokens and reason.tokens > 6000


@pytest.mark.parametrize(
    ("options", "cause", "named"),
    [
        ({"tool_choice": "none"}, MissCause.TOOL_CHOICE, "the tool choice"),
        ({"parallel_tool_calls": False}, MissCause.TOOL_CHOICE, "parallel tool calls"),
        ({"reasoning_effort": "low"}, MissCause.THINKING, "--think"),
        (
            {"reasoning_effort": "low", "tool_choice": "none"},
            MissCause.SETTINGS,
            "--think and the tool choice",
        ),
    ],
)
def test_settings_changed(talk: ToolLoop, options: Json, cause: MissCause, named: str) -> None:
    send_four_turns(talk)
    talk.options = options
    talk.user(10, 4)
    expected, bill, reason = talk.send()
    assert reason and reason.cause is cause and named in reason.sentence
    assert expected.read == bill.read
    talk.user(10, 5)
    expected, bill, reason = talk.send()
    assert reason is None
    assert expected.read == bill.read > 6000


def test_the_default_said_aloud_is_no_change(talk: ToolLoop) -> None:
    send_four_turns(talk)
    talk.options = {"tool_choice": "auto"}
    talk.user(10, 4)
    expected, bill, reason = talk.send()
    assert reason is None
    assert expected.read == bill.read > 6000


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_turn_removed(talk: ToolLoop, gone: int) -> None:
    send_four_turns(talk)
    talk.messages = [one for one in talk.messages if one.turn != gone]
    talk.user(10, 3)
    _, bill, reason = talk.send()
    assert reason and (reason.cause, reason.turn) == (MissCause.REMOVED, gone)
    assert bill.fresh == 0
    # The last answer had not been sent before: it is paid for the first time, as is the new prompt.
    new = sum(count(one.message.text) for one in talk.messages[-2:])
    assert reason.tokens == bill.prompt - new - bill.read


@pytest.mark.parametrize("place", [0, 1, 2])
def test_turn_inserted(talk: ToolLoop, place: int) -> None:
    send_four_turns(talk)
    at = next(n for n, one in enumerate(talk.messages) if one.turn == place)
    new = [
        PromptMessage(Message("user", "new " + words(20)), place, "new"),
        PromptMessage(Message("assistant", "so"), place),
    ]
    later = talk.messages[at:]
    talk.messages = [*talk.messages[:at], *new, *later]
    talk.user(10, 5)
    _, _, reason = talk.send()
    assert reason and (reason.cause, reason.turn, reason.cell) == (MissCause.INSERTED, place, "new")


def test_a_change_of_system_prompt_behind_tools_marks_no_wrong_message(talk: ToolLoop) -> None:
    talk.messages.insert(0, PromptMessage(Message("system", words(1200))))
    send_four_turns(talk)
    for n in range(3):
        talk.messages[0] = PromptMessage(Message("system", words(1200, f"rule{n}")))
        talk.user(10, 4 + n)
        expected, bill, reason = talk.send()
        assert reason and reason.cause is MissCause.SYSTEM
        assert (expected.read, expected.written, expected.fresh) == (bill.read, bill.written, bill.fresh)
