"""OpenAI Responses: requests that the service refuses.

Sources: developers.openai.com/api: reference/resources/responses/methods/create, guides/function-calling,
guides/reasoning, guides/prompt-caching, guides/error-codes; where a page gives no error message, the one
that users of the service report. Options of the service that this server does not have (other kinds of
tools and items, stored conversations, background mode, a cache lifetime of 12h) are refused, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .calls import ApiError, Json, need
from .openai import writes
from .openai_request import REASONING, check_fields

PARAMETERS = frozenset(
    "access_programs background background_options context_management conversation image include input "
    "instructions max_output_tokens max_tool_calls metadata model moderation parallel_tool_calls "
    "previous_response_id prompt prompt_cache_key prompt_cache_options prompt_cache_retention reasoning "
    "safety_identifier service_tier store stream stream_options temperature text tool_choice tools "
    "top_logprobs top_p truncation user".split()
)
UNPLAYED = ("background", "context_management", "conversation", "previous_response_id", "prompt")
FIELDS = {
    "reasoning": frozenset({"context", "effort", "generate_summary", "mode", "summary"}),
    "text": frozenset({"format", "verbosity"}),
    "stream_options": frozenset({"include_obfuscation"}),
    "prompt_cache_options": frozenset({"comparison_response_id", "mode", "prewarm", "ttl"}),
}
VALUES = {
    "reasoning.effort": ("none", "minimal", "low", "medium", "high", "xhigh", "max"),
    "reasoning.summary": ("auto", "concise", "detailed"),
    "reasoning.context": ("auto", "current_turn", "all_turns"),
    "text.verbosity": ("low", "medium", "high"),
    "prompt_cache_options.mode": ("implicit", "explicit"),
    "prompt_cache_options.ttl": ("30m",),
}
INCLUDES = (
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
)
TOOL = frozenset(
    "type name description parameters strict defer_loading allowed_callers output_schema async".split()
)
ROLES = ("assistant", "system", "developer", "user")
ITEMS: Mapping[str, tuple[frozenset[str], tuple[str, ...], str]] = {  # fields, required, how an id begins
    "message": (frozenset("type id role content status phase".split()), ("role", "content"), "msg"),
    "function_call": (
        frozenset("type id call_id name arguments status namespace caller async".split()),
        ("call_id", "name", "arguments"),
        "fc",
    ),
    "function_call_output": (
        frozenset("type id call_id output status name namespace caller".split()),
        ("call_id", "output"),
        "fc",
    ),
    "reasoning": (frozenset("type id summary content encrypted_content status".split()), ("summary",), "rs"),
}
MARK = "prompt_cache_breakpoint"
INPUT: Mapping[str, frozenset[str]] = {
    "input_text": frozenset({"type", "text", MARK}),
    "input_image": frozenset({"type", "detail", "file_id", "image_url", MARK}),
    "input_file": frozenset({"type", "detail", "file_data", "file_id", "file_url", "filename", MARK}),
}
# A part of an assistant message cannot have a breakpoint.
OUTPUT: Mapping[str, frozenset[str]] = {
    "output_text": frozenset({"type", "text", "annotations", "logprobs"}),
    "refusal": frozenset({"type", "refusal"}),
}


def check_request(body: Json) -> None:
    """Check a request except for its reasoning items, which depend on earlier answers."""
    for name in body:
        need(name in PARAMETERS, f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
    for name in UNPLAYED:
        need(not body.get(name), f"The loopback server does not play '{name}'.", param=name)
    check_required(body, ("model",))
    need(
        body.get("input"),
        "One of \"input\" or \"previous_response_id\" or 'prompt' or 'conversation_id' must be provided.",
        param="input",
        code="missing_required_parameter",
    )
    check_options(body)
    check_caching(body)
    check_tools(body)
    items = body["input"] if isinstance(body["input"], list) else []
    for i, item in enumerate(items):
        check_item(item, f"input[{i}]", body["model"])
    check_pairs(items)


def check_required(value: Json, names: Iterable[str], path: str = "") -> None:
    """Refuse a value without one of these fields."""
    for name in names:
        need(
            value.get(name) is not None,
            f"Missing required parameter: '{path}{name}'.",
            param=f"{path}{name}",
            code="missing_required_parameter",
        )


def check_value(value: object, allowed: Sequence[str], path: str) -> None:
    """Refuse a value that is not in a list."""
    names = [f"'{name}'" for name in allowed]
    listed = " and ".join(names) if len(names) < 3 else f"{', '.join(names[:-1])}, and {names[-1]}"
    need(
        value in allowed,
        f"Invalid value: '{value}'. Supported values are: {listed}.",
        param=path,
        code="invalid_value",
    )


def check_type(value: object, kind: type | tuple[type, ...], path: str, expected: str) -> None:
    """Refuse a value of another type."""
    need(
        isinstance(value, kind),
        f"Invalid type for '{path}': expected {expected}, but got {type(value).__name__} instead.",
        param=path,
        code="invalid_type",
    )


def unsupported(name: str) -> ApiError:
    """The error for a parameter that only other models have."""
    message = f"Unsupported parameter: '{name}' is not supported with this model."
    return ApiError(400, message, param=name, code="unsupported_parameter")


def check_options(body: Json) -> None:
    """Check the settings of the answer."""
    for name, fields in FIELDS.items():
        check_fields(body.get(name) or {}, fields, name)
    for path, allowed in VALUES.items():
        outer, inner = path.split(".")
        if (value := (body.get(outer) or {}).get(inner)) is not None:
            check_value(value, allowed, path)
    for i, value in enumerate(body.get("include") or ()):
        check_value(value, INCLUDES, f"include[{i}]")
    if (body.get("reasoning") or {}).get("effort") and not body["model"].startswith(REASONING):
        raise unsupported("reasoning.effort")
    need(
        body.get("stream") or not body.get("stream_options"),
        "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
        param="stream_options",
    )
    limit = body.get("max_output_tokens")
    need(
        limit is None or limit >= 16,
        "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got "
        f"{limit} instead.",
        param="max_output_tokens",
        code="integer_below_min_value",
    )


def check_caching(body: Json) -> None:
    """Check the settings of the cache, which only some models have."""
    if body.get("prompt_cache_options") is not None and not writes(body["model"]):
        raise unsupported("prompt_cache_options")
    if (retention := body.get("prompt_cache_retention")) is not None:
        check_value(
            retention, ("24h",) if writes(body["model"]) else ("in_memory", "24h"), "prompt_cache_retention"
        )


def check_tools(body: Json) -> None:
    """Check the tools, and that the tool choice is one of them."""
    for i, tool in enumerate(body.get("tools") or ()):
        check_value(tool.get("type"), ("function",), f"tools[{i}].type")
        check_required(tool, ("name",), f"tools[{i}].")
        check_fields(tool, TOOL, f"tools[{i}]")
        need(
            re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", tool["name"]),
            f"Invalid 'tools[{i}].name': string does not match pattern. Expected a string that matches the "
            "pattern '^[a-zA-Z0-9_-]+$'.",
            param=f"tools[{i}].name",
            code="invalid_value",
        )
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        check_value(choice.get("type"), ("function", "allowed_tools"), "tool_choice.type")
    elif choice is not None:
        check_value(choice, ("none", "auto", "required"), "tool_choice")
    if isinstance(choice, dict) and choice["type"] == "function":
        check_required(choice, ("name",), "tool_choice.")
        names = [tool["name"] for tool in body.get("tools") or ()]
        need(
            choice["name"] in names,
            f"Tool choice '{choice['name']}' not found in 'tools' parameter.",
            param="tool_choice",
        )


def check_item(item: Json, path: str, model: str) -> None:
    """Check one item of the input."""
    kind = item.get("type", "message")
    check_value(kind, tuple(ITEMS), path)
    fields, names, begins = ITEMS[kind]
    check_fields(item, fields, path)
    check_required(item, names, f"{path}.")
    if (name := item.get("id")) is not None:
        need(
            name.startswith(begins),
            f"Invalid '{path}.id': '{name}'. Expected an ID that begins with '{begins}'.",
            param=f"{path}.id",
            code="invalid_value",
        )
    if kind == "message":
        check_value(item["role"], ROLES, path)
        by_assistant = item["role"] == "assistant"
        check_content(item["content"], f"{path}.content", OUTPUT if by_assistant else INPUT, model)
    if kind == "function_call":
        check_type(item["arguments"], str, f"{path}.arguments", "a string")
    if kind == "function_call_output":
        check_content(item["output"], f"{path}.output", INPUT, model)
    if "call_id" in item:
        check_length(item["call_id"], f"{path}.call_id")
    need(
        kind != "reasoning" or not item.get("content"),
        f"Invalid '{path}.content': array too long. Expected an array with maximum length 0, but got an "
        f"array with length {len(item.get('content') or ())} instead.",
        param=f"{path}.content",
        code="array_above_max_length",
    )


def check_length(name: str, path: str) -> None:
    """Refuse an id of a call with more than 64 characters."""
    need(
        len(name) <= 64,
        f"Invalid '{path}': string too long. Expected a string with maximum length 64, but got a string "
        f"with length {len(name)} instead.",
        param=path,
        code="string_above_max_length",
    )


def check_content(content: object, path: str, fields: Mapping[str, frozenset[str]], model: str) -> None:
    """Check a content: a text or a list of parts."""
    check_type(content, (str, list), path, "a string or an array")
    for i, part in enumerate(content if isinstance(content, list) else ()):
        check_value(part.get("type"), tuple(fields), f"{path}[{i}]")
        check_fields(part, fields[part["type"]], f"{path}[{i}]")
        if part["type"] in ("input_text", "output_text"):
            check_type(part.get("text"), str, f"{path}[{i}].text", "a string")
        if part.get(MARK) is not None:
            check_mark(part[MARK], f"{path}[{i}].{MARK}", model)


def check_mark(mark: Json, path: str, model: str) -> None:
    """Check a breakpoint on a part."""
    if not writes(model):
        raise unsupported(path)
    check_fields(mark, frozenset({"mode", "ttl"}), path)
    check_value(mark.get("mode"), ("explicit",), f"{path}.mode")
    if mark.get("ttl") is not None:
        check_value(mark["ttl"], ("30m",), f"{path}.ttl")


def check_pairs(items: list[dict[str, Any]]) -> None:
    """Check that each output answers an earlier call, and that no call is open."""
    missing: list[str] = []
    for item in items:
        if item.get("type") == "function_call":
            missing.append(item["call_id"])
        if item.get("type") == "function_call_output":
            name = item["call_id"]
            message = f"No tool call found for function call output with call_id {name}."
            need(name in missing, message, param="input")
            missing.remove(name)
    need(not missing, f"No tool output found for function call {''.join(missing[:1])}.", param="input")
