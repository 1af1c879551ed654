"""litellm's usage to Usage."""

from __future__ import annotations

from typing import Any

from ipycachechat.caching.rules import CacheRules
from ipycachechat.conversation.usage import NOTHING_REPORTED, Usage


def parse_usage(raw: Any, rules: CacheRules, one_hour_share: float, *, finished: bool = True) -> Usage:
    """Return litellm's usage as Usage. A missing count is None, or 0 if the provider's protocol omits zeros.

    `one_hour_share`: the requested share (0 to 1) of one-hour writes, used if the provider does not report it.
    `finished`: the counts are final.
    """
    input_tokens = getattr(raw, "prompt_tokens", None)
    if not input_tokens:
        return NOTHING_REPORTED
    details = getattr(raw, "prompt_tokens_details", None)
    missing = 0 if rules.missing_means_zero else None
    read = _count(details, "cached_tokens", missing)
    written = _count(details, "cache_creation_tokens", missing) if rules.bills_writes else 0
    split = getattr(details, "cache_creation_token_details", None)
    written_1h = _count(split, "ephemeral_1h_input_tokens", round((written or 0) * one_hour_share))
    if read is not None and written is not None and read + written > input_tokens:
        read = written = written_1h = None  # the counts contradict each other
    return Usage(
        input=input_tokens,
        read=read,
        written=written,
        written_1h=written_1h or 0,
        output=getattr(raw, "completion_tokens", None),
        thinking=_count(getattr(raw, "completion_tokens_details", None), "reasoning_tokens", None),
        bills_writes=rules.bills_writes,
        at_least=not finished,
    )


def _count(holder: Any, name: str, default: int | None) -> int | None:
    value = getattr(holder, name, None)
    return default if value is None else int(value)
