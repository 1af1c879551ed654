"""Anthropic Messages: validate a request and turn it into the blocks of its prompt.

The order is tools, system, messages; a plain string is one text block; neighbours of one role are one turn.
Source: platform.claude.com/docs/en/build-with-claude/prompt-caching.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from .anthropic_rules import (
    THINKING,
    check_mark,
    check_marks,
    check_options,
    check_order,
    check_part,
    check_tools,
    inner_system,
    keeps_thinking,
    results_only,
)
from .cache import HOUR, MINUTES_5, Block, Tier
from .calls import Call, Json, need
from .tokens import canonical, count_json, count_part

PARAMETERS = frozenset(
    [
        "model",
        "messages",
        "system",
        "tools",
        "tool_choice",
        "max_tokens",
        "stream",
        "temperature",
        "top_p",
        "top_k",
        "stop_sequences",
        "metadata",
        "thinking",
        "service_tier",
        "container",
        "context_management",
        "mcp_servers",
        "output_config",
        "output_format",
        "cache_control",
        "speed",
        "inference_geo",
        "diagnostics",
        "betas",
    ]
)
LIFETIMES = {"5m": MINUTES_5, "1h": HOUR}


def read_request(body: Json) -> Call:
    """Validate a request; ApiError if the service would refuse it."""
    for name in ("model", "max_tokens", "messages"):
        need(name in body, f"{name}: Field required")
    for name in body:
        need(name in PARAMETERS, f"{name}: Extra inputs are not permitted")
    limit, model = body["max_tokens"], body["model"]
    need(isinstance(limit, int) and limit >= 0, "max_tokens: Input should be greater than or equal to 0")
    check_options(body)
    need(body["messages"], "messages: at least one message is required")
    messages = [message_blocks(i, message, model) for i, message in enumerate(body["messages"])]
    roles = [message["role"] for message in body["messages"]]
    check_order(roles, messages, body)
    check_tools(roles, messages)
    head = [*tool_blocks(body.get("tools") or ()), *system_blocks(body.get("system"))]
    visible = list(visible_messages(roles, messages, model))
    blocks = [*head, *(block for i, parts in visible for block in prompt_blocks(roles[i], parts))]
    marked = automatic(check_marks(blocks), body.get("cache_control"))
    humans = [
        parts
        for role, parts in zip(roles, messages, strict=True)
        if role == "user" and not results_only(parts)
    ]
    last_user_message = humans[-1] if humans else []
    return Call(
        provider="anthropic",
        model=model,
        stream=bool(body.get("stream")),
        body=body,
        blocks=tuple(marked),
        turns=len(humans),
        user_text=" ".join(part["text"] for part in last_user_message if part["type"] == "text"),
        max_tokens=limit,
        seeds=seeds(body, messages),
        answers=tuple(text_of(part) for part in messages[-1] if part["type"] == "tool_result"),
    )


def text_blocks(content: object, path: str) -> list[dict[str, Any]]:
    """A content as a list of blocks: a plain string is one text block."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    need(isinstance(content, list), f"{path}: Input should be a valid list")
    assert isinstance(content, list)
    return content


def message_blocks(i: int, message: Json, model: str) -> list[dict[str, Any]]:
    """The blocks of one message, each checked."""
    for name in message:
        need(name in ("role", "content"), f"messages.{i}.{name}: Extra inputs are not permitted")
    roles = ("user", "assistant", "system") if inner_system(model) else ("user", "assistant")
    need(message.get("role") in roles, f"messages.{i}.role: Input should be 'user' or 'assistant'")
    need("content" in message, f"messages.{i}.content: Field required")
    parts = text_blocks(message["content"], f"messages.{i}.content")
    need(
        parts,
        f"messages.{i}: all messages must have non-empty content except for the optional final "
        "assistant message",
    )
    for j, part in enumerate(parts):
        check_part(part, f"messages.{i}.content.{j}")
    return parts


def automatic(blocks: list[Block], mark: Json | None) -> list[Block]:
    """Set the checkpoint of a top-level `cache_control` on the last block that can have one."""
    if mark is None:
        return blocks
    check_mark({"cache_control": mark}, "body")
    ttl = LIFETIMES[mark.get("ttl", "5m")]
    able = [i for i, block in enumerate(blocks) if block.kind not in THINKING]
    if not able:
        return blocks
    last_block = blocks[able[-1]]
    need(
        last_block.ttl in (None, ttl),
        "cache_control: the last block already has a cache_control with another ttl",
    )
    if last_block.ttl is None:
        count = sum(block.ttl is not None for block in blocks)
        need(count < 4, f"A maximum of 4 blocks with cache_control may be provided. Found {count + 1}.")
    return check_marks(
        [replace(block, ttl=ttl) if i == able[-1] else block for i, block in enumerate(blocks)]
    )


def tool_blocks(tools: list[dict[str, Any]] | tuple[()]) -> Iterator[Block]:
    """The blocks of the tools tier."""
    for i, tool in enumerate(tools):
        need("name" in tool, f"tools.{i}.custom.name: Field required")
        need(
            "input_schema" in tool or tool.get("type", "custom") != "custom",
            f"tools.{i}.custom.input_schema: Field required",
        )
        check_mark(tool, f"tools.{i}.custom")
        bare = {name: value for name, value in tool.items() if name != "cache_control"}
        yield Block(canonical(bare), count_json(bare), "tools", "tool", ttl=lifetime(tool))


def system_blocks(system: object) -> Iterator[Block]:
    """The blocks of the system tier."""
    for i, part in enumerate(text_blocks(system, "system") if system else ()):
        check_part(part, f"system.{i}")
        yield make_block("system", "system", part)


def prompt_blocks(role: str, parts: list[dict[str, Any]]) -> Iterator[Block]:
    """The blocks of one message."""
    for part in parts:
        yield make_block("messages", role, part)


def make_block(tier: Tier, role: str, part: Json) -> Block:
    """One block; marks inside a tool_result are neither checkpoints nor part of the prompt."""
    bare = {name: value for name, value in part.items() if name != "cache_control"}
    if part["type"] == "tool_result" and "content" in part:
        inner = text_blocks(part["content"], "content")
        bare["content"] = [{k: v for k, v in item.items() if k != "cache_control"} for item in inner]
    return Block(canonical([role, bare]), count_part(bare), tier, part["type"], ttl=lifetime(part))


def lifetime(part: Json) -> int | None:
    """Lifetime of a block's checkpoint in seconds, None if it has no checkpoint."""
    mark = part.get("cache_control")
    return LIFETIMES[mark.get("ttl", "5m")] if mark else None


def visible_messages(
    roles: list[str], messages: list[list[dict[str, Any]]], model: str
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """The messages that the model sees: older models drop thinking before the last plain user message."""
    plain = (i for i, role in enumerate(roles) if role == "user" and not results_only(messages[i]))
    cut = 0 if keeps_thinking(model) else max(plain, default=0)
    for i, parts in enumerate(messages):
        yield i, parts if i > cut else [part for part in parts if part["type"] not in THINKING]


def seeds(body: Json, messages: list[list[dict[str, Any]]]) -> tuple[str, str, str]:
    """The settings that invalidate each tier and those after it (the page's table of invalidations)."""
    choice = body.get("tool_choice")
    thinking = body.get("thinking")
    effort = (body.get("output_config") or {}).get("effort")
    image = any(has_image(part) for parts in messages for part in parts)
    late = [
        None if choice == {"type": "auto"} else choice,
        None if thinking == {"type": "disabled"} else thinking,
        None if effort == "high" else effort,
        image,
    ]
    return body["model"], str(body.get("speed")), canonical(late)


def has_image(part: Json) -> bool:
    """Return True if the block contains an image."""
    inner = part.get("content")
    return part["type"] == "image" or (isinstance(inner, list) and any(has_image(item) for item in inner))


def text_of(part: Json) -> str:
    """The text of a tool result."""
    content = part.get("content") or ""
    return content if isinstance(content, str) else "".join(item.get("text", "") for item in content)
