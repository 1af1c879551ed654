"""A conversation as the messages of one request, in the form that litellm takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ipycachechat.core.conversation import Conversation, Message

Json = dict[str, Any]

# No exact count is known before the provider has counted.
CHARACTERS_A_TOKEN = 4


def messages(conversation: Conversation, prompt: str, system: str | None = None) -> list[Json]:
    """System prompt, all turns, and the new prompt. `system` stands in for the conversation's."""
    text = conversation.system if system is None else system
    said = [message for turn in conversation.turns for message in turn.messages]
    sent = [Message("system", text)] if text.strip() else []
    return [wire(message) for message in (*sent, *said, Message("user", prompt))]


def wire(message: Message) -> Json:
    """One message; with no content rather than an empty one, which litellm would fill with words of its own."""
    text = sendable(message.text)
    sent: Json = {"role": message.role, "content": text if text.strip() else None}
    if message.calls:
        sent["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.calls
        ]
    if message.role == "tool":
        sent |= {"tool_call_id": message.call_id, "content": text}
    return sent


def sendable(text: str) -> str:
    """The text with halves of characters (lone surrogates), which no request can carry, as U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def estimate(sent: Sequence[Json]) -> int:
    """Tokens, roughly: a guess that is always shown with "≈"."""
    return max(1, round(sum(len(str(message["content"] or "")) for message in sent) / CHARACTERS_A_TOKEN))
