"""Who caches, and how one asks for it. A new provider is a new row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

Json = dict[str, Any]
Asked = Literal["explicit", "automatic"]
Ttl = Literal["5m", "1h"]


@dataclass(frozen=True, slots=True)
class Rules:
    """How one family of models caches.

    `explicit`: only what is marked with `cache_control` is cached; every other provider gets no marker, since
    some bill for it (Gemini stores the cache for money) and some refuse it. `bills_writes`: whether the bill
    tells written tokens apart from fresh ones. `silent_zero`: whether a count that is left out means none, as
    in protocols that leave out zeros; elsewhere it means unknown.
    """

    provider: str
    model: str
    asked: Asked
    bills_writes: bool
    silent_zero: bool = False


# platform.claude.com/docs/en/build-with-claude/prompt-caching; developers.openai.com/api/docs/guides/prompt-caching
ROWS = (
    Rules("anthropic", "*", "explicit", True),
    Rules("bedrock*", "*claude*", "explicit", True),
    Rules("vertex_ai*", "claude*", "explicit", True),
    Rules("azure_ai", "claude*", "explicit", True),
    Rules("openrouter", "anthropic/*", "explicit", True),
    Rules("litellm_proxy", "*claude*", "explicit", True),
    Rules("openai", "gpt-5.[6-9]*", "automatic", True),
    # ai.google.dev/api/generate-content#UsageMetadata: JSON of protocol buffers, which leaves out zeros.
    Rules("gemini", "*", "automatic", False, silent_zero=True),
    Rules("vertex_ai*", "gemini*", "automatic", False, silent_zero=True),
)
# Cached by the provider itself, or not at all; what it writes is not told apart.
OTHERS = Rules("*", "*", "automatic", False)


def rules(provider: str, model: str) -> Rules:
    """The row for this model; `model` without the provider's prefix."""
    for row in ROWS:
        if fnmatchcase(provider, row.provider) and fnmatchcase(model.lower(), row.model):
            return row
    return OTHERS


def mark(messages: Sequence[Json], by: Rules, ttl: Ttl) -> list[Json]:
    """The messages with a checkpoint on the last system block and on the last message.

    A checkpoint on the system block covers the tools as well. Tool results are marked as a message: inside of
    their content the marker would land on a part that cannot be cached.
    """
    marked = [dict(message) for message in messages]
    if by.asked != "explicit" or not marked:
        return marked
    system = [n for n, message in enumerate(marked) if message["role"] == "system"]
    for place in {*system[-1:], len(marked) - 1}:
        marked[place] = _marked(marked[place], {"type": "ephemeral", "ttl": ttl})
    return marked


def _marked(message: Json, marker: Json) -> Json:
    if message["role"] == "tool":
        return message | {"cache_control": marker}
    if not isinstance(message["content"], str) or not message["content"].strip():
        return message  # an empty block must not be marked
    return message | {"content": [{"type": "text", "text": message["content"], "cache_control": marker}]}
