"""No key is in the messages or files of a kernel, even if a provider echoes keys and all logs are on."""

from __future__ import annotations

import html
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
from support.kernels import CellResult, ForkedKernel, Kernel
from support.planted_secrets import fake
from wire import HttpError, Reply, StreamError, WireServer

MODELS = {
    "ANTHROPIC": "anthropic/claude-sonnet-5",
    "OPENAI": "openai/gpt-5.5",
    "GEMINI": "gemini/gemini-3.8-flash",
    "OPENROUTER": "openrouter/anthropic/claude-sonnet-4.5",
}
KEYS = {  # two of a known form, and two of no known form
    "ANTHROPIC": "sk-" + "ant-api03-" + fake(60, seed=52),
    "OPENAI": f"gw/{fake(30, seed=53)}+x/{fake(9, seed=54)}==",
    "GEMINI": "AI" + "za" + fake(35, seed=55),
    "OPENROUTER": "company" + fake(30, seed=56),
}
GIVEN, LATER = "given" + fake(36, seed=57), "later" + fake(36, seed=58)
OWN = ("given.txt", "later.txt")  # places where the user keeps keys
PIECE = 10  # this many letters of a key reveal too much

LOGS = """
import logging, sys, litellm
logging.basicConfig(level=logging.DEBUG, filename="all.log")
logging.getLogger().addHandler(logging.StreamHandler(sys.stderr))
litellm._turn_on_debug()
litellm.set_verbose = True
for name in ("httpx", "httpcore", "openai", "aiohttp.client", "urllib3", "asyncio"):
    logging.getLogger(name).setLevel(logging.DEBUG)
"""


def forms(key: str) -> set[str]:
    """Forms of a key that a reader would still recognize."""
    raw = key.encode()
    coded = {b64encode(b" " * n + raw).decode()[-(-n * 8 // 6) : (n + len(raw)) * 8 // 6] for n in range(3)}
    return {key, key.upper(), quote(key, safe=""), html.escape(key), raw.hex(), *coded}


def echoes(key: str) -> dict[str, str]:
    """Texts in which a provider, or a proxy before it, may echo a key."""
    return {
        "whole": f"Incorrect API key provided: {key}. See the page",
        "its beginning": f"Incorrect key {key[:16]}... given",
        "with dots": f"Incorrect key {key[:8]}…{key[-12:]} given",
        "with stars": f"Incorrect key {key[:13]}****{key[-12:]} given",
        "its end": f"The key that ends in {key[-12:]} has no access",
        "in a URL": f"GET https://example.org/?key={quote(key, safe='')} failed",
        "in base64": f"Authorization: Basic {b64encode(key.encode()).decode()}",
        "in base64 with a name": f"Basic {b64encode(f'user:{key}'.encode()).decode()}",
        "in hex": f"Bytes {key.encode().hex()}",
        "in capitals": f"KEY {key.upper()}",
        "over lines": f"Bad key {key[:20]}\n{key[20:]} here",
        "over continued lines": f"Bad key {key[:14]}\\\n    {key[14:28]}\\\n    {key[28:]} here",
        "in groups": f"Bad key {' '.join(key[n : n + 12] for n in range(0, len(key), 12))}",
        "in HTML": f"<html><body><h1>Error</h1>The key <b>{html.escape(key)}</b></body></html>",
        "in HTML that may break": f"<p>The key {key[:15]}<wbr>{key[15:]}</p>",
        "in JSON": json.dumps({"headers": {"authorization": f"Bearer {key}", "x-api-key": key}}),
        "in JSON in JSON": json.dumps(json.dumps({"x-api-key": key})),
        "where the message is cut": f"{'x ' * 94}{key}",
    }


class Search:
    """Searches messages and files for pieces of keys, and counts the characters that it searched."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._pieces = {
            form[n : n + PIECE] for key in keys for form in forms(key) for n in range(len(form) - PIECE + 1)
        }
        self.characters = 0
        self.kinds: set[str] = set()
        self.leaks: list[str] = []

    def text(self, place: str, text: str) -> None:
        """Search a text as it is, and decoded as a reader could decode it."""
        self.characters += len(text)
        decoded = re.sub(r"\\n|\\\\|\s", "", text)
        for form in {text, decoded, re.sub("<[^<>]*>", "", text), unquote(text), html.unescape(text)}:
            for index in range(len(form)):
                if form[index : index + PIECE] in self._pieces:
                    self.leaks.append(f"{place}: {form[max(0, index - 80) : index + 80]}")
                    break

    def messages(self, place: str, messages: Iterable[dict[str, Any]]) -> None:
        """Search each message except for what the user typed."""
        for message in messages:
            kind = message["header"]["msg_type"]
            self.kinds.add(kind)
            content = [
                message["content"],
                message["metadata"],
                [repr(buffer) for buffer in message["buffers"]],
            ]
            self.text(f"{place}, {kind}", json.dumps(content, ensure_ascii=False, default=str))

    def cell(self, place: str, result: CellResult) -> CellResult:
        self.messages(place, [*result.messages, result.reply])
        return result

    def files(self, folder: Path) -> None:
        """Search all files that the kernel can have written."""
        for path in folder.rglob("*"):
            if path.is_file() and path.name not in OWN:
                self.text(str(path.relative_to(folder)), path.read_bytes().decode("latin-1"))


@pytest.fixture(scope="module")
def wire() -> Iterator[WireServer]:
    with WireServer() as server:
        yield server


@pytest.fixture
def kernel(wire: WireServer) -> Iterator[Kernel]:
    with ForkedKernel(wire.env() | {f"{name}_API_KEY": key for name, key in KEYS.items()}) as kernel:
        folder = Path(kernel.folder.name)
        (folder / "given.txt").write_text(GIVEN)
        (folder / "later.txt").write_text(LATER)
        yield kernel


def test_no_key_is_in_any_message_or_file_even_if_a_provider_echoes_it(
    wire: WireServer, kernel: Kernel
) -> None:
    search = Search([*KEYS.values(), GIVEN, LATER])

    def run(cell: str, place: str = "", *replies: Reply) -> CellResult:
        wire.script(*replies)
        result = search.cell(place or cell, kernel.run(cell))
        wire.clear()
        return result

    run("%load_ext ipycachechat\n%config ChatMagics.retries = 0\n%chat replies replies.json")
    for name, model in MODELS.items():  # before the logs are on: OpenAI's library logs the name of a request
        headers = dict.fromkeys(("request-id", "x-request-id", "x-echo"), KEYS[name])
        assert run(f"%%chat -m {model}\nhi", f"{name} in headers", Reply("fine", headers=headers)).answer
    assert not run(LOGS).error
    errors = 0
    for place, (name, model) in enumerate(MODELS.items()):
        key = KEYS[name]
        headers = {"x-echo": key, "www-authenticate": f"Bearer {key}"}
        # Every form of both kinds of key: the first two providers echo half of them, the others the rest.
        for number, (what, echo_text) in enumerate([*echoes(key).items()][place // 2 :: 2]):
            body = echo_text if number % 2 else None  # plain text, or the provider's own JSON
            fault = HttpError((400, 401, 403, 404, 422)[number % 5], echo_text, body, headers)
            errors += bool(run(f"%%chat -m {model}\nhello", f"{name} {what}", Reply(fault=fault)).error)
        for after in (0, 1):
            fault = StreamError(after, f"The key {key} has ended")
            run(f"%%chat -m {model}\nhello", f"{name} in the stream", Reply(("one ", "two "), fault=fault))
        slow = HttpError(429, "slow", headers={"retry-after": key})
        run(f"%%chat -m {model}\nhello", f"{name} in retry-after", Reply(fault=slow))
        for look in ("%tb", "%chat why", "%chat show hello", "%chat show --wire hello"):
            run(look, f"{name} {look}")
    assert errors == 2 * len(echoes(""))
    for line in ("usage", "history", "usage --all", "save s.json", "save s.md", "save s.html"):
        run(f"%chat {line}")

    url = wire.openai_url
    run("import traceback\nfrom ipycachechat import Chat, ChatError")
    run(f"chat = Chat('openai/gpt-5.5', api_base={url!r}, api_key=open('given.txt').read())\nr = chat('hi')")
    for look in ("chat", "vars(chat)", "r", "vars(r)", "r._hidden_params", "chat.hist", "chat.why()"):
        assert not run(look).error
    run("%xmode Verbose")
    refused = Reply(fault=HttpError(401, f"Incorrect key {GIVEN}"))
    assert run("chat('x')", "verbose", refused).error
    everything = (
        "try:\n    chat('x')\nexcept ChatError as e:\n    shown = traceback.TracebackException.from_exception"
        "(e, capture_locals=True)\n    print(repr(e), *shown.format(), repr(e.__cause__), repr(e.__context__))"
    )
    assert "the key was rejected" in run(everything, "locals", refused).printed

    run("import os; os.environ['OPENAI_API_KEY'] = open('later.txt').read()")
    refused = Reply(fault=HttpError(401, f"Incorrect key {LATER}"))
    assert "the key was rejected" in run("%%chat -m openai/gpt-5.5\nhello", "later", refused).error
    run("%config ChatMagics")
    search.messages("afterwards", kernel.iopub_messages(0.5))
    run("%unload_ext ipycachechat")  # which makes the recorder write everything
    search.files(Path(kernel.folder.name))
    print(
        f"{search.characters:,} characters searched, of {', '.join(sorted(search.kinds))}: {len(search.leaks)} found"
    )
    assert search.leaks == []
    assert {"error", "stream", "display_data", "comm_open", "execute_reply"} <= search.kinds
    assert {"chats.db", "replies.json", "s.html"} <= {
        path.name for path in Path(kernel.folder.name).rglob("*")
    }
    assert "LiteLLM" in (Path(kernel.folder.name) / "all.log").read_text()
