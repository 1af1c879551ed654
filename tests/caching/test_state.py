"""Markers in the messages, prefix chains, and the usage and cache state that the rules predict."""

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
MESSAGES = [
    PromptMessage(Message("system", "be brief")),
    PromptMessage(Message("user", "one"), 0),
    PromptMessage(Message("assistant", "let me see", CALLS), 0),
    PromptMessage(Message("tool", "1", tool_call_id="1"), 0),
    PromptMessage(Message("tool", "2", tool_call_id="2"), 0),
    PromptMessage(Message("assistant", "yes"), 0),
    PromptMessage(Message("user", "two"), 1),
]


def with_markers(messages: list[PromptMessage], *places: int) -> list[dict[str, Any]]:
    return place_checkpoints(
        wire_messages(messages), build_chain(messages), [Checkpoint(at, 3600) for at in places], CLAUDE
    )


def test_the_marker_goes_where_the_provider_counts_the_block() -> None:
    hour = {"type": "ephemeral", "ttl": "1h"}
    wire = with_markers(MESSAGES, 0, 4, 6, 8)
    assert wire[0]["content"] == [{"type": "text", "text": "be brief", "cache_control": hour}]
    assert wire[2]["tool_calls"][1]["cache_control"] == hour
    assert "cache_control" not in wire[2]["tool_calls"][0]
    assert wire[4] == {"role": "tool", "content": "2", "tool_call_id": "2", "cache_control": hour}
    assert wire[6]["content"][0]["cache_control"] == hour
    assert str(wire).count("cache_control") == 4


def test_placing_checkpoints_leaves_the_given_messages_unchanged() -> None:
    sent = wire_messages(MESSAGES)
    before = copy.deepcopy(sent)
    place_checkpoints(sent, build_chain(MESSAGES), [Checkpoint(at, 300) for at in (0, 4, 6, 8)], CLAUDE)
    assert sent == before


def test_a_chain_is_extended_without_counting_known_messages_again() -> None:
    counted: list[str] = []

    def count(text: str) -> float:
        counted.append(text)
        return 1.0

    first = build_chain(MESSAGES[:-1], count=count)
    counted.clear()
    second = build_chain(MESSAGES, earlier=first, count=count)
    assert counted == ["two"]
    assert [p.digest for p in second.prefixes] == [p.digest for p in build_chain(MESSAGES).prefixes]
    assert second.shared_length(first) == len(first.prefixes)


def test_runs_of_calls_and_of_results_are_one_position() -> None:
    assert [prefix.position for prefix in build_chain(MESSAGES).prefixes] == [0, 1, 2, 3, 3, 4, 4, 5, 6]


def test_a_changed_message_changes_every_prefix_after_it() -> None:
    other = [*MESSAGES[:1], PromptMessage(Message("user", "uno"), 0), *MESSAGES[2:]]
    assert build_chain(other).shared_length(build_chain(MESSAGES)) == 1
    assert build_chain(other, earlier=build_chain(MESSAGES)).shared_length(build_chain(MESSAGES)) == 1


def test_an_empty_request_and_an_empty_bill_are_accepted() -> None:
    tracker = CacheTracker(CLAUDE, minimum=1024)
    planned = tracker.prepare([], build_chain([]).options, 0.0)
    assert planned.checkpoints == ()
    after, _ = tracker.record_usage(planned, Usage())
    assert after.last_request.chain == PrefixChain()


# What the rules predict


def texts(*sizes: int) -> PrefixChain:
    """A chain of user messages of so many tokens each."""
    messages = [PromptMessage(Message("user", f"{n} " + "x" * size), n) for n, size in enumerate(sizes)]
    return build_chain(messages, count=lambda text: float(text.count("x")))


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


def test_reading_a_prefix_restarts_its_lifetime_even_without_a_checkpoint_on_it() -> None:
    state = after_request(context(texts(2000), EXACT, 0.0), [Checkpoint(0, 300)])
    longer = texts(2000, 5)
    state = after_request(context(longer, state, 299.0), [Checkpoint(1, 300)])
    assert expected_usage(context(texts(2000), state, 598.0), [Checkpoint(0, 300)]).read == 2000
    assert expected_usage(context(texts(2000), state, 599.0), [Checkpoint(0, 300)]).read == 0


def test_writes_are_charged_by_ttl_after_the_part_that_is_read() -> None:
    state = after_request(context(texts(2000), EXACT, 0.0), [Checkpoint(0, 300)])
    bill = expected_usage(
        context(texts(2000, 30, 7, 1), state, 1.0), [Checkpoint(1, 3600), Checkpoint(2, 300)]
    )
    assert (bill.read, bill.written_1h, bill.written, bill.fresh) == (2000, 30, 37, 1)
    assert bill.input == 2038


def test_a_read_of_nothing_means_all_was_evicted_and_a_smaller_read_that_longer_prefixes_were() -> None:
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


def test_entries_and_sizes_of_other_conversations_are_limited() -> None:
    tracker, last = CacheTracker(CLAUDE), build_chain(())
    for number in range(3 * MAX_OTHERS):
        messages = [PromptMessage(Message("user", f"question {number} " * 20), 0)]
        planned = tracker.prepare(messages, RequestOptions(), float(number), 300)
        tracker, _ = tracker.record_usage(
            planned, Usage(input=100 + number, read=0, written=100 + number, output=1)
        )
        last = planned.chain
    assert len(tracker.state.billed_sizes) <= 2 * MAX_OTHERS + len(last.prefixes)
    assert len(tracker.state.entries) <= 2 * MAX_OTHERS + len(last.prefixes)
    assert last.prefixes[-1].digest in tracker.state.billed_sizes


def test_an_entry_in_frequent_use_is_kept_however_old_it_is() -> None:
    tracker, asked = CacheTracker(CLAUDE), 0

    def ask(question: str) -> bytes:
        nonlocal tracker, asked
        asked += 1
        messages = [PromptMessage(Message("user", f"{question} " * 20), 0)]
        planned = tracker.prepare(messages, RequestOptions(), float(asked), 3600)
        tracker, _ = tracker.record_usage(
            planned, Usage(input=100 + asked, read=0, written=100 + asked, output=1)
        )
        return planned.chain.prefixes[-1].digest

    for number in range(4 * MAX_OTHERS):
        ask(f"question {number}")
        if number % 100 == 0:
            often = ask("the same")
    assert tracker.state.live(often, float(asked)) and often in tracker.state.billed_sizes
    assert len(tracker.state.entries) <= 2 * MAX_OTHERS + 2
