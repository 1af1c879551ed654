"""Time to save a conversation and to resume one: medians on this machine and its disk.

    python tests/bench/recording.py [--short]

In a file of 10,000 turns, ten conversations of 1,000 turns each: prompts of 300 characters, answers of 2,000.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2])]

from ipycachechat.conversation.history import History, Version  # noqa: E402
from ipycachechat.conversation.messages import Message  # noqa: E402
from ipycachechat.conversation.placement import END, place_turn  # noqa: E402
from ipycachechat.conversation.turns import CellRef, Conversation, Turn  # noqa: E402
from ipycachechat.conversation.usage import Cost, Usage  # noqa: E402
from ipycachechat.engine import persistence  # noqa: E402
from ipycachechat.engine.session import ChatSession  # noqa: E402
from ipycachechat.storage.connection import Store  # noqa: E402
from ipycachechat.storage.recorder import Recorder  # noqa: E402

CONVERSATIONS, TURNS = 10, 1000
PROMPT, ANSWER = 300, 2000
LIMITS = {"record": 5.0, "take up": 200.0, "go": 10.0}
"""Milliseconds."""
Times = dict[str, list[float]]

chance = random.Random(4711)
words = ["".join(chance.choices("etaoinshrdlu", k=chance.randint(2, 9))) for _ in range(2000)]


def text(length: int) -> str:
    """Return random words up to a length."""
    result = ""
    while len(result) < length:
        result += f"{chance.choice(words)} "
    return result[:length]


def turn(n: int) -> Turn:
    """Return a turn as a chat cell makes it."""
    usage, cell = (
        Usage(input=500 * n, read=490 * n, written=10 * n, output=500, thinking=None),
        CellRef(f"cell-{n}", f"run-{n}"),
    )
    answer = (Message("assistant", text(ANSWER)),)
    past = chance.randbytes(16)
    return Turn(
        text(PROMPT),
        answer,
        model="anthropic/claude-sonnet-5",
        usage=usage,
        cell=cell,
        cost=Cost(0.01, 0.02),
        asked_at=1e9 + n,
        past_digest=past,
    )


def history() -> History:
    """Return a history with a version for each turn."""
    turns = [turn(n) for n in range(TURNS)]
    versions = [Version()] + [
        Version(Conversation("be brief", tuple(turns[:n])), n - 1) for n in range(1, TURNS + 1)
    ]
    start_history = History(tuple(versions))
    (branch,) = start_history.branches
    return History(start_history.versions, (type(branch)(branch.name, TURNS, TURNS),))


def fill(path: Path) -> None:
    """Store ten conversations, each of another notebook."""
    store = Store(path)
    for n in range(CONVERSATIONS):
        store.conversations.save_history(
            store.conversations.create(f"/n{n}.ipynb", "me", float(n)), history(), 0, {"model": "m"}, float(n)
        )
    store.close()


def chat(path: Path, notebook: str) -> tuple[Recorder, ChatSession]:
    """Return recorder and session of a kernel that has resumed a notebook."""
    recorder, session = Recorder(notebook), ChatSession()
    recorder.start(lambda: path, lambda: {"model": "anthropic/claude-sonnet-5"})
    persistence.connect(session, recorder)
    persistence.resume(session, recorder)
    return recorder, session


def timed(work: Callable[[], object]) -> float:
    """Milliseconds."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def recording(path: Path, runs: int) -> Times:
    """Time the saving of a new turn after 1,000 turns, and of a growing answer."""
    recorder, session = chat(path, "/n0.ipynb")
    times: Times = {"record: a turn": [], "record: a turn, with the version made": [], "record: growing": []}
    for n in range(runs):
        new_turn = turn(TURNS + n)
        times["record: growing"].append(timed(lambda: recorder.save_draft(new_turn, END)))
        changed_history = session.history.change(place_turn(session.history.current, new_turn, END))
        times["record: a turn"].append(timed(lambda: session.versions.change(lambda _: changed_history)))
        other_turn = turn(TURNS + n)

        def add() -> None:
            session.versions.change(
                lambda _: session.history.change(place_turn(session.history.current, other_turn, END))
            )

        times["record: a turn, with the version made"].append(timed(add))
        session.versions.undo()
        session.versions.undo()  # 1,000 turns again
    assert not recorder.problem
    return times


def going(path: Path, runs: int) -> Times:
    """Time moves through the versions and branches of a conversation of 1,000 turns."""
    recorder, session = chat(path, "/n1.ipynb")
    times: Times = {"go: undo": [], "go: redo": [], "go: fork": [], "go: switch": []}
    for n in range(runs):

        def fork() -> None:
            session.versions.change(lambda _: session.history.fork(f"branch-{n}"))

        def switch() -> None:
            session.versions.change(lambda _: session.history.switch("main"))

        times["go: undo"].append(timed(session.versions.undo))
        times["go: redo"].append(timed(session.versions.redo))
        times["go: fork"].append(timed(fork))
        times["go: switch"].append(timed(switch))
    assert not recorder.problem and len(session.history.branches) == runs + 1
    return times


def opening(path: Path) -> Times:
    """Time the steps of a new kernel that resumes a conversation."""
    steps: list[tuple[str, float]] = []

    def note(name: str, work: Callable[[], object]) -> None:
        steps.append((name, timed(work)))

    stores: list[Store] = []
    note("Store()", lambda: stores.append(Store(path)))
    (store,) = stores
    row = store.conversations.newest("/n2.ipynb")
    assert row is not None
    note("newest", lambda: store.conversations.newest("/n2.ipynb"))
    stored = store.conversations.load(row.id)
    note("fork", lambda: store.conversations.fork(row.id, "/n2.ipynb", time.time()))
    note("join", lambda: History.starting_with(Conversation("", (turn(1),))).merge(stored.history))
    store.close()
    note("load", lambda: Store(path).conversations.load(row.id))
    return {f"step: {name}": [milliseconds] for name, milliseconds in steps}


def child(path: Path) -> None:
    """Print the times of resuming in this fresh process, as a whole and in steps, in JSON."""
    total: Times = {"take up: total": [timed(lambda: chat(path, "/n2.ipynb"))]}
    print(json.dumps(total | opening(path)))


def taking_up(path: Path, runs: int) -> Times:
    """Time resuming, each time in a process of its own, without its imports."""
    times: Times = {}
    for _ in range(runs):
        command = [sys.executable, __file__, "--child", str(path)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        for name, milliseconds in json.loads(output).items():
            times.setdefault(name, []).extend(milliseconds)
    return times


def rows(times: Times) -> Iterator[str]:
    """Yield the rows of a table."""
    yield "| step | median | worst | limit |"
    yield "|---|---|---|---|"
    for name, milliseconds in times.items():
        limit = LIMITS.get(name.partition(":")[0])
        limit_text = "" if limit is None else f"{limit:.0f} ms"
        over = " **missed**" if limit is not None and statistics.median(milliseconds) > limit else ""
        yield f"| {name} | {statistics.median(milliseconds):.2f} ms | {max(milliseconds):.2f} ms | {limit_text}{over} |"


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        return child(Path(sys.argv[2]))
    runs, processes = (20, 3) if "--short" in sys.argv else (300, 20)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chats.db"
        fill(path)
        size = path.stat().st_size / 1e6
        times = recording(path, runs) | going(path, runs) | taking_up(path, processes)
    print(f"{CONVERSATIONS * TURNS:,} turns in {size:.0f} MB; {runs} runs, {processes} processes")
    for row in rows(times):
        print(row)


if __name__ == "__main__":
    main()
