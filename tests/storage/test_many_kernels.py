"""Kernels that write to one file at once; the long form is `tests/stress/many_kernels.py`."""

from __future__ import annotations

from stress.many_kernels import KERNELS, together


def test_four_kernels_at_once_lose_nothing_and_do_not_block_each_other() -> None:
    result = together(8.0)
    print(result.summary)
    assert len(result.asked) == KERNELS and all(len(one.turns) > 5 for one in result.asked)
    assert not result.fails, result.summary
