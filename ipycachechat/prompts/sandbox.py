"""Evaluate `{{ … }}` expressions without side effects: names, attributes, items, arithmetic, read-only calls.

A text that is pasted into a prompt can hold braces, too. So nothing of the user's own is called, no attribute
that begins with an underscore is read, and of modules only what they define. Nor is anything used up, or made so
large that the kernel dies of it.
"""

from __future__ import annotations

import builtins
import datetime
import inspect
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, MutableSequence, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, wraps
from itertools import islice
from operator import index
from types import BuiltinFunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

FUNCTIONS = {one.__name__: one for one in (abs, len, max, min, round, sorted, sum)}
FILTERS = frozenset(
    "abs capitalize count d default dictsort first float int items last length list lower max min reverse round sort "
    "string sum title tojson trim unique upper wordcount".split()
)
LIBRARIES = (
    "builtins",
    "collections",
    "datetime",
    "decimal",
    "fractions",
    "numpy",
    "pandas",
    "polars",
    "pyarrow",
)
METHODS = frozenset(
    # of texts and collections
    "capitalize count endswith find get index items keys lower lstrip rstrip split splitlines startswith strip title "
    "upper values "
    # of times
    "date isoformat strftime time total_seconds "
    # of tables and arrays
    "all any argmax argmin copy corr cov cummax cummin cumsum describe diff drop drop_duplicates dropna "
    "duplicated fillna flatten groupby head idxmax idxmin is_null isin isna isnull limit max mean median melt min "
    "mode n_unique nlargest notna notnull nsmallest null_count nunique pct_change prod quantile rank "
    "ravel reset_index reshape round schema select set_index size slice sort_index sort_values squeeze "
    "std sum tail to_dict to_list tolist transpose unique unstack value_counts var".split()
)
"""Methods of these libraries' values that change nothing, write nothing, and run nothing that they are given."""
REFUSED = ("inplace", "out", "bins")
"""Options with which some of them write all the same, or make as much as they are told to."""
LONGEST = 1_000_000
"""Largest result of a product or power, in letters, items or bits; or of a joined list, in items."""
SEPARATOR = 100
"""Letters."""
DIGITS = 100
"""To which a number is rounded, before or behind its point."""
HEAP = 1 << 9
"""Of a class that was not written in C: CPython's Py_TPFLAGS_HEAPTYPE."""

PLAIN = (
    str,
    bytes,
    int,
    float,
    complex,
    bool,
    type(None),
    datetime.date,
    datetime.time,
    datetime.timedelta,
    slice,
)


@dataclass(frozen=True, slots=True)
class SandboxFunction:
    """A function of ours that expressions may call."""

    name: str
    function: Callable[[int], Any]

    def __call__(self, number: int) -> Any:
        return self.function(number)


@cache
def environment() -> SandboxedEnvironment:
    """Jinja2's sandbox, in which little is left."""
    from jinja2 import StrictUndefined, TemplateSyntaxError, Undefined, nodes
    from jinja2.exceptions import SecurityError
    from jinja2.runtime import Context
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Environment(ImmutableSandboxedEnvironment):
        """Own functions are no calls that only look; nor are arguments that can be called."""

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
            for one in source.find_all(nodes.Operand):
                if one.op in ("in", "notin"):  # the only operators that would use up what is on their right
                    one.expr = nodes.Filter(one.expr, "_kept", [], [], None, None)
            return super()._generate(source, *args, **options)

        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            if isinstance(obj, ModuleType) and not isinstance(value, ModuleType | type | str | int | float):
                return callable(value)  # os.environ is none of it
            return bool(super().is_safe_attribute(obj, attr, value))

        def is_safe_callable(self, obj: Any) -> bool:
            if type(obj) is BuiltinFunctionType and obj in FUNCTIONS.values():
                return True
            return type(obj) is SandboxFunction or _is_read_only_method(obj)

        def call(self, __context: Context, __obj: Any, /, *args: Any, **options: Any) -> Any:
            if isinstance(__obj, Undefined):
                __obj._fail_with_undefined_error()
            known = type(__obj) is BuiltinFunctionType and __obj in FUNCTIONS.values()
            name = getattr(__obj, "__name__", type(__obj).__name__)
            if not self.is_safe_callable(__obj):
                raise SecurityError(
                    f"{name}() is not called in a prompt; call it before, and name the result"
                )
            given = _given(__obj, args, options)
            if not all(_is_data(one, known=known) for one in [*args, *options.values()]) or any(
                given.get(name) for name in REFUSED
            ):
                raise SecurityError(f"{name}() is called with numbers and texts alone")
            if known:
                _check(name, given)
            return __context.call(__obj, *args, **options)

        def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
            if operator == "%" and isinstance(left, str | bytes):
                raise SecurityError("texts are not formatted in a prompt")
            if _size(operator, left, right) > LONGEST:
                raise SecurityError(f"what {operator} would make is too large")
            return super().call_binop(context, operator, left, right)

    made = Environment(undefined=StrictUndefined)
    made.globals.clear()
    made.globals.update(FUNCTIONS)
    own: dict[str, Callable[..., Any]] = {"join": _joined, "tojson": _json, "_kept": lambda value: value}
    kept: dict[str, Any] = {name: one for name, one in made.filters.items() if name in FILTERS} | own
    made.filters = {name: _looking(name, one) for name, one in kept.items()}
    made.tests |= {"in": _looking("in", cast(Any, made.tests["in"]))}
    return made


def _looking(name: str, used: Callable[..., Any]) -> Callable[..., Any]:
    """It, but nothing is used up: what an iterator has given is gone."""
    from jinja2.exceptions import SecurityError

    @wraps(used)
    def looking(*args: Any, **options: Any) -> Any:
        for one in (*args, *options.values()):
            if isinstance(one, Iterator):
                raise SecurityError(f"a {type(one).__name__} would be used up; make a list of it before")
        _check(name, _given(used, args, options))
        made = used(*args, **options)
        return list(islice(made, LONGEST)) if isinstance(made, Iterator) else made

    return looking


def _check(name: str, given: dict[str, Any]) -> None:
    """Lists are not added up, which would take forever, nor numbers rounded to a million digits."""
    from jinja2.exceptions import SecurityError

    if name == "sum" and not isinstance(given.get("start", 0), int | float | complex):
        raise SecurityError("sum() adds numbers")
    digits = given.get("ndigits", given.get("precision"))
    if name == "round" and isinstance(digits, int) and abs(digits) > DIGITS:
        raise SecurityError(f"round() rounds to {DIGITS} digits at most")


def _has_missing_hook(value: Any, key: Any) -> bool:
    """Return True if the value would make an item of the key, by a function of the user's own, and keep it."""
    if not isinstance(value, dict) or not hasattr(type(value), "__missing__") or type(value) is Counter:
        return False
    try:
        return not dict.__contains__(value, key)
    except TypeError:  # no key at all
        return False


def _given(called: Any, args: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
    """The arguments by their names, as far as they are known."""
    try:
        return inspect.signature(called).bind(*args, **options).arguments | options
    except (TypeError, ValueError):
        return options


def _is_read_only_method(obj: Any) -> bool:
    """Return True if it is a method of a known library's value, and one of those that do no more than look."""
    if type(obj) not in (BuiltinFunctionType, MethodType) or obj.__name__ not in METHODS:
        return False
    owner = obj.__self__
    if isinstance(owner, ModuleType | type) or not _is_known(owner):
        return False
    # A plan of polars' runs the user's functions when it is described.
    return type(owner).__name__ != "LazyFrame" and (
        type(obj) is BuiltinFunctionType or _library(obj.__func__) in LIBRARIES
    )


def _library(value: Any) -> str:
    return str(getattr(value, "__module__", "")).partition(".")[0]


def _is_known(value: Any) -> bool:
    """Return True if its class is a known library's own, not a subclass of one, and not made without a module."""
    kind = type(value)
    if _library(kind) == "builtins":
        return getattr(builtins, kind.__name__, None) is kind or not kind.__flags__ & HEAP
    return _library(kind) in LIBRARIES


def _is_data(value: Any, *, known: bool) -> bool:
    """Return True if nothing in it can be called. `known`: count the tables and arrays of known libraries, too."""
    if not _is_known(value):
        return False
    if isinstance(value, PLAIN):
        return True
    if isinstance(value, dict):
        if hasattr(type(value), "__missing__") and type(value) is not Counter:
            return False
        return all(_is_data(one, known=known) for one in value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return all(_is_data(one, known=known) for one in value)
    return known and not callable(value) and not isinstance(value, Iterator)


def _joined(values: Iterable[Any], separator: str = ", ") -> str:
    """The values in a row."""
    return str(separator)[:SEPARATOR].join(map(str, islice(values, LONGEST)))


def _json(value: Any, indent: int | None = None) -> str:
    """As JSON; Jinja2's own is made for HTML."""
    return json.dumps(value, ensure_ascii=False, indent=None if indent is None else min(indent, 8))


def _size(operator: str, left: Any, right: Any) -> float:
    """Return the estimated size of the result; 0 if it does not grow."""
    if operator not in ("*", "**"):
        return 0
    if isinstance(left, int | Fraction) and isinstance(right, int | Fraction):
        bits = sum(abs(one).bit_length() for one in left.as_integer_ratio())
        return bits * abs(right.numerator) if operator == "**" else bits + abs(right.numerator).bit_length()
    for one, times in ((left, right), (right, left)):
        if isinstance(one, Sequence | MutableSequence):
            return _weight(one) * max(_index(times), 0)
        if _holds_objects(one) and (_index(times) or hasattr(times, "dtype")):
            return float("inf")
    return 0


def _weight(value: Any) -> int:
    """Letters and items, of lists in lists as well; not much more than LONGEST."""
    weight, stack = 0, [value]
    while stack and weight <= LONGEST:
        one = stack.pop()
        if isinstance(one, str | bytes | bytearray):
            weight += len(one)
        elif isinstance(one, dict):
            stack += one.values()
            weight += len(one)
        elif isinstance(one, Sequence | MutableSequence | set | frozenset) and not isinstance(one, range):
            stack += one
            weight += len(one)
    return weight


def _index(value: Any) -> int:
    """As a number of times; 0 for what is none."""
    try:
        return index(value)
    except TypeError:
        return 0


def _holds_objects(value: Any) -> bool:
    """Return True if it is a table or an array of texts or objects, each of which can grow."""
    kinds = (
        getattr(value, "dtypes", None) if hasattr(type(value), "columns") else [getattr(value, "dtype", None)]
    )
    return _is_known(value) and any(getattr(kind, "kind", "") in ("O", "T") for kind in kinds or ())
