"""Anthropic Messages: requests that the service refuses.

Sources: platform.claude.com/docs: api/messages, build-with-claude/prompt-caching, .../extended-thinking,
agents-and-tools/tool-use/implement-tool-use, api/errors. The messages are those of the real service where
bug reports quote them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from .cache import Block
from .calls import Json, need

FIELDS = {
    "text": {"text", "citations"},
    "image": {"source"},
    "document": {"source", "title", "context", "citations"},
    "thinking": {"thinking", "signature"},
    "redacted_thinking": {"data"},
    "tool_use": {"id", "name", "input", "caller"},
    "tool_result": {"tool_use_id", "content", "is_error"},
    "search_result": {"source", "title", "content", "citations"},
}
TTLS = ("5m", "1h")
THINKING = ("thinking", "redacted_thinking")


def check_options(body: Json) -> None:
    """Refuse options that exclude one another."""
    thinking, limit = body.get("thinking") or {}, body["max_tokens"]
    if thinking.get("type") == "enabled":
        budget = thinking.get("budget_tokens", 0)
        need(budget >= 1024, "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
        need(limit == 0 or limit > budget, "`max_tokens` must be greater than `thinking.budget_tokens`")
    if limit == 0:
        forced = (body.get("tool_choice") or {}).get("type") in ("any", "tool")
        for wrong, name in (
            (body.get("stream"), "stream"),
            (thinking.get("type") in ("enabled", "adaptive"), "thinking"),
            (forced, "tool_choice"),
            (body.get("output_format"), "output_format"),
        ):
            need(not wrong, f"max_tokens: 0 is not supported together with `{name}`")


def check_part(part: Json, path: str) -> None:
    """Check one content block: known fields, no empty text, and marks only where they are allowed."""
    kind = part.get("type")
    need(
        kind in FIELDS,
        f"{path}: Input tag {kind!r} found using 'type' does not match any of the expected tags",
    )
    allowed = {"type", *FIELDS[str(kind)]} | (set() if kind in THINKING else {"cache_control"})
    for name in part:
        need(name in allowed, f"{path}.{kind}.{name}: Extra inputs are not permitted")
    if kind == "text":
        check_text(part, path)
    if kind == "thinking":
        need(
            part.get("signature") == signature(part["thinking"]),
            f"{path}: Invalid `signature` in `thinking` block",
        )
    check_mark(part, path)


def check_text(part: Json, path: str) -> None:
    """Refuse an empty text block, marked or not."""
    empty = not part["text"]
    need(
        not (empty and part.get("cache_control")),
        f"{path}.text: cache_control cannot be set for empty text blocks",
    )
    group = path.split(".", 1)[0]
    need(not empty, f"{group}: text content blocks must be non-empty")
    need(part["text"].strip(), f"{group}: text content blocks must contain non-whitespace text")


def check_mark(part: Json, path: str) -> None:
    """Check the form of a `cache_control`."""
    mark = part.get("cache_control")
    if mark is None:
        return
    need(mark.get("type") == "ephemeral", f"{path}.cache_control.type: Input should be 'ephemeral'")
    need(mark.get("ttl", "5m") in TTLS, f"{path}.cache_control.ephemeral.ttl: Input should be '5m' or '1h'")
    for name in mark:
        need(
            name in ("type", "ttl"), f"{path}.cache_control.ephemeral.{name}: Extra inputs are not permitted"
        )


def check_order(roles: list[str], messages: list[list[dict[str, Any]]], body: Json) -> None:
    """Check the roles of the first and the last message."""
    need(roles[0] == "user", 'messages: first message must use the "user" role')
    if roles[-1] == "assistant":
        need(
            prefill(body["model"]),
            "This model does not support assistant message prefill. "
            "The conversation must end with a user message.",
        )
        end = messages[-1][-1]
        need(
            end["type"] != "text" or end["text"] == end["text"].rstrip(),
            "messages: final assistant content cannot end with trailing whitespace",
        )
    if (body.get("thinking") or {}).get("type") == "enabled" and results_only(messages[-1]):
        last_answer = max((i for i, role in enumerate(roles) if role == "assistant"), default=None)
        if last_answer is not None:
            kind = messages[last_answer][0]["type"]
            need(
                kind in THINKING,
                f"messages.{last_answer}.content.0.type: Expected `thinking` or `redacted_thinking`, "
                f"but found `{kind}`. When `thinking` is enabled, a final `assistant` message must start "
                "with a thinking block (preceeding the lastmost set of `tool_use` and `tool_result` blocks).",
            )


def check_tools(roles: list[str], messages: list[list[dict[str, Any]]]) -> None:
    """Check that the next user turn starts with one result for each tool_use, and has no other results."""
    asked_at = 0
    used_ids: set[str] = set()
    open_ids: list[str] = []
    for turn in turns(roles):
        parts = [(i, j, part) for i in turn for j, part in enumerate(messages[i])]
        if roles[turn[0]] == "user":
            lead = []
            for _, _, part in parts:
                if part["type"] != "tool_result":
                    break
                lead.append(part["tool_use_id"])
            for i, j, part in parts:
                if part["type"] == "tool_result":
                    name = part["tool_use_id"]
                    need(
                        name in open_ids,
                        f"messages.{i}.content.{j}: unexpected `tool_use_id` found in "
                        f"`tool_result` blocks: {name}. Each `tool_result` block must have a corresponding "
                        "`tool_use` block in the previous message.",
                    )
                    need(
                        lead.count(name) < 2,
                        f"messages.{i}.content.{j}: each tool_use must have a single "
                        f"result. Found multiple `tool_result` blocks with id: {name}",
                    )
            check_answered(asked_at, [name for name in open_ids if name not in lead])
            open_ids = []
        elif roles[turn[0]] == "assistant":
            asked_at = turn[-1]
            open_ids = [part["id"] for _, _, part in parts if part["type"] == "tool_use"]
            need(
                len(open_ids) == len(set(open_ids)) and not used_ids & set(open_ids),
                "messages: `tool_use` ids must be unique",
            )
            used_ids |= set(open_ids)
    check_answered(asked_at, open_ids)


def check_answered(index: int, missing: list[str]) -> None:
    """Refuse tool calls that have no result."""
    need(
        not missing,
        f"messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: "
        f"{', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` block in "
        "the next message.",
    )


def turns(roles: list[str]) -> Iterator[list[int]]:
    """Indices of messages by turn: the service joins neighbours of one role."""
    turn: list[int] = []
    for i, role in enumerate(roles):
        if turn and roles[turn[-1]] != role:
            yield turn
            turn = []
        turn.append(i)
    if turn:
        yield turn


def check_marks(blocks: list[Block]) -> list[Block]:
    """Refuse more than four checkpoints, and a long one after a short one."""
    marked = [block for block in blocks if block.ttl]
    need(len(marked) <= 4, f"A maximum of 4 blocks with cache_control may be provided. Found {len(marked)}.")
    lifetimes = [block.ttl for block in marked]
    need(
        lifetimes == sorted(lifetimes, key=lambda ttl: -(ttl or 0)),
        "cache_control.ttl: a ttl='1h' cache_control block must not come after a ttl='5m' cache_control "
        "block. Note that blocks are processed in the following order: `tools`, `system`, `messages`.",
    )
    return blocks


def signature(thinking: str) -> str:
    """The signature of a thinking block; the server recognizes its own."""
    return "Erz" + sha256(thinking.encode()).hexdigest()


def results_only(parts: list[dict[str, Any]]) -> bool:
    """Return True if the message consists of tool results only."""
    return all(part["type"] == "tool_result" for part in parts)


def keeps_thinking(model: str) -> bool:
    """Return True if thinking is kept after a plain user message: Opus 4.5+, Sonnet 4.6+, all 5.x."""
    return bool(re.search(r"(opus|sonnet|haiku|fable|mythos)-5|opus-4-[5-8]|sonnet-4-6|mythos", model))


def prefill(model: str) -> bool:
    """Return True if the last message may be the assistant's: not from Opus 4.6 and Sonnet 4.6 on."""
    return not keeps_thinking(model) or "opus-4-5" in model


def inner_system(model: str) -> bool:
    """Return True if a system message may be among the messages."""
    return any(name in model for name in ("opus-4-8", "opus-5", "fable-5", "mythos-5"))
