"""Models, tools and replies for the tests of chats from Python."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from wire import Reply, WireServer, count, words
from wire.replies import ToolCall

from ipycachechat import AsyncChat, Chat
from ipycachechat.engine.client import ModelClient
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


def calls(*name_and_arguments: tuple[str, Any], text: str = "") -> Reply:
    return Reply(text, tool_calls=tuple(ToolCall(name, arguments) for name, arguments in name_and_arguments))


def count_like_server(chat: Chat | AsyncChat, server: WireServer) -> None:
    """Let the chat count tokens with the server's tokenizer, on the server's clock."""

    def count_text(text: str) -> int:
        if not text.startswith('{"type":"function"'):
            return count(text)
        function = json.loads(text)["function"]
        bare = {"name": function["name"], "input_schema": function["parameters"], "type": "custom"}
        return count(json.dumps({**bare, "description": function["description"]}, separators=(",", ":")))

    chat.session = ChatSession(
        chat.session.history.current, client=ModelClient(clock=lambda: server.clock.now, count=count_text)
    )
