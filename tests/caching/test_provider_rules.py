"""The rules of each provider: which models are sent markers, and that every row is consistent."""

from __future__ import annotations

import pytest

from ipycachechat.caching.provider_rules import ROWS, rules_for


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
def test_claude_gets_markers_on_every_platform(provider: str, model: str) -> None:
    assert rules_for(provider, model).marker == "cache_control"


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-5.5"),
        ("openai", "my-claude"),
        ("azure", "gpt-5.6-terra"),
        ("gemini", "gemini-3.8-flash"),
        ("vertex_ai", "gemini-3.8-flash"),
        ("openrouter", "google/gemini-3.8-flash"),
        ("openrouter", "somebody/claude-like"),
        ("bedrock", "amazon.nova-pro-v1:0"),
        ("deepseek", "deepseek-chat"),
        ("llama.cpp", "claude"),
        ("somebody", "new"),
    ],
)
def test_other_models_get_no_markers(provider: str, model: str) -> None:
    assert not rules_for(provider, model).marker


@pytest.mark.parametrize("model", ["gpt-5.6-terra", "gpt-5.9", "gpt-6.1-sol"])
def test_newer_gpt_models_get_markers_in_their_own_format(model: str) -> None:
    assert rules_for("openai", model).marker == "prompt_cache_breakpoint"


def test_only_some_models_bill_writes() -> None:
    assert rules_for("openai", "gpt-5.6-terra").bills_writes
    assert not rules_for("openai", "gpt-5.5").bills_writes
    assert not rules_for("gemini", "gemini-3.8-flash").bills_writes


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.provider}/{row.model}")
def test_every_row_has_a_source_and_is_consistent(row: object) -> None:
    from ipycachechat.caching.rules import CacheRules

    assert isinstance(row, CacheRules)
    assert row.source
    assert len(row.writes) in (0, len(row.lifetimes))
    assert list(row.lifetimes) == sorted(row.lifetimes)
    assert bool(row.marker) == bool(row.max_checkpoints)
    if row.mode == "explicit":
        assert row.marker and row.lookback and row.minimum and row.writes
    if row.lifetimes:  # else what is too short would be said to have been dropped
        assert row.minimum
    if row.marker:
        assert row.mode in ("explicit", "implicit") and row.lifetimes
