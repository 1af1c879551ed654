"""Default models, limits, and the values that options may take."""

from __future__ import annotations

from collections.abc import Mapping

# A provider's current middle model, in the order in which keys are looked for.
DEFAULT_MODELS = {
    "ANTHROPIC_API_KEY": "anthropic/claude-sonnet-5",
    "OPENAI_API_KEY": "openai/gpt-5.6-terra",
    "GEMINI_API_KEY": "gemini/gemini-3.8-flash",
}
LOCAL = "local"
MAX_OUTPUT_TOKENS = 16_000
"""Tokens of an answer, where the model could give more."""
LOCAL_MAX_OUTPUT_TOKENS = 1_024
MAX_TOOL_STEPS = 20
"""Rounds of calls of tools in one turn."""
EFFORT_OPTION = "reasoning_effort"
"""Litellm's option for it."""
EFFORTS = ("low", "medium", "high")
"""How much a model may think before it answers."""
TTL_SECONDS = {"5m": 300, "1h": 3600}
"""Lifetimes of a cache that one can ask for, by their names on the wire."""
TTLS: Mapping[str, int | None] = {"auto": None, **TTL_SECONDS}
"""How long the cache is to live, in seconds; auto: whichever is cheaper by the pauses seen so far."""
WATCH_MODES = ("off", "code", "code+output", "code+output+images")
"""Which parts of recently run cells are included with a prompt."""
REWRITE_WARNING_TOKENS = 10_000
"""Warm tokens; a request that will write more of them again says so before."""


def default_model(environment: Mapping[str, str]) -> str:
    """The first provider's whose key is in the environment, else the model on this machine."""
    for key, name in DEFAULT_MODELS.items():
        if environment.get(key, "").strip():
            return name
    return LOCAL
