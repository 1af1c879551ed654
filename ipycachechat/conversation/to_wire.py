"""Messages as the OpenAI-style dicts that litellm takes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ipycachechat.conversation.messages import Attachment, Message, Part, Thinking, ToolCall

Json = dict[str, Any]


FILE_ID = "file-id://"
"""Before the id of a file that the provider has already."""


def to_wire(message: Message) -> Json:
    """One message; with no content rather than an empty one, which litellm would fill with words of its own."""
    content = message.content
    if isinstance(content, str):
        sent: Json = {
            "role": message.role,
            "content": replace_surrogates(content) if content.strip() else None,
        }
    else:
        parts = [_part(part) for part in content if isinstance(part, Attachment) or part.strip()]
        sent = {"role": message.role, "content": parts or None}
    if message.role == "tool":
        sent |= {"tool_call_id": message.tool_call_id, "content": sent["content"] or ""}
    if message.tool_calls:
        sent["tool_calls"] = [_call(call) for call in message.tool_calls]
    if message.thinking:
        sent |= _thinking_fields(message.thinking)
    return sent


def _thinking_fields(thoughts: Sequence[Thinking]) -> Json:
    """Thoughts in the fields of the provider that signed them."""
    sent: Json = {}
    if blocks := [_thinking(thought) for thought in thoughts if thought.provider == "claude"]:
        sent["thinking_blocks"] = blocks
    if items := [json.loads(thought.encrypted) for thought in thoughts if thought.provider == "openai"]:
        sent["reasoning_items"] = items
    if seals := [
        thought.signature for thought in thoughts if thought.provider == "gemini" and thought.signature
    ]:
        sent["provider_specific_fields"] = {"thought_signatures": seals}
    return sent


def _part(part: Part) -> Json:
    """A text or a file as a part of a message."""
    if isinstance(part, str):
        return {"type": "text", "text": replace_surrogates(part)}
    address = part.data if part.is_address else f"data:{part.media_type};base64,{part.data}"
    if part.kind == "image":
        return {
            "type": "image_url",
            "image_url": {"url": address} | ({"detail": part.detail} if part.detail else {}),
        }
    if part.kind == "audio" and not part.is_address:
        return {
            "type": "input_audio",
            "input_audio": {"data": part.data, "format": part.media_type.partition("/")[2]},
        }
    name = {"filename": part.name} if part.name else {}
    if part.is_address:
        return {
            "type": "file",
            "file": {"file_id": part.data.removeprefix(FILE_ID), "format": part.media_type} | name,
        }
    return {"type": "file", "file": {"file_data": address} | name}


def _call(call: ToolCall) -> Json:
    sent: Json = {"id": call.id, "type": "function"}
    sent["function"] = {"name": call.name, "arguments": replace_surrogates(call.arguments)}
    if call.signature:
        sent["provider_specific_fields"] = {"thought_signature": call.signature}
    return sent


def _thinking(thought: Thinking) -> Json:
    """A sealed thought as Claude wants it back, which litellm calls by the same names."""
    if thought.encrypted:
        return {"type": "redacted_thinking", "data": thought.encrypted}
    return {"type": "thinking", "thinking": thought.text, "signature": thought.signature}


def replace_surrogates(text: str) -> str:
    """The text with halves of characters (lone surrogates), which no request can carry, as U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def loads(definition: str) -> Json:
    """A tool's definition."""
    found: Json = json.loads(definition)
    return found
