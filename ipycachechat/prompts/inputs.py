"""What is handed over from Python, checked, and made into the values of a conversation."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, SupportsFloat

from ipycachechat import defaults
from ipycachechat.conversation import from_wire
from ipycachechat.conversation.turns import Content, Message, Part
from ipycachechat.errors import BadInput, ChatError
from ipycachechat.prompts import content
from ipycachechat.prompts.describe import given
from ipycachechat.prompts.duck_typing import has


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


def check(own: Mapping[str, Any], options: Mapping[str, Any]) -> None:
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


def is_missing(value: Any) -> bool:
    """Whether it stands for nothing, as in a column with gaps."""
    return (
        value is None or type(value).__name__ == "NAType" or (isinstance(value, float) and math.isnan(value))
    )


def _is_number(value: Any, least: float, most: float) -> bool:
    """Python's numbers and numpy's, but no truth values."""
    if isinstance(value, bool) or not isinstance(value, SupportsFloat) or isinstance(value, str):
        return False
    return math.isfinite(float(value)) and least <= float(value) <= most


def _told(values: Sequence[Any]) -> list[Part]:
    return [given(one) for one in values]


def prompt_of(value: Any, tell: Callable[[Sequence[Any]], Iterable[Part]] = _told) -> Content:
    """A prompt as a content: a message is its own. Raises BadInput.

    `tell`: makes parts of the values that it is made of.
    """
    try:
        return _prompt_of(value, tell)
    except ChatError:
        raise
    except Exception as error:  # of a class that answers to nothing
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise BadInput(f"A value in the prompt cannot be looked at: {why}"[:300], "Give its str().") from None


def _prompt_of(value: Any, tell: Callable[[Sequence[Any]], Iterable[Part]]) -> Content:
    if message := _as_message(value, "user"):
        if message.role != "user":
            raise BadInput(
                f"The prompt is a message of the {message.role}'s", "Give the user's; earlier ones are hist=."
            )
        return content.joined(message.parts)
    if isinstance(value, list | tuple) and any(isinstance(one, Mapping) and "role" in one for one in value):
        raise BadInput(
            "The prompt is a list of messages", "Give the last as the prompt, and those before as hist=."
        )
    return content.joined(tell(content.values(value)))


def messages_of(hist: Iterable[Any]) -> list[Message]:
    """Whatever stands for messages, with roles that alternate from the user's. Raises BadInput."""
    if isinstance(hist, str | bytes | Mapping) or not isinstance(hist, Iterable):
        raise BadInput(
            f"hist is a {type(hist).__name__}", "Give a list: what was asked, what was answered, and so on."
        )
    found: list[Message] = []
    for one in hist:
        after = found[-1].role if found else "system"
        role: Literal["user", "assistant"] = "user" if after in ("assistant", "system") else "assistant"
        if one is None:
            raise BadInput(f"Message {len(found) + 1} of hist is None", "Leave it out.")
        found.append(_as_message(one, role) or Message(role, prompt_of(one)))
    return found


def _as_message(value: Any, role: Literal["user", "assistant"]) -> Message | None:
    """A message from its dict, or from one of litellm's objects; None if it is neither. Raises BadInput."""
    if has(value, "model_dump") and isinstance(choices := getattr(value, "choices", None), list) and choices:
        value, role = choices[0].message, "assistant"
    if not isinstance(value, Mapping) and hasattr(value, "role") and hasattr(value, "model_dump"):
        value = value.model_dump()
    if not isinstance(value, Mapping) or not ("role" in value or "content" in value):
        return None
    return from_wire.message(value, role)
