"""CallOptions: the options of one call, checked."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, SupportsFloat

from ipycachechat import defaults
from ipycachechat.errors import BadInput

RESERVED = frozenset(
    "stream messages n num_retries max_retries mock_response hist session client base_url budget".split()
)
"""Options of litellm or of the constructor that a call may not set."""


@dataclass(frozen=True, slots=True)
class CallOptions:
    """A chat's own options, as its constructor takes them, and `extra`: litellm's. Raises BadInput for wrong ones."""

    extra: Mapping[str, Any]
    _: KW_ONLY
    model: Any
    tools: Any
    ns: Any
    cache: Any
    ttl: Any
    temp: Any
    max_tokens: Any
    think: Any
    api_base: Any
    api_key: Any
    max_steps: Any
    retries: Any

    def __post_init__(self) -> None:
        if self.ttl not in list(defaults.TTLS):
            raise BadInput(f"ttl={self.ttl!r} is not a lifetime", f"Use one of: {', '.join(defaults.TTLS)}.")
        if self.think not in [None, *defaults.EFFORTS]:
            raise BadInput(f"think={self.think!r} is not an effort", f"Use: {', '.join(defaults.EFFORTS)}.")
        if self.temp is not None and not _is_number(self.temp, 0, 2):
            raise BadInput(f"temp={self.temp!r} is not a temperature", "Give a number from 0 to 2.")
        if self.max_tokens is not None:
            _check_count("max_tokens", self.max_tokens, 1)
        _check_count("max_steps", self.max_steps, 0)
        _check_count("retries", self.retries, 0)
        for name, text in (("model", self.model), ("api_base", self.api_base), ("api_key", self.api_key)):
            if text is not None and not (isinstance(text, str) and text.isprintable()):
                kind = "text that cannot be sent" if isinstance(text, str) else type(text).__name__
                raise BadInput(f"{name} is a {kind}", "Give a text of one line.")
        for name, value in self.extra.items():
            if name in RESERVED:
                raise BadInput(f"{name}= cannot be set here", "Leave it out; see help(Chat).")
            try:
                json.dumps(value)
            except (TypeError, ValueError):
                raise BadInput(
                    f"{name}= is a {type(value).__name__}, which cannot be sent",
                    "Give a value that JSON can hold; for a typed answer use chat.structured.",
                ) from None


def system_text(text: Any) -> str:
    """Return a system prompt. Raises BadInput."""
    if not isinstance(text, str):
        raise BadInput(f"system is a {type(text).__name__}", "Give the system prompt as a text.")
    return text


def dollars(budget: Any) -> float:
    """Return a budget in US dollars; 0 for None. Raises BadInput."""
    if budget is None:
        return 0.0
    if not _is_number(budget, 0, 1e9) or not float(budget):
        raise BadInput(f"budget={budget!r} is not a budget", "Give dollars, more than 0; None for no budget.")
    return float(budget)


def _check_count(name: str, value: Any, minimum: int) -> None:
    if not _is_number(value, minimum, 1 << 31) or value != int(value):
        raise BadInput(f"{name}={value!r} is not a whole number", f"Give a whole number, {minimum} or more.")


def _is_number(value: Any, minimum: float, maximum: float) -> bool:
    """Return True for Python's and numpy's numbers in this range, but not for booleans."""
    if isinstance(value, bool | str) or not isinstance(value, SupportsFloat):
        return False
    return math.isfinite(float(value)) and minimum <= float(value) <= maximum
