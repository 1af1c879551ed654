"""Default models, limits, and the values that options may take."""

from __future__ import annotations

from collections.abc import Mapping

DEFAULT_MODELS = {
    "ANTHROPIC_API_KEY": "anthropic/claude-sonnet-5",
    "OPENAI_API_KEY": "openai/gpt-5.6-terra",
    "GEMINI_API_KEY": "gemini/gemini-3.8-flash",
}
"""Each provider's current middle model, by its key's environment variable; the first key that is set decides."""
LOCAL = "local"
"""Name of the model on this machine."""
MAX_OUTPUT_TOKENS = 16_000
"""Limit of an answer, even if the model allows more."""
LOCAL_MAX_OUTPUT_TOKENS = 1_024
MAX_TOOL_STEPS = 20
"""Rounds of tool calls in one turn."""
EFFORT_OPTION = "reasoning_effort"
"""litellm's option for the reasoning effort."""
EFFORTS = ("low", "medium", "high")
"""Reasoning efforts."""
TTL_SECONDS = {"5m": 300, "1h": 3600}
"""Seconds of each cache TTL that can be requested."""
TTLS: Mapping[str, int | None] = {"auto": None, **TTL_SECONDS}
"""Values of the option `ttl`, in seconds; auto: the cheaper one, judged by the pauses so far."""
WATCH_MODES = ("off", "code", "code+output", "code+output+images")
"""Which parts of recently run cells are included with a prompt."""
REWRITE_WARNING_TOKENS = 10_000
"""Cached tokens that a request may write again without a warning before it is sent."""


def default_model(environment: Mapping[str, str]) -> str:
    """Return the model of the first provider whose key is in the environment, else the local one."""
    keys = (key for key in DEFAULT_MODELS if environment.get(key, "").strip())
    return DEFAULT_MODELS.get(next(keys, ""), LOCAL)
