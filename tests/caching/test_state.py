"""Where checkpoints sit in the messages, and what the rules promise for them."""

from __future__ import annotations

import copy
from typing import Any

from ipycachechat.caching.prefix import PrefixChain, PromptMessage, RequestOptions, build_chain
from ipycachechat.caching.provider_rules import rules_for
from ipycachechat.caching.request import place_checkpoints, wire_messages
from ipycachechat.caching.state import (
    MAX_OTHERS,
    CacheState,
    Checkpoint,
    PlanningContext,
    after_request,
    expected_usage,
    without_evicted,
)
from ipycachechat.caching.tracker import CacheTracker
from ipycachechat.conversation.messages import Message, ToolCall
from ipycachechat.conversation.usage import Usage

CLAUDE = rules_for("anthropic", "claude-sonnet-5")
CALLS = (ToolCall("1", "add", '{"a":1}'), ToolCall("2", "add", '{"a":2}'))
SAID = [
    PromptMessage(Message("system", "be brief")),
    PromptMessage(Message("user", "one"), 0),
    PromptMessage(Message("assistant", "let me see", CALLS), 0),
    PromptMessage(Message("tool", "1", tool_call_id="1"), 0),
    PromptMessage(Message("tool", "2", tool_call_id="2"), 0),
    PromptMessage(Message("assistant", "yes"), 0),
    PromptMessage(Message("user", "two"), 1),
]


def marked(said: list[PromptMessage], *places: int) -> list[dict[str, Any]]:
    return place_checkpoints(
        wire_messages(said), build_chain(said), [Checkpoint(at, 3600) for at in places], CLAUDE
    )


def test_the_marker_goes_where_the_provider_counts_the_block() -> None:
    hour = {"type": "ephemeral", "ttl": "1h"}
    got = marked(SAID, 0, 4, 6, 8)
    assert got[0]["content"] == [{"type": "text", "text": "be brief", "cache_control": hour}]
    assert got[2]["tool_calls"][1]["cache_control"] == hour
    assert "cache_control" not in got[2]["tool_calls"][0]
    assert got[4] == {"role": "tool", "content": "2", "tool_call_id": "2", "cache_control": hour}
    assert got[6]["content"][0]["cache_control"] == hour
    assert str(got).count("cache_control") == 4


def test_the_messages_given_stay_as_they_were() -> None:
    sent = wire_messages(SAID)
    before = copy.deepcopy(sent)
    place_checkpoints(sent, build_chain(SAID), [Checkpoint(at, 300) for at in (0, 4, 6, 8)], CLAUDE)
    assert sent == before


def test_a_chain_is_extended_rather_than_made_again() -> None:
    counted: list[str] = []

    def count(text: str) -> float:
        counted.append(text)
        return 1.0

    first = build_chain(SAID[:-1], count=count)
    counted.clear()
    second = build_chain(SAID, earlier=first, count=count)
    assert counted == ["two"]
    assert [p.digest for p in second.prefixes] == [p.digest for p in build_chain(SAID).prefixes]
    assert second.shared_length(first) == len(first.prefixes)


def test_runs_of_calls_and_of_results_are_one_position() -> None:
    assert [prefix.position for prefix in build_chain(SAID).prefixes] == [0, 1, 2, 3, 3, 4, 4, 5, 6]


def test_an_earlier_message_changed_changes_every_prefix_after_it() -> None:
    other = [*SAID[:1], PromptMessage(Message("user", "uno"), 0), *SAID[2:]]
    assert build_chain(other).shared_length(build_chain(SAID)) == 1
    assert build_chain(other, earlier=build_chain(SAID)).shared_length(build_chain(SAID)) == 1


def test_planning_nothing_and_an_empty_bill_do_no_harm() -> None:
    memory = CacheTracker(CLAUDE, minimum=1024)
    prepared = memory.prepare([], build_chain([]).options, 0.0)
    assert prepared.checkpoints == ()
    after, _ = memory.record_usage(prepared, Usage())
    assert after.last_request.chain == PrefixChain()


# What the rules promise


def texts(*sizes: int) -> PrefixChain:
    """A chain of user messages of so many tokens each."""
    said = [PromptMessage(Message("user", f"{n} " + "x" * size), n) for n, size in enumerate(sizes)]
    return build_chain(said, count=lambda text: float(text.count("x")))


EXACT = CacheState(exact=True)


def context(chain: PrefixChain, state: CacheState, now: float) -> PlanningContext:
    return PlanningContext(chain, CLAUDE, 1024, state, now)


def test_a_prefix_of_exactly_the_minimum_is_written_and_one_below_it_is_not() -> None:
    marks = [Checkpoint(0, 300)]
    assert expected_usage(context(texts(1024), EXACT, 0.0), marks).written == 1024
    assert expected_usage(context(texts(1023), EXACT, 0.0), marks).written == 0
    assert not after_request(context(texts(1023), EXACT, 0.0), marks).entries


def test_a_checkpoint_finds_what_was_written_nineteen_positions_before_it_and_not_twenty() -> None:
    state = after_request(context(texts(2000), EXACT, 0.0), [Checkpoint(0, 300)])
    near, far = texts(2000, *[1] * 19), texts(2000, *[1] * 20)
    assert expected_usage(context(near, state, 1.0), [Checkpoint(19, 300)]).read == 2000
    assert expected_usage(context(far, state, 1.0), [Checkpoint(20, 300)]).read == 0


def test_what_is_read_lives_on_from_that_request_on_also_when_it_bears_no_checkpoint() -> None:
    state = after_request(context(texts(2000), EXACT, 0.0), [Checkpoint(0, 300)])
    longer = texts(2000, 5)
    state = after_request(context(longer, state, 299.0), [Checkpoint(1, 300)])
    assert expected_usage(context(texts(2000), state, 598.0), [Checkpoint(0, 300)]).read == 2000
    assert expected_usage(context(texts(2000), state, 599.0), [Checkpoint(0, 300)]).read == 0


def test_what_was_written_is_charged_by_lifetime_behind_what_is_read() -> None:
    state = after_request(context(texts(2000), EXACT, 0.0), [Checkpoint(0, 300)])
    bill = expected_usage(
        context(texts(2000, 30, 7, 1), state, 1.0), [Checkpoint(1, 3600), Checkpoint(2, 300)]
    )
    assert (bill.read, bill.written_1h, bill.written, bill.fresh) == (2000, 30, 37, 1)
    assert bill.input == 2038


def test_who_read_nothing_has_nothing_and_who_read_less_has_nothing_longer() -> None:
    whole, other = texts(2000, 2000), texts(1500)
    state = after_request(context(other, EXACT, 0.0), [Checkpoint(0, 300)])
    state = after_request(context(whole, state, 0.0), [Checkpoint(0, 300), Checkpoint(1, 300)])
    longer = texts(2000, 2000, 10)
    expected = expected_usage(context(longer, state, 1.0), [Checkpoint(2, 300)])
    assert expected.read == 4000
    assert without_evicted(context(longer, state, 1.0), expected, 0).entries == {}
    left = without_evicted(context(longer, state, 1.0), expected, 2000)
    assert set(left.entries) == {other.prefixes[0].digest, whole.prefixes[0].digest}
    assert without_evicted(context(longer, state, 1.0), expected, 4000) == state


def test_what_is_known_of_other_conversations_does_not_grow_for_ever() -> None:
    memory, last = CacheTracker(CLAUDE), build_chain(())
    for number in range(3 * MAX_OTHERS):
        said = [PromptMessage(Message("user", f"question {number} " * 20), 0)]
        prepared = memory.prepare(said, RequestOptions(), float(number), 300)
        memory, _ = memory.record_usage(
            prepared, Usage(input=100 + number, read=0, written=100 + number, output=1)
        )
        last = prepared.chain
    assert len(memory.state.billed_sizes) <= 2 * MAX_OTHERS + len(last.prefixes)
    assert len(memory.state.entries) <= 2 * MAX_OTHERS + len(last.prefixes)
    assert last.prefixes[-1].digest in memory.state.billed_sizes


def test_what_was_used_of_late_is_remembered_however_long_it_has_been_known() -> None:
    memory, asked = CacheTracker(CLAUDE), 0

    def ask(question: str) -> bytes:
        nonlocal memory, asked
        asked += 1
        said = [PromptMessage(Message("user", f"{question} " * 20), 0)]
        prepared = memory.prepare(said, RequestOptions(), float(asked), 3600)
        memory, _ = memory.record_usage(
            prepared, Usage(input=100 + asked, read=0, written=100 + asked, output=1)
        )
        return prepared.chain.prefixes[-1].digest

    for number in range(4 * MAX_OTHERS):
        ask(f"question {number}")
        if number % 100 == 0:
            often = ask("the same")
    assert memory.state.live(often, float(asked)) and often in memory.state.billed_sizes
    assert len(memory.state.entries) <= 2 * MAX_OTHERS + 2
