"""The table of cache rules: one row per provider and model family. A new provider is a new row."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from ipycachechat.caching.rules import CacheRules, Tier

ANTHROPIC = "platform.claude.com/docs/en/build-with-claude/prompt-caching"
OPENAI = "developers.openai.com/api/docs/guides/prompt-caching"
AZURE = "learn.microsoft.com/azure/foundry/openai/how-to/prompt-caching"
BEDROCK = "docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html"
OPENROUTER = "openrouter.ai/docs/guides/best-practices/prompt-caching"
GEMINI = "ai.google.dev/gemini-api/docs/caching"

# The table "What invalidates the cache" of Anthropic's page. It says that on some models thinking also changes the
# tiers before the messages, but not on which.
CLAUDE_INVALIDATES: Mapping[str, Tier] = {
    "speed": "system",
    "web_search_options": "system",
    "tool_choice": "messages",
    "parallel_tool_calls": "messages",
    "thinking": "messages",
    "reasoning_effort": "messages",
    "image": "messages",  # the first one added, or the last one removed
}
# Its table "Cache limitations" (from litellm: the 5.5 models), for platforms and names that litellm does not list.
CLAUDE_MINIMUMS = (
    *((f"*{name}*", 512) for name in ("opus-5", "fable-5", "mythos-5", "sonnet-5-5", "haiku-5-5")),
    *((f"*{name}*", 2048) for name in ("opus-4-7", "mythos-preview", "haiku-3-5", "3-5-haiku")),
    *((f"*{name}*", 4096) for name in ("opus-4-6", "opus-4-5", "haiku-4-5")),
)
# platform.claude.com/docs/en/build-with-claude/extended-thinking: thinking of earlier turns is kept from Opus 4.5 and
# Sonnet 4.6 on, and by all models of the fifth generation. These are the models before, which drop it.
CLAUDE_DROPS_THINKING = (
    *("*claude-3*", "*haiku-4*"),
    *(f"*sonnet-4{rest}" for rest in ("", "@*", "-20*", "-[0-5]", "-[0-5][-@]*")),
    *(f"*opus-4{rest}" for rest in ("", "@*", "-20*", "-[01]", "-[01][-@]*")),
)


def _claude(
    provider: str,
    model: str,
    source: str = ANTHROPIC,
    *,
    keepalive: int = 1,
    one_hour_if_priced: bool = False,
) -> CacheRules:
    """Claude caches alike on every platform, but only Anthropic's own is known to accept `max_tokens` 0."""
    return CacheRules(
        provider=provider,
        model=model,
        mode="explicit",
        source=source,
        bills_writes=True,
        minimum=1024,
        minimums=CLAUDE_MINIMUMS,
        marker="cache_control",
        max_checkpoints=4,
        lookback=20,
        lifetimes=(300, 3600),
        writes=(1.25, 2.0),
        one_hour_if_priced=one_hour_if_priced,
        invalidates=CLAUDE_INVALIDATES,
        thinking_format="" if provider == "openrouter" else "claude",
        drops_thinking=CLAUDE_DROPS_THINKING,
        keepalive_max_tokens=keepalive,
        sends_pings=provider == "anthropic",
    )


def _gpt(provider: str, model: str, *, max_checkpoints: int = 0) -> CacheRules:
    """GPT from 5.6 on: a checkpoint at the end of each request, others where it is asked for, and writes are billed.

    docs.langchain4j.dev, OpenAiOfficialPromptCacheBreakpoint: system, user and tool messages can have one.
    """
    return CacheRules(
        provider=provider,
        model=model,
        mode="implicit",
        source=OPENAI,
        bills_writes=True,
        minimum=1024,
        marker="prompt_cache_breakpoint" if max_checkpoints else "",
        max_checkpoints=max_checkpoints,
        can_mark_assistant=False,
        searched_checkpoints=80,
        lifetimes=(1800,),
        writes=(1.25,),
        cache_key="prompt_cache_key",
        thinking_format="openai",
    )


def _automatic(provider: str, model: str, source: str, **fields: Any) -> CacheRules:
    return CacheRules(provider=provider, model=model, mode="automatic", source=source, **fields)


def _older_gpt(provider: str, model: str, source: str = OPENAI, **fields: Any) -> CacheRules:
    return _automatic(
        provider,
        model,
        source,
        minimum=1024,
        step=128,
        lifetimes=(300,),
        cache_key="prompt_cache_key",
        **fields,
    )


# For each model the first row that fits applies.
ROWS = (
    _claude("anthropic", "*", keepalive=0),
    _claude("bedrock*", "*claude*", BEDROCK, one_hour_if_priced=True),
    _claude("vertex_ai*", "claude*"),
    _claude("azure_ai", "claude*"),
    _claude("openrouter", "anthropic/*", OPENROUTER),
    _claude("litellm_proxy", "*claude*"),
    _gpt("openai", "gpt-5.[6-9]*", max_checkpoints=3),
    _gpt("openai", "gpt-[6-9]*", max_checkpoints=3),
    # Before 5.6, models are not shown the reasoning of earlier turns (developers.openai.com/api/docs/guides/reasoning).
    _older_gpt("openai", "gpt-5.[45]*", thinking_format="openai", drops_thinking=("*",)),
    *(
        _older_gpt("openai", model)
        for model in ("gpt-*", "chatgpt-*", "o[0-9]*", "ft:*", "codex*", "computer-use*")
    ),
    # Other servers that speak the protocol: how they cache is unknown, and they may reject unknown parameters.
    CacheRules(provider="openai", model="*", mode="unknown", source="none", reports_cached_tokens=None),
    # Azure's page does not say whether its chat completions accept checkpoints.
    _gpt("azure", "gpt-5.[6-9]*"),
    _gpt("azure", "gpt-[6-9]*"),
    _older_gpt("azure", "*", AZURE),
    # ai.google.dev/api/generate-content#UsageMetadata: JSON of protocol buffers, which leaves out zeros. The implicit
    # cache guarantees nothing: others measured 1 hit in 138 for growing chats.
    _automatic(
        "gemini", "gemini-2.5*", GEMINI, missing_means_zero=True, minimum=2048, thinking_format="gemini"
    ),
    # ai.google.dev/gemini-api/docs/thought-signatures: a tool call without its signature is rejected.
    _automatic("gemini", "*", GEMINI, missing_means_zero=True, minimum=4096, thinking_format="gemini"),
    _automatic(
        "vertex_ai*",
        "gemini*",
        "docs.cloud.google.com context-cache-overview",
        missing_means_zero=True,
        thinking_format="gemini",
    ),
    _automatic("deepseek", "*", "api-docs.deepseek.com/guides/kv_cache"),
    _automatic(
        "xai",
        "*",
        "docs.x.ai/developers/advanced-api-usage/prompt-caching",
        reads=0.25,
        cache_key="extra_headers.x-grok-conv-id",
    ),
    # The page mentions two hours, and a minimum that varies by model.
    _automatic("groq", "*", "console.groq.com/docs/prompt-caching", reads=0.5),
    # Only requests with a key are cached; litellm does not know that parameter for Mistral.
    _automatic(
        "mistral",
        "*",
        "docs.mistral.ai/studio-api/conversations/advanced/prompt-caching",
        cache_key="extra_body.prompt_cache_key",
    ),
    _automatic(
        "fireworks_ai",
        "*",
        "docs.fireworks.ai/guides/prompt-caching",
        reads=0.5,
        cache_key="extra_body.prompt_cache_key",
    ),
    _automatic("openrouter", "*", OPENROUTER),
    _automatic(
        "llama.cpp",
        "*",
        "github.com/ggml-org/llama.cpp tools/server: cache_prompt",
        verified="tests/providers/test_local_model.py: cached_tokens as llama.cpp counts them",
    ),
    _automatic("hosted_vllm", "*", "docs.vllm.ai automatic_prefix_caching", reports_cached_tokens=None),
    _automatic(
        "ollama*",
        "*",
        "github.com/ollama/ollama: no cached count in its response",
        reports_cached_tokens=False,
    ),
)
UNKNOWN_PROVIDER = CacheRules(provider="*", model="*", mode="unknown", source="", reports_cached_tokens=None)


def rules_for(provider: str, model: str) -> CacheRules:
    """Return the first row that fits; `model` without litellm's provider prefix."""
    for row in ROWS:
        if fnmatchcase(provider, row.provider) and fnmatchcase(model.lower(), row.model):
            return row
    return UNKNOWN_PROVIDER
