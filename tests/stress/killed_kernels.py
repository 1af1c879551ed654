"""`kill -9` of real kernels in the middle of an answer, and what the store has of it.

    python tests/stress/killed_kernels.py [MOMENTS]

Each moment has its own kernel, which finishes some turns, is asked for a long answer and is killed some time later.
All write to one file. Two run at a time.
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

from support.kernels import ForkedKernel, Kernel  # noqa: E402
from wire import Reply, Request, WireServer  # noqa: E402
from wire.calls import Call  # noqa: E402

from ipycachechat.conversation.turns import TurnStatus  # noqa: E402
from ipycachechat.storage.connection import Store  # noqa: E402

WORDS, PAUSE = 220, 0.012
"""The long answer: its number of words, each a chunk, and the seconds between two."""
MAX_DELAY = WORDS * PAUSE + 0.8
"""Longest time to the kill, in seconds; a kill may come before the first word or after the last."""
MAX_MISSING = 1.0
"""Seconds of an answer that may be missing at most."""


@dataclass(frozen=True, slots=True)
class Moment:
    """The result of one kill."""

    after: float
    """Seconds from the question to the kill."""
    sent: int
    """Number of words sent until then."""
    kept: int
    late: float
    """Seconds from the first missing word to the kill; 0 if none is missing."""
    finished: int
    missing: int
    """Number of finished turns that are missing."""
    wrong: str
    """Other faults, "" if none."""

    @property
    def fails(self) -> bool:
        """Return True if more is lost than allowed."""
        return bool(self.missing or self.wrong or self.late > MAX_MISSING)


def answer(call: Call) -> Reply:
    """Answer slowly and regularly if asked for a long answer."""
    if "long" in call.user_text:
        return Reply(tuple(f"w{n} " for n in range(WORDS)), chunk_delay=PAUSE)
    return Reply(f"short: {call.user_text}")


def kill_kernel(wire: WireServer, data: Path, number: int, after: float) -> Moment:
    """Start a kernel, kill it `after` seconds after its long question, and check the store."""
    notebook = data / f"n{number}.ipynb"
    short = [f"short question {number}-{n}" for n in range(1 + number % 3)]
    has_answer = number % 4 == 3  # the long question is asked by a cell that already has an answer
    with ForkedKernel(wire.env() | {"XDG_DATA_HOME": str(data), "JPY_SESSION_NAME": str(notebook)}) as kernel:
        output = kernel.run("%load_ext ipycachechat").text
        for n, question in enumerate(short):
            output += kernel.run(f"%%chat\n{question}", cell=f"cell-{n}").text
        asked = f"a long one, {number}."
        start = time.monotonic()
        request = kernel.start(f"%%chat\n{asked}", cell="cell-0" if has_answer else "cell-long")
        time.sleep(max(0.0, start + after - time.monotonic()))
        killed_at = time.monotonic()
        os.kill(kernel.pid, signal.SIGKILL)
        was_over = _was_over(kernel, request)
    wrong = "a problem was reported" if "is not saved" in output else ""
    return _check_store(wire, data, notebook, short, asked, was_over, killed_at, killed_at - start, wrong)


def _was_over(kernel: Kernel, request: str) -> bool:
    """Return True if the kernel reported before its end that the cell had finished."""
    while True:
        try:
            message = kernel.client.get_iopub_msg(timeout=0.1)
        except queue.Empty:
            return False
        mine = message["parent_header"].get("msg_id") == request
        if mine and message["content"].get("execution_state") == "idle":
            return True


def _check_store(
    wire: WireServer,
    data: Path,
    notebook: Path,
    short: list[str],
    asked: str,
    was_over: bool,
    killed_at: float,
    after: float,
    wrong: str,
) -> Moment:
    path = data / "ipycachechat" / "chats.db"
    with closing(sqlite3.connect(path, timeout=10)) as db:
        (whole,) = db.execute("PRAGMA integrity_check").fetchone()
    wrong = wrong or ("" if whole == "ok" else str(whole))
    with closing(Store(path)) as store:
        row = store.conversations.newest(str(notebook))
        stored = store.conversations.load(row.id) if row else None
    versions = stored.history.versions if stored else ()
    stored_answers = {turn for version in versions for turn in version.conversation.turns}
    answers = {(turn.prompt_text.strip(), turn.answer_text) for turn in stored_answers}
    missing = sum((question, f"short: {question}") not in answers for question in short)
    current = stored.history.current.turns if stored else ()
    long = next((turn for turn in current if turn.prompt_text.strip() == asked), None)
    kept_words = long.answer_text.split() if long else []
    if kept_words != [f"w{n}" for n in range(len(kept_words))]:
        wrong = wrong or f"not what was sent: {kept_words}"
    if was_over and (long is None or long.status is not TurnStatus.COMPLETE):
        wrong = wrong or "a finished answer is not there as such"
    record = next(
        (request for request in [*wire.requests] if request.call and request.call.user_text.strip() == asked),
        None,
    )
    sent = [sent_at for sent_at in _written(record) if sent_at <= killed_at]
    late = killed_at - sent[len(kept_words)] if len(kept_words) < len(sent) else 0.0
    return Moment(after, len(sent), len(kept_words), late, len(short), missing, wrong)


def _written(record: Request | None) -> list[float]:
    return [*record.written] if record else []


def kill_moments(n: int, seed: int, parallel: int = 2) -> list[Moment]:
    """Kill `n` kernels at random moments of a long answer."""
    rng = random.Random(seed)
    after = [rng.uniform(0, MAX_DELAY) for _ in range(n)]
    with tempfile.TemporaryDirectory() as folder, WireServer() as wire:
        wire.always = answer
        with ThreadPoolExecutor(parallel) as pool:
            return [*pool.map(lambda job: kill_kernel(wire, Path(folder), *job), enumerate(after))]


def summary(results: list[Moment]) -> str:
    """Return all figures in one line."""
    during = sum(0 < moment.sent < WORDS for moment in results)
    late = max(moment.late for moment in results)
    return (
        f"{len(results)} moments ({during} during the answer): {sum(moment.finished for moment in results)} "
        f"finished turns, {sum(moment.missing for moment in results)} of them missing; "
        f"at most {late:.2f} s of an answer missing; {sum(moment.fails for moment in results)} failures"
    )


def main() -> None:
    n, seed = int(sys.argv[1]) if len(sys.argv) > 1 else 200, random.randrange(1 << 32)
    start = time.monotonic()
    results = kill_moments(n, seed)
    for moment in results:
        if moment.fails:
            print(moment)
    late = sorted(moment.late for moment in results if moment.sent)
    print(
        f"seed {seed}, {time.monotonic() - start:.0f} s; missing in the middle: {late[len(late) // 2]:.2f} s"
    )
    print(summary(results))
    sys.exit(any(moment.fails for moment in results))


if __name__ == "__main__":
    main()
