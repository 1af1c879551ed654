"""Functions and methods that `{{ expressions }}` may call: they change nothing, write nothing, and call nothing back.

Each has a cost, so that a large value is refused before the work begins: one call into C cannot be stopped.
"""

from __future__ import annotations

import builtins
import datetime
import inspect
import math
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from types import BuiltinFunctionType, FunctionType, MethodDescriptorType, WrapperDescriptorType
from typing import Any

LIBRARIES = frozenset(
    {"builtins", "collections", "datetime", "decimal", "fractions", "numpy", "pandas", "polars", "pyarrow"}
)
"""Libraries whose own classes are known to have methods that only look."""
MAX_LITERAL = 10_000
"""Largest whole number that a method is given."""
MAX_DIGITS = 100
"""To which a number is rounded."""
MAX_ITEMS = 1_000_000
"""Of a collection that is looked through."""
MAX_COLUMNS = 1_000
MAX_LETTERS = 10_000_000
"""Of a string that a method looks through; those that split it take a tenth of it."""
COSTS = {
    "view": 10**12,
    "linear": 20_000_000,
    "sort": 2_000_000,
    "copy": 20_000_000,
    "pairs": 20_000_000,
    "list": 100_000,
}
"""Cells of a table or array for each kind of work, so that it takes less than a second; of `pairs`: cells × columns."""
MAX_OBJECTS = 500_000
"""Cells that are strings or other objects, where each takes longer."""
HEAP = 1 << 9
"""Flag of a class that was not written in C: CPython's Py_TPFLAGS_HEAPTYPE."""

PLAIN = frozenset(
    {
        *(str, bytes, int, float, complex, bool, type(None), Decimal, Fraction),
        *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta, datetime.timezone),
    }
)
COLLECTIONS = frozenset(
    {list, tuple, dict, set, frozenset, range, deque, Counter, OrderedDict, defaultdict}
    | {type({}.keys()), type({}.values()), type({}.items())}
)
STRINGS = frozenset(
    "capitalize count endswith find index lower lstrip removeprefix removesuffix rstrip split splitlines startswith "
    "strip title upper".split()
)
TIMES = frozenset("date isoformat strftime time total_seconds weekday".split())
DICTS, LISTS = frozenset(("get", "items", "keys", "values")), frozenset(("count", "index"))
TABLES = {
    "view": "head limit slice tail",
    "linear": "abs all any argmax argmin count cummax cummin cumprod cumsum diff drop_nulls dropna idxmax idxmin "
    "is_null isna isnull max mean median min n_unique notna notnull null_count nunique pct_change prod product "
    "quantile round std sum unique value_counts var mode item",
    "sort": "describe drop_duplicates duplicated groupby nlargest nsmallest rank sort_index sort_values",
    "copy": "copy fillna reset_index set_index drop select transpose squeeze",
    "pairs": "corr cov",
    "list": "to_dict to_list tolist to_pylist",
}
METHODS = {name: cost for cost, names in TABLES.items() for name in names.split()}
"""Methods of tables and arrays, each with its cost."""
WRITING = frozenset(("inplace", "in_place", "out", "bins", "into"))
"""Options with which some of them write all the same, or make as much as they are told to."""


class Refused(Exception):
    """Something that an expression may not do."""


def library(value: Any) -> str:
    """Return the name of the package that defines a value's class."""
    return str(getattr(type(value), "__module__", "")).partition(".")[0]


def is_known(value: Any) -> bool:
    """Return True if its class is a known library's own, not a subclass of one, and not made without a module."""
    kind, name = type(value), library(value)
    if name == "builtins":
        return getattr(builtins, kind.__name__, None) is kind or not kind.__flags__ & HEAP
    return name in LIBRARIES and kind.__name__ != "LazyFrame"  # whose plan runs the user's functions


def is_number(value: Any) -> bool:
    """Return True for a single number, or a span of time."""
    return is_plain(value) and not isinstance(value, str | bytes | None)


def is_plain(value: Any) -> bool:
    """Return True for a single value: a number, a string, a time, None, or one of these as numpy or pandas has it."""
    if type(value) in PLAIN:
        return True
    if library(value) == "numpy":
        scalar = any(kind.__name__ == "generic" for kind in type(value).__mro__)
        return scalar and value.dtype.kind in "biufcmMUS"
    return library(value) == "pandas" and isinstance(value, datetime.date | datetime.timedelta)


def is_collection(value: Any) -> bool:
    """Return True for a built-in collection, which runs no code of the user's by itself."""
    return type(value) in COLLECTIONS


def is_plain_collection(value: Any) -> bool:
    """Return True for a built-in collection of single values, not too large to look through."""
    return is_collection(value) and len(value) <= MAX_ITEMS and all(map(_is_plain_item, value))


def _is_plain_item(item: Any) -> bool:
    return is_plain(item) or (type(item) is tuple and all(map(is_plain, item)))


def is_array(value: Any) -> bool:
    """Return True for a table, column or array of a known library."""
    tables = is_known(value) and library(value) in ("numpy", "pandas", "polars", "pyarrow")
    return tables and hasattr(type(value), "shape") and not is_plain(value)


def is_mask(key: Any, value: Any) -> bool:
    """Return True if the key is a column or array of truth values as long as the value."""
    return (
        is_array(key)
        and str(getattr(key, "dtype", "")).lower() in ("bool", "boolean")
        and key.shape[:1] == getattr(value, "shape", ())[:1]
    )


def contains(collection: Any, value: Any) -> bool:
    """Return True if a single value is in a built-in collection or a string."""
    if type(collection) in (str, bytes):
        return type(value) is type(collection) and value in collection
    if isinstance(collection, dict):
        return dict.__contains__(collection, value)
    if type(collection) in (set, frozenset, range) or is_plain_collection(collection):
        return value in collection
    raise Refused(f"a {type(collection).__name__} cannot be looked through")


def check_size(value: Any, cost: str) -> None:
    """Raise Refused if work of this cost would take too long or run code of the user's."""
    table = value.obj if _is_grouped(value) else value
    shape: tuple[int, ...] = getattr(table, "shape", ())
    columns = shape[1] if len(shape) > 1 and hasattr(type(table), "columns") else 1
    cells = math.prod(shape)
    if cost == "view":
        return
    if columns > MAX_COLUMNS:
        raise Refused(f"a {type(table).__name__} of {columns:,} columns is too wide for it; compute it first")
    check_cells(cells * (columns if cost == "pairs" else 1), COSTS[cost])
    if objects := _objects(table):
        check_cells(cells, MAX_OBJECTS)
        if not _are_plain(objects):
            raise Refused("it holds objects of other classes, whose code would be called")


def check_cells(cells: int, limit: int = COSTS["copy"]) -> None:
    """Raise Refused for so many cells of a table or array to copy or compute with."""
    if cells > limit:
        raise Refused(f"{cells:,} cells are too many for it; compute it first, and name the result")


def _objects(value: Any) -> list[Any]:
    """Return the columns (or the array itself) that hold Python objects."""
    if library(value) not in ("numpy", "pandas"):
        return []
    if hasattr(type(value), "columns"):
        return [value.iloc[:, number] for number, kind in enumerate(value.dtypes) if _is_object(kind)]
    return [value] if _is_object(getattr(value, "dtype", None)) else []


def _is_object(dtype: Any) -> bool:
    """Return True for the type of Python objects, and for types that are not the library's own."""
    if dtype is None or type(dtype).__module__.partition(".")[0] not in LIBRARIES:
        return dtype is not None
    categories = getattr(dtype, "categories", None)
    return getattr(getattr(categories, "dtype", dtype), "kind", "") in ("O", "T")


def _are_plain(columns: list[Any]) -> bool:
    return all(
        is_plain(item) or item is None or type(item).__name__ in ("NAType", "NaTType")
        for column in columns
        for item in (column.ravel().tolist() if library(column) == "numpy" else column.tolist())
    )


def has_method(value: Any, name: str) -> bool:
    """Return True if it is a method that expressions may call."""
    kind = type(value)
    if kind in (str, bytes):
        return name in STRINGS
    if kind in COLLECTIONS:
        return name in (DICTS if issubclass(kind, dict) else LISTS if kind in (list, tuple) else ())
    if is_plain(value) and isinstance(value, datetime.date | datetime.time | datetime.timedelta):
        return name in TIMES
    if name not in METHODS or not (is_array(value) or _is_grouped(value)):
        return is_plain(value) and library(value) == "numpy" and name in ("item", "round")
    method = inspect.getattr_static(kind, name, None)
    if isinstance(method, FunctionType):  # not one that the user has put there
        return method.__module__.partition(".")[0] in LIBRARIES
    return isinstance(method, MethodDescriptorType | WrapperDescriptorType | BuiltinFunctionType) or (
        library(method) in LIBRARIES - {"builtins"}
    )


def _is_grouped(value: Any) -> bool:
    return type(value).__name__.endswith("GroupBy") and library(value) == "pandas"


def call_method(value: Any, name: str, arguments: list[Any], options: dict[str, Any]) -> Any:
    """Return a method's result; arguments are written out in the expression. Raises Refused."""
    for argument in (*arguments, *options.values()):
        for part in argument if isinstance(argument, list | tuple) else [argument]:
            if isinstance(part, int) and abs(part) > MAX_LITERAL:
                raise Refused(f"{name}() takes numbers up to {MAX_LITERAL:,}")
    if any(options.get(option) for option in WRITING):
        raise Refused(f"{name}() may not change anything")
    kind = type(value)
    if kind in (str, bytes):
        if len(value) > (MAX_LETTERS // 10 if name.startswith("split") else MAX_LETTERS):
            raise Refused("the string is too long")
    elif kind in (list, tuple) and not is_plain_collection(value):
        raise Refused(f"a {kind.__name__} of other things than single values cannot be looked through")
    elif name in METHODS and not is_plain(value):
        _check_table_call(value, name, arguments, options)
    return getattr(kind, name)(value, *arguments, **options)


def _check_table_call(value: Any, name: str, arguments: list[Any], options: dict[str, Any]) -> None:
    check_size(value, METHODS[name])
    if name == "groupby":
        keys = arguments[0] if arguments else options.get("by")
        if len(arguments) > 1 or (isinstance(keys, list | tuple) and len(keys) > 1):
            raise Refused("groupby() takes one column")
    if name == "value_counts" and len(arguments) > 3:
        raise Refused("value_counts() counts values, not ranges of them")
    for position, argument in enumerate(arguments):
        if (
            position
            and isinstance(argument, bool)
            and name in ("drop", "fillna", "sort_values", "reset_index", "dropna")
        ):
            raise Refused(f"{name}() takes its options by name")


def call_function(name: str, arguments: list[Any], options: dict[str, Any]) -> Any:
    """Return the result of a built-in function. Raises Refused."""
    checked = FUNCTIONS[name]
    checked(name, arguments, options)
    return getattr(builtins, name)(*arguments, **options)


def _measured(name: str, arguments: list[Any], options: dict[str, Any]) -> None:
    (value,) = arguments or [None]
    if not (is_collection(value) or type(value) in (str, bytes) or is_array(value)):
        raise Refused(_only(name, "a string, a collection, a table or an array"))


def _number(name: str, arguments: list[Any], options: dict[str, Any]) -> None:
    if not arguments or not all(is_number(argument) or argument is None for argument in arguments):
        raise Refused(_only(name, "numbers"))
    digits = options.get("ndigits", arguments[1] if len(arguments) > 1 else None)
    if name == "round" and isinstance(digits, int) and abs(digits) > MAX_DIGITS:
        raise Refused(f"round() rounds to {MAX_DIGITS} digits at most")


def _items(name: str, arguments: list[Any], options: dict[str, Any]) -> None:
    for value in arguments if len(arguments) == 1 or name == "sum" else []:
        if isinstance(value, Iterator):
            raise Refused(f"a {type(value).__name__} would be consumed; make a list of it first")
    values = arguments[:1] if len(arguments) == 1 or name == "sum" else [list(arguments)]
    if not values or not all(is_plain_collection(value) or _is_column(value) for value in values):
        raise Refused(_only(name, "collections of single values"))
    if set(options) - {"default", "reverse", "start"} or not all(map(is_plain, options.values())):
        raise Refused(f"{name}() takes no functions")
    start = options.get("start", arguments[1] if len(arguments) > 1 and name == "sum" else 0)
    if name == "sum" and not is_number(start):
        raise Refused("sum() adds numbers")


def _is_column(value: Any) -> bool:
    if not (is_array(value) and len(value.shape) == 1 and value.shape[0] <= MAX_ITEMS):
        return False
    check_size(value, "sort")
    return True


def _only(name: str, what: str) -> str:
    return f"{name}() takes {what} here"


FUNCTIONS: dict[str, Callable[[str, list[Any], dict[str, Any]], None]] = {
    "abs": _number,
    "len": _measured,
    "max": _items,
    "min": _items,
    "round": _number,
    "sorted": _items,
    "sum": _items,
}
"""Built-in functions that expressions may call, each with the check of its arguments."""
