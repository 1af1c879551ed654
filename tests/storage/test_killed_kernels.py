"""Kernels that are killed while an answer arrives; the long form is `tests/stress/killed_kernels.py`."""

from __future__ import annotations

import random

from stress.killed_kernels import kill_moments, summary


def test_a_killed_kernel_loses_at_most_one_second_of_an_answer() -> None:
    seed = random.randrange(1 << 32)
    found = kill_moments(6, seed)
    print(f"seed {seed}:", summary(found))
    assert sum(one.finished for one in found) > 6
    assert not [one for one in found if one.fails]
