"""Real kernels that write to one file at the same time; check that everything is there afterwards.

python tests/stress/many_kernels.py [SECONDS]
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from support.kernels import ForkedKernel, Kernel  # noqa: E402
from wire import Reply, WireServer  # noqa: E402
from wire.calls import Call  # noqa: E402

from ipycachechat.conversation.turns import TurnStatus  # noqa: E402
from ipycachechat.storage.connection import Store  # noqa: E402

KERNELS = 4
SLOW = 5
"""One of so many answers takes a second, so that it is also saved before its end."""


@dataclass(frozen=True, slots=True)
class KernelPrompts:
    """The prompts of one kernel, and their outcome."""

    notebook: str
    turns: tuple[tuple[str, str], ...]
    """Questions and answers, in order."""
    longest: float
    """Seconds of the slowest quick cell."""
    problems: int
    """Number of cells that failed or reported a problem."""


def reply(call: Call) -> Reply:
    """Answer at once, or in small chunks over a second."""
    question = call.user_text.strip()
    if question.startswith("slow"):
        return Reply(tuple(f"{question}-{n} " for n in range(50)), chunk_delay=0.02)
    return Reply(f"heard: {question}")


def ask(kernel: Kernel, notebook: Path, number: int, until: float) -> KernelPrompts:
    """Run one cell after the other until the time is over."""
    turns: list[tuple[str, str]] = []
    longest, problems = 0.0, 0
    while time.monotonic() < until:
        slow = len(turns) % SLOW == SLOW - 1
        question = f"{'slow' if slow else 'quick'} {number}-{len(turns)}"
        start = time.monotonic()
        ran = kernel.run(f"%%chat\n{question}", cell=f"cell-{len(turns)}")
        if not slow:
            longest = max(longest, time.monotonic() - start)
        problems += bool(ran.error) or "is not saved" in ran.text
        turns.append((question, ran.answer.strip()))
    return KernelPrompts(str(notebook), tuple(turns), longest, problems)


@dataclass(frozen=True, slots=True)
class Together:
    """The prompts of all kernels, and what the store has of them."""

    asked: tuple[KernelPrompts, ...]
    missing: int
    """Turns that are not stored as they were shown, or not in their place."""
    bills: int
    """Number of stored requests."""
    whole: str
    """Result of SQLite's integrity check."""

    @property
    def turns(self) -> int:
        """Number of turns of all kernels."""
        return sum(len(asker.turns) for asker in self.asked)

    @property
    def problems(self) -> int:
        """Number of problems of all kernels."""
        return sum(asker.problems for asker in self.asked)

    @property
    def fails(self) -> bool:
        """Return True if anything is lost or a problem was reported."""
        return bool(self.missing or self.problems or self.bills != self.turns or self.whole != "ok")

    @property
    def summary(self) -> str:
        """Return all figures in one line."""
        longest = max(asker.longest for asker in self.asked)
        turns = ", ".join(str(len(asker.turns)) for asker in self.asked)
        return (
            f"{len(self.asked)} kernels, {self.turns} turns ({turns}): "
            f"{self.missing} missing, {self.bills} bills, {self.problems} problems reported, integrity {self.whole}; "
            f"the longest quick cell took {longest:.2f} s"
        )


def together(seconds: float, kernels: int = KERNELS) -> Together:
    """Let so many kernels ask for so many seconds at the same time."""
    with tempfile.TemporaryDirectory() as folder, WireServer() as wire, ExitStack() as stack:
        wire.always, data = reply, Path(folder)
        notebooks = [data / f"n{number}.ipynb" for number in range(kernels)]
        env = wire.env() | {"XDG_DATA_HOME": folder}
        with ThreadPoolExecutor(kernels) as pool:

            def ready(notebook: Path) -> Kernel:
                kernel = stack.enter_context(ForkedKernel(env | {"JPY_SESSION_NAME": str(notebook)}))
                kernel.run("%load_ext ipycachechat\n%chat plan so that litellm is there")
                return kernel

            there = [*pool.map(ready, notebooks)]
            until = time.monotonic() + seconds
            works = [
                pool.submit(ask, *kernel_and_notebook, number, until)
                for number, kernel_and_notebook in enumerate(zip(there, notebooks))
            ]
            asked = tuple(work.result() for work in works)
        return compare(data / "ipycachechat" / "chats.db", asked)


def compare(path: Path, asked: tuple[KernelPrompts, ...]) -> Together:
    """Compare the store with the turns that the kernels showed."""
    missing = 0
    with closing(sqlite3.connect(path)) as db:
        (whole,) = db.execute("PRAGMA integrity_check").fetchone()
    with closing(Store(path)) as store:
        for asker in asked:
            newest = store.conversations.newest(asker.notebook)
            stored_turns = store.conversations.load(newest.id).history.current.turns if newest else ()
            there = [
                (turn.prompt_text.strip(), turn.answer_text.strip())
                for turn in stored_turns
                if turn.status is TurnStatus.COMPLETE and not (newest and newest.has_draft)
            ]
            missing += sum(there[n : n + 1] != [turn] for n, turn in enumerate(asker.turns))
            missing += sum(question not in answer for question, answer in asker.turns)
        bills = sum(spent.requests for spent in store.usage.by_day())
    return Together(asked, missing, bills, str(whole))


def main() -> None:
    result = together(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0)
    print(result.summary)
    sys.exit(result.fails)


if __name__ == "__main__":
    main()
