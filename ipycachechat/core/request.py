"""A conversation as the messages of one request, with their checkpoints, in the form that litellm takes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ipycachechat.core.cache import Mark
from ipycachechat.core.conversation import Conversation, File, Message
from ipycachechat.core.prefix import FILE_TOKENS, Chain, Said, Settings, guess
from ipycachechat.core.rules import SECONDS, Rules, Tier

Json = dict[str, Any]
# To say it is the same as not to say it. The first two are not said at all, since litellm makes a third thing of them.
UNSAID = {("tool_choice", '"auto"'), ("parallel_tool_calls", "true")}
DEFAULTS = UNSAID | {("thinking", '{"type":"disabled"}')}


def said(conversation: Conversation, prompt: str, system: str | None = None, cell: str = "") -> list[Said]:
    """System prompt, all turns, and the new prompt. `system` stands in for the conversation's."""
    text = conversation.system if system is None else system
    found = [Said(Message("system", text))] if text.strip() else []
    for number, turn in enumerate(conversation.turns):
        cell_id = turn.cell.id if turn.cell else ""
        found += [Said(message, number, cell_id, turn.pinned) for message in turn.messages]
    return [*found, Said(Message("user", prompt), len(conversation.turns), cell)]


def settings(by: Rules, tools: Sequence[Json] = (), options: Mapping[str, Any] | None = None) -> Settings:
    """What is sent beside the messages; `options` as litellm names them."""
    told = {name: _json(value) for name, value in sorted((options or {}).items()) if value is not None}
    changed = [one for one in told.items() if one not in DEFAULTS]

    def part(tier: Tier) -> tuple[tuple[str, str], ...]:
        return tuple(one for one in changed if by.invalidates.get(one[0]) == tier)

    return Settings(
        tuple(_json(tool) for tool in tools),
        tuple(told.items()),
        part("system"),
        part("messages"),
        "image" in by.invalidates,
    )


def options(settings: Settings) -> Json:
    """The settings as litellm takes them."""
    sent: Json = {name: json.loads(value) for name, value in settings.options if (name, value) not in UNSAID}
    if settings.tools:
        sent["tools"] = [json.loads(tool) for tool in settings.tools]
    return sent


def messages(sent: Sequence[Said]) -> list[Json]:
    """As litellm takes them."""
    return [wire(one.message) for one in sent]


def wire(message: Message) -> Json:
    """One message; with no content rather than an empty one, which litellm would fill with words of its own."""
    text = sendable(message.text)
    sent: Json = {"role": message.role, "content": text if text.strip() else None}
    if message.files:
        parts = [{"type": "text", "text": text}] if text.strip() else []
        sent["content"] = [*map(_file, message.files), *parts]
    if message.calls:
        sent["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.calls
        ]
    if message.role == "tool":
        sent |= {"tool_call_id": message.call_id, "content": text}
    return sent


def mark(messages: Sequence[Json], chain: Chain, marks: Sequence[Mark], by: Rules) -> list[Json]:
    """The messages with a checkpoint after each marked prefix, in the provider's form.

    Claude's tool results are marked as a message: inside of their content the marker would land on a part that
    cannot be cached. A call is marked itself, since a message's marker would land on the text before it.
    """
    marked = list(messages)
    for one in marks:
        prefix = chain.prefixes[one.at]
        message = dict(marked[prefix.message])
        marker: Json = {by.marker: _marker(by, one.ttl)}
        if prefix.kind == "tool_result" and by.marker == "cache_control":
            message |= marker
        elif prefix.kind == "tool_use":
            *before, call = message["tool_calls"]
            message["tool_calls"] = [*before, call | marker]
        elif isinstance(message["content"], list):
            *others, end = message["content"]
            message["content"] = [*others, end | marker]
        elif isinstance(message["content"], str) and message["content"].strip():
            message["content"] = [{"type": "text", "text": message["content"], **marker}]
        marked[prefix.message] = message
    return marked


def _marker(by: Rules, ttl: int) -> Json:
    """What the marker's field says."""
    if by.marker == "prompt_cache_breakpoint":
        return {"mode": "explicit"}
    name = next(name for name, seconds in SECONDS.items() if seconds == ttl)
    return {"type": "ephemeral", "ttl": name}


def _file(file: File) -> Json:
    """A file as a part of a message."""
    return {"type": "image_url", "image_url": {"url": f"data:{file.media};base64,{file.data}"}}


def sendable(text: str) -> str:
    """The text with halves of characters (lone surrogates), which no request can carry, as U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def estimate(sent: Sequence[Said]) -> int:
    """Tokens, roughly: a guess that is always shown with "≈"."""
    return max(1, round(sum(guess(one.message.text) + FILE_TOKENS * len(one.message.files) for one in sent)))
