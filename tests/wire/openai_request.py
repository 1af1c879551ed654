"""OpenAI chat completions: validate a request and turn it into the blocks of its prompt.

Sources: developers.openai.com/api: reference/chat/create, guides/function-calling, guides/prompt-caching,
guides/error-codes. `strict=False` is for routers and proxies in front of other models, which accept
`cache_control` on messages, parts and tools.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from .cache import MINUTES_30, Block
from .calls import ApiError, Call, Json, need
from .tokens import canonical, count, count_json, count_part

PARAMETERS = frozenset(
    [
        "model",
        "messages",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "stream",
        "stream_options",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "n",
        "stop",
        "seed",
        "user",
        "metadata",
        "store",
        "modalities",
        "audio",
        "logprobs",
        "top_logprobs",
        "logit_bias",
        "frequency_penalty",
        "presence_penalty",
        "response_format",
        "reasoning_effort",
        "service_tier",
        "prediction",
        "verbosity",
        "web_search_options",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "prompt_cache_options",
        "functions",
        "function_call",
    ]
)
MESSAGE = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "refusal", "audio"})
PART = frozenset({"type", "text", "image_url", "input_audio", "file", "refusal", "prompt_cache_breakpoint"})
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
REASONING = ("gpt-5", "gpt-6", "o1", "o3", "o4")


def read_request(body: Json, strict: bool) -> Call:
    """Validate a request; ApiError if the service would refuse it."""
    need("model" in body, "you must provide a model parameter")
    need(
        "messages" in body,
        "Missing required parameter: 'messages'.",
        param="messages",
        code="missing_required_parameter",
    )
    messages = body["messages"]
    need(
        messages,
        "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty "
        "array instead.",
        param="messages",
        code="empty_array",
    )
    if strict:
        check_names(body)
    if strict and body["model"].startswith(REASONING):
        need(
            "max_tokens" not in body,
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead.",
            param="max_tokens",
            code="unsupported_parameter",
        )
    check_tools(messages)
    blocks = [*tool_blocks(body.get("tools") or ()), *message_blocks(messages)]
    humans = [text_of(message) for message in messages if message["role"] == "user"]
    last_other = max((i for i, message in enumerate(messages) if message["role"] != "tool"), default=-1)
    return Call(
        provider="openai",
        model=body["model"],
        stream=bool(body.get("stream")),
        body=body,
        blocks=tuple(blocks),
        turns=len(humans),
        user_text=humans[-1] if humans else "",
        max_tokens=body.get("max_completion_tokens", body.get("max_tokens")),
        answers=tuple(text_of(message) for message in messages[last_other + 1 :]),
    )


def check_names(body: Json) -> None:
    """Refuse parameters and fields that the service does not know."""
    for name in body:
        need(name in PARAMETERS, f"Unrecognized request argument supplied: {name}", param=None)
    for i, message in enumerate(body["messages"]):
        check_fields(message, MESSAGE, f"messages[{i}]")
        need(
            message.get("role") in ROLES,
            f"Invalid value: '{message.get('role')}'. Supported values are: 'system', "
            "'assistant', 'user', 'function', 'tool', and 'developer'.",
            param=f"messages[{i}].role",
            code="invalid_value",
        )
        content = message.get("content")
        # A part of an assistant message cannot have a breakpoint.
        fields = PART - {"prompt_cache_breakpoint"} if message.get("role") == "assistant" else PART
        for j, part in enumerate(content if isinstance(content, list) else ()):
            check_fields(part, fields, f"messages[{i}].content[{j}]")
        for j, tool in enumerate(message.get("tool_calls") or ()):
            check_fields(
                tool, frozenset(("id", "type", "function", "custom")), f"messages[{i}].tool_calls[{j}]"
            )
        empty = content is None and not (message.get("tool_calls") or message.get("refusal"))
        need(
            not empty,
            f"Invalid value for 'content': expected a string, got null. (messages.[{i}].content)",
            param=f"messages.[{i}].content",
        )
    for i, tool in enumerate(body.get("tools") or ()):
        check_fields(tool, frozenset(("type", "function", "custom")), f"tools[{i}]")
        check_fields(
            tool.get("function", {}),
            frozenset(("name", "description", "parameters", "strict")),
            f"tools[{i}].function",
        )


def check_fields(value: Json, names: frozenset[str], path: str) -> None:
    """Refuse a field that the service does not know."""
    for name in value:
        need(
            name in names,
            f"Unknown parameter: '{path}.{name}'.",
            param=f"{path}.{name}",
            code="unknown_parameter",
        )


def check_tools(messages: list[dict[str, Any]]) -> None:
    """Check that each tool message answers a call of the assistant message before it, and that none is open."""
    missing: list[str] = []
    for i, message in enumerate(messages):
        if message["role"] == "tool":
            need(
                message.get("tool_call_id") in missing,
                "Invalid parameter: messages with role 'tool' must be a "
                "response to a preceeding message with 'tool_calls'.",
                param=f"messages.[{i}].role",
            )
            missing.remove(message["tool_call_id"])
            continue
        check_answered(missing, i)
        missing = [tool["id"] for tool in message.get("tool_calls") or ()]
    check_answered(missing, len(messages))


def check_answered(missing: list[str], index: int) -> None:
    """Refuse tool calls that have no result."""
    need(
        not missing,
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
        "'tool_call_id'. The following tool_call_ids did not have response messages: " + ", ".join(missing),
        param=f"messages.[{index}].role",
    )


def tool_blocks(tools: list[dict[str, Any]] | tuple[()]) -> Iterator[Block]:
    """The blocks of the tools, which come first in the prompt."""
    for tool in tools:
        yield Block(canonical(tool), count_json(tool), "tools", "tool", canonical(tool))


def message_blocks(messages: list[dict[str, Any]]) -> Iterator[Block]:
    """The blocks of all messages: one for each part and each tool call."""
    for message in messages:
        yield from message_parts(message)


def message_parts(message: Json) -> list[Block]:
    """The blocks of one message; its end may be an implicit breakpoint unless the model wrote it."""
    role, content = message["role"], message.get("content")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    blocks = [make_block(role, part, message) for part in parts]
    for tool in message.get("tool_calls") or ():
        name, arguments = tool["function"]["name"], tool["function"]["arguments"]
        wire = canonical([role, tool["id"], name, arguments])
        blocks.append(Block(wire, count(name) + count(arguments), "messages", "tool_call"))
    if blocks and role != "assistant":
        blocks[-1] = replace(blocks[-1], may_end=True)
    return blocks


def make_block(role: str, part: Json, message: Json) -> Block:
    """One part of a message."""
    bare = {
        name: value
        for name, value in part.items()
        if name not in ("prompt_cache_breakpoint", "cache_control")
    }
    ttl = MINUTES_30 if "prompt_cache_breakpoint" in part else None
    wire = canonical([role, message.get("tool_call_id"), bare])
    return Block(wire, count_part(bare), "messages", part["type"], part.get("text", ""), ttl)


def text_of(message: Json) -> str:
    """The text of a message."""
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)


def no_such_model(model: str) -> ApiError:
    """The error for a model that the service does not have."""
    return ApiError(
        404, f"The model `{model}` does not exist or you do not have access to it.", code="model_not_found"
    )
