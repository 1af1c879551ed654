"""`kill -9` of real kernels in the middle of an answer, and what is kept of it.

    python tests/stress/killed_kernels.py [MOMENTS]

Each moment has a kernel of its own, which has finished some turns when it is asked for a long answer and, some time
after that, killed. All write to one file. Two are under way at a time.
"""

from __future__ import annotations

import os
import queue
import random
import signal
import sqlite3
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from support.kernels import Kernel  # noqa: E402
from wire import Reply, Request, WireServer  # noqa: E402
from wire.calls import Call  # noqa: E402

from ipycachechat.conversation.turns import TurnStatus  # noqa: E402
from ipycachechat.storage.connection import Store  # noqa: E402

WORDS, PAUSE = 220, 0.012
"""Of the long answer: its pieces, each another word, and the seconds between two."""
LONGEST = WORDS * PAUSE + 0.8
"""Seconds after the question; a moment may also be before the first word, or after the last."""
AT_MOST = 1.0
"""Seconds of an answer that may be missing."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What was found after one kill."""

    after: float
    """Seconds from the question to the kill."""
    sent: int
    """Words that were on their way by then."""
    kept: int
    late: float
    """Seconds before the kill at which the first word was sent that is missing; 0: none is."""
    finished: int
    missing: int
    """Of the finished turns."""
    wrong: str
    """What else is not as it should be, "" if nothing."""

    @property
    def fails(self) -> bool:
        """Whether more is lost than may be."""
        return bool(self.missing or self.wrong or self.late > AT_MOST)


def answer(call: Call) -> Reply:
    """A slow, regular one to a question for a long one."""
    if "long" in call.user_text:
        return Reply(tuple(f"w{n} " for n in range(WORDS)), chunk_delay=PAUSE)
    return Reply(f"short: {call.user_text}")


def killed(wire: WireServer, data: Path, number: int, after: float) -> Moment:
    """Start a kernel, kill it so many seconds after its long question, and look at what is kept."""
    notebook = data / f"n{number}.ipynb"
    short = [f"short question {number}-{n}" for n in range(1 + number % 3)]
    again = number % 4 == 3  # the long one is asked by a cell that has an answer already
    with Kernel(wire.env() | {"XDG_DATA_HOME": str(data), "JPY_SESSION_NAME": str(notebook)}) as kernel:
        told = kernel.run("%load_ext ipycachechat").text
        for n, question in enumerate(short):
            told += kernel.run(f"%%chat\n{question}", cell=f"cell-{n}").text
        asked = f"a long one, {number}."
        start = time.monotonic()
        request = kernel.start(f"%%chat\n{asked}", cell="cell-0" if again else "cell-long")
        time.sleep(max(0.0, start + after - time.monotonic()))
        at = time.monotonic()
        os.kill(kernel.pid, signal.SIGKILL)
        over = _was_over(kernel, request)
    wrong = "a problem was told" if "is not saved" in told else ""
    return _look(wire, data, notebook, short, asked, over, at, at - start, wrong)


def _was_over(kernel: Kernel, request: str) -> bool:
    """Whether the kernel had told before its end that the cell is done."""
    while True:
        try:
            message = kernel.client.get_iopub_msg(timeout=0.1)
        except queue.Empty:
            return False
        mine = message["parent_header"].get("msg_id") == request
        if mine and message["content"].get("execution_state") == "idle":
            return True


def _look(
    wire: WireServer,
    data: Path,
    notebook: Path,
    short: list[str],
    asked: str,
    over: bool,
    at: float,
    after: float,
    wrong: str,
) -> Moment:
    path = data / "ipycachechat" / "chats.db"
    with closing(sqlite3.connect(path, timeout=10)) as db:
        (whole,) = db.execute("PRAGMA integrity_check").fetchone()
    wrong = wrong or ("" if whole == "ok" else str(whole))
    with closing(Store(path)) as store:
        found = store.conversations.newest(str(notebook))
        kept = store.conversations.load(found.id) if found else None
    versions = kept.history.versions if kept else ()
    there = {turn for version in versions for turn in version.conversation.turns}
    answers = {(turn.prompt_text.strip(), turn.answer_text) for turn in there}
    missing = sum((question, f"short: {question}") not in answers for question in short)
    now = kept.history.current.turns if kept else ()
    long = next((turn for turn in now if turn.prompt_text.strip() == asked), None)
    kept_words = long.answer_text.split() if long else []
    if kept_words != [f"w{n}" for n in range(len(kept_words))]:
        wrong = wrong or f"not what was sent: {kept_words}"
    if over and (long is None or long.status is not TurnStatus.COMPLETE):
        wrong = wrong or "a finished answer is not there as such"
    record = next((one for one in [*wire.requests] if one.call and one.call.user_text.strip() == asked), None)
    sent = [then for then in _written(record) if then <= at]
    late = at - sent[len(kept_words)] if len(kept_words) < len(sent) else 0.0
    return Moment(after, len(sent), len(kept_words), late, len(short), missing, wrong)


def _written(record: Request | None) -> list[float]:
    return [*record.written] if record else []


def moments(n: int, seed: int, parallel: int = 2) -> list[Moment]:
    """So many, spread by chance over the time that a long answer takes."""
    chance = random.Random(seed)
    after = [chance.uniform(0, LONGEST) for _ in range(n)]
    with tempfile.TemporaryDirectory() as folder, WireServer() as wire:
        wire.always = answer
        with ThreadPoolExecutor(parallel) as pool:
            return [*pool.map(lambda one: killed(wire, Path(folder), *one), enumerate(after))]


def told(found: list[Moment]) -> str:
    """One line for all of them."""
    during = sum(0 < one.sent < WORDS for one in found)
    late = max(one.late for one in found)
    return (
        f"{len(found)} moments ({during} during the answer): {sum(one.finished for one in found)} finished turns, "
        f"{sum(one.missing for one in found)} of them missing; at most {late:.2f} s of an answer missing; "
        f"{sum(one.fails for one in found)} failures"
    )


def main() -> None:
    n, seed = int(sys.argv[1]) if len(sys.argv) > 1 else 200, random.randrange(1 << 32)
    start = time.monotonic()
    found = moments(n, seed)
    for one in found:
        if one.fails:
            print(one)
    late = sorted(one.late for one in found if one.sent)
    print(
        f"seed {seed}, {time.monotonic() - start:.0f} s; missing in the middle: {late[len(late) // 2]:.2f} s"
    )
    print(told(found))
    sys.exit(any(one.fails for one in found))


if __name__ == "__main__":
    main()
