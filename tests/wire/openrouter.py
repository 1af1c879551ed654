"""OpenAI's protocol at routers and proxies, which apply `cache_control` to Claude models.

Source: openrouter.ai/docs/guides/best-practices/prompt-caching and .../usage-accounting: markers on parts of
messages are passed on to Claude, usage comes in every last chunk, with `cache_write_tokens` and `cost`.
As in LiteLLM's proxy, a message or a tool may have a marker, too; one on a tool call is ignored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from .anthropic_request import automatic, lifetime
from .anthropic_rules import check_mark, check_marks
from .bill import Bill
from .cache import Block, BlockCache, Plan, Tier, anthropic_minimum, plan_anthropic
from .calls import Call, Json
from .openai import OpenAI
from .openai_request import message_parts, no_such_model, read_request, tool_blocks
from .replies import Reply

KINDS = {"tool_call": "tool_use"}
PRICE = 3e-6  # dollars for a fresh token; an output token costs five times that


class OpenRouter(OpenAI):
    """The chat completions protocol of a router."""

    name = "openrouter"

    def __init__(self) -> None:
        super().__init__()
        self.claude = BlockCache()

    def read(self, path: str, body: Json) -> Call:
        """Validate a request; unknown fields are allowed."""
        call = read_request(body, strict=False)
        if call.model.rsplit("/", 1)[-1].startswith("no-such"):
            raise no_such_model(call.model)
        call = replace(call, provider=self.name)
        if "claude" not in call.model:
            return call
        blocks = automatic(check_marks(list(claude_blocks(body))), body.get("cache_control"))
        return replace(call, blocks=tuple(blocks))

    def plan(self, key: str, call: Call, now: float) -> Plan:
        """Bill the prompt by the rules of the model's own provider."""
        if "claude" not in call.model:
            return super().plan(key, call, now)
        seeds = (call.model, "", str(call.body.get("tool_choice")))
        return plan_anthropic(self.claude, key, call.blocks, seeds, anthropic_minimum(call.model), now)

    def usage(self, call: Call, reply: Reply, bill: Bill) -> dict[str, Any]:
        """The usage object, with writes and the cost in dollars."""
        counts = super().usage(call, reply, bill)
        if reply.report_cache:
            counts["prompt_tokens_details"]["cache_write_tokens"] = bill.written
        return {**counts, "cost": PRICE * (bill.units() + 5 * bill.output)}

    def wants_usage(self, call: Call) -> bool:
        """Return True: usage is always sent."""
        return True


def claude_blocks(body: Json) -> Iterator[Block]:
    """The prompt in Claude's order: tools, system, messages, each with its markers."""
    for tool, block in zip(body.get("tools") or (), tool_blocks(body.get("tools") or ()), strict=True):
        yield replace(block, ttl=lifetime(tool) or lifetime(tool.get("function") or {}))
    blocks = [block for turn, message in enumerate(body["messages"]) for block in marked_parts(turn, message)]
    yield from (block for block in blocks if block.tier == "system")
    yield from (block for block in blocks if block.tier == "messages")


def marked_parts(turn: int, message: Json) -> list[Block]:
    """The blocks of one message; its own marker goes to the last of them."""
    blocks = message_parts(message)
    content = message.get("content")
    content_parts = content if isinstance(content, list) else []
    for i, part in enumerate(content_parts):
        check_mark(part, f"messages.{turn}.content.{i}")
        blocks[i] = replace(blocks[i], ttl=lifetime(part))
    if blocks and lifetime(message):
        blocks[-1] = replace(blocks[-1], ttl=lifetime(message))
    kind = "tool_result" if message["role"] == "tool" else None
    tier: Tier = "system" if message["role"] in ("system", "developer") else "messages"
    return [replace(block, tier=tier, kind=kind or KINDS.get(block.kind, block.kind)) for block in blocks]
