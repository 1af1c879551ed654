"""Who is sent checkpoints, and where they sit."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ipycachechat.core.cache import mark, rules

MARK = {"type": "ephemeral", "ttl": "1h"}
CHAT: list[dict[str, Any]] = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "one"},
    {"role": "assistant", "content": "yes"},
    {"role": "user", "content": "two"},
]


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("anthropic", "claude-sonnet-5"),
        ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("bedrock_converse", "anthropic.claude-opus-4-8"),
        ("vertex_ai", "claude-sonnet-4-5@20250929"),
        ("azure_ai", "claude-opus-4-5"),
        ("openrouter", "anthropic/claude-sonnet-4.5"),
        ("litellm_proxy", "my-claude"),
    ],
)
def test_claude_is_sent_checkpoints_wherever_it_runs(provider: str, model: str) -> None:
    marked = mark(CHAT, rules(provider, model), "1h")
    assert marked[0]["content"] == [{"type": "text", "text": "be brief", "cache_control": MARK}]
    assert marked[-1]["content"] == [{"type": "text", "text": "two", "cache_control": MARK}]
    assert str(marked).count("cache_control") == 2


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-5.5"),
        ("openai", "gpt-5.6-terra"),
        ("openai", "my-claude"),
        ("gemini", "gemini-3.8-flash"),
        ("vertex_ai", "gemini-3.8-flash"),
        ("openrouter", "google/gemini-3.8-flash"),
        ("openrouter", "somebody/claude-like"),
        ("bedrock", "amazon.nova-pro-v1:0"),
        ("deepseek", "deepseek-chat"),
        ("llama.cpp", "claude"),
    ],
)
def test_nobody_else_is(provider: str, model: str) -> None:
    assert mark(CHAT, rules(provider, model), "1h") == CHAT


def test_tool_results_are_marked_as_a_message() -> None:
    result = {"role": "tool", "tool_call_id": "1", "content": "42"}
    marked = mark([*CHAT, result], rules("anthropic", "claude-sonnet-5"), "5m")
    assert marked[-1] == result | {"cache_control": {"type": "ephemeral", "ttl": "5m"}}
    assert "cache_control" not in str(marked[-2])


def test_what_is_empty_is_never_marked() -> None:
    for content in (None, "", "  "):
        assert "cache_control" not in str(
            mark([{"role": "user", "content": content}], rules("anthropic", "claude"), "1h")
        )
    assert mark([], rules("anthropic", "claude"), "1h") == []


def test_the_messages_given_stay_as_they_were() -> None:
    before = copy.deepcopy(CHAT)
    mark(CHAT, rules("anthropic", "claude-sonnet-5"), "1h")
    assert before == CHAT


def test_only_who_bills_writes_tells_them_apart() -> None:
    assert rules("openai", "gpt-5.6-terra").bills_writes
    assert not rules("openai", "gpt-5.5").bills_writes
    assert not rules("gemini", "gemini-3.8-flash").bills_writes
