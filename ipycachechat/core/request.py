"""A conversation as the messages of one request, in the form that litellm takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ipycachechat.core.conversation import Conversation, Message
from ipycachechat.core.prefix import Said, guess

Json = dict[str, Any]


def said(conversation: Conversation, prompt: str, system: str | None = None, cell: str = "") -> list[Said]:
    """System prompt, all turns, and the new prompt. `system` stands in for the conversation's."""
    text = conversation.system if system is None else system
    found = [Said(Message("system", text))] if text.strip() else []
    for number, turn in enumerate(conversation.turns):
        found += [Said(message, number, turn.cell.id if turn.cell else "") for message in turn.messages]
    return [*found, Said(Message("user", prompt), len(conversation.turns), cell)]


def messages(sent: Sequence[Said]) -> list[Json]:
    """As litellm takes them."""
    return [wire(one.message) for one in sent]


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


def estimate(sent: Sequence[Said]) -> int:
    """Tokens, roughly: a guess that is always shown with "≈"."""
    return max(1, round(sum(guess(one.message.text) for one in sent)))
