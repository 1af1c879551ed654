"""The table of cache rules: one row per provider and model family. A new provider is a new row."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from ipycachechat.caching.rules import CacheRules, Tier

ANTHROPIC = "platform.claude.com/docs/en/build-with-claude/prompt-caching"


# The page's table "What invalidates the cache". On some models thinking changes the tiers before the messages too;
# which ones it does not say.
CHANGES: Mapping[str, Tier] = {
    "speed": "system",
    "web_search_options": "system",
    "tool_choice": "messages",
    "parallel_tool_calls": "messages",
    "thinking": "messages",
    "reasoning_effort": "messages",
    "image": "messages",  # whether there is one anywhere
}


OPENAI = "developers.openai.com/api/docs/guides/prompt-caching"


# The page's table "Cache limitations" (the 5.5 ones: litellm's), for platforms and names that litellm has no figure of.
CLAUDE_MINIMUMS = (
    *((f"*{name}*", 512) for name in ("opus-5", "fable-5", "mythos-5", "sonnet-5-5", "haiku-5-5")),
    *((f"*{name}*", 2048) for name in ("opus-4-7", "mythos-preview", "haiku-3-5", "3-5-haiku")),
    *((f"*{name}*", 4096) for name in ("opus-4-6", "opus-4-5", "haiku-4-5")),
)


# platform.claude.com/docs/en/build-with-claude/extended-thinking: thoughts of earlier turns are kept from Opus 4.5 and
# Sonnet 4.6 on, and in all of the fifth generation.
CLAUDE_FORGETS = (
    *("*claude-3*", "*haiku-4*"),
    *(f"*sonnet-4{rest}" for rest in ("", "@*", "-20*", "-[0-5]", "-[0-5][-@]*")),
    *(f"*opus-4{rest}" for rest in ("", "@*", "-20*", "-[01]", "-[01][-@]*")),
)


def _claude(
    provider: str, model: str, source: str = ANTHROPIC, *, refresh: int = 1, hour_if_priced: bool = False
) -> CacheRules:
    """Claude, the same on every platform, but that only Anthropic's own is known to take a `max_tokens` of 0."""
    return CacheRules(
        provider,
        model,
        "explicit",
        source,
        bills_writes=True,
        minimum=1024,
        minimums=CLAUDE_MINIMUMS,
        marker="cache_control",
        checkpoints=4,
        lookback=20,
        lifetimes=(300, 3600),
        writes=(1.25, 2.0),
        one_hour_if_priced=hour_if_priced,
        invalidates=CHANGES,
        thinking_format="" if provider == "openrouter" else "claude",
        forgets=CLAUDE_FORGETS,
        keepalive_max_tokens=refresh,
        sends_pings=provider == "anthropic",  # its events "ping"
    )


def _gpt(provider: str, model: str, *, checkpoints: int = 0) -> CacheRules:
    """GPT from 5.6 on: a checkpoint at the end of each request, others where it is told, a price for writing.

    docs.langchain4j.dev, OpenAiOfficialPromptCacheBreakpoint: system, user and tool messages can bear one.
    """
    return CacheRules(
        provider,
        model,
        "implicit",
        OPENAI,
        bills_writes=True,
        minimum=1024,
        marker="prompt_cache_breakpoint" if checkpoints else "",
        checkpoints=checkpoints,
        can_mark_assistant=False,
        breakpoints=80,
        lifetimes=(1800,),
        writes=(1.25,),
        cache_key="prompt_cache_key",
        thinking_format="openai",
    )


BEDROCK = "docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html"


ROWS = (
    _claude("anthropic", "*", refresh=0),
    _claude("bedrock*", "*claude*", BEDROCK, hour_if_priced=True),
    _claude("vertex_ai*", "claude*"),
    _claude("azure_ai", "claude*"),
    _claude("openrouter", "anthropic/*", "openrouter.ai/docs/guides/best-practices/prompt-caching"),
    _claude("litellm_proxy", "*claude*"),
    _gpt("openai", "gpt-5.[6-9]*", checkpoints=3),
    _gpt("openai", "gpt-[6-9]*", checkpoints=3),
    # The reasoning of earlier turns is not shown before 5.6 (developers.openai.com/api/docs/guides/reasoning).
    CacheRules(
        *("openai", "gpt-5.[45]*", "automatic", OPENAI),
        minimum=1024,
        step=128,
        lifetimes=(300,),
        cache_key="prompt_cache_key",
        thinking_format="openai",
        forgets=("*",),
    ),
    *(
        CacheRules(
            *("openai", model, "automatic", OPENAI),
            minimum=1024,
            step=128,
            lifetimes=(300,),
            cache_key="prompt_cache_key",
        )
        for model in ("gpt-*", "chatgpt-*", "o[0-9]*", "ft:*", "codex*", "computer-use*")
    ),
    # Other servers that speak the protocol: how they cache is unknown, and they may refuse what they do not know.
    CacheRules("openai", "*", "unknown", "nobody's word", reports_cached_tokens=None),
    # Whether its chat completions take checkpoints its page does not say.
    _gpt("azure", "gpt-5.[6-9]*"),
    _gpt("azure", "gpt-[6-9]*"),
    CacheRules(
        *("azure", "*", "automatic", "learn.microsoft.com/azure/foundry/openai/how-to/prompt-caching"),
        minimum=1024,
        step=128,
        lifetimes=(300,),
        cache_key="prompt_cache_key",
    ),
    # ai.google.dev/api/generate-content#UsageMetadata: JSON of protocol buffers, which leaves out zeros. Its
    # implicit cache promises nothing: others measured 1 hit in 138 for growing chats.
    CacheRules(
        *("gemini", "gemini-2.5*", "automatic", "ai.google.dev/gemini-api/docs/caching"),
        missing_means_zero=True,
        minimum=2048,
        thinking_format="gemini",
    ),
    # ai.google.dev/gemini-api/docs/thought-signatures: a call comes back with its seal, or is refused.
    CacheRules(
        *("gemini", "*", "automatic", "ai.google.dev/gemini-api/docs/caching"),
        missing_means_zero=True,
        minimum=4096,
        thinking_format="gemini",
    ),
    CacheRules(
        *("vertex_ai*", "gemini*", "automatic", "docs.cloud.google.com context-cache-overview"),
        missing_means_zero=True,
        thinking_format="gemini",
    ),
    CacheRules("deepseek", "*", "automatic", "api-docs.deepseek.com/guides/kv_cache"),
    CacheRules(
        *("xai", "*", "automatic", "docs.x.ai/developers/advanced-api-usage/prompt-caching"),
        reads=0.25,
        cache_key="extra_headers.x-grok-conv-id",
    ),
    # Two hours, says its page, and that the minimum varies by model, which it does not list.
    CacheRules("groq", "*", "automatic", "console.groq.com/docs/prompt-caching", reads=0.5),
    # Asked for by the key, which litellm knows only of others.
    CacheRules(
        *("mistral", "*", "automatic", "docs.mistral.ai/studio-api/conversations/advanced/prompt-caching"),
        cache_key="extra_body.prompt_cache_key",
    ),
    CacheRules(
        *("fireworks_ai", "*", "automatic", "docs.fireworks.ai/guides/prompt-caching"),
        reads=0.5,
        cache_key="extra_body.prompt_cache_key",
    ),
    CacheRules("openrouter", "*", "automatic", "openrouter.ai/docs/guides/best-practices/prompt-caching"),
    CacheRules(
        *("llama.cpp", "*", "automatic", "github.com/ggml-org/llama.cpp tools/server: cache_prompt"),
        verified="tests/providers/test_local_model.py: cached_tokens as llama.cpp counts them",
    ),
    CacheRules(
        "hosted_vllm", "*", "automatic", "docs.vllm.ai automatic_prefix_caching", reports_cached_tokens=None
    ),
    CacheRules(
        "ollama*",
        "*",
        "automatic",
        "github.com/ollama/ollama: no cached count in its reply",
        reports_cached_tokens=False,
    ),
)


UNKNOWN_PROVIDER = CacheRules("*", "*", "unknown", "", reports_cached_tokens=None)


def rules_for(provider: str, model: str) -> CacheRules:
    """The row for this model; `model` without the provider's prefix."""
    for row in ROWS:
        if fnmatchcase(provider, row.provider) and fnmatchcase(model.lower(), row.model):
            return row
    return UNKNOWN_PROVIDER
