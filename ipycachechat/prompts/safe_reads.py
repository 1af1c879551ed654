"""Read attributes and items for `{{ expressions }}`: data, properties and views, but no state of Python's machinery."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from enum import EnumType
from enum import property as enum_property
from functools import cached_property
from types import (
    AsyncGeneratorType,
    BuiltinFunctionType,
    CodeType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    GenericAlias,
    GetSetDescriptorType,
    MemberDescriptorType,
    ModuleType,
    TracebackType,
)
from typing import Any, NamedTuple

from ipycachechat.prompts.safe_values import (
    MAX_COLUMNS,
    MAX_ITEMS,
    Refused,
    Undefined,
    cells_of,
    check_cells,
    check_copied,
    check_index,
    check_work,
    contains,
    is_array,
    is_grouped,
    is_indexer,
    is_mask,
    is_plain,
    library,
    table_of,
)

PROPERTIES = frozenset(
    "T at columns column_names dtype dtypes empty hasnans height iat iloc index is_unique itemsize kind left loc mid "
    "name names nbytes ndim ngroups num_columns num_rows right schema shape size values width".split()
)
"""Attributes of tables and arrays; they are views, or small."""


class _Pair(NamedTuple):
    first: int


_COMPUTED = (
    property,
    cached_property,
    enum_property,
    GetSetDescriptorType,
    MemberDescriptorType,
    type(vars(_Pair)["first"]),  # a field of a named tuple
)
"""Attributes that a class computes; descriptors of other classes would run code that a reader does not expect."""
_MACHINERY = (FrameType, CodeType, TracebackType, GeneratorType, CoroutineType, AsyncGeneratorType)
"""Parts of Python's own machinery, from which every name in the process could be reached."""


def is_hidden(name: str) -> bool:
    """Return True for IPython's own names (`_dh`, `_ih`, `In`, `_i3`, `__`, …), except the outputs `_` and `_3`."""
    if name in ("In", "Out", "exit", "quit", "get_ipython"):
        return True
    return name.startswith("_") and name != "_" and not name[1:].isdecimal()


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
    if is_array(value) or is_grouped(value) or is_indexer(value):
        return _table_attribute(value, name)
    missing = Undefined(f"a {type(value).__name__} has no attribute {name!r} that can be used here")
    roots = {kind.__module__.partition(".")[0] for kind in type(value).__mro__}
    if (
        isinstance(value, _MACHINERY)
        or type(value).__name__ == "LazyFrame"
        or roots & {"IPython", "ipykernel"}
    ):
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
    if not isinstance(static, _COMPUTED):
        raise missing
    return getattr(value, name)


def _table_attribute(value: Any, name: str) -> Any:
    if name in PROPERTIES and hasattr(type(value), name):
        if name in ("T", "values", "is_unique", "hasnans"):
            mixed = hasattr(type(value), "columns") and len(set(map(str, value.dtypes))) > 1
            check_work(value, "list" if mixed else "copy")
        if name == "T":
            check_copied(value)
        return getattr(value, name)
    table = table_of(value)
    columns = getattr(table, "columns", None) if hasattr(type(table), "columns") else None
    if columns is not None and not is_indexer(value) and contains(list(columns[:MAX_COLUMNS]), name):
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
    if isinstance(key, str) and "_ih" in value and is_hidden(key):
        raise Undefined(f"{key!r} is IPython's own")
    if not dict.__contains__(value, key):
        if type(value) is Counter:
            return 0
        raise Undefined(f"there is no {key!r} in it")
    return dict.__getitem__(value, key)


def item(value: Any, key: Any) -> Any:
    """Return an item or a slice of a built-in collection, or of a table or array."""
    if isinstance(value, dict):
        return _dict_item(value, as_key(key))
    if isinstance(value, EnumType) and type(key) is str and key in value.__members__:
        return value.__members__[key]
    if type(value) in (str, bytes, list, tuple, range) or (
        isinstance(value, tuple) and hasattr(type(value), "_fields")
    ):
        if isinstance(key, slice):
            if len(range(*key.indices(len(value)))) > MAX_ITEMS:
                raise Refused("the slice would be too large")
        elif type(key) not in (int, bool):
            raise Refused("an item is found by its number")
        return tuple.__getitem__(value, key) if isinstance(value, tuple) else value[key]
    if is_array(value) or is_grouped(value) or is_indexer(value):
        _check_key(value, key)
        return value[key]
    raise Refused(f"items of a {type(value).__name__} cannot be read inside {{{{ }}}}; name the item first")


def _check_key(value: Any, key: Any) -> None:
    """Raise Refused if a key of a table or array would select too much, or run code of the user's."""
    table, cells = table_of(value), 0
    check_copied(value)
    by_position = is_indexer(value) and type(value).__name__.startswith("_i")
    parts = key if isinstance(key, tuple) else (key,)
    for position, part in enumerate(parts):
        if is_mask(part, value):
            check_work(table, "null")
            if library(table) == "numpy":
                check_work(table, "copy")
        elif isinstance(part, list):
            if not all(is_plain(entry) and not isinstance(entry, bool) for entry in part):
                raise Refused("a list selects by numbers and names")
            columns = hasattr(type(table), "columns") and (not is_indexer(value) or position > 0)
            if library(table) == "numpy":
                cells = _cells_selected(table.shape, parts)
            else:
                cells += cells_of(table) // max(1, table.shape[int(columns)]) * len(part)
            if library(table) == "pandas" and not by_position and not columns:
                check_index(table)
                if not table.index.is_unique:
                    raise Refused("its index has a label more than once")
        elif isinstance(part, slice):
            if part.step not in (None, 1) and library(table) != "numpy":
                check_work(table, "copy")
            if not all(bound is None or type(bound) is int for bound in (part.start, part.stop)):
                check_index(table)
        elif part is not Ellipsis and (not is_plain(part) or isinstance(part, bool)):
            raise Refused("an item is found by numbers, names and slices")
        elif not by_position and not (hasattr(type(table), "columns") and not is_indexer(value)):
            check_index(table)
    check_cells(cells)


def _cells_selected(shape: tuple[int, ...], parts: tuple[Any, ...]) -> int:
    """Return the number of cells, at most, that a key with lists copies from an array of numpy."""
    if any(part is None or part is Ellipsis or is_array(part) for part in parts):  # which shift the axes
        entries = math.prod(len(part) for part in parts if isinstance(part, list))
        return math.prod(shape) // max(1, min(shape, default=1)) * entries
    lengths = list(shape)
    for axis, (length, part) in enumerate(zip(shape, parts, strict=False)):
        if isinstance(part, list):
            lengths[axis] = len(part)
        else:
            lengths[axis] = len(range(*part.indices(length))) if isinstance(part, slice) else 1
    return math.prod(lengths)
