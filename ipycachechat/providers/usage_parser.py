"""litellm's usage to Usage. A count that cannot be right is unknown."""

from __future__ import annotations

import math
from typing import Any

from ipycachechat.caching.rules import CacheRules
from ipycachechat.conversation.usage import NOTHING_REPORTED, Usage

MAX_TOKENS = 100_000_000
"""No model's context is larger; a limit where the model's own is unknown."""
COUNTS = ("prompt_tokens", "completion_tokens")
DETAILS = {
    "prompt_tokens_details": ("cached_tokens", "cache_creation_tokens"),
    "completion_tokens_details": ("reasoning_tokens",),
}
"""litellm's names of the counts, and of those in each group of details."""


def parse_usage(
    raw: Any, rules: CacheRules, one_hour_share: float, *, context: int | None = None, finished: bool = True
) -> Usage:
    """Return litellm's usage as Usage. A missing count is None, or 0 if the provider's protocol omits zeros.

    `one_hour_share`: the requested share (0 to 1) of one-hour writes, used if the provider does not report it.
    `context`: the model's window in tokens. `finished`: the counts are final.
    """
    most = context or MAX_TOKENS
    input_tokens = _count(raw, "prompt_tokens", most)
    if not input_tokens:
        return NOTHING_REPORTED
    details = getattr(raw, "prompt_tokens_details", None)
    missing = 0 if rules.missing_means_zero else None
    read = _count(details, "cached_tokens", input_tokens, missing)
    written = _count(details, "cache_creation_tokens", input_tokens, missing) if rules.bills_writes else 0
    if (read or 0) + (written or 0) > input_tokens:
        read = written = None  # the counts contradict each other
    split = getattr(details, "cache_creation_token_details", None)
    written_1h = _count(split, "ephemeral_1h_input_tokens", written or 0)
    output = _count(raw, "completion_tokens", most)
    thinking = _count(getattr(raw, "completion_tokens_details", None), "reasoning_tokens", most)
    return Usage(
        input=input_tokens,
        read=read,
        written=written,
        written_1h=round((written or 0) * one_hour_share) if written_1h is None else written_1h,
        output=output,
        thinking=None if output is None or (thinking or 0) > output else thinking,
        bills_writes=rules.bills_writes,
        at_least=not finished,
    )


def impossible_counts(raw: Any, context: int | None = None) -> tuple[str, ...]:
    """Return the counts that a provider reported and that cannot be right, such as "prompt_tokens -1"."""
    most, input_tokens = context or MAX_TOKENS, getattr(raw, "prompt_tokens", None)
    counts: list[tuple[str, Any, int]] = [(name, getattr(raw, name, None), most) for name in COUNTS]
    for group, names in DETAILS.items():
        known = group == "prompt_tokens_details" and _is_count(input_tokens, most)
        whole = int(input_tokens or 0) if known else most
        counts += [(name, getattr(getattr(raw, group, None), name, None), whole) for name in names]
    return tuple(
        f"{name} {_shown(value)}" for name, value, limit in counts if value and not _is_count(value, limit)
    )


def _count(holder: Any, name: str, most: int, default: int | None = None) -> int | None:
    value = getattr(holder, name, None)
    if value is None:
        return default
    return int(value) if _is_count(value, most) else None


def _is_count(value: Any, most: int) -> bool:
    """Return True for a whole number from 0 to `most`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value <= most and value == int(value)


def _shown(value: Any) -> str:
    """Return a count for a message. It comes from the provider, so that only a number is shown."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "(not a number)"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return f"{value:,}" if abs(value) <= MAX_TOKENS * 1000 else "(too large)"
