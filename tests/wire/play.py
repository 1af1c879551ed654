"""Write one answer to a socket, with its delays and faults."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from aiohttp import web

from .bill import Bill
from .cache import Plan
from .calls import Answer, ApiError, Call, Event, Json
from .replies import (
    Body,
    Counts,
    Drop,
    HttpError,
    Malformed,
    NoUsage,
    Reply,
    Stall,
    StreamError,
    Truncated,
    UsageTwice,
)
from .requests import Request
from .tokens import canonical


class Dialect(Protocol):
    """The methods of a provider's protocol."""

    name: str
    tool_prefix: str

    def key(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str: ...
    def read(self, path: str, body: Json) -> Call: ...
    def plan(self, key: str, call: Call, now: float) -> Plan: ...
    def too_long(self, call: Call, limit: int) -> ApiError: ...
    def error(self, error: ApiError, answer: Answer) -> Json: ...
    def body(self, call: Call, reply: Reply, bill: Bill, answer: Answer) -> Json: ...
    def events(self, call: Call, reply: Reply, bill: Bill, answer: Answer) -> Iterator[Event]: ...
    def stream_error(self, error: ApiError, answer: Answer) -> bytes: ...
    def garbage(self) -> bytes: ...
    def headers(self, answer: Answer) -> dict[str, str]: ...


class Dropped(Exception):
    """The connection was reset on purpose."""


@dataclass(slots=True)
class Player:
    """One answer while it is being sent."""

    http: web.Request
    record: Request
    dialect: Dialect
    call: Call
    reply: Reply
    plan: Plan
    answer: Answer

    async def play(self) -> web.StreamResponse:
        """Send the answer; raise `Dropped` after a reset."""
        fault, reply = self.reply.fault, self.reply
        if reply.first_delay:
            await asyncio.sleep(reply.first_delay)
        if isinstance(fault, HttpError):
            return self.refuse(fault)
        if isinstance(fault, Body):
            return web.Response(status=200, body=fault.data, headers=dict(fault.headers))
        await self.disturb("headers", 0)
        bill = replace(self.plan.bill, output=reply.tokens, thinking=reply.thinking_tokens)
        return await (self.stream(bill) if self.call.stream else self.plain(bill))

    def refuse(self, fault: HttpError) -> web.Response:
        """The scripted error status."""
        error = ApiError(fault.status, fault.message)
        self.record.error = fault.message
        body = fault.body if fault.body is not None else self.dialect.error(error, self.answer)
        text = body if isinstance(body, str) else canonical(body)
        headers = {**self.dialect.headers(self.answer), **fault.headers}
        return web.Response(status=fault.status, text=text, content_type="application/json", headers=headers)

    async def plain(self, bill: Bill) -> web.StreamResponse:
        """Send the whole answer at once, after the time that its chunks would have taken."""
        reply, fault = self.reply, self.reply.fault
        chunk_count = len(reply.text_chunks) + len(reply.thinking_chunks)
        if reply.pause:
            await asyncio.sleep(reply.pause * chunk_count)
        body = canonical(self.dialect.body(self.call, reply, bill, self.answer)).encode()
        if isinstance(fault, Truncated):
            body = body[: len(body) // 2]
        headers = {**self.dialect.headers(self.answer), **reply.headers, "content-type": "application/json"}
        response = web.StreamResponse(headers=headers)
        response.content_length = len(body)
        await response.prepare(self.http)
        self.plan.commit()
        self.record.bill = replace(bill, output=0, thinking=0)
        await self.disturb("first", 0)
        half = len(body) // 2 if isinstance(fault, Stall | Drop) else len(body)
        await response.write(body[:half])
        self.note_chunk()
        await self.disturb("chunk", fault.after if isinstance(fault, Stall | Drop) else 0)
        if half < len(body):
            await response.write(body[half:])
        self.record.bill = bill
        await response.write_eof()
        return response

    async def stream(self, bill: Bill) -> web.StreamResponse:
        """Send the answer event by event."""
        reply, fault = self.reply, self.reply.fault
        headers = {**self.dialect.headers(self.answer), **reply.headers, "cache-control": "no-cache"}
        response = web.StreamResponse(headers={**headers, "content-type": "text/event-stream; charset=utf-8"})
        await response.prepare(self.http)
        self.plan.commit()
        self.record.bill = replace(bill, output=0, thinking=0)
        await self.disturb("first", 0)
        sent_chunks = output_tokens = 0
        for event in self.dialect.events(self.call, reply, bill, self.answer):
            if event.content and sent_chunks and reply.pause:
                await asyncio.sleep(reply.pause)
            if event.content and sent_chunks and reply.hold is not None:
                await asyncio.to_thread(reply.hold.wait, 60)
            if isinstance(fault, Truncated) and sent_chunks == fault.after:
                await response.write(event.data[: len(event.data) // 2])
                break
            data = without_usage(event.data) if isinstance(fault, NoUsage) else event.data
            data = (
                with_counts(data, fault.counts) if isinstance(fault, Counts) and reports_usage(data) else data
            )
            await response.write(
                data * 2 if isinstance(fault, UsageTwice) and sent_chunks and reports_usage(data) else data
            )
            if not event.content:
                continue
            self.note_chunk()
            sent_chunks, output_tokens = sent_chunks + 1, output_tokens + event.tokens
            self.record.bill = replace(self.plan.bill, output=output_tokens)
            await self.disturb("chunk", sent_chunks)
            if isinstance(fault, Malformed) and sent_chunks == fault.after:
                await response.write(self.dialect.garbage())
            if isinstance(fault, StreamError) and sent_chunks == fault.after:
                await response.write(
                    self.dialect.stream_error(ApiError(fault.status, fault.message), self.answer)
                )
                break
        else:
            self.record.bill = bill
        await response.write_eof()
        return response

    def note_chunk(self) -> None:
        """Note the time of a content chunk."""
        now = time.monotonic()
        self.record.first_byte = self.record.first_byte or now
        self.record.written.append(now)

    async def disturb(self, stage: str, sent_chunks: int) -> None:
        """Stall or drop the connection at this stage if the reply has such a fault."""
        fault = self.reply.fault
        if (
            not isinstance(fault, Stall | Drop)
            or fault.stage != stage
            or (stage == "chunk" and sent_chunks != fault.after)
        ):
            return
        if isinstance(fault, Stall):
            await (asyncio.sleep(fault.seconds) if fault.seconds is not None else asyncio.Event().wait())
            return
        # The written data must leave before the reset, or the client never sees it.
        await asyncio.sleep(0.02)
        reset(self.http)
        raise Dropped


USAGE = ("usage", "usageMetadata")


def reports_usage(data: bytes) -> bool:
    """Return True if an event of a stream reports the usage."""
    return b'"usage' in data


def without_usage(data: bytes) -> bytes:
    """Return the event without its usage."""
    lines = []
    for line in data.split(b"\n"):
        if line.startswith(b"data: {"):
            event = json.loads(line.removeprefix(b"data: "))
            for holder in (event, event.get("message"), event.get("response")):
                for name in USAGE if isinstance(holder, dict) else ():
                    holder.pop(name, None)
            line = b"data: " + canonical(event).encode()
        lines.append(line)
    return b"\n".join(lines)


def with_counts(data: bytes, counts: Mapping[str, Any]) -> bytes:
    """Return the event with other counts in its usage; a JSON of Python's, which may have NaN."""

    def replaced(holder: Any) -> Any:
        if not isinstance(holder, dict):
            return holder
        return {name: counts[name] if name in counts else replaced(value) for name, value in holder.items()}

    lines = data.split(b"\n")
    for number, line in enumerate(lines):
        if line.startswith(b"data: {"):
            event = replaced(json.loads(line.removeprefix(b"data: ")))
            lines[number] = b"data: " + json.dumps(event).encode()
    return b"\n".join(lines)


def reset(http: web.Request) -> None:
    """Close a connection with RST instead of FIN."""
    if http.transport is not None:
        sock = http.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        http.transport.abort()
