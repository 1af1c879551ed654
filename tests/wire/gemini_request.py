"""Gemini generateContent: validate a request and turn it into the blocks of its prompt.

Sources: ai.google.dev: api/generate-content, gemini-api/docs/function-calling, .../thought-signatures,
.../caching.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .cache import Block
from .calls import Json, need
from .tokens import canonical, count_json, count_part


def minimum(model: str) -> int | None:
    """Smallest prefix that the model caches without being asked: none before 2.5, 2048 for 2.5, 4096 later."""
    version = re.match(r"gemini-(\d+)(?:\.(\d+))?", model)
    number = (int(version[1]), int(version[2] or 0)) if version else (3, 0)
    return None if number < (2, 5) else 2048 if number < (3, 0) else 4096


def signs(model: str) -> bool:
    """Return True if function calls have signatures (ai.google.dev/gemini-api/docs/thought-signatures)."""
    return minimum(model) == 4096


def check_contents(contents: list[dict[str, Any]]) -> None:
    """Check that calls follow a user turn, and that as many results follow them."""
    open_calls = 0
    for i, item in enumerate(contents):
        parts = item.get("parts") or []
        need(parts, f"* GenerateContentRequest.contents[{i}].parts: contents.parts must not be empty.\n")
        need(
            item.get("role", "user") in ("user", "model", "function"), "Please use a valid role: user, model."
        )
        need(
            all(set(part) - {"thought", "thoughtSignature", "thought_signature"} for part in parts),
            f"* GenerateContentRequest.contents[{i}].parts: required oneof field 'data' must have one "
            "initialized field\n",
        )
        answers = sum(response(part) is not None for part in parts)
        calls = sum("functionCall" in part or "function_call" in part for part in parts)
        need(
            not (answers and not open_calls),
            "Please ensure that function response turn comes immediately after a function call turn.",
        )
        need(
            answers == open_calls,
            "Please ensure that the number of function response parts is equal to the number "
            "of function call parts of the function call turn.",
        )
        need(
            not (calls and (i == 0 or contents[i - 1].get("role") == "model")),
            "Please ensure that function call "
            "turn comes immediately after a user turn or after a function response turn.",
        )
        open_calls = calls


def check_signatures(contents: list[dict[str, Any]]) -> None:
    """Check that the first function call of each step of the current turn has a signature."""
    start = max(
        (i for i, item in enumerate(contents) if item.get("role", "user") == "user" and texts(item)),
        default=0,
    )
    for i, item in enumerate(contents[start:], start):
        call = next(
            (part for part in item["parts"] if "functionCall" in part or "function_call" in part), None
        )
        signed = call is None or "thoughtSignature" in call or "thought_signature" in call
        need(
            signed,
            "Function call is missing a thought_signature in functionCall parts. This is required for "
            "tools to work correctly, and missing thought_signature may lead to degraded model performance. "
            f"(content {i})",
        )


def blocks(body: Json, contents: list[dict[str, Any]]) -> Iterator[Block]:
    """The prompt: system, tools and every part of the contents."""
    system = body.get("systemInstruction") or body.get("system_instruction") or {}
    for tool in body.get("tools") or ():
        yield Block(canonical(tool), count_json(tool), "tools", "tool", canonical(tool))
    for part in system.get("parts") or ():
        yield Block(canonical(part), count_part(part), "system", "text", part.get("text", ""))
    for item in contents:
        for part in item["parts"]:
            bare = {re.sub(r"_(\w)", lambda m: m[1].upper(), name): value for name, value in part.items()}
            kind = next(iter(set(bare) - {"thought", "thoughtSignature"}))
            wire = canonical([item.get("role", "user"), bare])
            yield Block(wire, count_part(bare), "messages", kind, bare.get("text", ""))


def response(part: Json) -> Any:
    """The function response in a part, None if there is none."""
    return part.get("functionResponse") or part.get("function_response")


def texts(item: Json) -> str:
    """The text of one content."""
    return " ".join(part["text"] for part in item.get("parts") or () if "text" in part)
