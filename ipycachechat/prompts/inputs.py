"""Python arguments (`prompt=`, `hist=`) as content and messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from ipycachechat.conversation import from_wire
from ipycachechat.conversation.messages import Content, Message, Part
from ipycachechat.errors import BadInput, ChatError
from ipycachechat.prompts import content
from ipycachechat.prompts.describe import describe_value
from ipycachechat.prompts.duck_typing import has_attributes
from ipycachechat.text.redaction_log import RedactionLog

DescribeValues = Callable[[Sequence[Any]], Iterable[Part]]


def _describe_all(values: Sequence[Any]) -> list[Part]:
    redact = RedactionLog()  # which leaves them as they are: Python code gives what it means to send
    return [describe_value(value, redact) for value in values]


def to_content(value: Any, describe_values: DescribeValues = _describe_all) -> Content:
    """Return a prompt as content. Raises BadInput.

    `describe_values` makes parts of the values that it consists of; a user message keeps its own content.
    """
    try:
        if message := _as_message(value, "user"):
            if message.role != "user":
                raise BadInput(
                    f"The prompt is a message of the role {message.role!r}",
                    "Give a user message; earlier messages are hist=.",
                )
            return content.join_parts(message.parts)
        if isinstance(value, list | tuple) and any(
            isinstance(item, Mapping) and "role" in item for item in value
        ):
            raise BadInput(
                "The prompt is a list of messages", "Give the last as the prompt, and those before as hist=."
            )
        return content.join_parts(describe_values(content.flatten_values(value)))
    except ChatError:
        raise
    except Exception as error:  # raised by an attribute of the user's own object
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise BadInput(f"A value in the prompt cannot be read: {reason}"[:300], "Give its str().") from None


def to_messages(hist: Iterable[Any]) -> list[Message]:
    """Return `hist` as messages. Values without a role alternate, starting with the user's. Raises BadInput."""
    if isinstance(hist, str | bytes | Mapping) or not isinstance(hist, Iterable):
        raise BadInput(f"hist is a {type(hist).__name__}", "Give a list: a question, its answer, and so on.")
    messages: list[Message] = []
    for value in hist:
        last = messages[-1].role if messages else "system"
        role: Literal["user", "assistant"] = "user" if last in ("assistant", "system") else "assistant"
        if value is None:
            raise BadInput(f"Message {len(messages) + 1} of hist is None", "Leave it out.")
        messages.append(_as_message(value, role) or Message(role, to_content(value)))
    return messages


def _as_message(value: Any, role: Literal["user", "assistant"]) -> Message | None:
    """Return the message of a dict or of one of litellm's objects; None if it is neither. Raises BadInput."""
    if has_attributes(value, "model_dump"):
        choices = getattr(value, "choices", None)
        if isinstance(choices, list) and choices:
            value, role = choices[0].message, "assistant"
    if not isinstance(value, Mapping) and hasattr(value, "role") and hasattr(value, "model_dump"):
        value = value.model_dump()
    if not isinstance(value, Mapping) or not ("role" in value or "content" in value):
        return None
    return from_wire.message(value, role)
