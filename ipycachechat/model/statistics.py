"""Dataframes, series and arrays in numbers: shape, types, what is missing, ranges; of large ones by a sample.

Nothing is imported and nothing copied: a sample is a view, or a few thousand values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ipycachechat.core.shorten import middle_cut
from ipycachechat.model import tabular
from ipycachechat.model.looks import has

SAMPLE = 2_000
"""Rows, or items of an array, that are looked at of what is larger than EXACT."""
EXACT = 5_000_000
"""Values that are looked at one and all, if they are numbers."""
ROWS, COLUMNS = 10, 50
NAMED = 3
"""Values of a column that are no numbers, as examples."""


def frame(value: Any) -> str:
    """A dataframe or a series: what its columns hold, and its first rows."""
    whole = value.to_frame() if has(value, "to_frame") else value
    if not has(whole, "head", "shape"):  # Arrow's
        whole = value
    rows = len(whole)
    looked = _sample(whole, rows)
    names, types, records = tabular.columns(looked)
    values = list(zip(*records, strict=False)) or [()] * len(names)
    lines = ["| column | type | missing | values |", "|---|---|--:|---|"]
    for number, (name, kind) in enumerate(zip(names, types, strict=False)):
        if not str(kind):  # the index
            continue
        column = _column(whole, number - (str(types[0]) == ""))
        told = _told(values[number], sampled=rows > len(looked), column=column, kind=kind, rows=rows)
        lines.append(tabular.row([name or "", kind, *told]))
    left = _width(whole) - COLUMNS
    more = f"\n({left:,} columns left out)" if left > 0 else ""
    sampled = f" (≈: by {len(looked):,} of the rows)" if rows > len(looked) else ""
    head = tabular.table(value, ROWS)
    title, _, first = head.partition("\n\n")
    return f"{title.rstrip(':')}{sampled}:\n\n" + "\n".join(lines) + more + f"\n\nThe first rows:\n\n{first}"


def _told(values: Sequence[Any], *, sampled: bool, column: Any, kind: Any, rows: int) -> tuple[str, str]:
    """What is missing in a column, and what else there is."""
    there = [one for one in values if not is_missing(one)]
    missing = f"{len(values) - len(there):,}"
    exact = _exact(column, kind, rows) if sampled else None  # in a small one all is looked at anyhow
    if sampled:
        share = 1 - len(there) / len(values) if values else 0.0
        missing = f"{exact[0]:,}" if exact else f"≈{share:.1%}"
    if exact and exact[1]:
        return missing, _range(*exact[1])
    about = "≈" if sampled else ""
    numbers = [one for one in there if isinstance(one, int | float) and not isinstance(one, bool)]
    if numbers and len(numbers) == len(there):
        return missing, about + _range(min(numbers), max(numbers), sum(numbers) / len(numbers))
    if there and all(has(one, "isoformat") for one in there):
        return missing, f"{about}{min(there)} to {max(there)}"
    try:
        distinct: Iterable[Any] = dict.fromkeys(there)
    except TypeError:  # lists, say
        distinct = dict.fromkeys(map(str, there))
    distinct = list(distinct)
    shown = ", ".join(str(one)[:40] for one in distinct[:NAMED])
    return missing, f"{about}{len(distinct):,} distinct: {shown}{', …' if len(distinct) > NAMED else ''}"


def _range(low: Any, high: Any, mean: Any) -> str:
    return f"{_number(low)} to {_number(high)}, mean {_number(mean)}"


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _exact(column: Any, kind: Any, rows: int) -> tuple[int, tuple[Any, Any, Any] | None] | None:
    """What is missing in a large column of numbers, its least, largest and mean value, by its own library."""
    if column is None or not _is_numeric(kind) or rows > EXACT:
        return None
    missing = int(column.null_count() if has(column, "null_count") else column.isna().sum())
    if missing == rows:
        return missing, None
    return missing, (_plain(column.min()), _plain(column.max()), _plain(column.mean()))


def _plain(value: Any) -> Any:
    return value.item() if hasattr(type(value), "item") else value


def _is_numeric(kind: Any) -> bool:
    if has(kind, "is_numeric"):
        return bool(kind.is_numeric())
    return getattr(kind, "kind", "") in tuple("iuf")


def _column(value: Any, number: int) -> Any:
    """A column of pandas' or polars'; None of anybody else's."""
    if has(value, "iloc"):
        return value.iloc[:, number]
    return value.to_series(number) if has(value, "to_series") else None


def _width(value: Any) -> int:
    shape: tuple[int, ...] = getattr(value, "shape", ())
    return int(shape[1]) if len(shape) > 1 else 1


def _sample(value: Any, rows: int) -> Any:
    """Rows from all over it; of Arrow's the first."""
    step = -(-rows // SAMPLE)
    if step <= 1:
        return value
    if has(value, "iloc"):
        return value.iloc[::step]
    if has(value, "gather_every"):
        return value.gather_every(step)
    return value.slice(0, SAMPLE)


def array(value: Any) -> str:
    """An array: shape, type, range, and as numpy abbreviates it; a number without a shape as it is."""
    shape = tuple(value.shape)
    text = middle_cut(str(value), tabular.TABLE_CHARACTERS)
    if not shape:
        return text
    title = f"{type(value).__name__} of shape {shape}, {value.dtype}"
    size = 1
    for side in shape:
        size *= side
    kind = getattr(value.dtype, "kind", "")
    if size and kind in tuple("iuf") and has(value, "ravel", "min"):
        looked, about = (value, "") if size <= EXACT else (_corner(value), "≈")
        low, high, mean = _known(looked)
        title += f", {about}{_range(low, high, mean)}"
    return f"{title}:\n{text}"


def _corner(value: Any) -> Any:
    """A view on a part of it, from all over."""
    side = max(2, int(100_000 ** (1 / len(value.shape))))
    return value[tuple(slice(None, None, max(1, length // side)) for length in value.shape)]


def _known(value: Any) -> tuple[Any, Any, Any]:
    """The least, the largest and the mean of what is a number."""
    low, high, mean = (_plain(getattr(value, name)()) for name in ("min", "max", "mean"))
    if low != low:  # not a number among them
        there = value[value == value]
        if not there.size:
            return low, high, mean
        low, high, mean = (_plain(getattr(there, name)()) for name in ("min", "max", "mean"))
    return low, high, mean


def is_missing(value: Any) -> bool:
    """Whether it stands for nothing: None, not a number, no time, pandas' NA."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and value != value
