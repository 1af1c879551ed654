"""Eight kernels at once, on one store and with the local model, and whether anything is lost, refused or stuck.

    python tests/stress/kernels_side_by_side.py [SECONDS] [KERNELS]

Each kernel has a notebook of its own; all write to one file. They ask the wire server, now and then slowly, so that
answers are kept unfinished, too; every fourth also asks the local model, of which each has a process of its own. On the
way they go back, go on anew, fork, switch, save and look at what all have paid. In the end every turn that was shown is
looked for in the file: in some version of its notebook's conversation, and in the newest one if it was not undone.
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

from support.kernels import Kernel  # noqa: E402
from wire import Reply, WireServer  # noqa: E402
from wire.calls import Call  # noqa: E402

from ipycachechat.conversation.history import Version  # noqa: E402
from ipycachechat.storage.connection import Store  # noqa: E402

SECONDS, KERNELS = 120.0, 8
LOCAL = 4
"""Of so many kernels one asks the local model, too."""
STUCK = 60.0
"""Seconds after which a cell is taken for stuck."""
PROBLEMS = ("is locked", "is not saved", "Traceback", "cannot be read")
Said = tuple[str, str]


@dataclass(slots=True)
class Notebook:
    """What one kernel was asked, and what it told."""

    path: Path
    asked: list[Said] = field(default_factory=list)
    """Every question with its answer."""
    branches: dict[str, list[Said]] = field(default_factory=lambda: {"main": []})
    """What stands on each branch."""
    branch: str = "main"
    wrong: list[str] = field(default_factory=list)
    longest: float = 0.0
    """Seconds of its slowest cell."""
    local: int = 0

    @property
    def now(self) -> list[Said]:
        """What stands on the branch that is gone on with."""
        return self.branches[self.branch]


def reply(call: Call) -> Reply:
    """At once, or in pieces over a second."""
    question = call.user_text.strip()
    if question.startswith("slow"):
        return Reply(tuple(f"{question}-{n} " for n in range(40)), chunk_delay=0.025)
    return Reply(f"heard: {question}")


def run(kernel: Kernel, book: Notebook, code: str, cell: str = "") -> str:
    """A cell's text and its answer; what goes wrong is noted."""
    start = time.monotonic()
    ran = kernel.run(code, cell)
    took = time.monotonic() - start
    book.longest = max(book.longest, took)
    told = f"{ran.printed}\n{ran.error}\n{ran.text}"
    if ran.error or took > STUCK or any(problem in told for problem in PROBLEMS):
        book.wrong.append(f"{code!r} after {took:.1f} s: {told.strip()[-300:]}")
    return ran.answer.strip()


def live(kernel: Kernel, book: Notebook, number: int, until: float) -> None:
    """One thing after the other, by chance, until the time is over."""
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
            if what == "local":  # which takes a minute for a long conversation, where all share two cores
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
            # Undone at once: an undo that came later would otherwise bring back what stood before the reset.
            run(kernel, book, "%chat reset\n%chat undo")


@dataclass(frozen=True, slots=True)
class Together:
    """What all of them did, and what is kept of it."""

    books: tuple[Notebook, ...]
    lost: int
    """Turns of which no version of their conversation has anything."""
    misplaced: int
    """Conversations that do not stand as they stood in their kernel."""
    bills: int
    whole: str
    stuck: int
    """Kernels that did not come to their end."""

    @property
    def turns(self) -> int:
        """Of all of them."""
        return sum(len(book.asked) for book in self.books)

    @property
    def wrong(self) -> list[str]:
        """What all of them told."""
        return [one for book in self.books for one in book.wrong]

    @property
    def fails(self) -> bool:
        """Whether anything is lost, or was told to be wrong."""
        other = self.bills != self.turns or self.whole != "ok"
        return bool(self.lost or self.misplaced or self.stuck or self.wrong or other)

    @property
    def told(self) -> str:
        """All of it in one line."""
        return (
            f"{len(self.books)} kernels, {self.turns} turns ({sum(book.local for book in self.books)} of the local "
            f"model): {self.lost} lost, {self.misplaced} conversations not as they were, {self.bills} bills, "
            f"{len(self.wrong)} problems told, {self.stuck} stuck, integrity {self.whole}; the longest cell took "
            f"{max(book.longest for book in self.books):.1f} s"
        )


def together(seconds: float, kernels: int = KERNELS) -> Together:
    """So many kernels for so long."""
    with tempfile.TemporaryDirectory() as folder, WireServer() as wire, ExitStack() as stack:
        wire.always, data = reply, Path(folder)
        books = [Notebook(data / f"n{number}.ipynb") for number in range(kernels)]
        env = wire.env() | {"XDG_DATA_HOME": folder}

        def ready(book: Notebook) -> Kernel:
            kernel = stack.enter_context(Kernel(env | {"JPY_SESSION_NAME": str(book.path)}))
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
        return found(data / "ipycachechat" / "chats.db", tuple(books), stuck)


def found(path: Path, books: tuple[Notebook, ...], stuck: int) -> Together:
    """Hold what is kept against what was shown."""
    lost = misplaced = 0
    with closing(sqlite3.connect(path)) as db:
        (whole,) = db.execute("PRAGMA integrity_check").fetchone()
    with closing(Store(path)) as store:
        for book in books:
            last = store.conversations.newest(str(book.path))
            history = store.conversations.load(last.id).history if last else None
            kept = {*said(history.versions)} if history else set()
            lost += sum(one not in kept for one in book.asked)
            now = (
                [(turn.prompt_text.strip(), turn.answer_text.strip()) for turn in history.current.turns]
                if history
                else []
            )
            misplaced += now != book.now
        bills = sum(spent.requests for spent in store.usage.by_day())
    return Together(books, lost, misplaced, bills, str(whole), stuck)


def said(versions: tuple[Version, ...]) -> Iterator[Said]:
    """Every turn of every version."""
    for version in versions:
        for turn in version.conversation.all_turns:
            yield turn.prompt_text.strip(), turn.answer_text.strip()


def main() -> None:
    numbers = [float(one) for one in sys.argv[1:]]
    result = together(numbers[0] if numbers else SECONDS, int(numbers[1]) if len(numbers) > 1 else KERNELS)
    for one in result.wrong[:20]:
        print(one)
    print(result.told)
    sys.exit(result.fails)


if __name__ == "__main__":
    main()
