"""Gemini generateContent: valid requests, keys, errors, answers and chunks.

Sources: ai.google.dev: api/generate-content, gemini-api/docs/caching, .../function-calling, .../thinking,
.../troubleshooting. litellm's base URL: `GEMINI_API_BASE` (with `/v1beta`; it appends
`/models/{model}:{method}`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from .bill import Bill
from .cache import Plan
from .calls import Answer, ApiError, Call, Event, Json, need
from .gemini_request import blocks, check_contents, check_signatures, minimum, response, signs, texts
from .prefix import PrefixCache
from .replies import Reply
from .tokens import canonical, count

STOP = {"stop": "STOP", "length": "MAX_TOKENS", "tools": "STOP", "refusal": "SAFETY"}
STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
PATH = re.compile(r"(?:.*/)?(?P<model>[^/:]+):(?P<method>generateContent|streamGenerateContent|countTokens)$")
SIGNATURE = "bG9vcGJhY2s="
PARAMETERS = frozenset(
    [
        "contents",
        "tools",
        "toolConfig",
        "safetySettings",
        "systemInstruction",
        "generationConfig",
        "cachedContent",
        "labels",
        "store",
        "serviceTier",
        "model",
    ]
)


class Gemini:
    """The generateContent protocol with its implicit cache."""

    name = "gemini"
    tool_prefix = "fc_"
    id_header = "x-goog-request-id"

    def __init__(self) -> None:
        self.prefixes = PrefixCache()

    def key(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str:
        """The API key of a request."""
        key = headers.get("x-goog-api-key") or query.get("key") or ""
        if not key:
            raise ApiError(
                403,
                "Method doesn't allow unregistered callers (callers without established identity). "
                "Please use API Key or other form of API consumer identity to call this API.",
            )
        if key.startswith("bad-key"):
            info = {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "API_KEY_INVALID",
                "domain": "googleapis.com",
                "metadata": {"service": "generativelanguage.googleapis.com"},
            }
            raise ApiError(400, "API key not valid. Please pass a valid API key.", details=[info])
        return key

    def read(self, path: str, body: Json) -> Call:
        """Validate a request."""
        match = PATH.match(path)
        assert match is not None
        model = unquote(match["model"])
        if model.startswith("no-such"):
            raise ApiError(
                404,
                f"models/{model} is not found for API version v1beta, or is not supported for "
                "generateContent. Call ListModels to see the list of available models and their "
                "supported methods.",
            )
        for name in body:
            bare = re.sub(r"_(\w)", lambda m: m[1].upper(), name)
            need(
                bare in PARAMETERS,
                f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.',
            )
        contents = body.get("contents") or []
        need(contents, "* GenerateContentRequest.contents: contents is not specified\n")
        check_contents(contents)
        if signs(model):
            check_signatures(contents)
        config = body.get("generationConfig") or body.get("generation_config") or {}
        humans = [texts(item) for item in contents if item.get("role", "user") == "user" and texts(item)]
        return Call(
            provider="gemini",
            model=model,
            stream=match["method"] == "streamGenerateContent",
            body=body,
            blocks=tuple(blocks(body, contents)),
            turns=len(humans),
            user_text=humans[-1] if humans else "",
            max_tokens=config.get("maxOutputTokens") or config.get("max_output_tokens"),
            answers=tuple(
                canonical(response(part)["response"]) for part in contents[-1]["parts"] if response(part)
            ),
        )

    def plan(self, key: str, call: Call, now: float) -> Plan:
        """Bill the prompt."""
        return self.prefixes.plan(key, call.blocks, call.model, minimum(call.model), now)

    def too_long(self, call: Call, limit: int) -> ApiError:
        """The error for a prompt over the context window."""
        return ApiError(
            400,
            f"The input token count ({call.prompt}) exceeds the maximum number of tokens allowed ({limit}).",
        )

    def error(self, error: ApiError, answer: Answer) -> Json:
        """The body of an error."""
        status = STATUS.get(error.status, "UNKNOWN")
        return {"error": {"code": error.status, "message": error.message, "status": status, **error.extra}}

    def usage(self, reply: Reply, bill: Bill) -> dict[str, Any]:
        """The usage object: the prompt includes cached tokens; thoughts are not among the candidates."""
        counts: dict[str, Any] = {
            "promptTokenCount": bill.prompt,
            "candidatesTokenCount": bill.output - bill.thinking,
            "totalTokenCount": bill.prompt + bill.output,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": bill.prompt}],
        }
        if bill.thinking:
            counts["thoughtsTokenCount"] = bill.thinking
        if bill.read and reply.report_cache:  # the service leaves the field out when nothing was read
            counts["cachedContentTokenCount"] = bill.read
            counts["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": bill.read}]
        return counts

    def answer(
        self,
        call: Call,
        reply: Reply,
        bill: Bill,
        answer: Answer,
        content_parts: list[Json],
        finish: str | None,
    ) -> dict[str, Any]:
        """A GenerateContentResponse: a whole answer or one chunk of a stream."""
        candidate: dict[str, Any] = {"content": {"parts": content_parts, "role": "model"}, "index": 0}
        if finish:
            candidate["finishReason"] = finish
        return {
            "candidates": [candidate],
            "usageMetadata": self.usage(reply, bill),
            "modelVersion": call.model,
            "responseId": f"resp{answer.serial:018d}",
        }

    def body(self, call: Call, reply: Reply, bill: Bill, answer: Answer) -> Json:
        """The answer that is not streamed."""
        content_parts: list[Json] = []
        if thought := "".join(reply.thinking_chunks):
            content_parts.append({"text": thought, "thought": True})
        if text := "".join(reply.text_chunks):
            content_parts.append({"text": text})
        content_parts += function_calls(call.model, reply)
        return self.answer(call, reply, bill, answer, content_parts, STOP[reply.ending])

    def events(self, call: Call, reply: Reply, bill: Bill, answer: Answer) -> Iterator[Event]:
        """The answer as a stream; every chunk carries the usage so far, function calls come whole."""
        chunks: list[tuple[Json, int, bool]] = [
            *(({"text": chunk, "thought": True}, count(chunk), True) for chunk in reply.thinking_chunks),
            *(({"text": chunk}, count(chunk), False) for chunk in reply.text_chunks),
        ]
        for chunk, tool in zip(function_calls(call.model, reply), reply.tool_calls, strict=True):
            chunks.append((chunk, count(tool.name) + count(tool.json), False))
        output_tokens = thinking_tokens = 0
        for i, (chunk, tokens, thinking) in enumerate(chunks):
            output_tokens, thinking_tokens = (
                output_tokens + tokens,
                thinking_tokens + (tokens if thinking else 0),
            )
            is_last = i == len(chunks) - 1
            so_far = (
                bill
                if is_last
                else Bill(bill.fresh, bill.read, output=output_tokens, thinking=thinking_tokens)
            )
            finish = STOP[reply.ending] if is_last else None
            yield Event(sse(self.answer(call, reply, so_far, answer, [chunk], finish)), True, tokens)
        if not chunks:
            yield Event(sse(self.answer(call, reply, bill, answer, [{"text": ""}], STOP[reply.ending])))

    def stream_error(self, error: ApiError, answer: Answer) -> bytes:
        """The error line of a stream that has started."""
        return sse(self.error(error, answer))

    def garbage(self) -> bytes:
        """A line whose data is not valid JSON."""
        return b'data: {"candidates": [{"content": {"par\r\n\r\n'

    def headers(self, answer: Answer) -> dict[str, str]:
        """Headers of every answer."""
        return {self.id_header: f"goog-{answer.serial:012d}", "server-timing": "gfet4t7; dur=1"}


def function_calls(model: str, reply: Reply) -> list[Json]:
    """The functionCall parts; from Gemini 3 on the first has a thought signature, which clients return."""
    parts: list[dict[str, Any]] = [
        {"functionCall": {"name": tool.name, "args": json.loads(tool.json or "{}")}}
        for tool in reply.tool_calls
    ]
    if parts and signs(model):
        parts[0]["thoughtSignature"] = SIGNATURE
    return list(parts)


def sse(data: Json) -> bytes:
    """The bytes of one chunk."""
    return f"data: {canonical(data)}\r\n\r\n".encode()
