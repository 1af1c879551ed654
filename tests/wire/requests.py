"""The log: one `Request` for each request the server received."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .bill import Bill
from .calls import Call

Closed = Literal["complete", "client", "server"]


@dataclass(slots=True, eq=False)
class Request:
    """A received request and its outcome. The server fills in the second half; tests only read.

    Times are `time.monotonic()` seconds, which on Linux is one clock for all processes and the one that
    `time.perf_counter()` reads; `wall` is `time.time()` at the start. `closed` is "client" if the other side
    closed the connection before the end, "server" if a fault or the end of the server cut it off.
    """

    provider: str  # anthropic, openai, gemini, openrouter, or unknown
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]  # names in lower case
    body: Any  # parsed JSON, None if there was none
    started: float
    wall: float
    serial: int
    raw: bytes = b""  # the unparsed body, for tests on exact bytes
    key: str = ""
    call: Call | None = None  # None if the request was refused
    status: int | None = None
    error: str | None = None  # message of the refusal
    bill: Bill | None = None  # with the output sent so far
    first_byte: float | None = None  # when the first content chunk was written
    written: list[float] = field(default_factory=list)  # when each content chunk was written
    closed: Closed | None = None
    ended: float | None = None
    ended_event: threading.Event = field(default_factory=threading.Event)

    @property
    def model(self) -> str:
        """The requested model; empty if the request was refused."""
        return self.call.model if self.call else ""

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages, or contents, of the body."""
        body: dict[str, Any] = self.body if isinstance(self.body, dict) else {}
        return list(body.get("messages") or body.get("contents") or [])

    def wait(self, timeout: float = 5.0) -> Request:
        """Wait until the request is closed; TimeoutError if it is not."""
        if not self.ended_event.wait(timeout):
            raise TimeoutError(f"request {self.serial} still open after {timeout} s")
        return self
