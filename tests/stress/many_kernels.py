"""Real kernels that all write to one file at once, and whether all of it is there afterwards.

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

from support.kernels import Kernel  # noqa: E402
from wire import Reply, WireServer  # noqa: E402
from wire.calls import Call  # noqa: E402

from ipycachechat.conversation.turns import TurnStatus  # noqa: E402
from ipycachechat.storage.connection import Store  # noqa: E402

KERNELS = 4
SLOW = 5
"""Every so many answers one takes a second to arrive, so that it is written down before its end, too."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What one kernel was asked, and what it told."""

    notebook: str
    turns: tuple[tuple[str, str], ...]
    """Questions and answers, in order."""
    longest: float
    """Seconds that a quick cell took at most."""
    problems: int
    """Cells that failed, or told one."""


def reply(call: Call) -> Reply:
    """Quick, or in small pieces over a second."""
    question = call.user_text.strip()
    if question.startswith("slow"):
        return Reply(tuple(f"{question}-{n} " for n in range(50)), chunk_delay=0.02)
    return Reply(f"heard: {question}")


def ask(kernel: Kernel, notebook: Path, number: int, until: float) -> Asked:
    """One cell after the other, until the time is over."""
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
    return Asked(str(notebook), tuple(turns), longest, problems)


@dataclass(frozen=True, slots=True)
class Together:
    """What all of them did, and what is kept of it."""

    asked: tuple[Asked, ...]
    missing: int
    """Turns that are not kept as they were shown, each in its place."""
    bills: int
    """Requests that are kept."""
    whole: str
    """What SQLite says of the file."""

    @property
    def turns(self) -> int:
        """Asked by all of them."""
        return sum(len(one.turns) for one in self.asked)

    @property
    def problems(self) -> int:
        """Told by all of them."""
        return sum(one.problems for one in self.asked)

    @property
    def fails(self) -> bool:
        """Whether anything is lost, or was told to be wrong."""
        return bool(self.missing or self.problems or self.bills != self.turns or self.whole != "ok")

    @property
    def told(self) -> str:
        """All of it in one line."""
        longest = max(one.longest for one in self.asked)
        return (
            f"{len(self.asked)} kernels, {self.turns} turns ({', '.join(str(len(one.turns)) for one in self.asked)}): "
            f"{self.missing} missing, {self.bills} bills, {self.problems} problems told, integrity {self.whole}; "
            f"the longest quick cell took {longest:.2f} s"
        )


def together(seconds: float, kernels: int = KERNELS) -> Together:
    """So many kernels ask for so long, all at once."""
    with tempfile.TemporaryDirectory() as folder, WireServer() as wire, ExitStack() as stack:
        wire.always, data = reply, Path(folder)
        notebooks = [data / f"n{number}.ipynb" for number in range(kernels)]
        env = wire.env() | {"XDG_DATA_HOME": folder}
        with ThreadPoolExecutor(kernels) as pool:

            def ready(notebook: Path) -> Kernel:
                kernel = stack.enter_context(Kernel(env | {"JPY_SESSION_NAME": str(notebook)}))
                kernel.run("%load_ext ipycachechat\n%chat plan so that litellm is there")
                return kernel

            there = [*pool.map(ready, notebooks)]
            until = time.monotonic() + seconds
            works = [
                pool.submit(ask, *one, number, until) for number, one in enumerate(zip(there, notebooks))
            ]
            asked = tuple(work.result() for work in works)
        return found(data / "ipycachechat" / "chats.db", asked)


def found(path: Path, asked: tuple[Asked, ...]) -> Together:
    """Hold what is kept against what was shown."""
    missing = 0
    with closing(sqlite3.connect(path)) as db:
        (whole,) = db.execute("PRAGMA integrity_check").fetchone()
    with closing(Store(path)) as store:
        for one in asked:
            last = store.conversations.newest(one.notebook)
            kept = store.conversations.load(last.id).history.current.turns if last else ()
            there = [
                (turn.prompt_text.strip(), turn.answer_text.strip())
                for turn in kept
                if turn.status is TurnStatus.COMPLETE and not (last and last.has_draft)
            ]
            missing += sum(there[n : n + 1] != [turn] for n, turn in enumerate(one.turns))
            missing += sum(question not in answer for question, answer in one.turns)
        bills = sum(spent.requests for spent in store.usage.by_day())
    return Together(asked, missing, bills, str(whole))


def main() -> None:
    result = together(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0)
    print(result.told)
    sys.exit(result.fails)


if __name__ == "__main__":
    main()
