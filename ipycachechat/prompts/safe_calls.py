"""Functions and methods that `{{ expressions }}` may call: they change nothing and run no code of the user's."""

from __future__ import annotations

import builtins
import datetime
import inspect
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodDescriptorType, WrapperDescriptorType
from typing import Any

from ipycachechat.prompts.safe_values import (
    COLLECTIONS,
    MAX_ITEMS,
    Refused,
    cells_of,
    check_cells,
    check_copied,
    check_index,
    check_work,
    contains,
    is_array,
    is_collection,
    is_grouped,
    is_number,
    is_plain,
    is_plain_collection,
    is_small,
    library,
)

MAX_NUMBER, MAX_ARGUMENT = 10_000, 500
"""Of an argument of a method: a whole number; letters of a string and items of a list."""
MAX_DIGITS = 100
"""To which a number is rounded."""
MAX_LETTERS = 2_000_000
"""Of a string that a method looks through, and of one that it makes."""
STRINGS = frozenset(
    "capitalize count endswith find index join lower lstrip removeprefix removesuffix replace rstrip split splitlines "
    "startswith strip title upper".split()
)
TIMES = frozenset("date isoformat strftime time total_seconds weekday".split())
DICTS, LISTS = frozenset(("get", "items", "keys", "values")), frozenset(("count", "index"))
TABLES = {
    "view": "head limit slice tail",
    "null": "count drop_nulls dropna is_null isna isnull notna notnull null_count size",
    "linear": "abs all any argmax argmin idxmax idxmin item max min round",
    "sum": "cummax cummin cumprod cumsum diff mean pct_change prod product std sum var",
    "hash": "drop_duplicates duplicated groupby isin mode n_unique nunique unique value_counts",
    "sort": "describe median nlargest nsmallest quantile rank sort_index sort_values",
    "copy": "copy drop fillna select",
    "pairs": "corr cov",
    "list": "to_dict to_list tolist to_pylist",
}
METHODS = {name: cost for cost, names in TABLES.items() for name in names.split()}
"""Methods of tables and arrays, each with its cost."""
WRITING = frozenset(("bins", "dtype", "in_place", "inplace", "into", "out"))
"""Options with which some of them write all the same, or which set how much they make."""
BY_COLUMN = frozenset(("groupby", "nlargest", "nsmallest", "sort_values"))
FIRST_ONLY = ("drop", "dropna", "fillna", "groupby", "sort_values")
"""Methods whose further arguments may be among `WRITING`."""


def has_method(value: Any, name: str) -> bool:
    """Return True if it is a method that expressions may call."""
    kind = type(value)
    if kind in (str, bytes):
        return name in STRINGS
    if kind in COLLECTIONS:
        names = DICTS if issubclass(kind, dict) else LISTS if kind in (list, tuple) else frozenset()
        return name in names or (kind is Counter and name == "most_common")
    if is_plain(value):
        if isinstance(value, datetime.date | datetime.time | datetime.timedelta):
            return name in TIMES
        return library(value) == "numpy" and name in ("item", "round")
    if name not in METHODS or not (is_array(value) or is_grouped(value)):
        return False
    method = inspect.getattr_static(kind, name, None)
    if isinstance(method, FunctionType):  # not one that the user has put there
        home = Path(str(getattr(sys.modules.get(library(value)), "__file__", "")) or "/-").parent
        return Path(method.__code__.co_filename).is_relative_to(home)
    return isinstance(method, MethodDescriptorType | WrapperDescriptorType | BuiltinFunctionType) or (
        library(method) in ("pandas", "polars", "pyarrow")
    )


def call_method(value: Any, name: str, arguments: list[Any], options: dict[str, Any]) -> Any:
    """Return a method's result. Raises Refused."""
    kind = type(value)
    if kind is str and name == "join":
        return _join(value, *arguments)
    for argument in (*arguments, *options.values()):
        parts = argument if type(argument) in (list, tuple) else [argument]
        if len(parts) > MAX_ARGUMENT or not all(map(_is_argument, parts)):
            raise Refused(
                f"{name}() takes numbers up to {MAX_NUMBER:,}, and short strings and lists of these"
            )
    if any(options.get(option) not in (None, False) for option in WRITING):
        raise Refused(f"{name}() may not change anything")
    if kind in (str, bytes):
        longest = len(value) * (
            1 + max(map(len, filter(_is_text, arguments)), default=0) * (name == "replace")
        )
        if longest > (MAX_LETTERS // 4 if name.startswith("split") else MAX_LETTERS):
            raise Refused("the string is too long")
    elif kind in COLLECTIONS:
        if name not in DICTS and not is_plain_collection(value):
            raise Refused(f"a {kind.__name__} of other things than single values cannot be looked through")
    elif not is_plain(value):
        _check_table_call(value, name, arguments, options)
    return getattr(kind, name)(value, *arguments, **options)


def _is_text(value: Any) -> bool:
    return type(value) in (str, bytes)


def _is_argument(value: Any) -> bool:
    if _is_text(value):
        return len(value) <= MAX_ARGUMENT
    return is_plain(value) and (not isinstance(value, int) or abs(value) <= MAX_NUMBER)


def _join(separator: str, *arguments: Any) -> str:
    if len(arguments) != 1 or not is_plain_collection(arguments[0]) or len(separator) > MAX_ARGUMENT:
        raise Refused("join() takes a collection of strings")
    if sum(len(separator) + len(item) for item in arguments[0] if isinstance(item, str)) > MAX_LETTERS:
        raise Refused("the string would be too long")
    return separator.join(arguments[0])


def _check_table_call(value: Any, name: str, arguments: list[Any], options: dict[str, Any]) -> None:
    cost = METHODS[name]
    check_copied(value)
    column = _key_column(value, name, arguments, options)
    if column is not None:
        check_cells(cells_of(value))
        check_work(column, cost)
    elif cost != "view":
        check_work(value, cost, numeric_only=options.get("numeric_only") is True)
    if name in ("sort_index", "groupby"):
        check_index(value)
    if len(arguments) > 1 and (library(value) == "numpy" or name in FIRST_ONLY):
        raise Refused(f"{name}() takes its options by name")
    if name == "groupby":
        if any(
            isinstance(key, list | tuple) for key in (*arguments, options.get("by"), options.get("level"))
        ):
            raise Refused("groupby() takes one column")
        if options.get("observed") is False:
            raise Refused("groupby() takes no observed=False")
    if name == "value_counts" and (
        len(arguments) > 3 or (hasattr(type(value), "columns") and _has_categories(value))
    ):
        raise Refused("value_counts() counts the values of a column")
    if name == "corr" and {options.get("method", "pearson"), *arguments[:1]} - {"pearson"}:
        raise Refused("corr() is Pearson's here")


def _key_column(value: Any, name: str, arguments: list[Any], options: dict[str, Any]) -> Any:
    """Return the column by which a pandas table is sorted or grouped, if it is one: the others are only moved."""
    keys = [argument for argument in (*arguments, *options.values()) if type(argument) is str]
    if name not in BY_COLUMN or not hasattr(type(value), "columns") or library(value) != "pandas" or not keys:
        return None
    return value[keys[0]] if contains(value, keys[0]) and value.columns.is_unique else None


def _has_categories(table: Any) -> bool:
    return any(type(dtype).__name__ == "CategoricalDtype" for dtype in getattr(table, "dtypes", ()))


def call_function(name: str, arguments: list[Any], options: dict[str, Any]) -> Any:
    """Return the result of a built-in function. Raises Refused."""
    FUNCTIONS[name](name, arguments, options)
    return getattr(builtins, name)(*arguments, **options)


def _measured(name: str, arguments: list[Any], options: dict[str, Any]) -> None:
    (value,) = arguments or [None]
    if options or not (is_collection(value) or type(value) in (str, bytes) or is_array(value)):
        raise Refused(f"{name}() takes a string, a collection, a table or an array here")


def _number(name: str, arguments: list[Any], options: dict[str, Any]) -> None:
    values = [*arguments, *options.values()]
    if not arguments or not all((is_number(value) and is_small(value)) or value is None for value in values):
        raise Refused(f"{name}() takes numbers here")
    digits = options.get("ndigits", arguments[1] if len(arguments) > 1 else None)
    if isinstance(digits, int) and abs(digits) > MAX_DIGITS:
        raise Refused(f"{name}() rounds to {MAX_DIGITS} digits at most")


def _converted(name: str, arguments: list[Any], options: dict[str, Any]) -> None:
    if options or len(arguments) > 1 or not all(map(is_small, arguments)):
        raise Refused(f"{name}() takes a number or a string here")


def _items(name: str, arguments: list[Any], options: dict[str, Any]) -> None:
    for value in arguments:
        if isinstance(value, Iterator):
            raise Refused(f"a {type(value).__name__} would be consumed; make a list of it first")
    values = arguments[:1] if len(arguments) == 1 or name == "sum" else [list(arguments)]
    if not values or not all(is_plain_collection(value) or _is_column(value) for value in values):
        raise Refused(f"{name}() takes collections of single values here, not too large ones")
    if set(options) - {"default", "reverse", "start"} or not all(map(is_plain, options.values())):
        raise Refused(f"{name}() takes no functions")
    start = options.get("start", arguments[1] if len(arguments) > 1 and name == "sum" else 0)
    if name == "sum" and type(start) not in (int, float):
        raise Refused("sum() adds numbers")


def _is_column(value: Any) -> bool:
    if not is_array(value) or len(value.shape) != 1:
        return False
    check_cells(value.shape[0], MAX_ITEMS // 4)
    check_work(value, "sort")
    return True


FUNCTIONS: dict[str, Callable[[str, list[Any], dict[str, Any]], None]] = {
    **dict.fromkeys(("abs", "round"), _number),
    **dict.fromkeys(("float", "int", "str"), _converted),
    **dict.fromkeys(("all", "any", "list", "max", "min", "sorted", "sum"), _items),
    "len": _measured,
}
"""Built-in functions that expressions may call, each with the check of its arguments."""
