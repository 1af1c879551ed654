"""Messages as the OpenAI-style dicts that litellm takes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ipycachechat.conversation.messages import File, Message, Part, Thinking, ToolCall

Json = dict[str, Any]


FILE_ID = "file-id://"
"""Before the id of a file that the provider has already."""


def wire(message: Message) -> Json:
    """One message; with no content rather than an empty one, which litellm would fill with words of its own."""
    content = message.content
    if isinstance(content, str):
        sent: Json = {"role": message.role, "content": sendable(content) if content.strip() else None}
    else:
        parts = [_part(part) for part in content if isinstance(part, File) or part.strip()]
        sent = {"role": message.role, "content": parts or None}
    if message.role == "tool":
        sent |= {"tool_call_id": message.call_id, "content": sent["content"] or ""}
    if message.calls:
        sent["tool_calls"] = [_call(call) for call in message.calls]
    if message.thoughts:
        sent |= _sealed(message.thoughts)
    return sent


def _sealed(thoughts: Sequence[Thinking]) -> Json:
    """Thoughts in the fields of whoever sealed them."""
    sent: Json = {}
    if blocks := [_thinking(thought) for thought in thoughts if thought.provider == "claude"]:
        sent["thinking_blocks"] = blocks
    if items := [json.loads(thought.hidden) for thought in thoughts if thought.provider == "openai"]:
        sent["reasoning_items"] = items
    if seals := [thought.signature for thought in thoughts if thought.provider == "gemini" and thought.signature]:
        sent["provider_specific_fields"] = {"thought_signatures": seals}
    return sent


def _part(part: Part) -> Json:
    """A text or a file as a part of a message."""
    if isinstance(part, str):
        return {"type": "text", "text": sendable(part)}
    address = part.data if part.is_address else f"data:{part.media};base64,{part.data}"
    if part.kind == "image":
        return {
            "type": "image_url",
            "image_url": {"url": address} | ({"detail": part.detail} if part.detail else {}),
        }
    if part.kind == "audio" and not part.is_address:
        return {
            "type": "input_audio",
            "input_audio": {"data": part.data, "format": part.media.partition("/")[2]},
        }
    name = {"filename": part.name} if part.name else {}
    if part.is_address:
        return {
            "type": "file",
            "file": {"file_id": part.data.removeprefix(FILE_ID), "format": part.media} | name,
        }
    return {"type": "file", "file": {"file_data": address} | name}


def _call(call: ToolCall) -> Json:
    sent: Json = {"id": call.id, "type": "function"}
    sent["function"] = {"name": call.name, "arguments": sendable(call.arguments)}
    if call.signature:
        sent["provider_specific_fields"] = {"thought_signature": call.signature}
    return sent


def _thinking(thought: Thinking) -> Json:
    """A sealed thought as Claude wants it back, which litellm calls by the same names."""
    if thought.hidden:
        return {"type": "redacted_thinking", "data": thought.hidden}
    return {"type": "thinking", "thinking": thought.text, "signature": thought.signature}


def sendable(text: str) -> str:
    """The text with halves of characters (lone surrogates), which no request can carry, as U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def loads(definition: str) -> Json:
    """A tool's definition."""
    found: Json = json.loads(definition)
    return found
