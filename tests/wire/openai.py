"""OpenAI chat completions: keys, errors, answers and chunks.

Sources: developers.openai.com/api: reference/chat, reference/chat-streaming, guides/prompt-caching,
guides/error-codes. Under `/openrouter/` or `/proxy/` the same protocol is lax (see `openai_request`).
litellm's base URL: `OPENAI_BASE_URL`, then `OPENAI_API_BASE` (with `/v1`; it appends `/chat/completions`);
for openrouter/ names `OPENROUTER_API_BASE`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from .bill import Bill
from .cache import BlockCache, Plan, plan_openai_blocks
from .calls import Answer, ApiError, Call, Event, Json
from .openai_request import no_such_model, read_request
from .prefix import DAY, IDLE, PrefixCache
from .replies import Reply
from .tokens import canonical, count

STOP = {"stop": "stop", "length": "length", "tools": "tool_calls", "refusal": "content_filter"}
KINDS = {401: "invalid_request_error", 429: "requests", 500: "server_error", 503: "server_error"}
CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded"}


class OpenAI:
    """The chat completions protocol with its two caches."""

    name = "openai"
    tool_prefix = "call_"
    id_header = "x-request-id"

    def __init__(self) -> None:
        self.blocks = BlockCache()
        self.prefixes = PrefixCache()

    def key(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str:
        """The API key of a request."""
        key = headers.get("authorization", "").removeprefix("Bearer ").strip()
        if not key:
            raise ApiError(
                401,
                "You didn't provide an API key. You need to provide your API key in an Authorization "
                "header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
                code=None,
            )
        if key.startswith("bad-key"):
            raise ApiError(
                401,
                f"Incorrect API key provided: {masked(key)}. You can find your API key at "
                "https://platform.openai.com/account/api-keys.",
            )
        return key

    def read(self, path: str, body: Json) -> Call:
        """Validate a request."""
        call = read_request(body, strict=True)
        if call.model.startswith("no-such"):
            raise no_such_model(call.model)
        return call

    def plan(self, key: str, call: Call, now: float) -> Plan:
        """Bill the prompt: by breakpoints from gpt-5.6 on, by token prefix before."""
        if writes(call.model):
            explicit = (call.body.get("prompt_cache_options") or {}).get("mode") == "explicit"
            return plan_openai_blocks(self.blocks, key, call.blocks, call.model, explicit, now)
        ttl = DAY if call.body.get("prompt_cache_retention") == "24h" else IDLE
        return self.prefixes.plan(key, call.blocks, call.model, 1024, now, ttl)

    def too_long(self, call: Call, limit: int) -> ApiError:
        """The error for a prompt over the context window."""
        return ApiError(
            400,
            f"This model's maximum context length is {limit} tokens. However, your messages resulted "
            f"in {call.prompt} tokens. Please reduce the length of the messages.",
            param="messages",
            code="context_length_exceeded",
        )

    def error(self, error: ApiError, answer: Answer) -> Json:
        """The body of an error."""
        kind = KINDS.get(error.status, error.kind if error.status < 500 else "server_error")
        detail = {"message": error.message, "type": kind, "param": None, "code": CODES.get(error.status)}
        return {"error": {**detail, **error.extra}}

    def usage(self, call: Call, reply: Reply, bill: Bill) -> dict[str, Any]:
        """The usage object; `prompt_tokens` includes what was read from and written to the cache."""
        details: dict[str, Any] = {"cached_tokens": bill.read, "audio_tokens": 0}
        if writes(call.model):
            details["cache_write_tokens"] = bill.written
        counts: dict[str, Any] = {
            "prompt_tokens": bill.prompt,
            "completion_tokens": bill.output,
            "total_tokens": bill.prompt + bill.output,
            "completion_tokens_details": {"reasoning_tokens": bill.thinking, "audio_tokens": 0},
        }
        return {**counts, "prompt_tokens_details": details} if reply.report_cache else counts

    def body(self, call: Call, reply: Reply, bill: Bill, answer: Answer) -> Json:
        """The answer that is not streamed."""
        message: dict[str, Any] = {
            "role": "assistant",
            "content": "".join(reply.text_chunks) or None,
            "refusal": None,
        }
        if reply.tool_calls:
            message["tool_calls"] = [
                {"id": tool.id, "type": "function", "function": {"name": tool.name, "arguments": tool.json}}
                for tool in reply.tool_calls
            ]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": STOP[reply.ending]}
        usage = {"usage": self.usage(call, reply, bill)} if reply.report_usage else {}
        return {**self.head(call, answer, "chat.completion"), "choices": [choice], **usage}

    def head(self, call: Call, answer: Answer, kind: str) -> dict[str, Any]:
        """Fields of every object of an answer."""
        return {
            "id": f"chatcmpl-{answer.serial:029d}",
            "object": kind,
            "created": int(answer.now),
            "model": call.model,
            "service_tier": "default",
            "system_fingerprint": "fp_loopback",
        }

    def events(self, call: Call, reply: Reply, bill: Bill, answer: Answer) -> Iterator[Event]:
        """The answer as a stream. OpenAI does not show its reasoning: `thinking` is billed, not sent."""
        wants = self.wants_usage(call)
        head = self.head(call, answer, "chat.completion.chunk")
        null = {"usage": None} if wants else {}

        def chunk(delta: Json, finish: str | None = None, content: bool = False, tokens: int = 0) -> Event:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
            return Event(sse({**head, "choices": [choice], **null}), content, tokens)

        yield chunk({"role": "assistant", "content": "" if reply.text_chunks else None, "refusal": None})
        for text_chunk in reply.text_chunks:
            yield chunk({"content": text_chunk}, content=True, tokens=count(text_chunk))
        for i, tool in enumerate(reply.tool_calls):
            start = {
                "index": i,
                "id": tool.id,
                "type": "function",
                "function": {"name": tool.name, "arguments": ""},
            }
            yield chunk({"tool_calls": [start]})
            for cut in (tool.json[offset : offset + 16] for offset in range(0, len(tool.json), 16)):
                yield chunk(
                    {"tool_calls": [{"index": i, "function": {"arguments": cut}}]}, None, True, count(cut)
                )
        yield chunk({}, STOP[reply.ending])
        if wants and reply.report_usage:
            yield Event(sse({**head, "choices": [], "usage": self.usage(call, reply, bill)}))
        yield Event(b"data: [DONE]\n\n")

    def wants_usage(self, call: Call) -> bool:
        """Return True if the last chunk of a stream reports the usage."""
        return bool((call.body.get("stream_options") or {}).get("include_usage"))

    def stream_error(self, error: ApiError, answer: Answer) -> bytes:
        """The error line of a stream that has started."""
        return sse(self.error(error, answer))

    def garbage(self) -> bytes:
        """A line whose data is not valid JSON."""
        return b'data: {"id":"chatcmpl-0","object":"chat.comple\n\n'

    def headers(self, answer: Answer) -> dict[str, str]:
        """Headers of every answer."""
        return {self.id_header: f"req_{answer.serial:032x}", "openai-version": "2020-10-01"}


def writes(model: str) -> bool:
    """Return True if the model reports cache writes: gpt-5.6 and later."""
    version = re.match(r"(?:.*/)?gpt-(\d+)(?:\.(\d+))?", model)
    return version is not None and (int(version[1]), int(version[2] or 0)) >= (5, 6)


def masked(key: str) -> str:
    """A key as the service repeats it: its ends, and stars between."""
    return key if len(key) <= 8 else f"{key[:7]}{'*' * max(len(key) - 11, 1)}{key[-4:]}"


def sse(data: Json) -> bytes:
    """The bytes of one chunk."""
    return f"data: {canonical(data)}\n\n".encode()
