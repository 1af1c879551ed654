"""Messages as the OpenAI-style dicts that litellm takes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ipycachechat.conversation.messages import Attachment, Message, Part, Thinking, ToolCall

Json = dict[str, Any]
FILE_ID = "file-id://"
"""Prefix of `Attachment.data` for a file that the provider stores, followed by its id."""


def to_wire(message: Message) -> Json:
    """Return a message as a dict. Empty content becomes None, since litellm would put a text of its own into it."""
    content = message.content
    wire: Json = {"role": message.role}
    if isinstance(content, str):
        wire["content"] = replace_surrogates(content) if content.strip() else None
    else:
        parts = [_part(part) for part in content if isinstance(part, Attachment) or part.strip()]
        wire["content"] = parts or None
    if message.role == "tool":
        wire |= {"tool_call_id": message.tool_call_id, "content": wire["content"] or ""}
    if message.tool_calls:
        wire["tool_calls"] = [_call(call) for call in message.tool_calls]
    return wire | _thinking_fields(message.thinking)


def _thinking_fields(thinking: Sequence[Thinking]) -> Json:
    """Return thinking in the fields of the provider that signed it."""
    fields: Json = {}
    if blocks := [_claude_block(block) for block in thinking if block.provider == "claude"]:
        fields["thinking_blocks"] = blocks
    if items := [json.loads(block.encrypted) for block in thinking if block.provider == "openai"]:
        fields["reasoning_items"] = items
    if signatures := [b.signature for b in thinking if b.provider == "gemini" and b.signature]:
        fields["provider_specific_fields"] = {"thought_signatures": signatures}
    return fields


def _claude_block(block: Thinking) -> Json:
    if block.encrypted:
        return {"type": "redacted_thinking", "data": block.encrypted}
    return {"type": "thinking", "thinking": block.text, "signature": block.signature}


def _part(part: Part) -> Json:
    if isinstance(part, str):
        return {"type": "text", "text": replace_surrogates(part)}
    address = part.data if part.is_address else f"data:{part.media_type};base64,{part.data}"
    if part.kind == "image":
        detail = {"detail": part.detail} if part.detail else {}
        return {"type": "image_url", "image_url": {"url": address} | detail}
    if part.kind == "audio" and not part.is_address:
        audio = {"data": part.data, "format": part.media_type.partition("/")[2]}
        return {"type": "input_audio", "input_audio": audio}
    name = {"filename": part.name} if part.name else {}
    if part.is_address:
        file = {"file_id": part.data.removeprefix(FILE_ID), "format": part.media_type}
    else:
        file = {"file_data": address}
    return {"type": "file", "file": file | name}


def _call(call: ToolCall) -> Json:
    wire: Json = {"id": call.id, "type": "function"}
    wire["function"] = {"name": call.name, "arguments": replace_surrogates(call.arguments)}
    if call.signature:
        wire["provider_specific_fields"] = {"thought_signature": call.signature}
    return wire


def replace_surrogates(text: str) -> str:
    """Replace lone surrogates (halves of characters), which no request can carry, by U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
