"""The values of `{{ expressions }}`, and how much work with them is allowed: a call into C cannot be stopped.

Single values, built-in collections and the tables and arrays of a few libraries run no code of the user's by
themselves. Work with them is refused before it begins if it would take more than about a second, or much memory.
"""

from __future__ import annotations

import datetime
import math
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from decimal import Decimal
from fractions import Fraction
from typing import Any

MAX_BITS, MAX_EXPONENT = 10_000, 1_000
"""Of a number to compute with: bits of a whole number, decimal places of a Decimal."""
MAX_ITEMS, MAX_WEIGHT = 1_000_000, 4_000_000
"""Of a collection that is looked through: items, and their weight (a small number weighs 1, see `_weight`)."""
MAX_COLUMNS = 1_000
MAX_TEXTS = 500_000
"""Cells of text or of objects, where each takes longer than a number."""
MAX_INDEX = 1_000_000
"""Rows of an index in which a label is looked up: the first lookup sorts or hashes all of it."""
COSTS = {
    "null": 20_000_000,
    "linear": 20_000_000,
    "sum": 20_000_000,
    "hash": 2_000_000,
    "sort": 2_000_000,
    "copy": 20_000_000,
    "pairs": 20_000_000,
    "list": 100_000,
}
"""Cells of a table or array for each kind of work, so that it takes less than a second; of `pairs`: cells × columns."""
TIMES = (datetime.datetime, datetime.time)
PLAIN = frozenset(
    {str, bytes, int, float, complex, bool, type(None), Decimal, Fraction}
    | {datetime.date, datetime.datetime, datetime.time, datetime.timedelta, datetime.timezone}
)
COLLECTIONS = frozenset(
    {list, tuple, dict, set, frozenset, range, deque, Counter, OrderedDict, defaultdict}
    | {type({}.keys()), type({}.values()), type({}.items())}
)
TABLES = {
    "numpy": ("ndarray",),
    "pandas": ("DataFrame", "Series"),
    "polars": ("DataFrame", "Series"),
    "pyarrow": ("Table", "RecordBatch", "ChunkedArray", "Array"),
}
"""Classes of tables, columns and arrays, by library."""


class Undefined(Exception):
    """A name, attribute or item that does not exist."""


class Refused(Exception):
    """Something that an expression may not do."""


def library(value: Any) -> str:
    """Return the name of the package that defines a value's class."""
    return str(getattr(type(value), "__module__", "")).partition(".")[0]


def is_plain(value: Any) -> bool:
    """Return True for a single value: a number, a string, a time, None, or one of these as numpy or pandas has it."""
    if type(value) in PLAIN:
        return not isinstance(value, TIMES) or _is_known_zone(value.tzinfo)
    if library(value) == "numpy":
        scalar = any(kind.__name__ == "generic" for kind in type(value).__mro__)
        return scalar and value.dtype.kind in "biufcmMUS"
    if library(value) != "pandas":
        return False
    if isinstance(value, datetime.datetime):
        return _is_known_zone(value.tzinfo)
    return isinstance(value, datetime.timedelta) or type(value).__name__ in ("Interval", "Period", "NAType")


def _is_known_zone(zone: datetime.tzinfo | None) -> bool:
    return zone is None or library(zone) in ("datetime", "zoneinfo", "pytz", "dateutil")


def is_number(value: Any) -> bool:
    """Return True for a single number, or a span of time."""
    return is_plain(value) and not isinstance(value, str | bytes | None)


def is_small(value: Any) -> bool:
    """Return True for a single value that takes no time to compute with, whatever the operation."""
    if isinstance(value, Fraction):
        return is_small(value.numerator) and is_small(value.denominator)
    if isinstance(value, int):
        return value.bit_length() <= MAX_BITS
    if isinstance(value, Decimal):
        return not value.is_finite() or abs(value.adjusted()) <= MAX_EXPONENT >= len(value.as_tuple().digits)
    return is_plain(value) and (not isinstance(value, str | bytes) or len(value) <= MAX_ITEMS)


def is_collection(value: Any) -> bool:
    """Return True for a built-in collection, which runs no code of the user's by itself."""
    return type(value) in COLLECTIONS


def is_plain_collection(value: Any) -> bool:
    """Return True for a built-in collection of single values, not too large to look through; of a dict: its keys."""
    if not is_collection(value) or len(value) > MAX_ITEMS:
        return False
    weight = 0.0
    for entry in value:
        for item in entry if type(entry) is tuple else (entry,):
            if not is_plain(item):
                return False
            weight += _weight(item)
        if weight > MAX_WEIGHT:
            return False
    return True


def _weight(item: Any) -> float:
    if isinstance(item, str | bytes):
        return 1 + len(item) / 16
    if isinstance(item, int):
        return 1 + item.bit_length() / 64
    return 1 if isinstance(item, float | None) else 40  # whose comparisons are Python's


def is_array(value: Any) -> bool:
    """Return True for a table, column, index or array of a known library."""
    root, kind = library(value), type(value)
    if root not in TABLES:
        return False
    module = sys.modules.get(root)
    if kind.__name__ in TABLES[root]:
        return getattr(module, kind.__name__, None) is kind
    base = {"pandas": "Index", "pyarrow": "Array"}.get(root, "")
    return isinstance(value, getattr(module, base, ())) if base else False


def is_grouped(value: Any) -> bool:
    """Return True for the groups of a pandas table or column."""
    return type(value).__name__ in ("DataFrameGroupBy", "SeriesGroupBy") and library(value) == "pandas"


def is_indexer(value: Any) -> bool:
    """Return True for `loc`, `iloc`, `at` or `iat` of a pandas table or column."""
    return library(value) == "pandas" and type(value).__name__.endswith("Indexer") and is_array(value.obj)


def table_of(value: Any) -> Any:
    """Return the table or array that work with a value is about."""
    return value.obj if is_grouped(value) or is_indexer(value) else value


def is_mask(key: Any, value: Any) -> bool:
    """Return True if the key is a column or array of truth values for the rows of a table or array."""
    if not (is_array(key) and is_boolean(key)) or key.shape[:1] != table_of(value).shape[:1]:
        return False
    return library(key) != "pandas" or same_rows(key, table_of(value))


def is_boolean(value: Any) -> bool:
    """Return True for a column or array of truth values."""
    return str(getattr(value, "dtype", "")).lower() in ("bool", "boolean")


def same_rows(left: Any, right: Any) -> bool:
    """Return True if two arrays have the same shape, and two pandas values the same index."""
    if library(left) == "pandas":
        if not (hasattr(left, "index") and hasattr(right, "index")):
            return False
        return left.index is right.index or (len(left) <= MAX_INDEX and bool(left.index.equals(right.index)))
    return type(left) is type(right) and left.shape == right.shape


def contains(collection: Any, value: Any) -> bool:
    """Return True if a single value is in a collection, a string, or the names of a table."""
    if type(collection) in (str, bytes):
        return type(value) is type(collection) and value in collection
    if isinstance(collection, dict):
        return dict.__contains__(collection, value)
    if type(collection) is range:
        return type(value) in (int, bool) and value in collection
    if is_array(collection) and library(collection) == "pandas":
        names = getattr(collection, "columns", collection)
        if isinstance(names, sys.modules["pandas"].Index) and len(names) <= MAX_COLUMNS:
            return value in names.tolist()
    if type(collection) in (set, frozenset) or is_plain_collection(collection):
        return value in collection
    raise Refused(f"a {type(collection).__name__} cannot be looked through")


def cells_of(value: Any) -> int:
    """Return the number of cells of a table or array; one without rows or columns can be as long."""
    return math.prod(max(1, length) for length in getattr(table_of(value), "shape", ()))


def check_cells(cells: float, limit: int = COSTS["copy"]) -> None:
    """Raise Refused for so many cells of a table or array to copy or compute with."""
    if cells > limit:
        raise Refused(f"{cells:,.0f} cells are too many for it; compute it first, and name the result")


def check_work(value: Any, cost: str, *, numeric_only: bool = False) -> None:
    """Raise Refused if work of this cost would take too long or run code of the user's."""
    table = table_of(value)
    columns = table.shape[1] if len(table.shape) > 1 and hasattr(type(table), "columns") else 1
    if columns > MAX_COLUMNS:
        raise Refused(f"a {type(table).__name__} of {columns:,} columns is too wide for it; compute it first")
    check_cells(cells_of(table) * (columns if cost == "pairs" else 1), COSTS[cost])
    kinds = [_kind(dtype) for dtype in _dtypes(table)]
    if "foreign" in kinds:
        raise Refused("it holds values of other classes, whose code would be called")
    texts = len(kinds) - kinds.count("number")
    if cost == "null" or not texts or numeric_only:
        return
    if cost in ("sum", "pairs"):
        raise Refused("it holds text; add numeric_only=True, or choose the columns of numbers")
    check_cells(cells_of(table) / len(kinds) * texts, MAX_TEXTS)
    if "object" in kinds and cost not in ("copy", "list") and not _are_plain(table):
        raise Refused("it holds objects of other classes, whose code would be called")


def check_index(value: Any) -> None:
    """Raise Refused if looking up a label would take too long or run code of the user's."""
    index = getattr(table_of(value), "index", None)
    if library(value) != "pandas" or index is None or type(index).__name__ == "RangeIndex":
        return
    check_cells(len(index), MAX_INDEX)
    if _kind(index.dtype) not in ("number", "text") and not all(map(is_plain, index.tolist())):
        raise Refused("its index holds objects of other classes, whose code would be called")


def check_copied(value: Any) -> None:
    """Raise Refused if pandas would copy notes of the user's with a table: it copies `attrs` with each view."""
    attrs = getattr(table_of(value), "attrs", None)
    if attrs and not (is_plain_collection(attrs) and is_plain_collection(list(attrs.values()))):
        raise Refused("its attrs hold more than single values")


def _dtypes(table: Any) -> list[Any]:
    if library(table) == "pyarrow":
        return []
    several = getattr(table, "dtypes", None) if hasattr(type(table), "columns") else [table.dtype]
    return list(several) if several is not None else [table.dtype]


def _kind(dtype: Any) -> str:
    """Return "number" (times, too), "text" (and what libraries have as cheap), "object", or "foreign"."""
    name, root = type(dtype).__name__, type(dtype).__module__.partition(".")[0]
    if root == "polars":
        text = str(dtype)
        simple = ("Int", "UInt", "Float", "Bool", "Date", "Time", "Duration", "Null")
        return "number" if text.startswith(simple) else "foreign" if text.startswith("Object") else "text"
    if root not in ("numpy", "pandas") or name == "SparseDtype":
        return "foreign"
    if name == "CategoricalDtype":
        categories = () if dtype.categories is None else dtype.categories[:MAX_COLUMNS]
        return "text" if all(map(is_plain, categories)) else "object"
    if name in ("StringDtype", "PeriodDtype", "IntervalDtype"):
        return "text"
    return {"O": "object", "V": "foreign", "U": "text", "S": "text", "T": "text"}.get(dtype.kind, "number")


def _are_plain(table: Any) -> bool:
    """Return True if the cells that are Python objects are single values."""
    if hasattr(type(table), "columns"):
        columns = [table.iloc[:, n] for n, dtype in enumerate(table.dtypes) if _kind(dtype) == "object"]
    else:
        columns = [table]
    flat = (column.ravel() if library(column) == "numpy" else column for column in columns)
    return all(is_plain(cell) for column in flat for cell in column.tolist())
