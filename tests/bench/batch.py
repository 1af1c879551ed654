"""Time of `map` compared with the shortest possible time: 64 prompts on a prefix of 20,000 tokens.

    python tests/bench/batch.py [--short]

Shortest possible: one prompt alone until its answer starts, then always n at a time, and no time except the provider's.
"""

from __future__ import annotations

import heapq
import os
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from wire import Reply, WireServer, words  # noqa: E402

BEGIN, WORDS, PAUSE = 0.3, 20, 0.05
"""Seconds to the first word, words, seconds between two."""
ANSWER = BEGIN + (WORDS - 1) * PAUSE


def shortest(prompts: int, n: int) -> float:
    """Return the seconds that the provider alone would need."""
    free = [ANSWER, *[BEGIN] * (n - 1)]
    for _ in range(prompts - 1):
        heapq.heappush(free, heapq.heappop(free) + ANSWER)
    return max(free)


def main() -> None:
    with WireServer() as server:
        os.environ.update(server.env())
        from ipycachechat import Chat

        server.always = lambda call: Reply(
            tuple(f"w{n} " for n in range(WORDS)), first_delay=BEGIN, chunk_delay=PAUSE
        )
        chat = Chat("anthropic/claude-sonnet-5", words(20_000))
        chat.plan("so that litellm is imported")
        for n in (16,) if "--short" in sys.argv else (4, 8, 16):
            server.clear()
            server.forget()
            fork = chat.fork()
            started = time.perf_counter()
            answers = fork.map([f"question {k}" for k in range(64)], n=n, progress=False)
            seconds, min_seconds = time.perf_counter() - started, shortest(64, n)
            bills = [request.bill for request in server.requests if request.bill]
            writes, reads = (sum(bool(getattr(bill, kind)) for bill in bills) for kind in ("written", "read"))
            assert len(answers) == 64
            print(
                f"n = {n}: {seconds:.2f} s, {seconds / min_seconds:.3f} × the shortest; {writes} write, {reads} reads"
            )


if __name__ == "__main__":
    main()
