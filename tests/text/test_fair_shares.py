"""What of several texts is taken when all of them would be too much."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipycachechat.text.truncate import fair_shares


@pytest.mark.parametrize(
    ("sizes", "most", "taken"),
    [
        ({"a": 5, "b": 3}, 10, {"a": 5, "b": 3}),
        ({"a": 50, "b": 3}, 10, {"a": 7, "b": 3}),
        ({"a": 50, "b": 40, "c": 2}, 12, {"a": 5, "b": 5, "c": 2}),
        ({"a": 50}, 0, {"a": 0}),
        ({}, 10, {}),
    ],
)
def test_the_largest_are_cut_first(sizes: dict[str, int], most: int, taken: dict[str, int]) -> None:
    assert fair_shares(sizes, most) == taken


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 1000), max_size=8), st.integers(0, 3000))
def test_all_of_it_fits_and_nothing_is_cut_without_need(sizes: dict[str, int], most: int) -> None:
    taken = fair_shares(sizes, most)
    assert sum(taken.values()) <= max(most, 0)
    if sum(sizes.values()) <= most:
        assert taken == sizes
    cut = [taken[name] for name in sizes if taken[name] < sizes[name]]
    assert all(taken[name] <= min(cut) for name in sizes if taken[name] == sizes[name] and cut)
    assert not cut or sum(taken.values()) > most - len(sizes)
