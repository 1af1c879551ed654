"""Prices, limits, capabilities and names of models from litellm's model map, without a request."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from typing import Any

from ipycachechat.billing.pricing import Price, Rates
from ipycachechat.defaults import DEFAULT_MODELS, LOCAL
from ipycachechat.errors import BadInput
from ipycachechat.providers.litellm_import import is_imported

# Our names and litellm's.
FIELDS = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "read": "cache_read_input_token_cost",
    "write": "cache_creation_input_token_cost",
    "write_1h": "cache_creation_input_token_cost_above_1hr",
    "thinking": "output_cost_per_reasoning_token",
}


def model_record(data: Mapping[str, Mapping[str, Any]], provider: str, name: str) -> Mapping[str, Any]:
    """Litellm's record of the model; empty where there is none. A route before the name (`converse/`) is none of it."""
    for known in (name, name.rpartition("/")[2]):
        if found := data.get(f"{provider}/{known}"):
            return found
        plain = data.get(known, {})
        if str(plain.get("litellm_provider", "")).startswith(provider):
            return plain
    return {}


def price_of(record: Mapping[str, Any]) -> Price:
    """The rates in the record. A model for nothing on somebody else's machine has an unknown price."""
    if not record.get("input_cost_per_token"):
        return Price()
    base = {ours: record.get(theirs) for ours, theirs in FIELDS.items()}
    sizes = {int(found[1]) for name in record if (found := re.search(r"_above_(\d+)k_tokens$", name))}
    above = []
    for size in sorted(sizes):
        higher = {ours: record.get(f"{theirs}_above_{size}k_tokens") for ours, theirs in FIELDS.items()}
        # What has no price of its own above the size keeps the price below it.
        known = {ours: rate for ours, rate in higher.items() if rate is not None}
        above.append((size * 1000, Rates(**(base | known))))
        base |= known
    first = {ours: record.get(theirs) for ours, theirs in FIELDS.items()}
    return Price(Rates(**first), tuple(above))


def max_output_tokens(record: Mapping[str, Any], limit: int) -> int | None:
    """The longest answer that the model can give, at most `limit`; None if unknown."""
    longest = record.get("max_output_tokens") or record.get("max_tokens")
    return min(int(longest), limit) if isinstance(longest, int | float) and longest > 0 else None


def max_input_tokens(record: Mapping[str, Any]) -> int | None:
    """Tokens that the model reads at most; None if unknown."""
    most = record.get("max_input_tokens")
    return int(most) if isinstance(most, int | float) and most > 0 else None


TAKES = {
    "image": "supports_vision",
    "PDF": "supports_pdf_input",
    "audio": "supports_audio_input",
    "video": "supports_video_input",
}


def accepted_files(record: Mapping[str, Any]) -> frozenset[str] | None:
    """The kinds of files that the model takes; None if unknown."""
    return frozenset(kind for kind, flag in TAKES.items() if record.get(flag)) if _is_whole(record) else None


def supports(record: Mapping[str, Any], flag: str) -> bool | None:
    """Return True if the model can do what the flag says; None if unknown."""
    return bool(record.get(flag)) if _is_whole(record) else None


def _is_whole(record: Mapping[str, Any]) -> bool:
    """Return True if the record lists capabilities, so that a missing one is absent; prices alone do not."""
    return any(name.startswith("supports_") for name in record)


def chat_models() -> list[str]:
    """PROVIDER/MODEL of all that litellm knows, if it has been imported; else the defaults alone."""
    known = {*DEFAULT_MODELS.values(), LOCAL}
    if is_imported():
        import litellm

        for name, record in litellm.model_cost.items():
            provider = str(record.get("litellm_provider", ""))
            if record.get("mode") in ("chat", "responses"):
                known.add(name if "/" in name or not provider else f"{provider}/{name}")
    return sorted(known)


def register(models: Mapping[str, Mapping[str, Any]] | str) -> None:
    """Tell litellm of models. Raises BadInput for what it does not take."""
    import litellm

    try:
        litellm.register_model(models)
    except Exception as error:
        raise BadInput(
            f"litellm does not take these models: {' '.join(str(error).split())}",
            'Write them as {"PROVIDER/MODEL": {"litellm_provider": …, "input_cost_per_token": …, …}}.',
        ) from None


def missing_keys(wire: str, api_key: str) -> list[str]:
    """Return the environment variables that could hold the model's key, if none of them is set."""
    import litellm

    with contextlib.suppress(Exception):
        result = litellm.validate_environment(wire, api_key=api_key or None)
        if not result["keys_in_environment"]:
            return [name for name in result["missing_keys"] if not os.environ.get(name)]
    return []
