"""A loopback server that speaks the providers' protocols; see `wire.server`."""

from __future__ import annotations

from .bill import Bill
from .calls import ApiError, Call
from .clock import Clock
from .replies import (
    Drop,
    HttpError,
    Malformed,
    Reply,
    Stall,
    StreamError,
    ToolCall,
    Truncated,
    default_reply,
)
from .requests import Request
from .server import WireServer
from .tokens import count, words

__all__ = [
    "ApiError",
    "Bill",
    "Call",
    "Clock",
    "Drop",
    "HttpError",
    "Malformed",
    "Reply",
    "Request",
    "Stall",
    "StreamError",
    "ToolCall",
    "Truncated",
    "WireServer",
    "count",
    "default_reply",
    "words",
]
