"""The stop button at random moments of real cells: what stays, whether the next question works, and the times.

    python tests/stress/random_interrupts.py [MOMENTS] [SEED] [WAY,WAY…]

At each moment a cell takes one of the `WAYS`, asks one of the providers, and is stopped some time later with the
kernel's interrupt; every third is interrupted once more shortly after. Then the next question is asked, which the wire
server checks by the provider's rules. Times are the server's for the connection and the kernel's for the cell; they are
printed, and no check depends on them.
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
MAX_SECONDS = 0.2
"""Seconds after which cell and connection should be free."""
TURNS_PER_CONVERSATION = 12
"""Number of moments after which a new conversation starts."""
OURS = re.compile(r"ipycachechat/\w+(/\w+)?\.py")
LINES = 5
"""Lines that an error has at most."""
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
"""A text that is cut into chunks within its words."""
RICH = tuple(
    f"## {word}\n\nSome `code` and $a<b$, *{word}*.\n\n```python\nprint('{word}')\n```\n\n" for word in WORDS
)


@dataclass(frozen=True, slots=True)
class Way:
    """A kind of cell: the replies to it, and the seconds within which it is stopped."""

    replies: tuple[Script, ...]
    seconds: float
    line: str = ""
    thinks: bool = False
    fresh: bool = False
    """True if it needs a kernel that has asked nothing yet."""


def tool(*calls: tuple[str, int], text: str = "") -> Reply:
    """An answer with tool calls."""
    text_chunks = tuple(f"{word} " for word in text.split())
    tool_calls = tuple(ToolCall(name, {"n": n}) for name, n in calls)
    return Reply(text_chunks, tool_calls=tool_calls, chunk_delay=0.01)


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
    """One interrupt, and its outcome."""

    way: str
    model: str
    after: float
    """Seconds from the start of the cell."""
    twice: float
    """Seconds from the first interrupt to the second; 0 if there was none."""
    stopped: bool = False
    """True if the cell was still running."""
    free: float = 0.0
    """Seconds from the interrupt to the cell's reply."""
    closed: float | None = None
    """Seconds from the interrupt to the end of the open connection, measured by the server."""
    early: bool = False
    """True if it interrupted IPython itself before the cell's code, which IPython reports in its own way."""
    wrong: list[str] = field(default_factory=list)


class Stops:
    """Kernels with one server, which are interrupted again and again."""

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
        """Return a kernel with the tools; unless `fresh`, litellm is imported."""
        if fresh or self._kernel is None:
            self.close()
            self._kernel = Kernel(self._wire.env())
            self._kernel.__enter__()
            self._kernel.run(f"%load_ext ipycachechat\n%config ChatMagics.max_tokens = 8000\n{TOOLS}")
            self._kernel.run("%chat tools plain catching beside")
            if not fresh:
                self._kernel.run("%%chat\nhello")
        elif self._count % TURNS_PER_CONVERSATION == 0:
            self._kernel.run("%chat reset")
        self._count += 1
        return self._kernel

    def stopped(self, moment: Moment) -> Moment:
        """Run and stop one cell; end the kernel if it no longer answers."""
        try:
            return self._stop(moment)
        except queue.Empty:
            moment.wrong.append("no reply")
            self.close()
            return moment

    def _stop(self, moment: Moment) -> Moment:
        """Ask, interrupt, and check."""
        way = WAYS[moment.way]
        kernel, wire = self._ready(way.fresh), self._wire
        local = moment.model == "local"
        if local:  # a model that cannot call tools
            kernel.run("%chat reset\n%chat tools off")
        wire.clear()
        wire.script(*way.replies)
        line = way.line if local else f"-m {moment.model} {way.line}"
        question = "Tell me a long story." if local else "the question"
        request = kernel.start(f"%%chat {line}\n{question}", cell=f"cell-{self._count}")
        first_messages = kernel.finish(
            request, until="busy"
        )  # an earlier interrupt has no effect in any kernel
        time.sleep(moment.after)
        pressed, wall = time.monotonic(), datetime.now(timezone.utc)
        kernel.interrupt()
        if moment.twice:
            time.sleep(moment.twice)
            kernel.interrupt()
        result = kernel.finish(request)
        result.messages[:0] = first_messages.messages
        moment.stopped = result.reply["content"]["status"] == "error"
        moment.free = (result.reply["header"]["date"] - wall).total_seconds()
        open_requests = [
            open_request
            for open_request in wire.requests
            if open_request.ended is None or open_request.ended > pressed
        ]
        for open_request in open_requests:
            open_request.wait(10)
        if moment.stopped and not local:
            ended = [
                open_request.ended - pressed
                for open_request in open_requests
                if open_request.ended is not None and open_request.closed == "client"
            ]
            moment.closed = max(ended, default=None)
        moment.wrong += self._shown(result, wall, moment)
        sent = len(wire.requests)
        wire.clear()
        moment.wrong += self._next(kernel, moment, result, sent)
        if local:
            kernel.run("%chat reset\n%chat tools plain catching beside")
        return moment

    def _shown(self, result: CellResult, pressed: datetime, moment: Moment) -> Iterator[str]:
        """Yield faults of the stopped cell."""
        moment.early = "KeyboardInterrupt" in result.error and not OURS.search(result.error)
        if moment.early:
            return
        if "Traceback" in result.error + result.printed or len(result.error.splitlines()) > LINES:
            yield f"a traceback: {(result.error + result.printed)[-900:]}"
        if moment.stopped and (
            not result.error.startswith("Stopped.") or len(result.error.splitlines()) != 1
        ):
            yield f"not reported in one line: {result.error[-400:]}"
        if not moment.stopped and not result.answer:
            yield "neither stopped nor answered"
        if moment.model == "local":
            return
        text_before = [m for m in result.messages if m["header"]["date"] < pressed - timedelta(seconds=0.05)]
        seen_words = words(
            " ".join(str(m["content"].get("data", {}).get("text/html", "")) for m in text_before)
        )
        missing = seen_words[:-1] and [
            word for word in seen_words[:-1] if word not in words(str(result.outputs))
        ]
        if missing:
            yield f"shown, and then gone: {missing[:3]}"

    def _next(
        self, kernel: Kernel, moment: Moment, stopped_result: CellResult, sent_words: int
    ) -> Iterator[str]:
        """Yield faults of the next question."""
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
        for request in self._wire.requests:
            request.wait(10)
            if request.error or request.status != 200:
                yield f"the server complains: {request.status} {request.error}"
        if self._wire.requests:
            stored_texts = [text for text in texts(self._wire.requests[-1]) if "word" in text]
            for text in stored_texts:
                half = [w for w in words(text) if w not in WORDS]
                if half and "##" not in text:
                    yield f"cut inside of a word: {text[-30:]!r}"
            ended = "is kept" in stopped_result.error
            if stopped_result.error and ended != bool(stopped_result.badge):
                yield f"reported {stopped_result.error.splitlines()[-1]!r}, and the badge is {stopped_result.badge!r}"


def words(text: str) -> list[str]:
    """The numbered words of a text."""
    return re.findall(r"word\d*", text)


def texts(request: Request) -> Iterator[str]:
    """Return the assistant's texts in a request."""
    for message in [*request.messages, *((request.body or {}).get("input") or [])]:
        if message.get("role") in ("assistant", "model"):
            content = message.get("content") or message.get("parts") or ""
            parts = [content] if isinstance(content, str) else [p.get("text") or "" for p in content]
            yield "".join(parts)


def moments(n: int, seed: int, ways: tuple[str, ...] = tuple(WAYS)) -> list[Moment]:
    """Run so many moments, one after the other, in an order that rarely needs a new kernel."""
    rng = random.Random(seed)
    planned: list[Moment] = []
    for number in range(n):
        name = ways[number % len(ways)]
        way = WAYS[name]
        model = "local" if "local" in way.line else rng.choice(THINKERS if way.thinks else MODELS)
        twice = rng.uniform(0, 0.15) if number % 3 == 2 else 0.0
        planned.append(Moment(name, model, rng.uniform(0, way.seconds), twice))
    with WireServer() as wire:
        stops = Stops(wire)
        try:
            return [stops.stopped(moment) for moment in planned]
        finally:
            stops.close()


def summary(results: list[Moment]) -> str:
    """Return all figures in a few lines."""
    stopped = [moment for moment in results if moment.stopped]
    lines = [
        f"{len(results)} moments, {len(stopped)} of them before the end, "
        f"{sum(bool(moment.twice) for moment in results)} pressed twice, "
        f"{sum(moment.early for moment in results)} before any of our code ran; "
        f"{sum(bool(moment.wrong) for moment in results)} wrong",
        spread("cell free", [moment.free for moment in stopped]),
        spread("connection closed", [moment.closed for moment in stopped if moment.closed is not None]),
    ]
    for name in WAYS:
        free = [moment.free for moment in stopped if moment.way == name]
        closed = [moment.closed for moment in stopped if moment.way == name and moment.closed is not None]
        if free:
            lines.append(f"  {spread(name, free)}" + (f"; {spread('closed', closed)}" if closed else ""))
    return "\n".join(lines)


def spread(name: str, seconds: list[float]) -> str:
    """Return median, 95th percentile, maximum, and the number of those that took too long."""
    if not seconds:
        return f"{name}: never"
    ordered = sorted(seconds)
    p95 = ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]
    late_count = sum(value > MAX_SECONDS for value in ordered)
    return (
        f"{name} ({len(ordered)}): median {statistics.median(ordered) * 1e3:.0f} ms, 95th {p95 * 1e3:.0f}, "
        f"worst {ordered[-1] * 1e3:.0f}, {late_count} above {MAX_SECONDS * 1e3:.0f}"
    )


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)
    ways = tuple(sys.argv[3].split(",")) if len(sys.argv) > 3 else tuple(WAYS)
    start = time.monotonic()
    results = moments(n, seed, ways)
    for moment in results:
        if moment.wrong:
            print(moment)
    print(f"seed {seed}, {time.monotonic() - start:.0f} s")
    print(summary(results))
    sys.exit(any(moment.wrong for moment in results))


if __name__ == "__main__":
    main()
