"""How long it takes to keep a conversation, and to take one up again: medians, on this machine and its disk.

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
    """Words up to a length."""
    said = ""
    while len(said) < length:
        said += f"{chance.choice(words)} "
    return said[:length]


def turn(n: int) -> Turn:
    """One as a chat cell leaves it."""
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
    """A version for each turn, as they come about."""
    turns = [turn(n) for n in range(TURNS)]
    versions = [Version()] + [
        Version(Conversation("be brief", tuple(turns[:n])), n - 1) for n in range(1, TURNS + 1)
    ]
    made = History(tuple(versions))
    (branch,) = made.branches
    return History(made.versions, (type(branch)(branch.name, TURNS, TURNS),))


def fill(path: Path) -> None:
    """Ten conversations, each of another notebook."""
    store = Store(path)
    for n in range(CONVERSATIONS):
        store.conversations.save_history(
            store.conversations.create(f"/n{n}.ipynb", "me", float(n)), history(), 0, {"model": "m"}, float(n)
        )
    store.close()


def chat(path: Path, notebook: str) -> tuple[Recorder, ChatSession]:
    """A kernel's, which has taken up what is kept of a notebook."""
    recorder, dialogue = Recorder(notebook), ChatSession()
    recorder.start(lambda: path, lambda: {"model": "anthropic/claude-sonnet-5"})
    persistence.connect(dialogue, recorder)
    persistence.resume(dialogue, recorder)
    return recorder, dialogue


def timed(work: Callable[[], object]) -> float:
    """Milliseconds."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def recording(path: Path, runs: int) -> Times:
    """One turn more in a conversation of 1,000, and an answer that grows."""
    recorder, dialogue = chat(path, "/n0.ipynb")
    found: Times = {"record: a turn": [], "record: a turn, with the version made": [], "record: growing": []}
    for n in range(runs):
        one = turn(TURNS + n)
        found["record: growing"].append(timed(lambda: recorder.save_draft(one, END)))
        after = dialogue.history.change(place_turn(dialogue.history.current, one, END))
        found["record: a turn"].append(timed(lambda: setattr(dialogue, "history", after)))
        other = turn(TURNS + n)

        def add() -> None:
            dialogue.history = dialogue.history.change(place_turn(dialogue.history.current, other, END))

        found["record: a turn, with the version made"].append(timed(add))
        dialogue.versions.undo()
        dialogue.versions.undo()  # 1,000 turns again
    assert not recorder.problem
    return found


def going(path: Path, runs: int) -> Times:
    """Through the versions and branches of a conversation of 1,000 turns."""
    recorder, dialogue = chat(path, "/n1.ipynb")
    found: Times = {"go: undo": [], "go: redo": [], "go: fork": [], "go: switch": []}
    for n in range(runs):

        def fork() -> None:
            dialogue.history = dialogue.history.fork(f"branch-{n}")

        def switch() -> None:
            dialogue.history = dialogue.history.switch("main")

        found["go: undo"].append(timed(dialogue.versions.undo))
        found["go: redo"].append(timed(dialogue.versions.redo))
        found["go: fork"].append(timed(fork))
        found["go: switch"].append(timed(switch))
    assert not recorder.problem and len(dialogue.history.branches) == runs + 1
    return found


def opening(path: Path) -> Times:
    """What a new kernel does with the file, in steps, then as `%chat resume` does it all."""
    step: list[tuple[str, float]] = []

    def note(name: str, work: Callable[[], object]) -> None:
        step.append((name, timed(work)))

    made: list[Store] = []
    note("Store()", lambda: made.append(Store(path)))
    (store,) = made
    found = store.conversations.newest("/n2.ipynb")
    assert found is not None
    note("newest", lambda: store.conversations.newest("/n2.ipynb"))
    kept = store.conversations.load(found.id)
    note("fork", lambda: store.conversations.fork(found.id, "/n2.ipynb", time.time()))
    note("join", lambda: History.starting_with(Conversation("", (turn(1),))).merge(kept.history))
    store.close()
    note("load", lambda: Store(path).conversations.load(found.id))
    return {f"of it: {name}": [took] for name, took in step}


def child(path: Path) -> None:
    """In a fresh process: the time of it all, then of its steps, in JSON."""
    whole: Times = {"take up: all of it": [timed(lambda: chat(path, "/n2.ipynb"))]}
    print(json.dumps(whole | opening(path)))


def taking_up(path: Path, runs: int) -> Times:
    """Each time in a process of its own, its imports not counted."""
    found: Times = {}
    for _ in range(runs):
        command = [sys.executable, __file__, "--child", str(path)]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        for name, took in json.loads(told).items():
            found.setdefault(name, []).extend(took)
    return found


def rows(found: Times) -> Iterator[str]:
    """Of a table."""
    yield "| what | median | worst | limit |"
    yield "|---|---|---|---|"
    for name, took in found.items():
        limit = LIMITS.get(name.partition(":")[0])
        told = "" if limit is None else f"{limit:.0f} ms"
        over = " **missed**" if limit is not None and statistics.median(took) > limit else ""
        yield f"| {name} | {statistics.median(took):.2f} ms | {max(took):.2f} ms | {told}{over} |"


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        return child(Path(sys.argv[2]))
    runs, processes = (20, 3) if "--short" in sys.argv else (300, 20)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chats.db"
        fill(path)
        size = path.stat().st_size / 1e6
        found = recording(path, runs) | going(path, runs) | taking_up(path, processes)
    print(f"{CONVERSATIONS * TURNS:,} turns in {size:.0f} MB; {runs} runs, {processes} processes")
    for row in rows(found):
        print(row)


if __name__ == "__main__":
    main()
