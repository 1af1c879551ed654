"""Thousands of turns in one kernel: growth of memory, open resources, and the speed of the last turns.

    python tests/stress/soak.py [TURNS] [--each N]     10,000 turns, in conversations of 50, each ended by a reset
    python tests/stress/soak.py --short                a minute, as in CI
    python tests/stress/soak.py --growing 1000         one conversation that only grows

Each turn is a cell of a real kernel, whose request goes through litellm to the wire server. A request repeats the whole
conversation, so times can only be compared after equally long conversations; hence the resets. The history keeps all
versions for undo: its size is measured (each object once, by `sys.getsizeof`), and the kernel's growth beyond it. The
time of a turn is that of its cell by the kernel's clock, divided into the server's, litellm's (with the way to the
server and back), and ours.
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
MAX_GROWTH = 50e6  # bytes beyond the history
FLAT = 1.5
WARM_UP = 100
"""Turns before the first measurement: by then everything is imported and the allocator has its arenas."""
ALIVE = 11.0
"""Seconds after which badges are no longer widgets."""

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
    """Measurements of the kernel at one moment."""

    memory: int
    """Resident bytes."""
    history: int
    """Bytes of the conversation's versions."""
    threads: list[str]
    sockets: int
    files: int
    widgets: int
    cells: int
    """Bytes that IPython keeps of the cells that ran."""


@dataclass(frozen=True, slots=True)
class TurnTimes:
    """Seconds of one turn."""

    cell: float
    server: float
    asked: float
    """Seconds from the call of litellm to the last token, those of the server included."""

    @property
    def litellm(self) -> float:
        """Seconds in litellm and on the way to the server and back."""
        return max(0.0, self.asked - self.server)

    @property
    def ours(self) -> float:
        """The remaining seconds: planning, drawing, saving, and IPython."""
        return self.cell - self.asked


@dataclass(frozen=True, slots=True)
class Soaked:
    """The measurements of a whole run."""

    before: State
    after: State
    took: tuple[TurnTimes, ...]
    wrong: int
    """Number of cells that failed or had the answer to another question."""

    @property
    def growth(self) -> int:
        """Growth of memory in bytes, without the history."""
        return self.after.memory - self.before.memory - (self.after.history - self.before.history)

    @property
    def part(self) -> int:
        """Number of turns, a tenth, that count as the first and as the last."""
        return max(1, len(self.took) // 10)

    @property
    def slower(self) -> float:
        """Median of the last turns divided by that of the first."""
        first, last = self.took[: self.part], self.took[-self.part :]
        return statistics.median(t.cell for t in last) / statistics.median(t.cell for t in first)

    @property
    def leftover(self) -> str:
        """Sockets, widgets and threads that were not there before, "" if none."""
        more_resources = {
            name: getattr(self.after, name) - getattr(self.before, name) for name in ("sockets", "widgets")
        }
        threads = Counter(self.after.threads) - Counter(self.before.threads)
        return ", ".join([*(f"{n} more {name}" for name, n in more_resources.items() if n > 0), *threads])

    @property
    def summary(self) -> str:
        """Return all figures in a few lines."""
        lines = [
            f"{len(self.took)} turns, {self.wrong} wrong; memory {self.before.memory / 1e6:.0f} to "
            f"{self.after.memory / 1e6:.0f} MB, of which the history {self.before.history / 1e6:.1f} to "
            f"{self.after.history / 1e6:.1f}: {self.growth / 1e6:+.1f} MB beyond it; "
            f"left over: {self.leftover or 'nothing'}; files {self.before.files} to {self.after.files}; "
            f"IPython's cells {self.after.cells / 1e6:.1f} MB",
            f"the last {self.part} took {self.slower:.2f} times as long as the first (median)",
        ]
        for name, part in (("first", self.took[: self.part]), ("last", self.took[-self.part :])):
            medians = {
                n: statistics.median(getattr(t, n) for t in part)
                for n in ("cell", "server", "litellm", "ours")
            }
            lines.append(
                f"{name}: " + ", ".join(f"{n} {seconds * 1e3:.1f} ms" for n, seconds in medians.items())
            )
        return "\n".join(lines)


def state(kernel: Kernel) -> State:
    """Measure the kernel once it is idle."""
    time.sleep(ALIVE)
    inside = kernel.value("_measure()")
    process = psutil.Process(kernel.pid)
    sockets = [
        connection
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_ESTABLISHED
    ]
    return State(process.memory_info().rss, sockets=len(sockets), files=process.num_fds(), **inside)


def run_turns(turns: int, each: int) -> Soaked:
    """Run so many turns, in conversations of `each`."""
    cell_times: list[float] = []
    server_times: list[float] = []
    litellm_times: list[float] = []
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
            result = kernel.run(f"%%chat\n{question}", cell=f"cell-{number}")
            wrong += not result.answer.endswith(f"you said {question}") or not result.badge
            if number >= 0:
                cell_times.append(seconds(result))
                server_times.append((wire.requests[-1].ended or 0) - wire.requests[-1].started)
            wire.clear()
            if (
                number % 250 == 249 or number == turns - 1
            ):  # the kernel no longer has the times of older turns
                litellm_times += kernel.value(f"_asked({len(cell_times) - len(litellm_times)})")
            if number % 1000 == 999:
                print(
                    f"{number + 1} turns, {psutil.Process(kernel.pid).memory_info().rss / 1e6:.0f} MB",
                    flush=True,
                )
        assert before is not None
        after = state(kernel)
    took = tuple(TurnTimes(*times) for times in zip(cell_times, server_times, litellm_times, strict=True))
    return Soaked(before, after, took, wrong)


def seconds(result: CellResult) -> float:
    """Seconds from the cell's start to its reply, by the kernel's clock."""
    began = next(m for m in result.messages if m["content"].get("execution_state") == "busy")["header"][
        "date"
    ]
    return float((result.reply["header"]["date"] - began).total_seconds())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("turns", nargs="?", type=int, default=TURNS)
    parser.add_argument("--each", type=int, default=EACH)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--growing", type=int, default=0)
    args = parser.parse_args()
    turns = args.growing or (SHORT if args.short else args.turns)
    soak = run_turns(turns, args.growing + 1 if args.growing else args.each)
    print(soak.summary)
    fails = soak.wrong or soak.leftover or soak.growth > MAX_GROWTH
    steady = args.short or args.growing or soak.slower <= FLAT  # a short run does not fail on times
    sys.exit(bool(fails or not steady))


if __name__ == "__main__":
    main()
