"""Record every request that scripted conversations send, and compare two recordings byte by byte.

    python tests/bench/recorded_requests.py OUT.json                   record all conversations
    python tests/bench/recorded_requests.py OUT.json --short           fewer of them, in about a minute, for CI
    python tests/bench/recorded_requests.py --compare A.json B.json    exit with 1 if anything differs

Record before and after a change that must not alter what the providers receive, then compare. The conversations use
the public Python API, the magics in a real kernel, and the loopback server of `tests/wire/`. They name no module inside
the package, so the same script runs before and after code is moved or renamed.

A recording is a list of conversations, each with its requests in the order of arrival: method, path, query, headers
and body, where the body is the text of the bytes received. Requests that are sent side by side (`map`) are sorted.
Left out are headers that depend on the machine or hold a key. What is random in every run, such as the value of
`prompt_cache_key`, is replaced by `<id 1>`, `<id 2>` in the order of first appearance; everything else stays as it was
sent. The clock that both sides read moves only when a conversation advances it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from support.kernels import Kernel  # noqa: E402
from wire import Clock, Drop, HttpError, Reply, Stall, StreamError, ToolCall, WireServer, words  # noqa: E402
from wire.replies import default_reply  # noqa: E402

Json = dict[str, Any]
START = 1_800_000_000.0
CLOCK = Clock(START)
MINUTE, HOUR = 60.0, 3600.0
RULES = words(1500, "rule")
"""A system prompt that is long enough to be cached by most models."""
QUIET = 2.0
"""Seconds without a request after which no more background requests are expected."""

LEFT_OUT = re.compile(
    r"host|user-agent|date|accept|accept-encoding|connection|content-length|transfer-encoding"
    r"|authorization|.*api-key|x-stainless-.*|traceparent|tracestate"
)
"""Headers that depend on the machine or on installed versions, or hold a key."""
RANDOM = (
    re.compile(r"\bipycachechat-([0-9a-f]{16})\b"),
    re.compile(r"\brs_([0-9a-f]{32})\b"),
    re.compile(r'"encrypted_content": ?"([^"]+)"'),
    re.compile(r"\bcall_([0-9a-f]{28})(?![0-9a-f])"),
)
"""The random name of a process, values that the server derives from a request with this name, and the ids that litellm
generates for Gemini's calls."""
NONCE = re.compile(r'(?<=[" ])([0-9a-f]{8})(?=[" ])')
"""New words that `%chat doctor` puts in its prompts, so that they are not cached."""


def png(size: int = 2) -> bytes:
    """Return a small red picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    rows = (b"\x00" + b"\xff\x00\x00" * size) * size
    data = zlib.compress(rows, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


PDF = b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer\n<< /Root 1 0 R >>\n%%EOF\n"


@dataclass(frozen=True)
class Speaker:
    """A model and how it is asked."""

    name: str
    model: str
    thinks: bool = False
    """Think before every answer, with a tool at hand: OpenAI is then asked through its Responses API."""


SONNET = Speaker("anthropic", "anthropic/claude-sonnet-5")
GPT = Speaker("openai chat", "openai/gpt-5.6-terra")
RESPONSES = Speaker("openai responses", "openai/gpt-5.6-terra", thinks=True)
GEMINI = Speaker("gemini", "gemini/gemini-3.8-flash")
ROUTED = Speaker("openrouter", "openrouter/anthropic/claude-sonnet-4.5")
SPEAKERS = (SONNET, GPT, RESPONSES, GEMINI, ROUTED)
MORE = (
    Speaker("anthropic that forgets thoughts", "anthropic/claude-sonnet-4-5"),
    Speaker("openai 5.5", "openai/gpt-5.5"),
    Speaker("openai 4o", "openai/gpt-4o"),
    Speaker("gemini 2.5", "gemini/gemini-2.5-flash"),
    Speaker("openrouter with gpt", "openrouter/openai/gpt-5.5"),
    Speaker("openai protocol of somebody else", "openai/somebody-elses-model"),
)
"""Models with other rules of caching, which have only the conversations from Python."""


# Tools of the conversations from Python.


def look(
    q: str,  # what to look for
    most: int = 3,  # results at most
) -> str:
    "Look something up."
    return f"{q}: {words(40)}"


async def fetch(
    n: int,  # which of them
) -> dict[str, int]:
    "Fetch by number."
    await asyncio.sleep(0.01)
    return {"n": n}


def broken(q: str) -> str:
    "Fail always."
    raise ValueError(f"no {q}")


def archive(q: str) -> str:
    "Return a text that is too long."
    return words(9000, q)


def picture(q: str) -> bytes:
    "Draw a picture."
    return png()


def calls(*name_and_arguments: tuple[str, Any], text: str = "", thinking: str = "") -> Reply:
    """Return a reply with tool calls, each given by its name and arguments."""
    return Reply(text, thinking, tuple(ToolCall(name, arguments) for name, arguments in name_and_arguments))


# Conversations from Python.


@dataclass
class Stage:
    """The setting of one conversation from Python: its model, the server, and a folder for files."""

    wire: WireServer
    speaker: Speaker
    folder: Path

    def chat(self, **settings: Any) -> Any:
        """Return a new chat with this model, with the speaker's tools and thinking unless given."""
        from ipycachechat import Chat

        usual: Json = {"tools": [look], "think": "low"} if self.speaker.thinks else {}
        return Chat(self.speaker.model, **{**usual, **settings})

    def attempt(self, ask: Callable[[], Any]) -> None:
        """Ask; refusals and failures are part of the conversation."""
        from ipycachechat import ChatError

        with contextlib.suppress(ChatError):
            ask()

    def pause(self, seconds: float) -> None:
        """Let time pass."""
        self.wire.clock.advance(seconds)

    def file(self, name: str, data: bytes) -> Path:
        """Write a new file and return its path."""
        path = self.folder / name
        path.write_bytes(data)
        return path


def plain(stage: Stage) -> None:
    """Four short turns after a long system prompt, one of them streamed."""
    chat = stage.chat(system=RULES)
    for prompt in ("hi", "Ünïcödé “quotes” <b> & \\ \u2028 \t 漢字 🎈", "and?"):
        chat(prompt)
    for _ in chat("streamed", stream=True):
        pass
    chat("last")


def awaited(stage: Stage) -> None:
    """Three turns from code that awaits, with an async tool."""
    from ipycachechat import AsyncChat

    async def hold() -> None:
        chat = AsyncChat(stage.speaker.model, system=RULES, tools=[fetch])
        stage.wire.script(calls(("fetch", {"n": 1}), ("fetch", {"n": 2})), Reply("done"))
        await chat("Fetch both")
        async for _ in await chat("streamed", stream=True):
            pass
        await chat("last")

    asyncio.run(hold())


def tool_loop(stage: Stage) -> None:
    """Calls of tools: two in one reply, one that fails, wrong arguments, an unknown tool, a picture."""
    chat = stage.chat(system=RULES, tools=[look, fetch, broken, picture])
    stage.wire.script(
        calls(("look", {"q": "a"}), ("fetch", {"n": 2}), text="Let me see."),
        calls(("broken", {"q": "x"})),
        calls(("look", {"q": 3}), ("nothing", {})),
        calls(("picture", {"q": "dot"}), ("look", {"q": "b", "most": 1})),
        Reply("done"),
    )
    stage.attempt(lambda: chat("Find them all"))
    stage.wire.clear_scripts()
    chat("And now?")
    stage.wire.script(*(calls(("look", {"q": f"step {n}"})) for n in range(2)))
    chat("Too many steps", max_steps=2)
    chat.tools = [look, broken]
    chat("Other tools")


def thinking(stage: Stage) -> None:
    """Thinking with and without calls, sent back in later requests; then a turn without thinking."""
    chat = stage.chat(system=RULES, tools=[look], think="low")
    stage.wire.script(
        calls(("look", {"q": "a"}), thinking="first thought"),
        calls(("look", {"q": "b"}), ("look", {"q": "c"}), text="so", thinking="second thought"),
        Reply("done", thinking="third thought"),
        Reply("and done", thinking="fourth thought"),
        Reply("no thought"),
    )
    for prompt in ("hi", "and?", "or?"):
        stage.attempt(lambda prompt=prompt: chat(prompt))  # type: ignore[misc]
    stage.wire.clear_scripts()
    stage.attempt(lambda: chat("harder", think="high"))
    chat("without", think=None)


def files(stage: Stage) -> None:
    """Pictures, a PDF, a text file, a picture of PIL and a dataframe as parts of prompts."""
    from pandas import DataFrame
    from PIL import Image

    chat = stage.chat(system=RULES)
    frame = DataFrame({"city": ["Oslo", "Rome", None], "people": [0.7, 2.8, 1.5]})
    paper, notes = stage.file("paper.pdf", PDF), stage.file("notes.md", b"# Notes\n```\nx\n```\n")
    for prompt in (
        ["Look:", png(), "What is it?"],
        ["Read", paper],
        ["Read", notes],
        [Image.new("RGB", (3, 3), "blue"), "and this?"],
        ["Why?", frame],
        PDF,
        "and?",
    ):
        stage.attempt(lambda prompt=prompt: chat(prompt))  # type: ignore[misc]


def system_prompts(stage: Stage) -> None:
    """The system prompt for one call, another one from then on, and none."""
    chat = stage.chat(system=RULES)
    chat("a")
    chat("b", system="Only now.")
    chat("c")
    chat.system = words(1600, "other")
    chat("d")
    chat.system = ""
    chat("e")


def options(stage: Stage) -> None:
    """Settings of single calls, and no caching at all."""
    chat = stage.chat(system=RULES)
    for more in (
        {"max_tokens": 100},
        {"temp": 1.0},
        {"top_p": 0.9},
        {"stop": ["END"]},
        {"cache": False},
        {"tools": [look, fetch]},
        {},
    ):
        stage.attempt(lambda more=more: chat("with " + ", ".join(more), **more))  # type: ignore[misc]
    other = stage.chat(system=RULES, cache=False)
    other("a")
    other("b")


def histories(stage: Stage) -> None:
    """A history that is set, exported as JSON, given to another chat, edited, undone and started again."""
    chat = stage.chat(hist=["What is 2+3?", "It is 5", ["And", png()], "7"], system=RULES)
    chat("so?")
    stage.wire.script(calls(("look", {"q": "a"}), thinking="hm"), Reply("done"))
    stage.attempt(lambda: chat("look", tools=[look]))
    stage.wire.clear_scripts()
    again = stage.chat(hist=json.loads(json.dumps(chat.hist)), tools=[look])
    again("after a copy")
    messages = again.hist
    messages[1]["content"] = "What is 20+30?"
    again.hist = messages
    again("after an edit")
    again.hist = again.hist[:4]
    again("after a cut")
    again.undo()
    again.undo()
    again("after undo")
    again.reset()
    again("anew")
    stage.chat(hist=["q", "a", "a question that waits"])()


def forks(stage: Stage) -> None:
    """Two chats that continue alternately from one point."""
    chat = stage.chat(system=RULES)
    for n in range(3):
        chat(f"{n} {words(300, 'trunk')}")
    other = chat.fork()
    for n in range(3):
        other(f"branch {n}")
        stage.pause(20)
        chat(f"trunk {n}")
    other.fork()("a twig")


def typed(stage: Stage) -> None:
    """Typed answers: one that fits, one that is sent back, one that never fits."""
    from dataclasses import make_dataclass

    city = make_dataclass("City", [("name", str), ("people", int)])
    chat = stage.chat(system=RULES)
    stage.wire.script(
        Reply('{"name": "Paris", "people": 2}'),
        Reply('{"name": "Rome"}'),
        Reply('```json\n{"name": "Rome", "people": 3}\n```'),
        Reply("no"),
        Reply("no again"),
    )
    for place in ("France", "Italy", "Norway"):
        stage.attempt(lambda place=place: chat.structured(f"The capital of {place}?", city))  # type: ignore[misc]
    chat("and?")


def mapped(stage: Stage) -> None:
    """Many prompts on one conversation; the first request leads, the others are sorted."""
    chat = stage.chat(system=RULES)
    chat("First.")
    chat.map([f"prompt {n}" for n in range(6)], n=3, progress=False)
    at = len(stage.wire.requests) - 5
    stage.wire.requests[at:] = sorted(stage.wire.requests[at:], key=lambda request: request.raw)
    chat("and?")


def retried(stage: Stage) -> None:
    """Temporary refusals, errors in the stream, a lost connection, and an answer that stays cut off."""
    chat = stage.chat(system=RULES)
    soon = {"retry-after": "0"}
    stage.wire.script(Reply(fault=HttpError(429, "Slow down", headers=soon)), Reply("one"))
    chat("after too many requests")
    stage.wire.script(Reply(fault=HttpError(529)), Reply(fault=HttpError(503)), Reply("two"))
    chat("after an overload")
    stage.wire.script(Reply("some words of it", fault=Drop(after=2)), Reply("three"))
    chat("after a lost connection")
    stage.wire.script(Reply("some words of it", fault=StreamError(after=2)), Reply("four"))
    stage.attempt(lambda: chat("after an error in the stream"))
    stage.wire.clear_scripts()
    stage.wire.script(*[Reply("some words of the answer", fault=Drop(after=3))] * 2)
    stage.attempt(lambda: chat("cut off", retries=0))
    stage.wire.clear_scripts()
    chat("and?")
    stage.wire.script(Reply(fault=HttpError(400, "No such thing")))
    stage.attempt(lambda: chat("refused"))
    stage.wire.script(calls(("look", {"q": "a"})), Reply(fault=HttpError(529)))
    stage.attempt(lambda: chat("fails after a step", tools=[look], retries=0))
    stage.wire.clear_scripts()
    chat("and?", tools=[look])


def stopped(stage: Stage) -> None:
    """A stream that is closed after three words, which stay as an interrupted turn."""
    chat = stage.chat(system=RULES)
    chat("a")
    stage.wire.script(Reply(("some ", "words ", "of ", "it"), fault=Stall(after=3)))
    text, pieces = "", chat("b", stream=True)
    for chunk in pieces:
        text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
        if "of" in text:
            break
    pieces.close()
    chat("go on")


def too_long(stage: Stage) -> None:
    """A conversation that is too long for the model, so that tool results are shortened."""
    chat = stage.chat(tools=[archive, look])
    stage.wire.context_limit = 5000
    stage.wire.script(calls(("archive", {"q": "a"}), ("look", {"q": "b"})), Reply("done"))
    stage.attempt(lambda: chat("Search"))
    stage.wire.script(calls(("archive", {"q": "c"})), Reply("done"))
    stage.attempt(lambda: chat("Search more"))
    stage.wire.clear_scripts()
    stage.wire.context_limit = None
    chat("and?")


PAUSES = (10, 30, 60, 20, 400, 15, 45, 120, 700, 30, 30, 280, 310, 20, 4000)


def thirty_turns(stage: Stage) -> None:
    """Thirty turns with pauses of seconds to an hour; every fifth turn calls a tool."""
    chat = stage.chat(system=RULES, tools=[look])
    for n in range(30):
        if n % 5 == 4:
            stage.wire.script(calls(("look", {"q": f"a{n}"}), ("look", {"q": f"b{n}"})), Reply(f"answer {n}"))
        chat(f"turn {n}: {words(40 + 23 * (n % 7), 'long')}")
        stage.pause(PAUSES[n % len(PAUSES)])


def lifetimes(stage: Stage) -> None:
    """The three lifetimes of the cache, and long pauses that let auto choose the longer one."""
    for ttl in ("5m", "1h", "auto"):
        chat = stage.chat(system=words(1600, f"life{ttl}"), ttl=ttl)
        for n in range(6):
            chat(f"{ttl} {n} {words(200)}")
            stage.pause(30 if n % 2 else 500)
    chat.ttl = "1h"
    chat("longer from now on")
    chat("shorter once", ttl="5m")


def models_change(stage: Stage) -> None:
    """A conversation with thinking, calls and a picture that each other model continues."""
    chat = stage.chat(system=RULES, tools=[look], think="low")
    stage.wire.script(calls(("look", {"q": "a"}), thinking="first"), Reply("done", thinking="second"))
    stage.attempt(lambda: chat(["hi", png()]))
    for other in SPEAKERS:
        chat.model, chat.think = other.model, "low" if other.thinks else None
        stage.wire.clear_scripts()
        stage.wire.script(calls(("look", {"q": other.name}), ("look", {"q": "again"})), Reply("done too"))
        stage.attempt(lambda: chat("and?"))
    stage.wire.clear_scripts()
    chat.model = stage.speaker.model
    chat("back?")


FROM_PYTHON: tuple[Callable[[Stage], None], ...] = (
    plain,
    awaited,
    tool_loop,
    thinking,
    files,
    system_prompts,
    options,
    histories,
    forks,
    typed,
    mapped,
    retried,
    stopped,
    too_long,
    thirty_turns,
    lifetimes,
    models_change,
)


# Conversations in a notebook.

CLOCK_OF_THE_KERNEL = """
import time
_clock = [{now!r}]
time.time = lambda: _clock[0]
"""
"""Run before the extension is loaded, so that the kernel reads the clock of the conversations."""

LONG_PAUSES_PASS = """
import asyncio
_sleep = asyncio.sleep
async def _pass(seconds, result=None):
    if seconds >= 100:
        _clock[0] += seconds
    return await _sleep(seconds if seconds < 1 else 0.02, result)
asyncio.sleep = _pass
"""
"""Code that lets the minutes until the next refresh of the cache pass at once. Pauses of seconds, which other libraries
make at moments of their own, are shortened without moving the clock."""

NAMES = """
import math
from pathlib import Path
import pandas as pd
def look(q: str,  # what to look for
         most: int = 3):
    "Look something up."
    return q + ": " + "word " * 40
def broken(q: str) -> str:
    "Fail always."
    raise ValueError("no " + q)
async def fetch(n: int) -> dict:
    "Fetch by number."
    return {"n": n}
def archive(q: str) -> str:
    "Return a text that is too long."
    return " ".join([q] * 9000)
df = pd.DataFrame({"city": ["Oslo", "Rome", None], "people": [0.7, 2.8, 1.5]})
numbers, text, token = [1, 2.5, None], "a {{ text }} with braces", "sk-ant-api03-" + "Ab3dE5fG7h" * 9 + "-AA"
dot, paper, notes = Path("dot.png"), Path("paper.pdf"), Path("notes.md")
"""


@dataclass
class Notebook:
    """A notebook in a kernel, as a front end has it: cells with ids, which can be edited, deleted and saved."""

    kernel: Kernel
    wire: WireServer
    path: Path
    speaker: Speaker = SONNET
    sources: dict[str, str] = field(default_factory=dict)
    """Cell id to source, in the order of the notebook."""
    scene: str = ""
    deleted: list[str] = field(default_factory=list)
    """Cells that the next execution reports as deleted."""

    def run(self, code: str, cell: str = "", fails: bool = False) -> Any:
        """Run a cell to its end; an error ends the recording unless it is expected."""
        ran = self.kernel.run(code, f"{self.scene} {cell}" if cell else "", deleted=self.deleted)
        self.deleted = []
        if ran.error and not fails:
            raise RuntimeError(f"{self.scene}: {code!r} failed: {ran.error}")
        return ran

    def ask(self, cell: str, text: str, line: str = "", fails: bool = False) -> Any:
        """Write or edit a chat cell, and run it."""
        self.sources[cell] = f"%%chat {line}\n{text}"
        return self.run(self.sources[cell], cell, fails)

    def again(self, cell: str) -> Any:
        """Run a cell again unchanged."""
        return self.run(self.sources[cell], cell)

    def delete(self, cell: str) -> None:
        """Delete a cell, which the next execution reports."""
        del self.sources[cell]
        self.deleted.append(f"{self.scene} {cell}")

    def save(self, order: str) -> None:
        """Save the notebook with its cells in this order, given by their ids of one letter."""
        cells = [
            {
                "cell_type": "code",
                "id": f"{self.scene} {cell}",
                "source": self.sources[cell],
                "metadata": {},
                "outputs": [],
            }
            for cell in order
        ]
        self.pause(1)
        self.path.write_text(json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}))
        os.utime(self.path, (self.wire.clock.now, self.wire.clock.now))
        self.pause(1)

    def pause(self, seconds: float) -> None:
        """Let time pass, for the kernel and for the server."""
        self.wire.clock.advance(seconds)
        self.run(f"_clock[0] = {self.wire.clock.now!r}")

    def load(self, before: str = "") -> None:
        """Set up a kernel that has just started: its clock, the extension, names and files."""
        self.run(CLOCK_OF_THE_KERNEL.format(now=self.wire.clock.now) + before)
        self.run("%load_ext ipycachechat")
        self.run(NAMES)
        folder = Path(self.kernel.folder.name)
        for name, data in (("dot.png", png()), ("paper.pdf", PDF), ("notes.md", b"# Notes\nSome.\n")):
            (folder / name).write_bytes(data)

    def fresh(self, scene: str, speaker: Speaker) -> None:
        """Start a scene: no turns, the usual settings, the speaker's model, new cells."""
        self.scene, self.speaker, self.sources, self.deleted = f"{speaker.name} {scene}", speaker, {}, []
        self.run("%unload_ext ipycachechat\nget_ipython().config.pop('ChatMagics', None)")
        self.run("%load_ext ipycachechat\n%chat reset")
        self.run(f"%chat fork {self.scene.replace(' ', '-')}")
        self.run(f'%chat model {speaker.model}\n%chat system "{RULES}"\n%chat ttl auto\n%chat watch off')
        self.run("%chat tools look" if speaker.thinks else "%chat tools off")
        self.run(f"%config ChatMagics.think = {'low' if speaker.thinks else ''!r}")


def edited(book: Notebook) -> None:
    """Cells that are run again, edited, appended, placed, deleted; options of single cells."""
    for cell in "abc":
        book.ask(cell, f"{cell} {words(100)}")
    book.ask("a", "a, edited")
    book.ask("d", "d")
    book.again("b")
    book.ask("b", "b at the end", "--append")
    book.ask("e", "and?", "--system 'Only now.' --max-tokens 50")
    book.ask("f", "not {{ filled in }}", "--raw --out answer")
    book.ask("g", "the answer was {{ answer }}")
    book.ask("h", "think", "--think high", fails=True)
    book.delete("c")
    book.ask("i", "without c")
    book.ask("c", "c is back")
    book.run("%config ChatMagics.rerun = 'rewind'")
    book.ask("d", "d, and nothing after it")
    book.ask("j", "and?")
    book.run("%config ChatMagics.rerun = 'append'")
    book.again("j")


def branched(book: Notebook) -> None:
    """Undo, redo, branches, pins, another system prompt, and a new conversation."""
    name = book.scene.replace(" ", "-")
    for cell in "abc":
        book.ask(cell, f"{cell} {words(300)}")
    book.run("%chat undo\n%chat undo\n%chat redo")
    book.ask("d", "after undo")
    book.run(f"%chat fork idea-of-{name}")
    book.ask("e", "on a branch")
    book.run("%chat pin 1")
    for cell in "fgh":
        book.ask(cell, f"{cell} {words(50)}")
    book.run(f"%chat switch {name}")
    book.ask("i", "back on the trunk")
    book.run("%chat pin")
    for cell in "jk":
        book.ask(cell, f"{cell} {words(50)}")
    book.run('%chat pin off\n%chat system "Be brief."')
    book.ask("l", "another system prompt")
    book.run("%chat reset")
    book.ask("m", "anew")
    book.run("%chat undo\n%chat undo")
    book.ask("n", "as before")


def synced(book: Notebook) -> None:
    """A notebook whose cells are dragged, saved and synced, a cell placed at its position, stale turns replayed."""
    for cell in "abcd":
        book.ask(cell, cell)
    book.save("acbd")
    book.run("%chat sync")
    book.ask("e", "after sync")
    book.sources["f"] = ""
    book.save("afcbde")
    book.ask("f", "here", "--here")
    book.ask("a", "a, edited")
    book.run("%chat replay")
    book.ask("g", "after replay")


def values_in_prompts(book: Notebook) -> None:
    """Values in prompts: a dataframe, texts, data, files, pictures, a function, an error, earlier cells, a secret."""
    book.run("1 / 0", "wrong", fails=True)
    number = book.run("print('printed')\n6 * 7", "right").reply["content"]["execution_count"]
    for n, prompt in enumerate(
        (
            "Why is {{ df }} like this, and {{ df.describe() }}?",
            "{{ numbers }} and {{ len(text) }}: {{ text }} with {{ math.pi }}",
            "{{ look }} is a function; { single } braces and x_{{i}} stay, says {{ notes }}",
            "What is in {{ err }}?",
            f"{{{{ cell({number}) }}}} gave {{{{ out({number}) }}}}",
            "My token is {{ token }}",
            "See {{ dot }}",
            "Read {{ paper }}",
            "and?",
        )
    ):
        book.ask(f"q{n}", prompt, fails=True)
    book.run("df = df.dropna()")
    book.again("q0")


def watched(book: Notebook) -> None:
    """Watched cells: their code, output and pictures; a chat cell that is run again."""
    book.run("%chat watch code")
    book.run("x = 6 * 7\nprint('printed')\nx", "a")
    book.ask("b", "So?")
    book.run("%chat watch code+output")
    book.run("import sys\nprint('careful', file=sys.stderr)\ndf", "c")
    book.run("object()\n1 / 0", "d", fails=True)
    for n in range(12):
        book.run(f"total_{n} = {n}\nprint('total', total_{n})", f"e{n}")
    book.ask("f", "And now?")
    book.run("%chat watch code+output+images")
    book.run("from IPython.display import Image\nImage(dot.read_bytes())", "g")
    book.ask("h", "What is shown?", fails=True)
    book.run("x = 43\nx", "a")
    book.again("b")
    book.ask("i", "and?")
    book.run("%chat watch off")


def with_tools(book: Notebook) -> None:
    """The kernel's functions as tools: two calls in one reply, a failure, a result that is too long, an overload."""
    book.run("%chat tools look broken fetch")
    book.wire.script(
        calls(("look", {"q": "a"}), ("fetch", {"n": 2}), thinking="hm" if book.speaker.thinks else ""),
        calls(("broken", {"q": "x"}), text="so"),
        Reply("done"),
    )
    book.ask("a", "Find them")
    book.ask("b", "and?")
    book.run("%chat tools archive")
    book.wire.context_limit = 6000
    book.wire.script(calls(("archive", {"q": "x"})), Reply("done"))
    book.ask("c", "Search", fails=True)
    book.wire.clear_scripts()
    book.wire.context_limit = None
    book.wire.script(Reply(fault=HttpError(429, headers={"retry-after": "0"})), Reply("fine"))
    book.ask("d", "after too many requests")
    book.run("%chat tools off")
    book.ask("e", "and no tools")


def files_kept(book: Notebook) -> None:
    """A conversation that is saved, loaded, recorded and replayed."""
    name = book.scene.replace(" ", "-")
    book.run("%chat tools look")
    thought = "hm" if book.speaker.thinks else ""
    book.wire.script(calls(("look", {"q": "a"}), thinking=thought), Reply("done", thinking=thought))
    book.ask("a", "See {{ df }}")
    book.ask("b", "b")
    book.run(f"%chat save {name}.json\n%chat save {name}.md\n%chat reset\n%chat load {name}.json")
    book.ask("c", "after loading")
    book.run(f"%chat replies {name}-replies.json")
    book.ask("d", "recorded")
    book.again("d")
    book.ask("e", "after a replay")
    book.run("%chat replies off")


def kept_warm(book: Notebook) -> None:
    """The cache is written on demand, kept longer, and expires."""
    book.run("%chat ttl 5m")
    book.ask("a", words(3000))
    book.pause(2 * MINUTE)
    for line in ("%chat warm", "%chat ttl 1h", "%chat warm", "%chat warm 30m", "%chat warm off"):
        book.run(line, fails=True)
    book.ask("b", "and?")
    book.pause(2 * HOUR)
    book.ask("c", "long after")
    book.run("%chat ttl auto")
    book.ask("d", "and?")


def from_the_kernel(book: Notebook) -> None:
    """The conversation of the chat cells from Python: asked, mapped, typed, forked."""
    book.ask("a", "in a cell")
    book.run("from ipycachechat import get_chat\nchat = get_chat()\nchat(['From Python', df, dot])", "b")
    book.run("chat.structured('A number?', int)", "c", fails=True)
    book.run("other = chat.fork()\nother('outside of the notebook')", "d")
    book.run("chat.map(['x', 'y'], n=1, progress=False)", "e")
    book.run("chat('My token: ' + token, max_tokens=60)", "f")
    book.ask("g", "in a cell again")
    book.run("get_ipython().run_cell_magic('chat', '', 'by the magic')", "h")
    book.run("math.sqrt(-1)", "i", fails=True)
    book.run("%chat fix Be brief.", "j")


def many_turns(book: Notebook) -> None:
    """Thirty cells with pauses, and an early one that is edited and followed by more."""
    for n in range(30):
        book.ask(f"t{n}", f"turn {n}: {words(40 + 23 * (n % 7), 'long')}")
        book.pause(PAUSES[n % len(PAUSES)])
    book.ask("t3", "turn 3, edited")
    book.ask("t30", "after the edit")
    book.ask("t31", "and?")


def taken_up(book: Notebook) -> None:
    """A conversation with calls and thinking that is resumed from the store after a restart."""
    book.run("%chat tools look")
    thought = "hm" if book.speaker.thinks else ""
    book.wire.script(
        calls(("look", {"q": "a"}), ("look", {"q": "b"}), thinking=thought), Reply("done", thinking=thought)
    )
    book.ask("a", "See {{ df }} {{ dot }}")
    book.ask("b", words(500))
    book.run("%chat pin 1")
    book.kernel.restart()
    book.wire.clock.advance(MINUTE)
    book.load()
    book.run("%chat resume")
    book.run("%chat tools look")
    book.ask("c", "after a restart")
    book.ask("a", "a, edited after a restart")
    book.run("%chat undo")
    book.ask("d", "and?")


IN_NOTEBOOKS: tuple[Callable[[Notebook], None], ...] = (
    edited,
    branched,
    synced,
    values_in_prompts,
    watched,
    with_tools,
    files_kept,
    kept_warm,
    from_the_kernel,
    many_turns,
    taken_up,
)


def refreshed(book: Notebook) -> None:
    """The cache is kept warm in the background for an hour."""
    book.run("%chat ttl 5m")
    book.ask("a", words(3000))
    book.ask("b", "and?")
    book.run("%chat warm 1h", fails=True)
    settle(book.wire)


def examined(book: Notebook) -> None:
    """A model's caching rules are checked against its bills, after the question is answered with yes."""
    request = book.kernel.start(f"%chat doctor {book.speaker.model}")
    book.kernel.client.get_stdin_msg(timeout=60)
    book.kernel.client.input("y")
    book.kernel.finish(request)


IN_THE_BACKGROUND = (refreshed, examined)


SLOW = (retried, models_change, lifetimes, too_long, with_tools, kept_warm, many_turns, taken_up)
"""Conversations that are left out of a short recording."""


def settle(wire: WireServer) -> None:
    """Wait until no request has arrived for a while."""
    count, last_change = -1, time.monotonic()
    while time.monotonic() - last_change < QUIET:
        if len(wire.requests) != count:
            count, last_change = len(wire.requests), time.monotonic()
        time.sleep(0.05)


# Recordings.


@dataclass
class Recording:
    """The requests of each conversation, with random ids replaced."""

    conversations: list[Json] = field(default_factory=list)
    ids: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, wire: WireServer) -> None:
        """Take the requests that the server has received, and empty its log."""
        requests = [self._request(request, name) for request in wire.requests]
        self.conversations.append({"conversation": name, "requests": requests})
        wire.clear()

    def _request(self, request: Any, name: str) -> Json:
        headers = {
            key: value for key, value in sorted(request.headers.items()) if not LEFT_OUT.fullmatch(key)
        }
        query = {key: value for key, value in sorted(request.query.items()) if key != "key"}
        patterns = (*RANDOM, NONCE) if name.endswith(examined.__name__) else RANDOM
        return {
            "method": request.method,
            "path": request.path,
            "query": query,
            "headers": {key: self._named(value, patterns) for key, value in headers.items()},
            "body": self._named(request.raw.decode(), patterns),
        }

    def _named(self, text: str, patterns: Sequence[re.Pattern[str]]) -> str:
        """Return the text with every random id replaced by its number."""

        def numbered(match: re.Match[str]) -> str:
            number = self.ids.setdefault(match[1], f"<id {len(self.ids) + 1}>")
            return match[0].replace(match[1], number)

        for pattern in patterns:
            text = pattern.sub(numbered, text)
        return text


@contextlib.contextmanager
def surroundings(wire: WireServer) -> Iterator[None]:
    """Set an environment and a clock for the loopback server only; restore both at the end."""
    before, clock = dict(os.environ), time.time
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_API_BASE", "_BASE_URL", "_AUTH_TOKEN")):
            del os.environ[name]
    os.environ.update(wire.env())
    time.time = lambda: wire.clock.now
    try:
        yield
    finally:
        time.time = clock
        os.environ.clear()
        os.environ.update(before)


def begin(wire: WireServer) -> None:
    """Empty the server and set its clock to the start."""
    wire.clear()
    wire.forget()
    wire.always, wire.context_limit = default_reply, None
    wire.clock.now = START


def record_python(recording: Recording, speakers: Sequence[Speaker], short: bool) -> None:
    """Run the conversations from Python with each speaker."""
    with tempfile.TemporaryDirectory() as folder, WireServer(clock=CLOCK) as wire, surroundings(wire):
        os.environ["XDG_DATA_HOME"] = folder
        for speaker in speakers:
            for scene in FROM_PYTHON:
                if short and scene in SLOW:
                    continue
                begin(wire)
                scene(Stage(wire, speaker, Path(folder)))
                recording.add(f"python, {speaker.name}: {scene.__name__}", wire)


def record_notebooks(recording: Recording, speakers: Sequence[Speaker], short: bool) -> None:
    """Run the conversations in a notebook with each speaker, in one kernel."""
    with tempfile.TemporaryDirectory() as folder, WireServer(clock=CLOCK) as wire:
        begin(wire)
        path = Path(folder) / "book.ipynb"
        with Kernel(wire.env() | {"JPY_SESSION_NAME": str(path)}) as kernel:
            book = Notebook(kernel, wire, path)
            book.load()
            for speaker in speakers:
                for scene in IN_NOTEBOOKS:
                    if short and scene in SLOW:
                        continue
                    book.pause(2 * HOUR)
                    wire.always, wire.context_limit = default_reply, None
                    book.fresh(scene.__name__, speaker)
                    scene(book)
                    recording.add(f"notebook, {speaker.name}: {scene.__name__}", wire)


def record_background(recording: Recording, speakers: Sequence[Speaker]) -> None:
    """Run the conversations in which long pauses pass at once, in a separate kernel."""
    with tempfile.TemporaryDirectory() as folder, WireServer(clock=CLOCK) as wire:
        begin(wire)
        path = Path(folder) / "book.ipynb"
        with Kernel(wire.env() | {"JPY_SESSION_NAME": str(path)}) as kernel:
            book = Notebook(kernel, wire, path)
            book.load(LONG_PAUSES_PASS)
            for speaker in speakers:
                for scene in IN_THE_BACKGROUND:
                    book.fresh(scene.__name__, speaker)
                    scene(book)
                    recording.add(f"background, {speaker.name}: {scene.__name__}", wire)


def record(short: bool) -> list[Json]:
    """Return all conversations with their requests."""
    recording = Recording()
    record_python(recording, SPEAKERS if short else (*SPEAKERS, *MORE), short)
    record_notebooks(recording, (SONNET,) if short else SPEAKERS, short)
    if not short:
        record_background(recording, (SONNET, GPT, GEMINI, ROUTED))
    return recording.conversations


# Comparing.


def difference(before: str, after: str) -> str:
    """Return the first difference of two texts, with its surroundings in each."""
    pairs = zip_longest(before, after)
    position = next((n for n, (left, right) in enumerate(pairs) if left != right), len(before))
    begin, end = max(0, position - 60), position + 60
    return f"at character {position:,}\n    A: …{before[begin:end]}…\n    B: …{after[begin:end]}…"


def compare(before: list[Json], after: list[Json]) -> tuple[int, list[str]]:
    """Return the number of identical requests and a text for each difference."""
    same, differences = 0, []
    left = {talk["conversation"]: talk["requests"] for talk in before}
    right = {talk["conversation"]: talk["requests"] for talk in after}
    for name in dict.fromkeys([*left, *right]):
        if name not in left or name not in right:
            differences.append(f"{name}: only in {'A' if name in left else 'B'}")
            continue
        for number, (old, new) in enumerate(zip_longest(left[name], right[name]), start=1):
            if old == new:
                same += 1
            elif old is None or new is None:
                differences.append(f"{name}, request {number}: only in {'B' if old is None else 'A'}")
            else:
                part = next(key for key in old if old[key] != new[key])
                texts = [
                    value if isinstance(value, str) else json.dumps(value) for value in (old[part], new[part])
                ]
                where = difference(*texts)
                differences.append(f"{name}, request {number}: {part} differs {where}")
    return same, differences


def main() -> None:
    """Record, or compare two recordings."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", nargs="?", metavar="OUT.json", help="the file to write")
    parser.add_argument("--short", action="store_true", help="fewer conversations, in about a minute")
    parser.add_argument("--compare", nargs=2, metavar=("A.json", "B.json"), help="compare two recordings")
    args = parser.parse_args()
    if args.compare:
        before, after = (json.loads(Path(name).read_text()) for name in args.compare)
        same, differences = compare(before, after)
        for text in differences:
            print(text)
        count = f"{same:,} requests in {len(before):,} conversations"
        print(f"{count} are byte-identical; {len(differences):,} differences")
        sys.exit(bool(differences))
    if not args.out:
        parser.error("name the file to write, or two to compare")
    start = time.monotonic()
    talks = record(args.short)
    Path(args.out).write_text(json.dumps(talks, ensure_ascii=False, indent=1))
    requests = sum(len(talk["requests"]) for talk in talks)
    took = time.monotonic() - start
    print(f"{requests:,} requests in {len(talks):,} conversations, {took:.0f} s: {args.out}")


if __name__ == "__main__":
    main()
