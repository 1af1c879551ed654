"""Kernels that change, undo, fork and save at once on one file (long form: `tests/stress/kernels_side_by_side.py`)."""

from __future__ import annotations

import pytest
from stress.kernels_side_by_side import together


@pytest.mark.local
def test_kernels_that_use_one_file_at_once_lose_nothing() -> None:
    result = together(seconds=6, kernels=3)
    print(result.summary)
    assert result.turns > 3
    assert not result.fails, result.wrong
