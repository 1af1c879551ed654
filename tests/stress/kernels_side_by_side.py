"""Eight kernels at once, with one store and the local model; check that nothing is lost, refused or stuck.

    python tests/stress/kernels_side_by_side.py [SECONDS] [KERNELS]

Each kernel has its own notebook; all write to one file. They send prompts to the wire server, some answered slowly, so
that unfinished answers are saved, too; every fourth kernel also asks the local model, in its own process. They also
undo, reset, fork, switch, save and show the spending of all kernels. Finally, every turn that was shown must be in the
file: in some version of its notebook's conversation, and in the newest one unless it was undone.
"""

from __future__ import annotations

import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from support.kernels import ForkedKernel, Kernel  # noqa: E402
from wire import Reply, WireServer  # noqa: E402
from wire.calls import Call  # noqa: E402

from ipycachechat.conversation.history import Version  # noqa: E402
from ipycachechat.storage.connection import Store  # noqa: E402

SECONDS, KERNELS = 120.0, 8
LOCAL = 4
"""One of so many kernels also asks the local model."""
STUCK = 60.0
"""Seconds after which a cell counts as stuck."""
PROBLEMS = ("is locked", "is not saved", "Traceback", "cannot be read")
TurnText = tuple[str, str]


@dataclass(slots=True)
class Notebook:
    """The prompts of one kernel, and their outcome."""

    path: Path
    asked: list[TurnText] = field(default_factory=list)
    """Every question with its answer."""
    branches: dict[str, list[TurnText]] = field(default_factory=lambda: {"main": []})
    """Turns on each branch."""
    branch: str = "main"
    wrong: list[str] = field(default_factory=list)
    longest: float = 0.0
    """Seconds of its slowest cell."""
    local: int = 0

    @property
    def now(self) -> list[TurnText]:
        """Turns on the current branch."""
        return self.branches[self.branch]


def reply(call: Call) -> Reply:
    """Answer at once, or in chunks over a second."""
    question = call.user_text.strip()
    if question.startswith("slow"):
        return Reply(tuple(f"{question}-{n} " for n in range(40)), chunk_delay=0.025)
    return Reply(f"heard: {question}")


def run(kernel: Kernel, book: Notebook, code: str, cell: str = "") -> str:
    """Run a cell and return its text and its answer; record problems."""
    start = time.monotonic()
    ran = kernel.run(code, cell)
    took = time.monotonic() - start
    book.longest = max(book.longest, took)
    output = f"{ran.printed}\n{ran.error}\n{ran.text}"
    if ran.error or took > STUCK or any(problem in output for problem in PROBLEMS):
        book.wrong.append(f"{code!r} after {took:.1f} s: {output.strip()[-300:]}")
    return ran.answer.strip()


def live(kernel: Kernel, book: Notebook, number: int, until: float) -> None:
    """Do random things, one after the other, until the time is over."""
    chance = random.Random(number)
    count = 0
    while time.monotonic() < until:
        count += 1
        what = chance.choices(
            ("quick", "slow", "local", "undo", "fork", "switch", "reset", "save", "usage"),
            (10, 2, 2 if number % LOCAL == 0 else 0, 1.5, 0.5, 1, 0.2, 1, 0.5),
        )[0]
        if what in ("quick", "slow", "local"):
            question = f"{what} {number}-{count}"
            if what == "local":  # takes a minute for a long conversation if all kernels share two cores
                book.branch = f"local{count}"
                book.branches[book.branch] = []
                run(kernel, book, f"%chat fork {book.branch}\n%chat reset")
            model = "-m local --max-tokens 12" if what == "local" else ""
            answer = run(kernel, book, f"%%chat {model}\n{question}", cell=f"cell-{count}")
            book.local += what == "local"
            book.asked.append((question, answer))
            book.now.append((question, answer))
        elif what == "undo":
            run(kernel, book, "%chat undo\n%chat redo\n%chat undo" if book.now else "%chat")
            del book.now[-1:]
        elif what == "fork":
            name = f"branch{count}"
            run(kernel, book, f"%chat fork {name}")
            book.branches[name] = [*book.now]
            book.branch = name
        elif what == "switch":
            book.branch = chance.choice([*book.branches])
            run(kernel, book, f"%chat switch {book.branch}")
        elif what == "save":
            run(kernel, book, f"%chat save saved.{chance.choice(('json', 'md', 'html'))}")
        elif what == "usage":
            run(kernel, book, "%chat usage --all")
        elif book.now:
            # Undone at once; otherwise a later undo would restore the turns from before the reset.
            run(kernel, book, "%chat reset\n%chat undo")


@dataclass(frozen=True, slots=True)
class Together:
    """The prompts of all kernels, and what the store has of them."""

    books: tuple[Notebook, ...]
    lost: int
    """Turns that are in no version of their conversation."""
    misplaced: int
    """Conversations that differ from those of their kernel."""
    bills: int
    whole: str
    stuck: int
    """Kernels that did not finish."""

    @property
    def turns(self) -> int:
        """Number of turns of all kernels."""
        return sum(len(book.asked) for book in self.books)

    @property
    def wrong(self) -> list[str]:
        """Problems of all kernels."""
        return [problem for book in self.books for problem in book.wrong]

    @property
    def fails(self) -> bool:
        """Return True if anything is lost or a problem was reported."""
        other = self.bills != self.turns or self.whole != "ok"
        return bool(self.lost or self.misplaced or self.stuck or self.wrong or other)

    @property
    def summary(self) -> str:
        """Return all figures in one line."""
        return (
            f"{len(self.books)} kernels, {self.turns} turns ({sum(book.local for book in self.books)} of the local "
            f"model): {self.lost} lost, {self.misplaced} conversations not as they were, {self.bills} bills, "
            f"{len(self.wrong)} problems reported, {self.stuck} stuck, integrity {self.whole}; the longest cell took "
            f"{max(book.longest for book in self.books):.1f} s"
        )


def together(seconds: float, kernels: int = KERNELS) -> Together:
    """Run so many kernels for so many seconds."""
    with tempfile.TemporaryDirectory() as folder, WireServer() as wire, ExitStack() as stack:
        wire.always, data = reply, Path(folder)
        books = [Notebook(data / f"n{number}.ipynb") for number in range(kernels)]
        env = wire.env() | {"XDG_DATA_HOME": folder}

        def ready(book: Notebook) -> Kernel:
            kernel = stack.enter_context(ForkedKernel(env | {"JPY_SESSION_NAME": str(book.path)}))
            kernel.run("%load_ext ipycachechat\n%chat plan so that litellm is there")
            return kernel

        with ThreadPoolExecutor(kernels) as pool:
            there = [*pool.map(ready, books)]
            until = time.monotonic() + seconds
            works = [
                pool.submit(live, kernel, book, number, until)
                for number, (kernel, book) in enumerate(zip(there, books, strict=True))
            ]
            stuck = 0
            for work, book in zip(works, books, strict=True):
                if error := work.exception():
                    stuck += 1
                    book.wrong.append(repr(error))
        return compare(data / "ipycachechat" / "chats.db", tuple(books), stuck)


def compare(path: Path, books: tuple[Notebook, ...], stuck: int) -> Together:
    """Compare the store with the turns that the kernels showed."""
    lost = misplaced = 0
    with closing(sqlite3.connect(path)) as db:
        (integrity,) = db.execute("PRAGMA integrity_check").fetchone()
    with closing(Store(path)) as store:
        for book in books:
            newest = store.conversations.newest(str(book.path))
            history = store.conversations.load(newest.id).history if newest else None
            stored = {*turn_texts(history.versions)} if history else set()
            lost += sum(turn_text not in stored for turn_text in book.asked)
            current = (
                [(turn.prompt_text.strip(), turn.answer_text.strip()) for turn in history.current.turns]
                if history
                else []
            )
            misplaced += current != book.now
        bills = sum(spent.requests for spent in store.usage.by_day())
    return Together(books, lost, misplaced, bills, str(integrity), stuck)


def turn_texts(versions: tuple[Version, ...]) -> Iterator[TurnText]:
    """Yield each turn of each version."""
    for version in versions:
        for turn in version.conversation.all_turns:
            yield turn.prompt_text.strip(), turn.answer_text.strip()


def main() -> None:
    numbers = [float(number) for number in sys.argv[1:]]
    result = together(numbers[0] if numbers else SECONDS, int(numbers[1]) if len(numbers) > 1 else KERNELS)
    for number in result.wrong[:20]:
        print(number)
    print(result.summary)
    sys.exit(result.fails)


if __name__ == "__main__":
    main()
