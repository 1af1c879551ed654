"""Python arguments (`prompt=`, `hist=`) as content and messages."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from ipycachechat.conversation import from_wire
from ipycachechat.conversation.messages import Content, Message, Part
from ipycachechat.errors import BadInput, ChatError
from ipycachechat.prompts import content
from ipycachechat.prompts.describe import describe_value
from ipycachechat.prompts.duck_typing import has_attributes


def is_missing(value: Any) -> bool:
    """Return True if it stands for nothing, as in a column with gaps."""
    return (
        value is None or type(value).__name__ == "NAType" or (isinstance(value, float) and math.isnan(value))
    )


def _told(values: Sequence[Any]) -> list[Part]:
    return [describe_value(one) for one in values]


def to_content(value: Any, describe_values: Callable[[Sequence[Any]], Iterable[Part]] = _told) -> Content:
    """A prompt as a content: a message is its own. Raises BadInput.

    `tell`: makes parts of the values that it is made of.
    """
    try:
        return _prompt_of(value, describe_values)
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
        return content.join_parts(message.parts)
    if isinstance(value, list | tuple) and any(isinstance(one, Mapping) and "role" in one for one in value):
        raise BadInput(
            "The prompt is a list of messages", "Give the last as the prompt, and those before as hist=."
        )
    return content.join_parts(tell(content.flatten_values(value)))


def to_messages(hist: Iterable[Any]) -> list[Message]:
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
        found.append(_as_message(one, role) or Message(role, to_content(one)))
    return found


def _as_message(value: Any, role: Literal["user", "assistant"]) -> Message | None:
    """A message from its dict, or from one of litellm's objects; None if it is neither. Raises BadInput."""
    if (
        has_attributes(value, "model_dump")
        and isinstance(choices := getattr(value, "choices", None), list)
        and choices
    ):
        value, role = choices[0].message, "assistant"
    if not isinstance(value, Mapping) and hasattr(value, "role") and hasattr(value, "model_dump"):
        value = value.model_dump()
    if not isinstance(value, Mapping) or not ("role" in value or "content" in value):
        return None
    return from_wire.message(value, role)
