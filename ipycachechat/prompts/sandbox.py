"""Evaluate `{{ … }}` expressions without side effects: names, attributes, items, arithmetic, read-only calls.

Text that is pasted into a prompt can contain braces, too. So none of the user's functions are called, no attribute
that begins with an underscore is read, and of modules only what they define. No iterator is consumed, and no value
grows so large that the kernel runs out of memory.
"""

from __future__ import annotations

import builtins
import inspect
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, MutableSequence, Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta
from fractions import Fraction
from functools import cache, wraps
from itertools import islice
from operator import index
from types import BuiltinFunctionType, MethodType, ModuleType, NoneType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

FUNCTIONS = {function.__name__: function for function in (abs, len, max, min, round, sorted, sum)}
FILTERS = frozenset(
    "abs capitalize count d default dictsort first float int items last length list lower max min reverse round sort "
    "string sum title tojson trim unique upper wordcount".split()
)
LIBRARIES = tuple("builtins collections datetime decimal fractions numpy pandas polars pyarrow".split())
METHODS = frozenset(
    # of strings and collections
    "capitalize count endswith find get index items keys lower lstrip rstrip split splitlines startswith strip title "
    "upper values "
    # of dates and times
    "date isoformat strftime time total_seconds "
    # of dataframes and arrays
    "all any argmax argmin copy corr cov cummax cummin cumsum describe diff drop drop_duplicates dropna "
    "duplicated fillna flatten groupby head idxmax idxmin is_null isin isna isnull limit max mean median melt min "
    "mode n_unique nlargest notna notnull nsmallest null_count nunique pct_change prod quantile rank "
    "ravel reset_index reshape round schema select set_index size slice sort_index sort_values squeeze "
    "std sum tail to_dict to_list tolist transpose unique unstack value_counts var".split()
)
"""Methods of these libraries' values that change nothing, write nothing and call none of their arguments."""
REFUSED_OPTIONS = ("inplace", "out", "bins")
"""Options with which some of them write after all, or return a result of any size."""
MAX_SIZE = 1_000_000
"""Largest result of a product or power, in characters, items or bits; or of a joined list, in items."""
MAX_SEPARATOR = 100
"""Characters."""
MAX_DIGITS = 100
"""Digits to which a number is rounded, before or after its point."""
HEAP_TYPE = 1 << 9
"""CPython's Py_TPFLAGS_HEAPTYPE: set for a class that was not written in C."""

PLAIN = (str, bytes, int, float, complex, bool, NoneType, slice, date, time, timedelta)


@dataclass(frozen=True, slots=True)
class SandboxFunction:
    """A function of this package that expressions may call."""

    name: str
    function: Callable[[int], Any]

    def __call__(self, number: int) -> Any:
        return self.function(number)


@cache
def environment() -> SandboxedEnvironment:
    """Return Jinja2's sandbox, restricted further."""
    from jinja2 import StrictUndefined, TemplateSyntaxError, Undefined, nodes
    from jinja2.exceptions import SecurityError
    from jinja2.runtime import Context
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Environment(ImmutableSandboxedEnvironment):
        """Allow only calls that read, with arguments that cannot be called."""

        intercepted_binops = frozenset(("*", "**", "%"))

        def getitem(self, obj: Any, argument: Any) -> Any:
            if _has_missing_hook(obj, argument):
                return self.undefined(obj=obj, name=argument)
            return super().getitem(obj, argument)

        def getattr(self, obj: Any, attribute: str) -> Any:
            if _has_missing_hook(obj, attribute) and not hasattr(type(obj), attribute):
                return self.undefined(obj=obj, name=attribute)
            return super().getattr(obj, attribute)

        def _generate(self, source: nodes.Template, *args: Any, **options: Any) -> str:
            for call in source.find_all((nodes.Call, nodes.Filter, nodes.Test)):
                if call.dyn_args is not None or call.dyn_kwargs is not None:  # type: ignore[attr-defined]
                    raise TemplateSyntaxError("arguments are written one by one", 1)
            for operand in source.find_all(nodes.Operand):
                if operand.op in ("in", "notin"):  # the only operators that would consume their right side
                    operand.expr = nodes.Filter(operand.expr, "_kept", [], [], None, None)
            return super()._generate(source, *args, **options)

        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            if isinstance(obj, ModuleType) and not isinstance(value, ModuleType | type | str | int | float):
                return callable(value)  # os.environ is not
            return bool(super().is_safe_attribute(obj, attr, value))

        def is_safe_callable(self, obj: Any) -> bool:
            if type(obj) is BuiltinFunctionType and obj in FUNCTIONS.values():
                return True
            return type(obj) is SandboxFunction or _is_read_only_method(obj)

        def call(self, __context: Context, __obj: Any, /, *args: Any, **options: Any) -> Any:
            if isinstance(__obj, Undefined):
                __obj._fail_with_undefined_error()
            builtin = type(__obj) is BuiltinFunctionType and __obj in FUNCTIONS.values()
            name = getattr(__obj, "__name__", type(__obj).__name__)
            if not self.is_safe_callable(__obj):
                raise SecurityError(
                    f"Functions can't be called inside {{{{ }}}}. Call it first: result = {name}(…)"
                )
            arguments = _bind(__obj, args, options)
            if not all(_is_data(value, tables=builtin) for value in [*args, *options.values()]) or any(
                arguments.get(option) for option in REFUSED_OPTIONS
            ):
                raise SecurityError(f"{name}() can only be called with numbers and texts here")
            if builtin:
                _check_arguments(name, arguments)
            return __context.call(__obj, *args, **options)

        def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
            if operator == "%" and isinstance(left, str | bytes):
                raise SecurityError("texts can't be formatted inside {{ }}")
            if _size(operator, left, right) > MAX_SIZE:
                raise SecurityError(f"the result of {operator} would be too large")
            return super().call_binop(context, operator, left, right)

    sandbox = Environment(undefined=StrictUndefined)
    sandbox.globals.clear()
    sandbox.globals.update(FUNCTIONS)
    own: dict[str, Callable[..., Any]] = {"join": _join, "tojson": _json, "_kept": lambda value: value}
    filters: dict[str, Any] = {name: f for name, f in sandbox.filters.items() if name in FILTERS} | own
    sandbox.filters = {name: _without_iterators(name, function) for name, function in filters.items()}
    sandbox.tests |= {"in": _without_iterators("in", cast(Any, sandbox.tests["in"]))}
    return sandbox


def _without_iterators(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function, refusing iterators as arguments: they would be consumed."""
    from jinja2.exceptions import SecurityError

    @wraps(function)
    def checked(*args: Any, **options: Any) -> Any:
        for value in (*args, *options.values()):
            if isinstance(value, Iterator):
                raise SecurityError(f"a {type(value).__name__} would be used up; make a list of it first")
        _check_arguments(name, _bind(function, args, options))
        result = function(*args, **options)
        return list(islice(result, MAX_SIZE)) if isinstance(result, Iterator) else result

    return checked


def _check_arguments(name: str, arguments: dict[str, Any]) -> None:
    """Refuse to add up lists, which would take forever, and to round to a million digits."""
    from jinja2.exceptions import SecurityError

    if name == "sum" and not isinstance(arguments.get("start", 0), int | float | complex):
        raise SecurityError("sum() adds numbers")
    digits = arguments.get("ndigits", arguments.get("precision"))
    if name == "round" and isinstance(digits, int) and abs(digits) > MAX_DIGITS:
        raise SecurityError(f"round() rounds to {MAX_DIGITS} digits at most")


def _has_missing_hook(value: Any, key: Any) -> bool:
    """Return True if looking up the key would call the user's `__missing__`, which may add an item."""
    if not isinstance(value, dict) or not hasattr(type(value), "__missing__") or type(value) is Counter:
        return False
    try:
        return not dict.__contains__(value, key)
    except TypeError:  # not hashable
        return False


def _bind(function: Any, args: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments by name; only the options if the function has no signature."""
    try:
        return inspect.signature(function).bind(*args, **options).arguments | options
    except (TypeError, ValueError):
        return options


def _is_read_only_method(obj: Any) -> bool:
    """Return True if it is one of METHODS, of a value of a known library."""
    if type(obj) not in (BuiltinFunctionType, MethodType) or obj.__name__ not in METHODS:
        return False
    owner = obj.__self__
    if isinstance(owner, ModuleType | type) or not _has_known_class(owner):
        return False
    # A LazyFrame calls the user's functions when it is described.
    return type(owner).__name__ != "LazyFrame" and (
        type(obj) is BuiltinFunctionType or _library(obj.__func__) in LIBRARIES
    )


def _library(value: Any) -> str:
    return str(getattr(value, "__module__", "")).partition(".")[0]


def _has_known_class(value: Any) -> bool:
    """Return True if its class is defined by a known library; the user's subclasses of such classes are not."""
    kind = type(value)
    if _library(kind) == "builtins":
        return getattr(builtins, kind.__name__, None) is kind or not kind.__flags__ & HEAP_TYPE
    return _library(kind) in LIBRARIES


def _is_data(value: Any, *, tables: bool) -> bool:
    """Return True if nothing in it can be called. `tables`: dataframes and arrays of known libraries count, too."""
    if not _has_known_class(value):
        return False
    if isinstance(value, PLAIN):
        return True
    if isinstance(value, dict):
        if hasattr(type(value), "__missing__") and type(value) is not Counter:
            return False
        return all(_is_data(item, tables=tables) for item in value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return all(_is_data(item, tables=tables) for item in value)
    return tables and not callable(value) and not isinstance(value, Iterator)


def _join(values: Iterable[Any], separator: str = ", ") -> str:
    return str(separator)[:MAX_SEPARATOR].join(map(str, islice(values, MAX_SIZE)))


def _json(value: Any, indent: int | None = None) -> str:
    """Return the value as JSON; Jinja2's own filter escapes it for HTML."""
    return json.dumps(value, ensure_ascii=False, indent=None if indent is None else min(indent, 8))


def _size(operator: str, left: Any, right: Any) -> float:
    """Return the estimated size of the result; 0 if it does not grow."""
    if operator not in ("*", "**"):
        return 0
    if isinstance(left, int | Fraction) and isinstance(right, int | Fraction):
        bits = sum(abs(number).bit_length() for number in left.as_integer_ratio())
        return bits * abs(right.numerator) if operator == "**" else bits + abs(right.numerator).bit_length()
    for value, times in ((left, right), (right, left)):
        if isinstance(value, Sequence | MutableSequence):
            return _weight(value) * max(_as_index(times), 0)
        if _holds_objects(value) and (_as_index(times) or hasattr(times, "dtype")):
            return float("inf")
    return 0


def _weight(value: Any) -> int:
    """Return the number of characters and items, also in nested lists; counting stops soon after MAX_SIZE."""
    weight, stack = 0, [value]
    while stack and weight <= MAX_SIZE:
        item = stack.pop()
        if isinstance(item, str | bytes | bytearray):
            weight += len(item)
        elif isinstance(item, dict):
            stack += item.values()
            weight += len(item)
        elif isinstance(item, Sequence | MutableSequence | set | frozenset) and not isinstance(item, range):
            stack += item
            weight += len(item)
    return weight


def _as_index(value: Any) -> int:
    """Return an integer for repetition; 0 for what is not one."""
    try:
        return index(value)
    except TypeError:
        return 0


def _holds_objects(value: Any) -> bool:
    """Return True for a dataframe or array of strings or objects, each of which can grow."""
    is_frame = hasattr(type(value), "columns")
    dtypes = getattr(value, "dtypes", None) if is_frame else [getattr(value, "dtype", None)]
    return _has_known_class(value) and any(getattr(dtype, "kind", "") in ("O", "T") for dtype in dtypes or ())
