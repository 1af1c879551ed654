"""Anthropic Messages: keys, errors, answers and events.

Sources: platform.claude.com/docs: api/messages, build-with-claude/streaming, api/errors.
litellm's base URL: `ANTHROPIC_API_BASE` or `ANTHROPIC_BASE_URL` (it appends `/v1/messages`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from .anthropic_request import read_request
from .anthropic_rules import signature
from .bill import Bill
from .cache import BlockCache, Plan, anthropic_minimum, plan_anthropic
from .calls import Answer, ApiError, Call, Event, Json, need
from .replies import Reply
from .tokens import canonical, count

STOP = {"stop": "end_turn", "length": "max_tokens", "tools": "tool_use", "refusal": "refusal"}
KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class Anthropic:
    """The Messages protocol with its cache."""

    name = "anthropic"
    tool_prefix = "toolu_"
    id_header = "request-id"

    def __init__(self) -> None:
        self.cache = BlockCache()

    def key(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str:
        """The API key of a request."""
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        key = headers.get("x-api-key") or bearer
        if not key or key.startswith("bad-key"):
            raise ApiError(401, "invalid x-api-key" if key else "x-api-key header is required")
        need("anthropic-version" in headers, "anthropic-version: header is required")
        return key

    def read(self, path: str, body: Json) -> Call:
        """Validate a request."""
        call = read_request(body)
        if call.model.startswith("no-such"):
            raise ApiError(404, f"model: {call.model}")
        return call

    def plan(self, key: str, call: Call, now: float) -> Plan:
        """Bill the prompt."""
        return plan_anthropic(self.cache, key, call.blocks, call.seeds, anthropic_minimum(call.model), now)

    def too_long(self, call: Call, limit: int) -> ApiError:
        """The error for a prompt over the context window."""
        return ApiError(400, f"prompt is too long: {call.prompt} tokens > {limit} maximum")

    def error(self, error: ApiError, answer: Answer) -> Json:
        """The body of an error."""
        detail = {"type": KINDS.get(error.status, "api_error"), "message": error.message}
        return {"type": "error", "error": detail, "request_id": request_id(answer)}

    def usage(self, bill: Bill) -> dict[str, Any]:
        """The usage object; `input_tokens` leaves the cache out."""
        return {
            "input_tokens": bill.fresh,
            "cache_creation_input_tokens": bill.written,
            "cache_read_input_tokens": bill.read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": bill.written_5m,
                "ephemeral_1h_input_tokens": bill.written_1h,
            },
            "output_tokens": bill.output,
            "service_tier": "standard",
        }

    def message(self, call: Call, bill: Bill, answer: Answer, **fields: Any) -> dict[str, Any]:
        """The message object, whole or as a stream starts it."""
        return {
            "id": f"msg_{answer.serial:024d}",
            "type": "message",
            "role": "assistant",
            "model": call.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": self.usage(bill),
            **fields,
        }

    def body(self, call: Call, reply: Reply, bill: Bill, answer: Answer) -> Json:
        """The answer that is not streamed."""
        content: list[dict[str, Any]] = []
        if thinking := "".join(reply.thinking_chunks):
            content.append({"type": "thinking", "thinking": thinking, "signature": signature(thinking)})
        if text := "".join(reply.text_chunks):
            content.append({"type": "text", "text": text})
        for tool in reply.tool_calls:
            arguments = json.loads(tool.json) if tool.json else {}
            content.append({"type": "tool_use", "id": tool.id, "name": tool.name, "input": arguments})
        return self.message(call, bill, answer, content=content, stop_reason=STOP[reply.ending])

    def events(self, call: Call, reply: Reply, bill: Bill, answer: Answer) -> Iterator[Event]:
        """The answer as a stream."""
        start_bill = Bill(bill.fresh, bill.read, bill.written_5m, bill.written_1h, output=1)
        yield event("message_start", message=self.message(call, start_bill, answer))
        for index, (block, deltas) in enumerate(self.content(reply)):
            yield event("content_block_start", index=index, content_block=block)
            if index == 0:
                yield event("ping")
            for delta, is_content, tokens in deltas:
                yield event("content_block_delta", is_content, tokens, index=index, delta=delta)
            yield event("content_block_stop", index=index)
        stop = {"stop_reason": STOP[reply.ending], "stop_sequence": None}
        total = {k: v for k, v in self.usage(bill).items() if k not in ("cache_creation", "service_tier")}
        yield event("message_delta", delta=stop, usage=total)
        yield event("message_stop")

    def content(self, reply: Reply) -> Iterator[tuple[Json, list[tuple[Json, bool, int]]]]:
        """Each content block as it starts, and its deltas (delta, is content, tokens)."""
        if chunks := reply.thinking_chunks:
            deltas = [({"type": "thinking_delta", "thinking": chunk}, True, count(chunk)) for chunk in chunks]
            sign = {"type": "signature_delta", "signature": signature("".join(chunks))}
            yield {"type": "thinking", "thinking": "", "signature": ""}, [*deltas, (sign, False, 0)]
        if chunks := reply.text_chunks:
            yield (
                {"type": "text", "text": ""},
                [({"type": "text_delta", "text": chunk}, True, count(chunk)) for chunk in chunks],
            )
        for tool in reply.tool_calls:
            start = {"type": "tool_use", "id": tool.id, "name": tool.name, "input": {}}
            cuts = ["", *(tool.json[i : i + 16] for i in range(0, len(tool.json), 16))]
            yield (
                start,
                [({"type": "input_json_delta", "partial_json": cut}, bool(cut), count(cut)) for cut in cuts],
            )

    def stream_error(self, error: ApiError, answer: Answer) -> bytes:
        """The error event of a stream that has started."""
        return sse("error", self.error(error, answer))

    def garbage(self) -> bytes:
        """An event whose data is not valid JSON."""
        return b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"ty\n\n'

    def headers(self, answer: Answer) -> dict[str, str]:
        """Headers of every answer."""
        return {self.id_header: request_id(answer), "anthropic-organization-id": "org-loopback"}


def request_id(answer: Answer) -> str:
    """The id of a request, in the header and in error bodies."""
    return f"req_{answer.serial:024d}"


def event(kind: str, content: bool = False, tokens: int = 0, **fields: Any) -> Event:
    """One event of a stream."""
    return Event(sse(kind, {"type": kind, **fields}), content, tokens)


def sse(kind: str, data: Json) -> bytes:
    """The bytes of an event."""
    return f"event: {kind}\ndata: {canonical(data)}\n\n".encode()
