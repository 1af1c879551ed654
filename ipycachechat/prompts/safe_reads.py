"""Read attributes and items for `{{ expressions }}`: data, properties and views, but no state of Python's machinery."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from types import (
    AsyncGeneratorType,
    BuiltinFunctionType,
    CodeType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    GenericAlias,
    ModuleType,
    TracebackType,
)
from typing import Any

from ipycachechat.prompts import safe_calls
from ipycachechat.prompts.safe_calls import MAX_ITEMS, Refused, is_known, is_plain, library

PROPERTIES = frozenset(
    "T at columns column_names dtype dtypes empty height iat iloc index loc name names nbytes ndim num_columns "
    "num_rows schema shape size values width imag real".split()
)
"""Attributes of tables and arrays; they are views, or small."""
INDEXED_LIBRARIES = frozenset({"datasets", "geopandas", "h5py", "jax", "jaxlib", "scipy", "torch", "xarray"})
"""Libraries besides `safe_calls.LIBRARIES` whose values may be indexed."""

_MACHINERY = (FrameType, CodeType, TracebackType, GeneratorType, CoroutineType, AsyncGeneratorType)
"""Parts of Python's own machinery, from which every name in the process could be reached."""


class Undefined(Exception):
    """A name, attribute or item that does not exist."""


def as_key(value: Any) -> Any:
    """Return the value if it may be a key. Raises Refused."""
    if not is_plain(value):
        raise Refused("a key is a single value")
    return value


def attribute(value: Any, name: str) -> Any:
    """Return an attribute: data of the value itself, or a property."""
    if name.startswith("_"):
        raise Refused(f"{name} begins with an underscore")
    if isinstance(value, dict) and (type(value) is Counter or dict.__contains__(value, name)):
        return _dict_item(value, name)
    if isinstance(value, ModuleType):
        return _module_attribute(value, name)
    if is_known(value) and library(value) != "builtins" and not is_plain(value):
        return _table_attribute(value, name)
    missing = Undefined(f"a {type(value).__name__} has no attribute {name!r}")
    if isinstance(value, _MACHINERY):
        raise missing
    try:
        static = inspect.getattr_static(value, name)
    except AttributeError:
        raise missing from None
    if isinstance(static, classmethod | staticmethod):
        return static.__func__
    if isinstance(static, FunctionType | BuiltinFunctionType | type) or not hasattr(type(static), "__get__"):
        return static
    if is_plain(value) and callable(static):
        raise Refused(f"{name} is a method: call it, as in x.{name}()")
    return getattr(value, name)  # a property or a slot


def _table_attribute(value: Any, name: str) -> Any:
    columns = getattr(value, "columns", None) if hasattr(type(value), "columns") else None
    if name in PROPERTIES and hasattr(type(value), name):
        if name in ("T", "values"):
            safe_calls.check_size(value, "copy")
        return getattr(value, name)
    if columns is not None and safe_calls.contains(list(columns[: safe_calls.MAX_COLUMNS]), name):
        return value[name]
    raise Undefined(f"a {type(value).__name__} has no attribute {name!r} that can be used here")


def _module_attribute(module: ModuleType, name: str) -> Any:
    """Return what a module defines: functions, classes, modules, numbers and strings, but no other state."""
    try:
        value = vars(module)[name]
    except KeyError:
        raise Undefined(f"the module {module.__name__} has no {name!r}") from None
    if isinstance(value, ModuleType | type | str | int | float | GenericAlias) or callable(value):
        return value
    raise Refused(f"{module.__name__}.{name} is state of a module")


def _dict_item(value: dict[Any, Any], key: Any) -> Any:
    if not dict.__contains__(value, key):
        if type(value) is Counter:
            return 0
        raise Undefined(f"there is no {key!r} in it")
    return dict.__getitem__(value, key)


def item(value: Any, key: Any) -> Any:
    """Return an item or a slice of a built-in collection, or of a table or array of a known library."""
    if isinstance(value, dict):
        return _dict_item(value, as_key(key))
    if type(value) in (str, bytes, list, tuple, range) or (
        isinstance(value, tuple) and hasattr(value, "_fields")
    ):
        if isinstance(key, slice):
            if len(range(*key.indices(len(value)))) > MAX_ITEMS:
                raise Refused("the slice would be too large")
        elif type(key) not in (int, bool):
            raise Refused("an item is found by its number")
        return tuple.__getitem__(value, key) if isinstance(value, tuple) else value[key]
    if (is_known(value) and not is_plain(value)) or library(value) in INDEXED_LIBRARIES:
        mask = safe_calls.is_mask(key, value)
        if not mask and not _is_index(key):
            raise Refused("an item is found by numbers, names and slices")
        if mask or library(value) in INDEXED_LIBRARIES:  # some of which read a file
            safe_calls.check_size(value, "copy")
        safe_calls.check_cells(_listed_cells(value, key))
        return value[key]
    raise Refused(f"items of a {type(value).__name__} cannot be read inside {{{{ }}}}; name the item first")


def _listed_cells(value: Any, key: Any) -> int:
    """Return how many cells a key with lists of numbers or names can select, at most."""
    lists = [len(part) for part in (key if isinstance(key, tuple) else [key]) if isinstance(part, list)]
    shape = getattr(value, "shape", ())
    if not lists or not shape:
        return 0
    cells = math.prod(shape)
    if isinstance(key, list):  # of columns, or of rows
        cells //= max(1, shape[1 if hasattr(type(value), "columns") else 0])
    return int(cells) * max(lists)


def _is_index(key: Any, depth: int = 2) -> bool:
    if isinstance(key, list | tuple):
        return (
            depth > 0
            and len(key) <= safe_calls.MAX_COLUMNS
            and all(_is_index(part, depth - 1) for part in key)
        )
    return is_plain(key) or key is Ellipsis or isinstance(key, slice)
