"""OpenAI Responses: turn a request into the blocks of its prompt, and check its reasoning items.

Sources: developers.openai.com/api: reference/resources/responses/methods/create, guides/reasoning. Messages,
calls and outputs make the blocks that the same conversation makes in chat completions; tools are
counted as they come. Reasoning is counted in full, whether it comes back encrypted or is only named.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

from .cache import Block
from .calls import ApiError, Call, Json, need
from .openai import writes
from .openai_request import make_block, tool_blocks
from .openai_responses_rules import MARK, check_request
from .tokens import canonical, count

TYPES = {"input_text": "text", "output_text": "text", "input_image": "image_url", "input_file": "file"}
SEAL = "gAAAAA"


def read_request(body: Json, stored: Mapping[str, str]) -> Call:
    """Validate a request; ApiError if the service would refuse it. `stored`: reasoning kept, by item id."""
    check_request(body)
    prompt_input = body["input"]
    items = prompt_input if isinstance(prompt_input, list) else [{"role": "user", "content": prompt_input}]
    check_reasoning(items, body, stored)
    humans = [text_of(item) for item in items if item.get("role") == "user"]
    outputs = ("function_call_output",)
    last_other = max((i for i, item in enumerate(items) if item.get("type") not in outputs), default=-1)
    return Call(
        provider="openai",
        model=body["model"],
        stream=bool(body.get("stream")),
        body=body,
        blocks=tuple(prompt_blocks(body, items, stored)),
        turns=len(humans),
        user_text=humans[-1] if humans else "",
        max_tokens=body.get("max_output_tokens"),
        answers=tuple(text_of(item) for item in items[last_other + 1 :]),
    )


def prompt_blocks(body: Json, items: list[dict[str, Any]], stored: Mapping[str, str]) -> Iterator[Block]:
    """The prompt: tools, instructions, items."""
    yield from tool_blocks(body.get("tools") or ())
    if body.get("instructions"):
        yield from message_blocks("system", body["instructions"], {})
    turn = max((i for i, item in enumerate(items) if item.get("role") == "user"), default=-1)
    for i, item in enumerate(items):
        if item.get("type") != "reasoning" or all_turns(body) or i > turn:
            yield from item_blocks(item, stored)


def all_turns(body: Json) -> bool:
    """Return True if the model sees the reasoning of earlier turns: by default from gpt-5.6 on."""
    context = (body.get("reasoning") or {}).get("context") or "auto"
    return context == "all_turns" or (context == "auto" and writes(body["model"]))


def item_blocks(item: Json, stored: Mapping[str, str]) -> list[Block]:
    """The blocks of one item."""
    kind = item.get("type", "message")
    if kind == "message":
        return message_blocks(item["role"], item["content"], {}, item.get("phase"))
    if kind == "function_call_output":
        return message_blocks("tool", item["output"], {"tool_call_id": item["call_id"]})
    if kind == "function_call":
        name, arguments = item["name"], item["arguments"]
        wire = canonical(["assistant", item["call_id"], name, arguments])
        return [Block(wire, count(name) + count(arguments), "messages", "tool_call")]
    text = thought(item, stored)
    return [Block(canonical(["assistant", "reasoning", text]), count(text), "messages", "reasoning", text)]


def message_blocks(role: str, content: Any, owner: Json, phase: str | None = None) -> list[Block]:
    """The blocks of a message or an output; its end may be an implicit breakpoint."""
    parts = [{"type": "input_text", "text": content}] if isinstance(content, str) else content
    phase_field = {"phase": phase} if phase else {}
    blocks = [make_block(role, {**chat_part(part), **phase_field}, owner) for part in parts]
    if blocks and role != "assistant":
        blocks[-1] = replace(blocks[-1], may_end=True)
    return blocks


def chat_part(part: Json) -> dict[str, Any]:
    """A part in the form of chat completions, without the fields that are not part of the prompt."""
    left_out = {"annotations", "logprobs", *(() if part.get(MARK) else (MARK,))}
    fields = {name: value for name, value in part.items() if name not in left_out}
    return {**fields, "type": TYPES.get(part["type"], part["type"])}


def text_of(item: Json) -> str:
    """The text of a message or an output."""
    content = item.get("content", item.get("output")) or ""
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)


def check_reasoning(items: list[dict[str, Any]], body: Json, stored: Mapping[str, str]) -> None:
    """Check that reasoning is stored or readable, comes once, and precedes the item that it led to."""
    names: set[str] = set()
    for i, item in enumerate(items):
        if item.get("type") != "reasoning":
            continue
        name = item.get("id")
        need(
            name or item.get("encrypted_content"),
            f"Missing required parameter: 'input[{i}].id'.",
            param=f"input[{i}].id",
            code="missing_required_parameter",
        )
        need(name not in names, f"Duplicate item found with id {name}.", param="input")
        names |= {name} if name else set()
        thought(item, stored, body.get("store") is not False)
        later_items = (later for later in items[i + 1 :] if later.get("type") != "reasoning")
        following = next(later_items, {})
        need(
            following.get("type") == "function_call" or following.get("role") == "assistant",
            f"Item '{name}' of type 'reasoning' was provided without its required following item.",
            param="input",
        )


def thought(item: Json, stored: Mapping[str, str], stores: bool = True) -> str:
    """The text of a reasoning item."""
    name, sealed = item.get("id"), item.get("encrypted_content")
    if sealed:
        return unseal(sealed, name)
    if name is None or name not in stored:
        hint = (
            ""
            if stores
            else " Items are not persisted when `store` is set to false. Try again with `store` set to "
            "true, or remove this item from your input."
        )
        raise ApiError(404, f"Item with id '{name}' not found.{hint}", param="input")
    return stored[name]


def seal(name: str, text: str) -> str:
    """Reasoning as `encrypted_content`: unreadable enough, and good only for its own item."""
    inner = urlsafe_b64encode(canonical([name, text]).encode()).decode()
    return f"{SEAL}{sha256(inner.encode()).hexdigest()[:16]}{inner}"


def unseal(sealed: str, name: str | None) -> str:
    """The reasoning in an `encrypted_content`; ApiError if it was altered or belongs to another item."""
    inner = sealed[len(SEAL) + 16 :]
    owner, text = None, ""
    if sealed == f"{SEAL}{sha256(inner.encode()).hexdigest()[:16]}{inner}":
        owner, text = json.loads(urlsafe_b64decode(inner))
    need(
        owner is not None and name in (None, owner),
        f"The encrypted content for item {name} could not be verified.",
        code="invalid_encrypted_content",
    )
    return text
