"""Messages to dicts and back, what a model is sent of them, and what is shortened."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipycachechat.caching.provider_rules import rules_for
from ipycachechat.conversation import from_wire
from ipycachechat.conversation.messages import Attachment, Message, Thinking, ToolCall
from ipycachechat.conversation.model_view import ModelView, visible_messages
from ipycachechat.conversation.turns import Conversation, Turn
from ipycachechat.engine.compaction import describe_largest_turns, shortened
from ipycachechat.text.truncate import truncate_middle

texts = st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip)
files = st.builds(Attachment, st.sampled_from(["image/png", "application/pdf", "audio/wav"]), st.just("AAAA"))
contents = st.one_of(texts, st.lists(st.one_of(texts, files), min_size=2).map(tuple))
seals = st.sampled_from(["", "U0lH"])
thoughts = st.one_of(
    st.just(()),
    st.tuples(st.builds(Thinking, st.just("claude"), texts, st.just("sig"))),
    st.tuples(st.builds(Thinking, st.just("claude"), st.just(""), st.just(""), st.just("hidden"))),
    st.tuples(st.builds(Thinking, st.just("gemini"), texts, st.just("c2VhbA=="))),
    st.tuples(st.builds(Thinking, st.just(""), texts)),
)
arguments = st.dictionaries(st.text("abc", min_size=1), st.integers()).map(json.dumps)


@st.composite
def turns(draw: st.DrawFn) -> Turn:
    replies: list[Message] = []
    for step in range(draw(st.integers(0, 2))):
        calls = tuple(
            ToolCall(f"c{step}-{n}", "look", draw(arguments), draw(seals))
            for n in range(draw(st.integers(1, 3)))
        )
        replies.append(
            Message("assistant", draw(st.one_of(st.just(""), texts)), calls, thinking=draw(thoughts))
        )
        replies += [Message("tool", draw(contents), tool_call_id=call.id) for call in calls]
    replies.append(Message("assistant", draw(texts), thinking=draw(thoughts)))
    return Turn(draw(contents), tuple(replies))


# Building turns is slow on a machine that does something else beside.
unhurried = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)


@unhurried
@given(st.lists(turns(), max_size=3))
def test_messages_survive_conversion_to_dicts_and_back(original: list[Turn]) -> None:
    written = json.loads(json.dumps(from_wire.to_dicts(Conversation("", tuple(original)))))
    read = from_wire.turns([from_wire.message(fields) for fields in written])
    assert [turn.messages for turn in read] == [turn.messages for turn in original]


@unhurried
@given(turns(), st.sampled_from(["", "claude", "gemini", "openai"]), st.booleans(), st.booleans())
def test_a_model_is_sent_its_own_signatures_and_the_files_it_accepts(
    turn: Turn, signer: str, forgets: bool, earlier: bool
) -> None:
    eyes = ModelView(signer, forgets, frozenset({"image"}))  # type: ignore[arg-type]
    for before, after in zip(turn.messages, visible_messages(turn, eyes, earlier=earlier), strict=True):
        assert all(thought.provider == signer and signer for thought in after.thinking)
        assert not (forgets and earlier and after.thinking)
        assert signer == "gemini" or not any(call.signature for call in after.tool_calls)
        assert all(file.kind == "image" for file in after.files)
        assert len(after.parts) == len(before.parts)  # a note in place of each


@given(st.text(max_size=400), st.integers(1, 200))
def test_the_middle_of_a_long_text_is_left_out(text: str, length: int) -> None:
    cut = truncate_middle(text, length)
    assert cut == text or (len(cut) < len(text) and "characters left out" in cut)
    assert len(text) > length + 100 or cut == text


def test_only_tool_results_are_shortened_and_no_more_than_necessary() -> None:
    messages = [
        Message("assistant", "x" * 90_000),
        Message("tool", "y" * 90_000),
        Message("tool", "z" * 20_000),
    ]
    first = shortened(messages)
    assert first is not None and first[0] == messages[0] and first[2] == messages[2]
    assert 40_000 <= len(first[1].text) < 41_000
    second = shortened(first)
    assert second is not None and len(second[1].text) < 11_000 and len(second[2].text) < 11_000
    assert shortened([Message("tool", "short")]) is None


def test_the_largest_turns_are_named() -> None:
    sizes = [(-1, 50), (0, 10), (0, 900), (1, 0), (2, 400), (3, 7)]
    assert (
        describe_largest_turns(sizes, 3)
        == "turn 1 (≈910 tokens), turn 3 (≈400 tokens), tools and system prompt (≈50 tokens)"
    )


@pytest.mark.parametrize(
    ("model", "forgets"),
    [
        ("claude-3-7-sonnet-20250219", True),
        ("claude-sonnet-4-20250514", True),
        ("claude-sonnet-4-5", True),
        ("claude-sonnet-4.5@20250929", True),
        ("claude-haiku-4-5-20251001", True),
        ("claude-opus-4-1-20250805", True),
        ("claude-opus-4", True),
        ("claude-opus-4-5", False),
        ("claude-sonnet-4-6", False),
        ("claude-sonnet-5", False),
        ("claude-haiku-5-5", False),
    ],
)
def test_some_models_are_not_sent_their_earlier_thinking(model: str, forgets: bool) -> None:
    assert rules_for("anthropic", model).drops_earlier_thinking(model) is forgets
    if model[-1].isdigit() and "20" in model:
        name = f"us.anthropic.{model}-v1:0"
        assert rules_for("bedrock", name).drops_earlier_thinking(name) is forgets
