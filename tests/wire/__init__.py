"""A loopback server that speaks the providers' protocols; see `wire.server`."""

from __future__ import annotations

from .bill import Bill
from .calls import ApiError, Call
from .clock import Clock
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
    ToolCall,
    Truncated,
    UsageTwice,
    default_reply,
)
from .requests import Request
from .server import WireServer
from .tokens import count, words

__all__ = [
    "ApiError",
    "Bill",
    "Body",
    "Counts",
    "Call",
    "Clock",
    "Drop",
    "HttpError",
    "Malformed",
    "NoUsage",
    "Reply",
    "Request",
    "Stall",
    "StreamError",
    "ToolCall",
    "Truncated",
    "UsageTwice",
    "WireServer",
    "count",
    "default_reply",
    "words",
]
