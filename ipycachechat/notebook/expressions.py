"""What may stand in `{{ … }}`: names, their attributes and items, arithmetic, and calls that only look.

A text that is pasted into a prompt can hold braces, too. So nothing of the person's own is called, no attribute
that begins with an underscore is read, and of modules only what they define.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from itertools import islice
from types import BuiltinFunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

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
    "all any argmax argmin astype copy corr cov cummax cummin cumsum describe diff drop drop_duplicates dropna "
    "duplicated fillna flatten groupby head idxmax idxmin is_null isin isna isnull limit max mean median melt min "
    "mode n_unique nlargest notna notnull nsmallest null_count nunique pct_change prod quantile rank "
    "ravel reset_index reshape round sample schema select set_index size slice sort_index sort_values squeeze "
    "std sum tail to_dict to_list tolist transpose unique unstack value_counts var".split()
)
"""Methods of these libraries' values that change nothing, write nothing, and run nothing that they are given."""
WRITES = ("inplace", "out")
"""Options with which some of them write all the same."""
LONGEST = 1_000_000
"""What may become of a product, or of a power, in letters, items or bits; or of a list that is joined, in items."""
SEPARATOR = 100
"""Letters."""

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
class Lookup:
    """A function of ours that expressions may call."""

    name: str
    function: Callable[[int], Any]

    def __call__(self, number: int) -> Any:
        return self.function(number)


@cache
def environment() -> SandboxedEnvironment:
    """Jinja2's sandbox, in which little is left."""
    from jinja2 import StrictUndefined
    from jinja2.exceptions import SecurityError
    from jinja2.runtime import Context
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Environment(ImmutableSandboxedEnvironment):
        """Own functions are no calls that only look; nor are arguments that can be called."""

        intercepted_binops = frozenset(("*", "**", "%"))

        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            if isinstance(obj, ModuleType) and not isinstance(value, ModuleType | type | str | int | float):
                return callable(value)  # os.environ is none of it
            return bool(super().is_safe_attribute(obj, attr, value))

        def is_safe_callable(self, obj: Any) -> bool:
            if isinstance(obj, BuiltinFunctionType) and obj in FUNCTIONS.values():
                return True
            return type(obj) is Lookup or _only_looks(obj)

        def call(self, __context: Context, __obj: Any, /, *args: Any, **options: Any) -> Any:
            known = isinstance(__obj, BuiltinFunctionType) and __obj in FUNCTIONS.values()
            name = getattr(__obj, "__name__", type(__obj).__name__)
            if not self.is_safe_callable(__obj):
                raise SecurityError(
                    f"{name}() is not called in a prompt; call it before, and name the result"
                )
            if not all(_is_data(one, known=known) for one in [*args, *options.values()]) or any(
                options.get(name) for name in WRITES
            ):
                raise SecurityError(f"{name}() is called with numbers and texts alone")
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
    made.filters = {name: one for name, one in made.filters.items() if name in FILTERS} | {"join": _joined}
    return made


def _only_looks(obj: Any) -> bool:
    """Whether it is a method of a known library's value, and one of those that do no more than look."""
    owner, name = getattr(obj, "__self__", None), getattr(obj, "__name__", "")
    if owner is None or isinstance(owner, ModuleType | type) or name not in METHODS or not _is_known(owner):
        return False
    return isinstance(obj, BuiltinFunctionType | MethodType)


def _is_known(value: Any) -> bool:
    """Whether its class is a known library's own, and none that somebody made of one."""
    return str(type(value).__module__).partition(".")[0] in LIBRARIES


def _is_data(value: Any, *, known: bool) -> bool:
    """Whether nothing in it can be called. `known`: whether the tables and arrays of known libraries count, too."""
    if isinstance(value, PLAIN):
        return True
    if isinstance(value, dict):
        return all(_is_data(one, known=known) for one in value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return all(_is_data(one, known=known) for one in value)
    return known and _is_known(value) and not callable(value)


def _joined(values: Iterable[Any], separator: str = ", ") -> str:
    """The values in a row."""
    return str(separator)[:SEPARATOR].join(map(str, islice(values, LONGEST)))


def _size(operator: str, left: Any, right: Any) -> float:
    """What would become of it, about; 0 for what is no number, text or list."""
    for one, times in ((left, right), (right, left)):
        if isinstance(one, str | bytes | list | tuple) and isinstance(times, int):
            return len(one) * max(times, 0)
    if isinstance(left, int) and isinstance(right, int):
        bits = abs(left).bit_length()
        return bits * abs(right) if operator == "**" else bits + abs(right).bit_length()
    return 0
