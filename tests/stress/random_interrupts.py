"""The stop button at random moments of real cells: what stays, whether one can go on, and how soon all is free.

    python tests/stress/random_interrupts.py [MOMENTS] [SEED] [WAY,WAY…]

Each moment is one of a way that a cell can go (`WAYS`), asked of one of the providers, and some time after that stopped
with the kernel's interrupt; at every third the button is pressed once more shortly after. Then the next question is
asked, which the wire server holds against the provider's rules. Times are the server's, for the connection, and the
kernel's, for the cell; they are told, and nothing fails by them.
"""

from __future__ import annotations

import queue
import random
import re
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from support.kernels import CellResult, Kernel  # noqa: E402
from wire import Reply, Request, ToolCall, WireServer  # noqa: E402
from wire.replies import Script  # noqa: E402

MODELS = ("anthropic/claude-sonnet-5", "openai/gpt-5.5", "gemini/gemini-3.8-flash")
THINKERS = ("anthropic/claude-sonnet-5", "openai/gpt-5.5")
SOON = 0.2
"""Seconds in which all should be free."""
EACH = 12
"""Moments after which the conversation begins anew."""
OURS = re.compile(r"ipycachechat/\w+(/\w+)?\.py")
LINES = 5
"""That an error has at most."""
TOOLS = """
import asyncio, time
def plain(n: int) -> str:
    "Wait."
    print("plain", n)
    time.sleep(0.15)
    return f"plain {n}"
def catching(n: int) -> str:
    "Wait, whatever comes."
    try:
        time.sleep(0.3)
    except KeyboardInterrupt:
        pass
    return f"caught {n}"
async def beside(n: int) -> str:
    "Wait beside others."
    await asyncio.sleep(0.1 * n)
    return f"beside {n}"
"""
WORDS = tuple(f"word{n}" for n in range(400))
TEXT = " ".join(WORDS)
PIECES = tuple(TEXT[n : n + 7] for n in range(0, len(TEXT), 7))
"""Cut anywhere in its words."""
RICH = tuple(
    f"## {word}\n\nSome `code` and $a<b$, *{word}*.\n\n```python\nprint('{word}')\n```\n\n" for word in WORDS
)


@dataclass(frozen=True, slots=True)
class Way:
    """How a cell goes: what is answered, and within how many seconds of its start it is stopped."""

    replies: tuple[Script, ...]
    seconds: float
    line: str = ""
    thinks: bool = False
    fresh: bool = False
    """Whether it takes a kernel that has asked nothing yet."""


def tool(*calls: tuple[str, int], text: str = "") -> Reply:
    """An answer that asks for tools."""
    said = tuple(f"{word} " for word in text.split())
    asked = tuple(ToolCall(name, {"n": n}) for name, n in calls)
    return Reply(said, tool_calls=asked, chunk_delay=0.01)


WAYS = {
    "waiting": Way((Reply("late", first_delay=30),), 1.0),
    "streaming": Way((Reply(PIECES, chunk_delay=0.01),), 2.5),
    "thinking": Way((Reply(PIECES, thinking=PIECES[:80], chunk_delay=0.01),), 2.0, "--think low", True),
    "between steps": Way((tool(("beside", 0), text="I look"),) * 8 + (Reply(PIECES, chunk_delay=0.01),), 1.5),
    "plain tools": Way(
        (tool(("plain", 1), ("plain", 2), ("plain", 3)), tool(("plain", 4)), Reply("end")), 1.2
    ),
    "async tools": Way(
        (tool(("beside", 1), ("beside", 3), ("beside", 6), text="I ask three"), Reply("end")), 0.9
    ),
    "mixed tools": Way((tool(("plain", 1), ("beside", 2), ("plain", 3), ("beside", 9)), Reply("end")), 1.0),
    "thinking tools": Way(
        (
            Reply(
                "so",
                thinking=PIECES[:20],
                tool_calls=(ToolCall("plain", {"n": 1}), ToolCall("beside", {"n": 3})),
            ),
            Reply(PIECES, thinking=PIECES[:20], chunk_delay=0.01),
        ),
        1.5,
        "--think low",
        True,
    ),
    "tools that catch": Way(
        (tool(("catching", 1), ("catching", 2)), tool(("catching", 3)), Reply("end")), 1.2
    ),
    "drawing": Way((Reply(RICH, rate=3000),), 1.5),
    "the end": Way((Reply(("short ", "answer")),), 0.12),
    "importing": Way((Reply(PIECES, chunk_delay=0.01),), 3.5, fresh=True),
    "local, loading": Way((), 3.0, "-m local --max-tokens 200", fresh=True),
    "local": Way((), 1.5, "-m local --max-tokens 200"),
}


@dataclass(slots=True)
class Moment:
    """One press, and what came of it."""

    way: str
    model: str
    after: float
    """Seconds from the start of the cell."""
    twice: float
    """Seconds from the first press to the second; 0: there was none."""
    stopped: bool = False
    """Whether the cell was still running."""
    free: float = 0.0
    """Seconds from the press to the cell's reply."""
    closed: float | None = None
    """Seconds from the press to the end of the connection that was open, as the server sees it."""
    early: bool = False
    """Whether it hit IPython itself, on the way to the cell's code: that is told as IPython tells it."""
    wrong: list[str] = field(default_factory=list)


class Stops:
    """Kernels over one server, stopped again and again."""

    def __init__(self, wire: WireServer) -> None:
        self._wire = wire
        self._kernel: Kernel | None = None
        self._count = 0

    def close(self) -> None:
        """End the kernel."""
        if self._kernel is not None:
            self._kernel.__exit__(None, None, None)
        self._kernel = None

    def _ready(self, fresh: bool) -> Kernel:
        """A kernel with the tools, and with litellm unless it is to be `fresh`."""
        if fresh or self._kernel is None:
            self.close()
            self._kernel = Kernel(self._wire.env())
            self._kernel.__enter__()
            self._kernel.run(f"%load_ext ipycachechat\n%config ChatMagics.max_tokens = 8000\n{TOOLS}")
            self._kernel.run("%chat tools plain catching beside")
            if not fresh:
                self._kernel.run("%%chat\nhello")
        elif self._count % EACH == 0:
            self._kernel.run("%chat reset")
        self._count += 1
        return self._kernel

    def stopped(self, moment: Moment) -> Moment:
        """Stop one; a kernel that no longer answers is ended."""
        try:
            return self._stop(moment)
        except queue.Empty:
            moment.wrong.append("no reply")
            self.close()
            return moment

    def _stop(self, moment: Moment) -> Moment:
        """Ask, press, and look."""
        way = WAYS[moment.way]
        kernel, wire = self._ready(way.fresh), self._wire
        local = moment.model == "local"
        if local:  # which cannot call them
            kernel.run("%chat reset\n%chat tools off")
        wire.clear()
        wire.script(*way.replies)
        line = way.line if local else f"-m {moment.model} {way.line}"
        asked = "Tell me a long story." if local else "the question"
        request = kernel.start(f"%%chat {line}\n{asked}", cell=f"cell-{self._count}")
        begun = kernel.finish(request, until="busy")  # before, no kernel hears of it
        time.sleep(moment.after)
        pressed, wall = time.monotonic(), datetime.now(timezone.utc)
        kernel.interrupt()
        if moment.twice:
            time.sleep(moment.twice)
            kernel.interrupt()
        ran = kernel.finish(request)
        ran.messages[:0] = begun.messages
        moment.stopped = ran.reply["content"]["status"] == "error"
        moment.free = (ran.reply["header"]["date"] - wall).total_seconds()
        open_then = [one for one in wire.requests if one.ended is None or one.ended > pressed]
        for one in open_then:
            one.wait(10)
        if moment.stopped and not local:
            ended = [
                one.ended - pressed for one in open_then if one.ended is not None and one.closed == "client"
            ]
            moment.closed = max(ended, default=None)
        moment.wrong += self._shown(ran, wall, moment)
        sent = len(wire.requests)
        wire.clear()
        moment.wrong += self._next(kernel, moment, ran, sent)
        if local:
            kernel.run("%chat reset\n%chat tools plain catching beside")
        return moment

    def _shown(self, ran: CellResult, pressed: datetime, moment: Moment) -> Iterator[str]:
        """What is not as it should be in the cell."""
        moment.early = "KeyboardInterrupt" in ran.error and not OURS.search(ran.error)
        if moment.early:
            return
        if "Traceback" in ran.error + ran.printed or len(ran.error.splitlines()) > LINES:
            yield f"a traceback: {(ran.error + ran.printed)[-900:]}"
        if moment.stopped and (not ran.error.startswith("Stopped.") or len(ran.error.splitlines()) != 1):
            yield f"not told in one line: {ran.error[-400:]}"
        if not moment.stopped and not ran.answer:
            yield "neither stopped nor answered"
        if moment.model == "local":
            return
        before = [m for m in ran.messages if m["header"]["date"] < pressed - timedelta(seconds=0.05)]
        seen = words(" ".join(str(m["content"].get("data", {}).get("text/html", "")) for m in before))
        missing = seen[:-1] and [word for word in seen[:-1] if word not in words(str(ran.outputs))]
        if missing:
            yield f"shown, and then gone: {missing[:3]}"

    def _next(self, kernel: Kernel, moment: Moment, ran: CellResult, sent: int) -> Iterator[str]:
        """What is wrong with the next question."""
        model = moment.model
        think = WAYS[moment.way].line if model != "local" else ""
        ran_next = kernel.run(
            f"%%chat -m {model} {think} --max-tokens {20 if model == 'local' else 8000}\nthe next",
            cell=f"next-{self._count}",
        )
        if ran_next.error or not ran_next.answer:
            yield f"the next question failed: {ran_next.reply['content']['status']} {ran_next.error[-300:]}"
        if model == "local":
            return
        for one in self._wire.requests:
            one.wait(10)
            if one.error or one.status != 200:
                yield f"the server complains: {one.status} {one.error}"
        if self._wire.requests:
            kept = [text for text in texts(self._wire.requests[-1]) if "word" in text]
            for text in kept:
                half = [w for w in words(text) if w not in WORDS]
                if half and "##" not in text:
                    yield f"cut inside of a word: {text[-30:]!r}"
            ended = "is kept" in ran.error
            if ran.error and ended != bool(ran.badge):
                yield f"told {ran.error.splitlines()[-1]!r}, and the badge is {ran.badge!r}"


def words(text: str) -> list[str]:
    """The numbered words of a text."""
    return re.findall(r"word\d*", text)


def texts(request: Request) -> Iterator[str]:
    """What the model has said, in a request."""
    for message in [*request.messages, *((request.body or {}).get("input") or [])]:
        if message.get("role") in ("assistant", "model"):
            content = message.get("content") or message.get("parts") or ""
            parts = [content] if isinstance(content, str) else [p.get("text") or "" for p in content]
            yield "".join(parts)


def moments(n: int, seed: int, ways: tuple[str, ...] = tuple(WAYS)) -> list[Moment]:
    """So many, one after the other, in an order that asks seldom for a new kernel."""
    chance = random.Random(seed)
    planned: list[Moment] = []
    for number in range(n):
        name = ways[number % len(ways)]
        way = WAYS[name]
        model = "local" if "local" in way.line else chance.choice(THINKERS if way.thinks else MODELS)
        twice = chance.uniform(0, 0.15) if number % 3 == 2 else 0.0
        planned.append(Moment(name, model, chance.uniform(0, way.seconds), twice))
    with WireServer() as wire:
        stops = Stops(wire)
        try:
            return [stops.stopped(moment) for moment in planned]
        finally:
            stops.close()


def told(found: list[Moment]) -> str:
    """All of them in a few lines."""
    stopped = [one for one in found if one.stopped]
    lines = [
        f"{len(found)} moments, {len(stopped)} of them before the end, {sum(bool(one.twice) for one in found)} pressed "
        f"twice, {sum(one.early for one in found)} before any of our code ran; "
        f"{sum(bool(one.wrong) for one in found)} wrong",
        spread("cell free", [one.free for one in stopped]),
        spread("connection closed", [one.closed for one in stopped if one.closed is not None]),
    ]
    for name in WAYS:
        free = [one.free for one in stopped if one.way == name]
        closed = [one.closed for one in stopped if one.way == name and one.closed is not None]
        if free:
            lines.append(f"  {spread(name, free)}" + (f"; {spread('closed', closed)}" if closed else ""))
    return "\n".join(lines)


def spread(name: str, seconds: list[float]) -> str:
    """Median, 95th and worst, and how many took too long."""
    if not seconds:
        return f"{name}: never"
    ordered = sorted(seconds)
    high = ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]
    late = sum(one > SOON for one in ordered)
    return (
        f"{name} ({len(ordered)}): median {statistics.median(ordered) * 1e3:.0f} ms, 95th {high * 1e3:.0f}, "
        f"worst {ordered[-1] * 1e3:.0f}, {late} above {SOON * 1e3:.0f}"
    )


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)
    ways = tuple(sys.argv[3].split(",")) if len(sys.argv) > 3 else tuple(WAYS)
    start = time.monotonic()
    found = moments(n, seed, ways)
    for one in found:
        if one.wrong:
            print(one)
    print(f"seed {seed}, {time.monotonic() - start:.0f} s")
    print(told(found))
    sys.exit(any(one.wrong for one in found))


if __name__ == "__main__":
    main()
