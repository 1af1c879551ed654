"""The stop button at random moments: the long form, with times, is `tests/bench/stopping.py`."""

from __future__ import annotations

import random

from bench.stopping import WAYS, moments, told

QUICK = tuple(name for name, way in WAYS.items() if not way.fresh and "local" not in way.line)


def test_stopped_at_any_moment_a_cell_keeps_what_arrived_and_the_next_question_is_accepted() -> None:
    seed = random.randrange(1 << 32)
    found = moments(2 * len(QUICK), seed, QUICK)
    print(f"seed {seed}:", told(found))
    assert sum(one.stopped for one in found) > len(found) // 3
    assert not [one for one in found if one.wrong], f"seed {seed}"
