"""Models, tools and replies that the tests of chats share."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from wire import Reply, WireServer, count, words
from wire.replies import ToolCall

from ipycachechat import AsyncChat, Chat
from ipycachechat.engine.session import ChatSession

SONNET, GPT, GEMINI = "anthropic/claude-sonnet-5", "openai/gpt-5.6-terra", "gemini/gemini-3.8-flash"


def look(
    q: str,  # what to look for
    most: int = 3,  # results at most
) -> str:
    "Look something up."
    return f"{q}: {words(40)}"


async def fetch(
    n: int,  # which one
) -> dict[str, int]:
    "Fetch one of them."
    await asyncio.sleep(0.05)
    return {"n": n}


def calls(*given: tuple[str, Any], text: str = "") -> Reply:
    return Reply(text, tool_calls=tuple(ToolCall(name, arguments) for name, arguments in given))


def exact(chat: Chat | AsyncChat, server: WireServer) -> None:
    """Let the chat's engine count with the server's own tokenizer, on its clock."""

    def sized(text: str) -> int:
        if not text.startswith('{"type":"function"'):
            return count(text)
        given = json.loads(text)["function"]
        bare = {"name": given["name"], "input_schema": given["parameters"], "type": "custom"}
        return count(json.dumps({**bare, "description": given["description"]}, separators=(",", ":")))

    chat.session = ChatSession(chat.session.history.current, clock=lambda: server.clock.now, count=sized)
