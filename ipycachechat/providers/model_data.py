"""Prices, limits, capabilities and names of models from litellm's model map, and token estimates, without a request."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Mapping
from typing import Any

from ipycachechat.billing.pricing import Price, Rates
from ipycachechat.caching.prefix import estimate_tokens
from ipycachechat.defaults import DEFAULT_MODELS, LOCAL
from ipycachechat.errors import BadInput
from ipycachechat.providers.litellm_import import is_imported

Record = Mapping[str, Any]
"""An entry of litellm's model map."""
RATE_FIELDS = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "read": "cache_read_input_token_cost",
    "write": "cache_creation_input_token_cost",
    "write_1h": "cache_creation_input_token_cost_above_1hr",
    "thinking": "output_cost_per_reasoning_token",
}
"""litellm's name of each rate."""
FILE_FLAGS = {
    "image": "supports_vision",
    "PDF": "supports_pdf_input",
    "audio": "supports_audio_input",
    "video": "supports_video_input",
}
"""litellm's flag for each kind of file."""
MAX_RATE = 1_000.0
"""Dollars per token; more is a mistake."""
PIECE_LENGTH = 4096
"""Characters that are tokenized at a time: for one long word, such as an image in base64, time grows quadratically."""


def model_record(data: Mapping[str, Record], provider: str, name: str) -> Record:
    """Return litellm's record of a model, with or without the route in its name (`converse/`); empty if unknown."""
    for key in (name, name.rpartition("/")[2]):
        if record := data.get(f"{provider}/{key}"):
            return record
        record = data.get(key, {})
        if str(record.get("litellm_provider", "")).startswith(provider):
            return record
    return {}


def price_of(record: Record) -> Price:
    """Return the rates of a model. A price of zero is unknown: only the local model is free."""
    rates = base = {ours: _rate(record.get(theirs)) for ours, theirs in RATE_FIELDS.items()}
    if not base["input"]:
        return Price()
    sizes = {int(match[1]) for name in record if (match := re.search(r"_above_(\d+)k_tokens$", name))}
    above = []
    for size in sorted(sizes):
        higher = {
            ours: _rate(record.get(f"{theirs}_above_{size}k_tokens")) for ours, theirs in RATE_FIELDS.items()
        }
        # A rate without a price of its own above the size keeps the price below it.
        rates = rates | {ours: rate for ours, rate in higher.items() if rate is not None}
        above.append((size * 1000, Rates(**rates)))
    return Price(Rates(**base), tuple(above))


def max_output_tokens(record: Record, limit: int) -> int | None:
    """Return the tokens of the longest answer, at most `limit`; None if unknown."""
    longest = _size(record.get("max_output_tokens") or record.get("max_tokens"))
    return None if longest is None else min(longest, limit)


def max_input_tokens(record: Record) -> int | None:
    """Return the size of the context in tokens; None if unknown."""
    return _size(record.get("max_input_tokens"))


def _size(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and math.isfinite(value) and value > 0 else None


def _rate(value: Any) -> float | None:
    """Return dollars per token; None if the entry of the user or of litellm's map is not a price."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) and 0 <= value <= MAX_RATE else None


def accepted_files(record: Record) -> frozenset[str] | None:
    """Return the kinds of files that the model accepts; None if unknown."""
    if not _lists_capabilities(record):
        return None
    return frozenset(kind for kind, flag in FILE_FLAGS.items() if record.get(flag))


def supports(record: Record, flag: str) -> bool | None:
    """Return True if the model has the capability; None if unknown."""
    return bool(record.get(flag)) if _lists_capabilities(record) else None


def _lists_capabilities(record: Record) -> bool:
    """Return True if a flag that the record lacks is a capability that the model lacks."""
    return any(name.startswith("supports_") for name in record)


def chat_models() -> list[str]:
    """Return all models that litellm knows as PROVIDER/MODEL; the defaults alone if it is not imported yet."""
    models = {*DEFAULT_MODELS.values(), LOCAL}
    if is_imported():
        import litellm

        for name, record in litellm.model_cost.items():
            provider = str(record.get("litellm_provider", ""))
            if record.get("mode") in ("chat", "responses"):
                models.add(name if "/" in name or not provider else f"{provider}/{name}")
    return sorted(models)


def register(models: Mapping[str, Record] | str) -> None:
    """Add models to litellm's model map. Raises BadInput if litellm rejects them."""
    import litellm

    try:
        litellm.register_model(models)
    except Exception as error:
        raise BadInput(
            f"litellm rejects these models: {' '.join(str(error).split())}",
            'Write them as {"PROVIDER/MODEL": {"litellm_provider": …, "input_cost_per_token": …, …}}.',
        ) from None


def missing_keys(litellm_model: str, api_key: str) -> list[str]:
    """Return the environment variables that could hold the model's key, if none of them is set."""
    import litellm

    with contextlib.suppress(Exception):
        result = litellm.validate_environment(litellm_model, api_key=api_key or None)
        if not result["keys_in_environment"]:
            return [name for name in result["missing_keys"] if not os.environ.get(name)]
    return []


def count_tokens(text: str) -> float:
    """Estimate the tokens of a text with litellm's tokenizer, which is not the provider's own."""
    try:
        from litellm.litellm_core_utils.default_encoding import encoding
    except ImportError:  # not a public part of litellm
        return estimate_tokens(text)
    pieces = (text[start : start + PIECE_LENGTH] for start in range(0, len(text), PIECE_LENGTH))
    return float(sum(len(encoding.encode(piece, disallowed_special=())) for piece in pieces))
