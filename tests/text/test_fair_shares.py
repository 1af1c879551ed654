"""Shares of several texts that together exceed a limit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipycachechat.text.truncate import fair_shares


@pytest.mark.parametrize(
    ("sizes", "limit", "shares"),
    [
        ({"a": 5, "b": 3}, 10, {"a": 5, "b": 3}),
        ({"a": 50, "b": 3}, 10, {"a": 7, "b": 3}),
        ({"a": 50, "b": 40, "c": 2}, 12, {"a": 5, "b": 5, "c": 2}),
        ({"a": 50}, 0, {"a": 0}),
        ({}, 10, {}),
    ],
)
def test_the_largest_texts_are_cut_first(sizes: dict[str, int], limit: int, shares: dict[str, int]) -> None:
    assert fair_shares(sizes, limit) == shares


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 1000), max_size=8), st.integers(0, 3000))
def test_everything_fits_and_nothing_is_cut_without_need(sizes: dict[str, int], limit: int) -> None:
    shares = fair_shares(sizes, limit)
    assert sum(shares.values()) <= max(limit, 0)
    if sum(sizes.values()) <= limit:
        assert shares == sizes
    cut = [shares[name] for name in sizes if shares[name] < sizes[name]]
    assert all(shares[name] <= min(cut) for name in sizes if shares[name] == sizes[name] and cut)
    assert not cut or sum(shares.values()) > limit - len(sizes)
