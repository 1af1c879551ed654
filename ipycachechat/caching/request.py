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

# To say it is the same as not to say it. The first two are not said at all, since litellm makes a third thing of them.
UNSAID = {("tool_choice", '"auto"'), ("parallel_tool_calls", "true")}
DEFAULTS = UNSAID | {("thinking", '{"type":"disabled"}')}


def prompt_messages(
    past: Conversation, turn: Turn, eyes: ModelView = ModelView(), system: str | None = None
) -> list[PromptMessage]:
    """System prompt, all turns of the past, and the turn at hand. `system` stands in for the conversation's."""
    text = past.system if system is None else system
    found = [PromptMessage(Message("system", text))] if text.strip() else []
    last = len(past.turns)
    for number, one in enumerate((*past.turns, turn)):
        cell = one.cell.id if one.cell else ""
        visible = visible_messages(one, eyes, earlier=number < last)
        found += [PromptMessage(message, number, cell, one.pinned) for message in visible]
    return found


def request_options(
    by: CacheRules, tools: Sequence[Json] = (), options: Mapping[str, Any] | None = None
) -> RequestOptions:
    """Return the options that are sent with the messages; `options` by litellm's names."""
    told = {name: _json(value) for name, value in sorted((options or {}).items()) if value is not None}
    changed = [one for one in told.items() if one not in DEFAULTS]

    def part(tier: Tier) -> tuple[tuple[str, str], ...]:
        return tuple(one for one in changed if by.invalidates.get(one[0]) == tier)

    return RequestOptions(
        tuple(_json(tool) for tool in tools),
        tuple(told.items()),
        part("system"),
        part("messages"),
        "image" in by.invalidates,
    )


def wire_options(settings: RequestOptions) -> Json:
    """The settings as litellm takes them."""
    sent: Json = {name: json.loads(value) for name, value in settings.options if (name, value) not in UNSAID}
    if settings.tools:
        sent["tools"] = [json.loads(tool) for tool in settings.tools]
    return sent


def wire_messages(sent: Sequence[PromptMessage]) -> list[Json]:
    """As litellm takes them."""
    return [to_wire(one.message) for one in sent]


def place_checkpoints(
    messages: Sequence[Json], chain: PrefixChain, marks: Sequence[Checkpoint], by: CacheRules
) -> list[Json]:
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


def _marker(by: CacheRules, ttl: int) -> Json:
    """Return the value of the marker's field."""
    if by.marker == "prompt_cache_breakpoint":
        return {"mode": "explicit"}
    name = next(name for name, seconds in TTL_SECONDS.items() if seconds == ttl)
    return {"type": "ephemeral", "ttl": name}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def estimate_prompt(sent: Sequence[PromptMessage]) -> int:
    """Tokens, roughly: a guess that is always shown with "≈"."""
    return max(
        1,
        round(sum(estimate_tokens(one.message.text) + FILE_TOKENS * len(one.message.files) for one in sent)),
    )
