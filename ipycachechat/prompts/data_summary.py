"""Dataframes, series and arrays as text: shape, types, missing values, ranges and first rows.

No library is imported and nothing is copied: what is large is summarised by a view, or a sample of its rows. The
column types and the index appear as the dataframe's own library writes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from numbers import Real
from random import Random
from typing import Any

from ipycachechat.prompts.duck_typing import has_attributes
from ipycachechat.text.redaction_log import VALUE_NAMES, RedactionLog
from ipycachechat.text.secret_names import secret_field

TABLE_ROWS, TABLE_COLUMNS, TABLE_CHARACTERS, CELL_CHARACTERS = 50, 50, 6_000, 80
SUMMARY_ROWS = 10
"""Rows below the summary of a dataframe."""
SAMPLE_ROWS = 2_000
"""Rows by which a longer dataframe is summarised."""
EXACT_ITEMS, EXACT_CELLS = 5_000_000, 50_000_000
"""Numbers in an array or a column, and in all columns, up to which the range and the mean are exact."""
EXAMPLES, EXAMPLE_CHARACTERS = 3, 40
"""Examples from a column that is not numeric, and the length of each."""


def table(value: Any, redact: RedactionLog, max_rows: int = TABLE_ROWS) -> str:
    """Return a dataframe or a series as a markdown table of its first rows, with its shape and types."""
    head = value.head(max_rows) if has_attributes(value, "head") else value.slice(0, max_rows)
    names, types, rows = _columns(head.to_frame() if has_attributes(head, "to_frame") else head, redact)
    headers = [f"{name} ({kind})" if str(kind) else name for name, kind in zip(names, types, strict=False)]
    lines = [_row(headers, redact), _row(("---" for _ in headers), redact)]
    shape = tuple(value.shape) if has_attributes(value, "shape") else (len(value),)
    left = [shape[0], *(max(0, length - TABLE_COLUMNS) for length in shape[1:])]
    for line in (_row(row, redact) for row in rows):
        if sum(map(len, lines)) + len(line) > TABLE_CHARACTERS:
            break
        lines, left[0] = [*lines, line], left[0] - 1
    note = f"\n\n({_size(left, 1)} left out)" if any(left) else ""
    return f"{type(value).__name__}, {_size(shape)}:\n\n" + "\n".join(lines) + note


def summarize_frame(value: Any, redact: RedactionLog) -> str:
    """Return a dataframe or a series as a summary of each column, and its first rows."""
    frame = value.to_frame() if has_attributes(value, "to_frame") else value
    if not has_attributes(frame, "head", "shape"):
        frame = value
    rows = len(frame)
    sample = _sample(frame, rows)
    sampled = rows > len(sample)
    names, types, records = _columns(sample, redact)
    values = list(zip(*records, strict=False)) or [()] * len(names)
    exact = sampled and rows <= min(EXACT_ITEMS, EXACT_CELLS // max(1, len(names)))
    lines = ["| column | type | missing | values |", "|---|---|--:|---|"]
    for number, (name, kind) in enumerate(zip(names, types, strict=False)):
        if not str(kind):  # the index
            continue
        shown = exact and _is_numeric(kind) and not redact.hides(name)
        column = _column(frame, number - (str(types[0]) == "")) if shown else None
        statistics = None if column is None else _statistics(column)
        summary = _summarize_column(values[number], sampled, statistics, redact)
        lines.append(_row(["" if name is None else name, kind, *summary], redact))
    shape = tuple(getattr(frame, "shape", ()))
    left_out = int(shape[1]) - TABLE_COLUMNS if len(shape) > 1 else 0
    more = f"\n({left_out:,} columns left out)" if left_out > 0 else ""
    note = f" (≈: by {len(sample):,} of the rows)" if sampled else ""
    title, _, first = table(value, redact, SUMMARY_ROWS).partition("\n\n")
    return f"{title.rstrip(':')}{note}:\n\n" + "\n".join(lines) + more + f"\n\nThe first rows:\n\n{first}"


def array_text(value: Any, redact: RedactionLog) -> str:
    """Return an array's shape and type, and its items as numpy abbreviates them; a scalar as it is."""
    fields = getattr(value.dtype, "names", None) or ()
    hidden = [name for name in fields if redact.hides(name)]
    shown = value[[name for name in fields if name not in hidden]] if hidden else value
    name = getattr(value, "name", None)  # of an index
    text = (
        redact.mask(name, 0) if redact.hides(name) else redact.truncate_middle(str(shown), TABLE_CHARACTERS)
    )
    shape = tuple(value.shape)
    if hidden:
        text += f"\n(left out: {', '.join(str(redact.mask(name, 0)) for name in hidden)})"
    return f"{type(value).__name__} of shape {shape}, {value.dtype}:\n{text}" if shape else text


def summarize_array(value: Any, redact: RedactionLog) -> str:
    """Return `array_text`, with the range and the mean of an array of numbers."""
    text, size = array_text(value, redact), prod(value.shape)
    if not value.shape or not size or not _is_numeric(value.dtype):
        return text
    if not has_attributes(value, "ravel", "min", "mean"):
        return text
    about = "" if size <= EXACT_ITEMS else "≈"
    numbers = _array_range(_thinned(value) if about else value)
    title, _, items = text.partition(":\n")
    return f"{title}, {about}{_range(*numbers)}:\n{items}" if numbers else text


def is_missing(value: Any) -> bool:
    """Return True for None, NaN, NaT and pandas' NA."""
    name = type(value).__name__
    if value is None or name in ("NAType", "NaTType"):
        return True
    return (
        isinstance(value, float) or name in ("float16", "float32", "datetime64", "timedelta64")
    ) and value != value


def _columns(frame: Any, redact: RedactionLog) -> tuple[Sequence[Any], Sequence[Any], Iterable[Any]]:
    """Return names, types and rows of a dataframe, with masks in place of what fields of secrets hold."""
    names, types, rows = _all_columns(frame)
    has_index, named = bool(types) and str(types[0]) == "", redact.hidden(names, ())
    is_paired = not VALUE_NAMES.isdisjoint(names)

    def masked(row: Sequence[Any]) -> Sequence[Any]:
        # A row that is a field: of a record, or of a table turned round.
        if has_index and redact.hides(row[0]):
            hidden = dict.fromkeys(range(1, len(row)), row[0])
        else:
            hidden = redact.hidden(names, row) if is_paired else named
        if not hidden:
            return row
        return [
            redact.mask(hidden[number], value) if number in hidden and not is_missing(value) else value
            for number, value in enumerate(row)
        ]

    return names, types, map(masked, rows)


def _all_columns(frame: Any) -> tuple[Sequence[Any], Sequence[Any], Iterable[Sequence[Any]]]:
    """Return names, types and rows of a dataframe of pandas, polars or Arrow, or of an Arrow array."""
    if has_attributes(frame, "itertuples"):
        frame = frame.iloc[:, :TABLE_COLUMNS]
        names = tuple(name for name in getattr(frame.index, "names", ()) if name is not None)
        index = frame.index.name or (names if any(map(secret_field, names)) else "")
        return [index, *frame.columns], ["", *frame.dtypes], frame.itertuples(name=None)
    if has_attributes(frame, "rows"):
        frame = frame[:, :TABLE_COLUMNS]
        return frame.columns, frame.dtypes, frame.rows()
    if not has_attributes(frame, "select"):
        return [""], [frame.type], ([value] for value in frame.to_pylist())
    frame = frame.select(range(min(TABLE_COLUMNS, frame.num_columns)))
    rows = zip(*(column.to_pylist() for column in frame.columns), strict=True)
    return frame.schema.names, frame.schema.types, rows


def _column(frame: Any, number: int) -> Any:
    """Return a column of a dataframe of pandas or polars; None for other libraries."""
    if has_attributes(frame, "iloc"):
        return frame.iloc[:, number]
    return frame.to_series(number) if has_attributes(frame, "to_series") else None


def _sample(frame: Any, rows: int) -> Any:
    """Return rows from all over the frame, always the same ones; not every n-th, which could all be alike."""
    if rows <= SAMPLE_ROWS:
        return frame
    if not has_attributes(frame, "iloc") and not has_attributes(frame, "gather_every"):
        return frame.slice(0, SAMPLE_ROWS)  # Arrow
    chosen = sorted(Random(0).sample(range(rows), SAMPLE_ROWS))
    return frame.iloc[chosen] if has_attributes(frame, "iloc") else frame[chosen]


def _summarize_column(
    values: Sequence[Any],
    sampled: bool,
    exact: tuple[int, tuple[Any, Any, Any] | None] | None,
    redact: RedactionLog,
) -> tuple[str, str]:
    """Return the number of missing values of a column, and its range or examples."""
    present = [value for value in values if not is_missing(value)]
    missing = f"{len(values) - len(present):,}"
    if sampled:
        share = 1 - len(present) / len(values) if values else 0.0
        missing = f"{exact[0]:,}" if exact else f"≈{share:.1%}"
    if exact and exact[1]:
        return missing, _range(*exact[1])
    about = "≈" if sampled and not exact else ""
    try:
        if present and all(isinstance(value, Real) and not isinstance(value, bool) for value in present):
            numbers = min(present), max(present), sum(present) / len(present)
            return missing, about + _range(*map(_to_python, numbers))
        if present and all(has_attributes(value, "isoformat") for value in present):
            return missing, f"{about}{min(present)} to {max(present)}"
    except (TypeError, OverflowError):  # times with and without a zone; a number of a thousand digits
        pass
    try:
        distinct = list(dict.fromkeys(present))
    except TypeError:  # lists, say
        distinct = list(dict.fromkeys(map(str, present)))
    examples = ", ".join(redact.truncate_end(str(value), EXAMPLE_CHARACTERS) for value in distinct[:EXAMPLES])
    return (
        missing,
        f"{about}{len(distinct):,} distinct: {examples}{', …' if len(distinct) > EXAMPLES else ''}",
    )


def _statistics(column: Any) -> tuple[int, tuple[Any, Any, Any] | None]:
    """Return missing count and (minimum, maximum, mean) of a numeric column, computed by its own library."""
    rows = len(column)
    missing = int(column.null_count() if has_attributes(column, "null_count") else column.isna().sum())
    if has_attributes(column, "is_nan", "drop_nans"):  # polars, for which NaN is a number
        column = column.drop_nans()
        missing += rows - len(column)
    if missing == rows:
        return missing, None
    return missing, (_to_python(column.min()), _to_python(column.max()), _to_python(column.mean()))


def _array_range(array: Any) -> tuple[Any, Any, Any] | None:
    """Return minimum, maximum and mean of an array without NaN; None if nothing is left."""
    numbers = array.min(), array.max(), array.mean()
    if numbers[0] != numbers[0]:  # there is a NaN
        array = array[array == array]
        if not array.size:
            return None
        numbers = array.min(), array.max(), array.mean()
    if type(numbers[0]).__name__ == "MaskedConstant":  # which would become 0
        return None
    low, high, mean = map(_to_python, numbers)
    return low, high, mean


def _thinned(array: Any) -> Any:
    """Return a view on items from all over a large array, in steps of a prime, unlikely to match a pattern in it."""
    side = max(2, int(100_000 ** (1 / len(array.shape))))
    return array[tuple(slice(None, None, _next_prime(length // side)) for length in array.shape)]


def _next_prime(number: int) -> int:
    """Return the first prime from `number` on; 1 for less than 2."""
    number = max(1, number)
    while any(number % divisor == 0 for divisor in range(2, int(number**0.5) + 1)):
        number += 1
    return number


def _is_numeric(dtype: Any) -> bool:
    if has_attributes(dtype, "is_numeric"):  # polars
        return bool(dtype.is_numeric())
    return getattr(dtype, "kind", "") in ("i", "u", "f")


def _to_python(value: Any) -> Any:
    return value.item() if hasattr(type(value), "item") else value


def _range(low: Any, high: Any, mean: Any) -> str:
    return f"{_number(low)} to {_number(high)}, mean {_number(mean)}"


def _number(value: Any) -> str:
    """Return a number as text, a whole one without a point: integers with gaps are a column of floats."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _size(shape: Iterable[int], min_count: int = 0) -> str:
    """Return a shape as "3 rows and 1 column"; counts below `min_count` are left out."""
    named = zip(shape, ("row", "column"), strict=False)
    return " and ".join(f"{n:,} {name}{'s' * (n != 1)}" for n, name in named if n >= min_count)


def _row(cells: Iterable[Any], redact: RedactionLog) -> str:
    escapes = {ord("|"): r"\|", ord("\n"): r"\n", ord("\r"): r"\r"}
    texts = (redact.truncate_end(str(cell), CELL_CHARACTERS).translate(escapes) for cell in cells)
    return f"| {' | '.join(texts)} |"
