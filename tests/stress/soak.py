"""Thousands of turns in one kernel: what stays in memory, what stays open, and whether the last are as fast.

    python tests/stress/soak.py [TURNS] [--each N]     10,000 turns, in conversations of 50, which a reset ends
    python tests/stress/soak.py --short                a minute, as in CI
    python tests/stress/soak.py --growing 1000         one conversation that only grows, and whose time that takes

Every turn is a cell of its own, asked of a real kernel and sent through litellm to the wire server. A request says all
that was said before, so a turn can only take as long as the first ones did if it follows as much as they did; hence
the resets. All versions stay in the history, which can be undone: its size is measured (`pympler` is not needed: each
object once, by `sys.getsizeof`), and what the kernel has grown by beyond that. The time of a turn is that of its cell
by the kernel's clock; it is told apart into the server's, litellm's (with what lies between the two), and ours.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psutil

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from support.kernels import CellResult, Kernel  # noqa: E402
from wire import WireServer  # noqa: E402

TURNS, EACH, SHORT = 10_000, 50, 600
MOST_GROWTH = 50e6  # bytes beyond the history
FLAT = 1.5
WARM_UP = 100
"""Turns after which memory is measured first: by then all is imported, and the allocator has its arenas."""
ALIVE = 11.0
"""Seconds after which no badge is a widget any more."""

MEASURE = """
import gc as _gc, sys as _sys, threading as _threading, types as _types, ctypes as _ctypes
def _session():
    return get_ipython().magics_manager.registry["ChatMagics"].session
def _size(*roots):
    "Bytes of all that is reached from here, each object once; classes and code are everybody's."
    seen, todo, total = set(), [*roots], 0
    shared = type | _types.ModuleType | _types.FunctionType
    while todo:
        one = todo.pop()
        if id(one) in seen or isinstance(one, shared):
            continue
        seen.add(id(one))
        total += _sys.getsizeof(one)
        todo += _gc.get_referents(one)
    return total
def _asked(n):
    timings = [done.timing for done in _session().chat.results][-n:]
    return [one.first + one.writing for one in timings]
def _measure():
    from ipywidgets.widgets.widget import _instances
    _gc.collect()
    try:
        _ctypes.CDLL("libc.so.6").malloc_trim(0)
    except OSError:
        pass
    dialogue = _session().chat
    return {
        "history": _size(dialogue.history),
        "threads": sorted(f"{type(one).__module__}.{type(one).__name__} {one.name}" for one in _threading.enumerate()),
        "widgets": len(_instances),
        "cells": _sys.getsizeof(In) + sum(map(_sys.getsizeof, In)),
    }
"""


@dataclass(frozen=True, slots=True)
class State:
    """Of the kernel, at one moment."""

    memory: int
    """Bytes, resident."""
    history: int
    """Bytes of it that are the conversation's versions."""
    threads: list[str]
    sockets: int
    files: int
    widgets: int
    cells: int
    """Bytes of what IPython keeps of the cells that ran."""


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds of one turn."""

    cell: float
    server: float
    asked: float
    """From the call of litellm to the last token; the server's are part of it."""

    @property
    def litellm(self) -> float:
        """What the way through litellm, and to and from the server, took."""
        return max(0.0, self.asked - self.server)

    @property
    def ours(self) -> float:
        """The rest: planning, drawing, keeping, and IPython's own."""
        return self.cell - self.asked


@dataclass(frozen=True, slots=True)
class Soaked:
    """All of it."""

    before: State
    after: State
    took: tuple[Took, ...]
    wrong: int
    """Cells that failed, or whose answer was not that of their question."""

    @property
    def growth(self) -> int:
        """Bytes beyond the history."""
        return self.after.memory - self.before.memory - (self.after.history - self.before.history)

    @property
    def part(self) -> int:
        """Turns whose median is that of the first, or of the last: a tenth."""
        return max(1, len(self.took) // 10)

    @property
    def slower(self) -> float:
        """The median of the last turns by that of the first."""
        first, last = self.took[: self.part], self.took[-self.part :]
        return statistics.median(t.cell for t in last) / statistics.median(t.cell for t in first)

    @property
    def left(self) -> str:
        """What is there now and was not before, "" if nothing."""
        more = {
            name: getattr(self.after, name) - getattr(self.before, name) for name in ("sockets", "widgets")
        }
        threads = Counter(self.after.threads) - Counter(self.before.threads)
        return ", ".join([*(f"{n} more {name}" for name, n in more.items() if n > 0), *threads])

    @property
    def told(self) -> str:
        """All of it in a few lines."""
        lines = [
            f"{len(self.took)} turns, {self.wrong} wrong; memory {self.before.memory / 1e6:.0f} to "
            f"{self.after.memory / 1e6:.0f} MB, of which the history {self.before.history / 1e6:.1f} to "
            f"{self.after.history / 1e6:.1f}: {self.growth / 1e6:+.1f} MB beyond it; "
            f"left over: {self.left or 'nothing'}; files {self.before.files} to {self.after.files}; "
            f"IPython's cells {self.after.cells / 1e6:.1f} MB",
            f"the last {self.part} took {self.slower:.2f} times as long as the first (median)",
        ]
        for name, part in (("first", self.took[: self.part]), ("last", self.took[-self.part :])):
            told = {
                n: statistics.median(getattr(t, n) for t in part)
                for n in ("cell", "server", "litellm", "ours")
            }
            lines.append(
                f"{name}: " + ", ".join(f"{n} {seconds * 1e3:.1f} ms" for n, seconds in told.items())
            )
        return "\n".join(lines)


def state(kernel: Kernel) -> State:
    """Once nothing is on its way any more."""
    time.sleep(ALIVE)
    inside = kernel.value("_measure()")
    process = psutil.Process(kernel.pid)
    sockets = [one for one in process.net_connections("tcp") if one.status == psutil.CONN_ESTABLISHED]
    return State(process.memory_info().rss, sockets=len(sockets), files=process.num_fds(), **inside)


def soaked(turns: int, each: int) -> Soaked:
    """So many turns, in conversations of `each`."""
    cells: list[float] = []
    servers: list[float] = []
    asked: list[float] = []
    wrong = 0
    with WireServer() as wire, Kernel(wire.env()) as kernel:
        kernel.run("%load_ext ipycachechat")
        kernel.run(MEASURE)
        before = None
        warm_up = max(WARM_UP, 2 * each) if each < turns else WARM_UP
        for number in range(-warm_up, turns):
            if number == 0:
                before = state(kernel)
            if number % each == 0:
                kernel.run("%chat reset")
                if each < turns:
                    wire.forget()
            question = f"question {number}"
            ran = kernel.run(f"%%chat\n{question}", cell=f"cell-{number}")
            wrong += not ran.answer.endswith(f"you said {question}") or not ran.badge
            if number >= 0:
                cells.append(seconds(ran))
                servers.append((wire.requests[-1].ended or 0) - wire.requests[-1].started)
            wire.clear()
            if number % 250 == 249 or number == turns - 1:  # of older ones nobody knows any more
                asked += kernel.value(f"_asked({len(cells) - len(asked)})")
            if number % 1000 == 999:
                print(
                    f"{number + 1} turns, {psutil.Process(kernel.pid).memory_info().rss / 1e6:.0f} MB",
                    flush=True,
                )
        assert before is not None
        after = state(kernel)
    took = tuple(Took(*one) for one in zip(cells, servers, asked, strict=True))
    return Soaked(before, after, took, wrong)


def seconds(ran: CellResult) -> float:
    """From the cell's start to its reply, by the kernel's clock."""
    began = next(m for m in ran.messages if m["content"].get("execution_state") == "busy")["header"]["date"]
    return float((ran.reply["header"]["date"] - began).total_seconds())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("turns", nargs="?", type=int, default=TURNS)
    parser.add_argument("--each", type=int, default=EACH)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--growing", type=int, default=0)
    args = parser.parse_args()
    turns = args.growing or (SHORT if args.short else args.turns)
    found = soaked(turns, args.growing + 1 if args.growing else args.each)
    print(found.told)
    fails = found.wrong or found.left or found.growth > MOST_GROWTH
    steady = args.short or args.growing or found.slower <= FLAT  # in short, nothing fails on a clock
    sys.exit(bool(fails or not steady))


if __name__ == "__main__":
    main()
