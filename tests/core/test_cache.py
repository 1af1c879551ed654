"""Where checkpoints sit in the messages, and what the rules promise for them."""

from __future__ import annotations

import copy
from typing import Any

from ipycachechat.caching.prefix import Chain, Said, Settings, chain
from ipycachechat.caching.provider_rules import rules
from ipycachechat.caching.request import mark, messages
from ipycachechat.caching.state import MOST, CacheState, Mark, disproved, outcome, sent
from ipycachechat.caching.tracker import Memory
from ipycachechat.conversation.messages import Message, ToolCall
from ipycachechat.conversation.usage import Usage

CLAUDE = rules("anthropic", "claude-sonnet-5")
CALLS = (ToolCall("1", "add", '{"a":1}'), ToolCall("2", "add", '{"a":2}'))
SAID = [
    Said(Message("system", "be brief")),
    Said(Message("user", "one"), 0),
    Said(Message("assistant", "let me see", CALLS), 0),
    Said(Message("tool", "1", tool_call_id="1"), 0),
    Said(Message("tool", "2", tool_call_id="2"), 0),
    Said(Message("assistant", "yes"), 0),
    Said(Message("user", "two"), 1),
]


def marked(said: list[Said], *places: int) -> list[dict[str, Any]]:
    return mark(messages(said), chain(said), [Mark(at, 3600) for at in places], CLAUDE)


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
    sent = messages(SAID)
    before = copy.deepcopy(sent)
    mark(sent, chain(SAID), [Mark(at, 300) for at in (0, 4, 6, 8)], CLAUDE)
    assert sent == before


def test_a_chain_is_extended_rather_than_made_again() -> None:
    counted: list[str] = []

    def count(text: str) -> float:
        counted.append(text)
        return 1.0

    first = chain(SAID[:-1], count=count)
    counted.clear()
    second = chain(SAID, before=first, count=count)
    assert counted == ["two"]
    assert [p.digest for p in second.prefixes] == [p.digest for p in chain(SAID).prefixes]
    assert second.common(first) == len(first.prefixes)


def test_runs_of_calls_and_of_results_are_one_position() -> None:
    assert [prefix.position for prefix in chain(SAID).prefixes] == [0, 1, 2, 3, 3, 4, 4, 5, 6]


def test_an_earlier_message_changed_changes_every_prefix_after_it() -> None:
    other = [*SAID[:1], Said(Message("user", "uno"), 0), *SAID[2:]]
    assert chain(other).common(chain(SAID)) == 1
    assert chain(other, before=chain(SAID)).common(chain(SAID)) == 1


def test_planning_nothing_and_an_empty_bill_do_no_harm() -> None:
    memory = Memory(CLAUDE)
    prepared = memory.prepare([], chain([]).settings, 1024, 0.0)
    assert prepared.plan.marks == ()
    after, _ = memory.billed(prepared, Usage())
    assert after.chain == Chain()


# What the rules promise


def texts(*sizes: int) -> Chain:
    """A chain of user messages of so many tokens each."""
    said = [Said(Message("user", f"{n} " + "x" * size), n) for n, size in enumerate(sizes)]
    return chain(said, count=lambda text: float(text.count("x")))


EXACT = CacheState(exact=True)


def test_a_prefix_of_exactly_the_minimum_is_written_and_one_below_it_is_not() -> None:
    marks = [Mark(0, 300)]
    assert outcome(texts(1024), marks, EXACT, CLAUDE, 1024, 0.0).written == 1024
    assert outcome(texts(1023), marks, EXACT, CLAUDE, 1024, 0.0).written == 0
    assert not sent(texts(1023), marks, EXACT, CLAUDE, 1024, 0.0).entries


def test_a_checkpoint_finds_what_was_written_nineteen_positions_before_it_and_not_twenty() -> None:
    state = sent(texts(2000), [Mark(0, 300)], EXACT, CLAUDE, 1024, 0.0)
    near, far = texts(2000, *[1] * 19), texts(2000, *[1] * 20)
    assert outcome(near, [Mark(19, 300)], state, CLAUDE, 1024, 1.0).read == 2000
    assert outcome(far, [Mark(20, 300)], state, CLAUDE, 1024, 1.0).read == 0


def test_what_is_read_lives_on_from_that_request_on_also_when_it_bears_no_checkpoint() -> None:
    state = sent(texts(2000), [Mark(0, 300)], EXACT, CLAUDE, 1024, 0.0)
    longer = texts(2000, 5)
    state = sent(longer, [Mark(1, 300)], state, CLAUDE, 1024, 299.0)
    assert outcome(texts(2000), [Mark(0, 300)], state, CLAUDE, 1024, 598.0).read == 2000
    assert outcome(texts(2000), [Mark(0, 300)], state, CLAUDE, 1024, 599.0).read == 0


def test_what_was_written_is_charged_by_lifetime_behind_what_is_read() -> None:
    state = sent(texts(2000), [Mark(0, 300)], EXACT, CLAUDE, 1024, 0.0)
    bill = outcome(texts(2000, 30, 7, 1), [Mark(1, 3600), Mark(2, 300)], state, CLAUDE, 1024, 1.0)
    assert (bill.read, bill.written_1h, bill.written, bill.fresh) == (2000, 30, 37, 1)
    assert bill.input == 2038


def test_who_read_nothing_has_nothing_and_who_read_less_has_nothing_longer() -> None:
    whole, other = texts(2000, 2000), texts(1500)
    state = sent(other, [Mark(0, 300)], EXACT, CLAUDE, 1024, 0.0)
    state = sent(whole, [Mark(0, 300), Mark(1, 300)], state, CLAUDE, 1024, 0.0)
    longer = texts(2000, 2000, 10)
    expected = outcome(longer, [Mark(2, 300)], state, CLAUDE, 1024, 1.0)
    assert expected.read == 4000
    assert disproved(longer, expected, state, 0).entries == {}
    left = disproved(longer, expected, state, 2000)
    assert set(left.entries) == {other.prefixes[0].digest, whole.prefixes[0].digest}
    assert disproved(longer, expected, state, 4000) == state


def test_what_is_known_of_other_conversations_does_not_grow_for_ever() -> None:
    memory, last = Memory(CLAUDE, CacheState()), chain(())
    for number in range(3 * MOST):
        said = [Said(Message("user", f"question {number} " * 20), 0)]
        prepared = memory.prepare(said, Settings(), 0, float(number), 300)
        memory, _ = memory.billed(prepared, Usage(100 + number, 0, 100 + number, 0, 1), None, "a/b")
        last = prepared.chain
    assert len(memory.state.known) <= 2 * MOST + len(last.prefixes)
    assert len(memory.state.entries) <= 2 * MOST + len(last.prefixes)
    assert last.prefixes[-1].digest in memory.state.known


def test_what_was_used_of_late_is_remembered_however_long_it_has_been_known() -> None:
    memory, asked = Memory(CLAUDE, CacheState()), 0

    def ask(question: str) -> bytes:
        nonlocal memory, asked
        asked += 1
        said = [Said(Message("user", f"{question} " * 20), 0)]
        prepared = memory.prepare(said, Settings(), 0, float(asked), 3600)
        memory, _ = memory.billed(prepared, Usage(100 + asked, 0, 100 + asked, 0, 1), None, "a/b")
        return prepared.chain.prefixes[-1].digest

    for number in range(4 * MOST):
        ask(f"question {number}")
        if number % 100 == 0:
            often = ask("the same")
    assert memory.state.live(often, float(asked)) and often in memory.state.known
    assert len(memory.state.entries) <= 2 * MOST + 2
