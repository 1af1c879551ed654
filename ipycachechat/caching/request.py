"""Messages and options of one request, with checkpoints placed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ipycachechat.caching.prefix import (
    FILE_TOKENS,
    PrefixChain,
    PromptMessage,
    RequestOptions,
    estimate_tokens,
)
from ipycachechat.caching.rules import CacheRules, Tier
from ipycachechat.caching.state import Checkpoint
from ipycachechat.conversation.messages import Message
from ipycachechat.conversation.model_view import ModelView, visible_messages
from ipycachechat.conversation.to_wire import Json, to_wire
from ipycachechat.conversation.turns import Conversation, Turn
from ipycachechat.defaults import TTL_SECONDS

# Options with the provider's default value. The first two are not sent, since litellm would turn them into others.
NOT_SENT = {("tool_choice", '"auto"'), ("parallel_tool_calls", "true")}
DEFAULTS = NOT_SENT | {("thinking", '{"type":"disabled"}')}


def prompt_messages(
    past: Conversation, turn: Turn, view: ModelView = ModelView(), system: str | None = None
) -> list[PromptMessage]:
    """Return the messages of a request: system prompt, past turns, new turn. `system` replaces the conversation's."""
    text = past.system if system is None else system
    messages = [PromptMessage(Message("system", text))] if text.strip() else []
    last = len(past.turns)
    for number, each in enumerate((*past.turns, turn)):
        cell = each.cell.id if each.cell else ""
        visible = visible_messages(each, view, earlier=number < last)
        messages += [PromptMessage(message, number, cell, each.pinned) for message in visible]
    return messages


def request_options(
    rules: CacheRules, tools: Sequence[Json] = (), options: Mapping[str, Any] | None = None
) -> RequestOptions:
    """Return the options that are sent with the messages; `options` by litellm's names."""
    sent = {name: _json(value) for name, value in sorted((options or {}).items()) if value is not None}
    changed = [option for option in sent.items() if option not in DEFAULTS]

    def from_tier(tier: Tier) -> tuple[tuple[str, str], ...]:
        return tuple(option for option in changed if rules.invalidates.get(option[0]) == tier)

    return RequestOptions(
        tools=tuple(_json(tool) for tool in tools),
        options=tuple(sent.items()),
        system=from_tier("system"),
        messages=from_tier("messages"),
        images_change_prefix="image" in rules.invalidates,
    )


def wire_options(options: RequestOptions) -> Json:
    """Return the options as litellm takes them."""
    wire: Json = {name: json.loads(value) for name, value in options.options if (name, value) not in NOT_SENT}
    if options.tools:
        wire["tools"] = [json.loads(tool) for tool in options.tools]
    return wire


def wire_messages(messages: Sequence[PromptMessage]) -> list[Json]:
    """Return the messages as litellm takes them, without checkpoints."""
    return [to_wire(item.message) for item in messages]


def place_checkpoints(
    messages: Sequence[Json], chain: PrefixChain, checkpoints: Sequence[Checkpoint], rules: CacheRules
) -> list[Json]:
    """Return the messages with a marker at each checkpoint, in the provider's format.

    Claude's tool results are marked as a message: a marker inside their content would land on a part that cannot be
    cached. A tool call is marked itself, since a message's marker would land on the text before it.
    """
    marked = list(messages)
    for checkpoint in checkpoints:
        prefix = chain.prefixes[checkpoint.index]
        message = dict(marked[prefix.message])
        marker: Json = {rules.marker: _marker_value(rules, checkpoint.ttl)}
        if prefix.kind == "tool_result" and rules.marker == "cache_control":
            message |= marker
        elif prefix.kind == "tool_use":
            *before, call = message["tool_calls"]
            message["tool_calls"] = [*before, call | marker]
        elif isinstance(message["content"], list):
            *before, part = message["content"]
            message["content"] = [*before, part | marker]
        elif isinstance(message["content"], str) and message["content"].strip():
            message["content"] = [{"type": "text", "text": message["content"], **marker}]
        marked[prefix.message] = message
    return marked


def _marker_value(rules: CacheRules, ttl: int) -> Json:
    if rules.marker == "prompt_cache_breakpoint":
        return {"mode": "explicit"}
    return {"type": "ephemeral", "ttl": next(name for name, seconds in TTL_SECONDS.items() if seconds == ttl)}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def estimate_prompt(messages: Sequence[PromptMessage]) -> int:
    """Return a rough number of tokens, at least 1; it is always shown with "≈"."""
    sizes = (estimate_tokens(item.message.text) + FILE_TOKENS * len(item.message.files) for item in messages)
    return max(1, round(sum(sizes)))
