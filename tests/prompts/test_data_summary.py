"""Summaries of dataframes and arrays: exact unless marked "≈", and no pattern in the data misleads the sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from ipycachechat.prompts.data_summary import SAMPLE_ROWS, is_missing
from ipycachechat.prompts.describe import describe
from ipycachechat.text.redaction_log import RedactionLog

N = 300_000


def row(value: Any, name: str) -> list[str]:
    """Return the missing count and the summary of a column."""
    lines = str(describe(value, RedactionLog())).splitlines()
    cells = next(line for line in lines if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in cells.strip("|").split("|")][2:]


@pytest.mark.parametrize("period", [2, 3, 5, 7, 10, 12, 24, 50, 100, 150, 365])
def test_a_periodic_pattern_does_not_mislead_the_sample(period: int) -> None:
    numbers = np.arange(N)
    frame = pd.DataFrame({"odd": np.where(numbers % period, "no", "yes")})
    assert "≈2 distinct" in row(frame, "odd")[1]
    gaps = pl.DataFrame({"gaps": [None if number % period else "there" for number in range(N)]})
    share = float(row(gaps, "gaps")[0].strip("≈%")) / 100
    assert abs(share - (1 - 1 / period)) < 0.05
    array = np.where(np.arange(6_000_000) % period, 0, 1)
    assert "≈0 to 1" in str(describe(array, RedactionLog()))


@pytest.mark.parametrize("rows", [SAMPLE_ROWS, SAMPLE_ROWS + 1, N])
@pytest.mark.parametrize("kind", ["int64", "float32", "Int64", "Float64", "uint8"])
def test_numbers_without_an_approximation_sign_are_those_of_the_library(rows: int, kind: str) -> None:
    column = pd.Series(np.arange(rows) % 200, name="n").astype(kind)
    if kind[0] in "IFf":
        column[::7] = None
    missing, summary = row(column, "n")
    assert missing == f"{column.isna().sum():,}"
    low, high, mean = f"{column.min():.0f}", f"{column.max():.0f}", f"{column.mean():.6g}"
    assert summary == f"{low} to {high}, mean {mean}"


@pytest.mark.parametrize("rows", [3, N])
def test_nan_is_missing_in_polars_too(rows: int) -> None:
    frame = pl.DataFrame({"f": [None, float("nan"), 1.0] * (rows // 3)})
    assert row(frame, "f") == [f"{rows * 2 // 3:,}", "1 to 1, mean 1"]


def test_large_integers_in_a_column_of_floats_are_not_rounded() -> None:
    frame = pd.DataFrame({"id": [1_000_001, None, 1_999_999]})
    assert row(frame, "id") == ["1", "1000001 to 1999999, mean 1500000"]


def test_a_column_without_values_has_an_exact_count() -> None:
    assert row(pd.DataFrame({"a": np.full(N, np.nan)}), "a") == [f"{N:,}", "0 distinct:"]


def test_the_column_named_0_keeps_its_name() -> None:
    assert row(pd.DataFrame([[1, 2]]), "0") == ["0", "1 to 1, mean 1"]


@pytest.mark.parametrize(
    ("value", "summary"),
    [
        (pd.RangeIndex(3), "RangeIndex(start=0, stop=3"),
        (pd.Index([1, 2]), "Index([1, 2]"),
        (np.ma.array([1.0, 2.0], mask=[True, True]), "shape (2,), float64:"),
        (np.full(3, np.nan), "shape (3,), float64:"),
        (np.ma.array([np.nan, 2.0, 3.0], mask=[False, True, False]), "3 to 3, mean 3"),
        (
            pd.DataFrame({"t": [pd.Timestamp("2026", tz="UTC"), pd.Timestamp("2026")]}, dtype=object),
            "2 distinct",
        ),
        (pd.DataFrame({"n": [10**400, 1.5]}, dtype=object), "| n | object | 0 |"),
    ],
)
def test_values_without_a_range_are_described(value: Any, summary: str) -> None:
    assert summary in str(describe(value, RedactionLog()))


class NoClass:
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise ValueError


class Nameless(type):
    @property
    def __name__(cls) -> str:
        raise ValueError

    def __repr__(cls) -> str:
        raise ValueError


class Exits:
    def __repr__(self) -> str:
        raise SystemExit


@pytest.mark.parametrize("value", [NoClass, Nameless("Odd", (), {}), Exits], ids=["class", "name", "exit"])
def test_a_value_that_raises_on_every_access_is_no_error(value: Any) -> None:
    assert "it cannot be shown" in str(describe(value(), RedactionLog()))


@pytest.mark.parametrize(
    "value", [None, float("nan"), np.float32("nan"), pd.NaT, pd.NA, np.datetime64("NaT"), np.float64("nan")]
)
def test_every_librarys_missing_value_is_missing(value: Any) -> None:
    assert is_missing(value)
    assert not any(map(is_missing, (0, 0.0, "", "nan", False, [], pd.Timestamp("2026"), np.array([np.nan]))))
