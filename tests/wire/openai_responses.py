"""OpenAI Responses: answers and events; keys, errors and both caches are those of chat completions.

Sources: developers.openai.com/api: reference/resources/responses, .../streaming-events, guides/reasoning.
litellm uses it instead of chat completions for gpt-5.4 and later if a request has both `tools` and
`reasoning_effort`; it appends `/responses` to the same base URL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import count as numbers
from typing import Any

from .bill import Bill
from .calls import Answer, ApiError, Call, Event, Json
from .openai import CODES, OpenAI, writes
from .openai_request import no_such_model
from .openai_responses_request import read_request, seal
from .replies import Reply
from .tokens import canonical, count

CUT = {"length": "max_output_tokens", "refusal": "content_filter"}
ECHOED: dict[str, Any] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "prompt_cache_retention": None,
    "safety_identifier": None,
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
Maker = Callable[..., Event]


class OpenAIResponses(OpenAI):
    """The Responses protocol on the caches of `chat`. `stored`: the reasoning that it keeps, by item id."""

    # Never digits alone: litellm takes `call_` and a number for an index and puts the item's id in its place.
    tool_prefix = "call_w"

    def __init__(self, chat: OpenAI, stored: dict[str, str]) -> None:
        self.blocks, self.prefixes = chat.blocks, chat.prefixes
        self.stored = stored
        self.sequences: dict[int, Iterator[int]] = {}

    def read(self, path: str, body: Json) -> Call:
        """Validate a request."""
        call = read_request(body, self.stored)
        if call.model.startswith("no-such"):
            raise no_such_model(call.model)
        return call

    def too_long(self, call: Call, limit: int) -> ApiError:
        """The error for a prompt over the context window."""
        return ApiError(
            400,
            "Your input exceeds the context window of this model. Please adjust your input and try again.",
            param="input",
            code="context_length_exceeded",
        )

    def usage(self, call: Call, reply: Reply, bill: Bill) -> dict[str, Any]:
        """The usage object; `input_tokens` includes what was read from and written to the cache."""
        written = {"cache_write_tokens": bill.written} if writes(call.model) else {}
        details = {"input_tokens_details": {"cached_tokens": bill.read, **written}}
        return {
            "input_tokens": bill.prompt,
            **(details if reply.report_cache else {}),
            "output_tokens": bill.output,
            "output_tokens_details": {"reasoning_tokens": bill.thinking},
            "total_tokens": bill.prompt + bill.output,
        }

    def response(self, call: Call, answer: Answer, **fields: Any) -> dict[str, Any]:
        """The response object, which repeats the options of the request."""
        echoed = {name: value for name, value in call.body.items() if name in ECHOED and value is not None}
        options = call.body.get("prompt_cache_options") or {}
        caching = {"prompt_cache_options": {"mode": "implicit", "ttl": "30m", **options}}
        return {
            "id": f"resp_{answer.serial:032d}",
            "object": "response",
            "created_at": int(answer.now),
            "status": "in_progress",
            "error": None,
            "incomplete_details": None,
            "model": call.model,
            "output": [],
            **ECHOED,
            **echoed,
            **(caching if writes(call.model) else {}),
            "reasoning": {"effort": None, "summary": None, **(call.body.get("reasoning") or {})},
            "service_tier": "default",
            "usage": None,
            **fields,
        }

    def body(self, call: Call, reply: Reply, bill: Bill, answer: Answer) -> Json:
        """The answer that is not streamed, which is also how a stream ends."""
        reason = CUT.get(reply.ending)
        return self.response(
            call,
            answer,
            status="incomplete" if reason else "completed",
            completed_at=None if reason else int(answer.now),
            incomplete_details={"reason": reason} if reason else None,
            output=self.output(call, reply, answer),
            usage=self.usage(call, reply, bill) if reply.report_usage else None,
        )

    def output(self, call: Call, reply: Reply, answer: Answer) -> list[dict[str, Any]]:
        """The items: reasoning, message, calls."""
        items: list[dict[str, Any]] = []
        if reply.thinking_chunks:
            items.append(self.reasoning(call, "".join(reply.thinking_chunks), answer))
        if reply.text_chunks or not (reply.tool_calls or CUT.get(reply.ending)):
            items.append(message(call, reply, answer))
        items += [
            {
                "id": f"fc_{answer.serial:030d}{i:02d}",
                "type": "function_call",
                "status": "completed",
                "arguments": tool.json,
                "call_id": tool.id,
                "name": tool.name,
            }
            for i, tool in enumerate(reply.tool_calls)
        ]
        if CUT.get(reply.ending) and items and "status" in items[-1]:
            items[-1]["status"] = "incomplete"
        return items

    def reasoning(self, call: Call, text: str, answer: Answer) -> dict[str, Any]:
        """A reasoning item: its summary (here the whole text) and its encryption only if asked for."""
        # Its id is unique in a conversation, even if the log was cleared and numbers start again.
        name = f"rs_{sha256(canonical([answer.serial, call.body, text]).encode()).hexdigest()[:32]}"
        if call.body.get("store") is not False:
            self.stored[name] = text
        sealed = "reasoning.encrypted_content" in (call.body.get("include") or ())
        has_summary = bool((call.body.get("reasoning") or {}).get("summary"))
        return {
            "id": name,
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": text}] if has_summary else [],
            **({"encrypted_content": seal(name, text)} if sealed else {}),
        }

    def events(self, call: Call, reply: Reply, bill: Bill, answer: Answer) -> Iterator[Event]:
        """The answer as a stream; reasoning without a summary is billed, not shown."""
        self.sequences[answer.serial] = numbers()
        hides = (call.body.get("stream_options") or {}).get("include_obfuscation") is not False

        def event(kind: str, content: bool = False, tokens: int = 0, **fields: Any) -> Event:
            # The service pads streamed text, so that the sizes of packets do not reveal it.
            pad = {"obfuscation": "x" * (-len(fields["delta"]) % 16)} if content and hides else {}
            number = {"sequence_number": next(self.sequences[answer.serial])}
            return Event(sse(kind, {"type": kind, **number, **fields, **pad}), content, tokens)

        yield event("response.created", response=self.response(call, answer))
        yield event("response.in_progress", response=self.response(call, answer))
        end = self.body(call, reply, bill, answer)
        for index, item in enumerate(end["output"]):
            yield event("response.output_item.added", output_index=index, item=announced(item))
            yield from PARTS[item["type"]](event, item, index, reply)
            yield event("response.output_item.done", output_index=index, item=item)
        yield event(f"response.{end['status']}", response=end)

    def stream_error(self, error: ApiError, answer: Answer) -> bytes:
        """The error event of a stream that has started."""
        number = next(self.sequences[answer.serial])
        code = CODES.get(error.status, "server_error")
        detail = {"code": code, "message": error.message, "param": None}
        return sse("error", {"type": "error", "sequence_number": number, **detail})

    def garbage(self) -> bytes:
        """An event whose data is not valid JSON."""
        return b'event: response.output_text.delta\ndata: {"type":"response.output_text.del\n\n'


def message(call: Call, reply: Reply, answer: Answer) -> dict[str, Any]:
    """A message item."""
    phase = {"phase": "commentary" if reply.tool_calls else "final_answer"} if phases(call.model) else {}
    text = {"type": "output_text", "text": "".join(reply.text_chunks), "annotations": [], "logprobs": []}
    return {
        "id": f"msg_{answer.serial:032d}",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [text],
        **phase,
    }


def phases(model: str) -> bool:
    """Return True if the model marks messages as commentary or not: "gpt-5.3-codex and beyond"."""
    version = re.match(r"gpt-(\d+)(?:\.(\d+))?(-codex)?", model)
    if version is None:
        return False
    number = (int(version[1]), int(version[2] or 0))
    return number > (5, 3) or (number == (5, 3) and bool(version[3]))


def announced(item: Json) -> Json:
    """An item as it is announced."""
    empty: dict[str, Any] = {"status": "in_progress", "content": [], "arguments": "", "summary": []}
    return {name: empty.get(name, value) for name, value in item.items()}


def reasoning_events(event: Maker, item: Json, index: int, reply: Reply) -> Iterator[Event]:
    """The summary."""
    if not item["summary"]:
        return
    place = {"item_id": item["id"], "output_index": index, "summary_index": 0}
    part = item["summary"][0]
    yield event("response.reasoning_summary_part.added", **place, part={**part, "text": ""})
    for cut in reply.thinking_chunks:
        yield event("response.reasoning_summary_text.delta", True, count(cut), **place, delta=cut)
    yield event("response.reasoning_summary_text.done", **place, text=part["text"])
    yield event("response.reasoning_summary_part.done", **place, part=part)


def message_events(event: Maker, item: Json, index: int, reply: Reply) -> Iterator[Event]:
    """The text."""
    place = {"item_id": item["id"], "output_index": index, "content_index": 0}
    part = item["content"][0]
    yield event("response.content_part.added", **place, part={**part, "text": ""})
    for cut in reply.text_chunks:
        yield event("response.output_text.delta", True, count(cut), **place, delta=cut, logprobs=[])
    yield event("response.output_text.done", **place, text=part["text"], logprobs=[])
    yield event("response.content_part.done", **place, part=part)


def call_events(event: Maker, item: Json, index: int, reply: Reply) -> Iterator[Event]:
    """The arguments of a call."""
    place = {"item_id": item["id"], "output_index": index}
    arguments = item["arguments"]
    for cut in (arguments[i : i + 16] for i in range(0, len(arguments), 16)):
        yield event("response.function_call_arguments.delta", True, count(cut), **place, delta=cut)
    yield event("response.function_call_arguments.done", **place, arguments=arguments)


PARTS = {"reasoning": reasoning_events, "message": message_events, "function_call": call_events}


def sse(kind: str, data: Json) -> bytes:
    """The bytes of an event."""
    return f"event: {kind}\ndata: {canonical(data)}\n\n".encode()
