"""Dataframes, series and arrays in numbers: shape, types, missing values, ranges; large ones by a sample.

Nothing is imported and nothing copied: a sample is a view, or a few thousand rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Real
from random import Random
from typing import Any

from ipycachechat.prompts import tables
from ipycachechat.prompts.duck_typing import has_attributes
from ipycachechat.text.truncate import truncate_middle

SAMPLE = 2_000
"""Rows, or items of an array, that are looked at of what is larger than EXACT."""
EXACT, CELLS = 5_000_000, 50_000_000
"""Values of a column, or an array, that are looked at one and all, if they are numbers; of all columns together."""
ROWS, COLUMNS = 10, 50
NAMED, EXAMPLE = 3, 40
"""Values of a column that are no numbers, as examples; letters of each."""


def summarize_frame(value: Any) -> str:
    """A dataframe or a series: what its columns hold, and its first rows."""
    whole = value.to_frame() if has_attributes(value, "to_frame") else value
    if not has_attributes(whole, "head", "shape"):  # Arrow's
        whole = value
    rows = len(whole)
    looked = _sample(whole, rows)
    names, types, records = tables.columns(looked)
    values = list(zip(*records, strict=False)) or [()] * len(names)
    counted = rows <= min(EXACT, CELLS // max(1, len(names)))
    lines = ["| column | type | missing | values |", "|---|---|--:|---|"]
    for number, (name, kind) in enumerate(zip(names, types, strict=False)):
        if not str(kind):  # the index
            continue
        column = _column(whole, number - (str(types[0]) == "")) if counted else None
        told = _told(values[number], sampled=rows > len(looked), column=column, kind=kind, rows=rows)
        lines.append(tables.row(["" if name is None else name, kind, *told]))
    left = _width(whole) - COLUMNS
    more = f"\n({left:,} columns left out)" if left > 0 else ""
    sampled = f" (≈: by {len(looked):,} of the rows)" if rows > len(looked) else ""
    head = tables.table(value, ROWS)
    title, _, first = head.partition("\n\n")
    return f"{title.rstrip(':')}{sampled}:\n\n" + "\n".join(lines) + more + f"\n\nThe first rows:\n\n{first}"


def _told(values: Sequence[Any], *, sampled: bool, column: Any, kind: Any, rows: int) -> tuple[str, str]:
    """Return the number of missing values of a column, and its other values."""
    there = [one for one in values if not is_missing(one)]
    missing = f"{len(values) - len(there):,}"
    exact = _exact(column, kind, rows) if sampled else None  # in a small one all is looked at anyhow
    if sampled:
        share = 1 - len(there) / len(values) if values else 0.0
        missing = f"{exact[0]:,}" if exact else f"≈{share:.1%}"
    if exact and exact[1]:
        return missing, _range(*exact[1])
    about = "≈" if sampled and not exact else ""
    try:
        if there and all(isinstance(one, Real) and not isinstance(one, bool) for one in there):
            return missing, about + _range(*map(_plain, (min(there), max(there), sum(there) / len(there))))
        if there and all(has_attributes(one, "isoformat") for one in there):
            return missing, f"{about}{min(there)} to {max(there)}"
    except (TypeError, OverflowError):  # times with a zone beside some without; a number of a thousand digits
        pass
    try:
        distinct: Iterable[Any] = dict.fromkeys(there)
    except TypeError:  # lists, say
        distinct = dict.fromkeys(map(str, there))
    distinct = list(distinct)
    shown = ", ".join(tables.short(one, EXAMPLE) for one in distinct[:NAMED])
    return missing, f"{about}{len(distinct):,} distinct: {shown}{', …' if len(distinct) > NAMED else ''}"


def _range(low: Any, high: Any, mean: Any) -> str:
    return f"{_number(low)} to {_number(high)}, mean {_number(mean)}"


def _number(value: Any) -> str:
    """Whole ones whole: a column of numbers with gaps is one of floats."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _exact(column: Any, kind: Any, rows: int) -> tuple[int, tuple[Any, Any, Any] | None] | None:
    """Return missing count, minimum, maximum and mean of a large numeric column, computed by its own library."""
    if column is None or not _is_numeric(kind):
        return None
    missing = int(column.null_count() if has_attributes(column, "null_count") else column.isna().sum())
    if has_attributes(column, "is_nan", "drop_nans"):  # polars', for which not a number is a number
        there = column.drop_nans()
        missing, column = missing + rows - len(there), there
    if missing == rows:
        return missing, None
    return missing, (_plain(column.min()), _plain(column.max()), _plain(column.mean()))


def _plain(value: Any) -> Any:
    return value.item() if hasattr(type(value), "item") else value


def _is_numeric(kind: Any) -> bool:
    if has_attributes(kind, "is_numeric"):
        return bool(kind.is_numeric())
    return getattr(kind, "kind", "") in tuple("iuf")


def _column(value: Any, number: int) -> Any:
    """A column of pandas' or polars'; None of anybody else's."""
    if has_attributes(value, "iloc"):
        return value.iloc[:, number]
    return value.to_series(number) if has_attributes(value, "to_series") else None


def _width(value: Any) -> int:
    shape: tuple[int, ...] = getattr(value, "shape", ())
    return int(shape[1]) if len(shape) > 1 else 1


def _sample(value: Any, rows: int) -> Any:
    """Rows from all over it, always the same; of Arrow's the first. Every tenth, say, could all be alike."""
    if rows <= SAMPLE:
        return value
    if not has_attributes(value, "iloc") and not has_attributes(value, "gather_every"):
        return value.slice(0, SAMPLE)
    chosen = sorted(Random(0).sample(range(rows), SAMPLE))
    return value.iloc[chosen] if has_attributes(value, "iloc") else value[chosen]


def summarize_array(value: Any) -> str:
    """An array: shape, type, range, and as numpy abbreviates it; a number without a shape as it is."""
    shape = tuple(value.shape)
    text = truncate_middle(str(value), tables.TABLE_CHARACTERS)
    if not shape:
        return text
    title = f"{type(value).__name__} of shape {shape}, {value.dtype}"
    size = 1
    for side in shape:
        size *= side
    kind = getattr(value.dtype, "kind", "")
    if size and kind in tuple("iuf") and has_attributes(value, "ravel", "min", "mean"):
        looked, about = (value, "") if size <= EXACT else (_corner(value), "≈")
        known = _known(looked)
        title += f", {about}{_range(*known)}" if known else ""
    return f"{title}:\n{text}"


def _corner(value: Any) -> Any:
    """A view on a part of it, from all over, in steps that nothing else is likely to have."""
    side = max(2, int(100_000 ** (1 / len(value.shape))))
    return value[tuple(slice(None, None, _prime(length // side)) for length in value.shape)]


def _prime(least: int) -> int:
    """The next prime number; 1 for less than 2."""
    number = max(1, least)
    while any(number % one == 0 for one in range(2, int(number**0.5) + 1)):
        number += 1
    return number


def _known(value: Any) -> tuple[Any, Any, Any] | None:
    """The least, the largest and the mean of what is a number; None if nothing is."""
    found = [getattr(value, name)() for name in ("min", "max", "mean")]
    if found[0] != found[0]:  # not a number among them
        there = value[value == value]
        if not there.size:
            return None
        found = [getattr(there, name)() for name in ("min", "max", "mean")]
    if type(found[0]).__name__ == "MaskedConstant":  # as an item it would be 0
        return None
    low, high, mean = map(_plain, found)
    return low, high, mean


def is_missing(value: Any) -> bool:
    """Return True if it stands for nothing: None, not a number, no time, pandas' NA."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and value != value
