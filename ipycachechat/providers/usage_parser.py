"""What litellm tells of the tokens that a provider billed, as ours."""

from __future__ import annotations

from typing import Any

from ipycachechat.caching.rules import CacheRules
from ipycachechat.conversation.usage import NOTHING_REPORTED, Usage


def usage(raw: Any, by: CacheRules, hour: float, *, finished: bool = True) -> Usage:
    """Litellm's usage as ours. What is not there is unknown, unless the provider's protocol leaves out zeros.

    `hour`: the part (0 to 1) of what was written that was asked to live for an hour, if the bill does not tell.
    """
    sent, answered = getattr(raw, "prompt_tokens", None), getattr(raw, "completion_tokens", None)
    if not sent:
        return NOTHING_REPORTED
    details = getattr(raw, "prompt_tokens_details", None)
    nothing = 0 if by.missing_means_zero else None
    read = _count(details, "cached_tokens", nothing)
    written = _count(details, "cache_creation_tokens", nothing) if by.bills_writes else 0
    split = getattr(details, "cache_creation_token_details", None)
    written_1h = _count(split, "ephemeral_1h_input_tokens", round((written or 0) * hour))
    if read is not None and written is not None and read + written > sent:
        read = written = written_1h = None  # counts that contradict each other tell nothing
    return Usage(
        sent,
        read,
        written,
        written_1h or 0,
        answered,
        _count(getattr(raw, "completion_tokens_details", None), "reasoning_tokens", None),
        by.bills_writes,
        at_least=not finished,
    )


def _count(holder: Any, name: str, otherwise: int | None) -> int | None:
    value = getattr(holder, name, None)
    return otherwise if value is None else int(value)
