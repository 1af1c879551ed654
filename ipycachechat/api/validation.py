"""Check the options of the constructor and of single calls."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, SupportsFloat

from ipycachechat import defaults
from ipycachechat.errors import BadInput


def system_text(text: Any) -> str:
    if not isinstance(text, str):
        raise BadInput(f"system is a {type(text).__name__}", "Give the system prompt as a text.")
    return text


RESERVED = (
    "stream",
    "messages",
    "n",
    "num_retries",
    "max_retries",
    "mock_response",
    "hist",
    "client",
    "base_url",
    "budget",
)


def validate_options(own: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Raises BadInput for settings that no model takes."""
    if own["ttl"] not in list(defaults.TTLS):
        raise BadInput(
            f"ttl={own['ttl']!r}: this is no lifetime", f"Lifetimes are: {', '.join(defaults.TTLS)}."
        )
    if own["think"] not in [None, *defaults.EFFORTS]:
        raise BadInput(
            f"think={own['think']!r}: this is no effort", f"Efforts are: {', '.join(defaults.EFFORTS)}."
        )
    if own["temp"] is not None and not _is_number(own["temp"], 0, 2):
        raise BadInput(f"temp={own['temp']!r}: this is no temperature", "Give a number, 0 to 2.")
    for name, least in (("max_tokens", 1), ("max_steps", 0), ("retries", 0)):
        value = own[name]
        whole = _is_number(value, least, 1 << 31) and value == int(value)
        if not whole and not (value is None and name == "max_tokens"):
            raise BadInput(f"{name}={value!r}: this is no number of {least} or more", "Give a whole number.")
    for name in ("model", "api_base", "api_key"):
        if own[name] is not None and not (isinstance(own[name], str) and own[name].isprintable()):
            told = type(own[name]).__name__ if not isinstance(own[name], str) else "text that cannot be sent"
            raise BadInput(f"{name} is a {told}", "Give a text in one line.")
    for name, value in options.items():
        if name in RESERVED:
            raise BadInput(f"{name}= is not for you to set here", "Leave it out; see help(Chat).")
        try:
            json.dumps(value)
        except (TypeError, ValueError):
            raise BadInput(
                f"{name}= is a {type(value).__name__}, which cannot be sent",
                "Give what JSON can hold; for a typed answer there is chat.structured.",
            ) from None


def dollars(value: Any) -> float:
    """A budget; None: none. Raises BadInput."""
    if value is None:
        return 0.0
    if not _is_number(value, 0, 1e9) or not float(value):
        raise BadInput(f"budget={value!r}: this is no budget", "Give dollars, more than 0; None: no budget.")
    return float(value)


def _is_number(value: Any, least: float, most: float) -> bool:
    """Python's numbers and numpy's, but no truth values."""
    if isinstance(value, bool) or not isinstance(value, SupportsFloat) or isinstance(value, str):
        return False
    return math.isfinite(float(value)) and least <= float(value) <= most
