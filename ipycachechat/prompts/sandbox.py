"""Evaluate `{{ expressions }}` so that they only look: nothing is changed, nothing of the user's is called.

A text that is pasted into a prompt can hold braces, too. So there is a short list of what may be done: read names,
attributes and items, compare and compute with single values, and call the functions and methods of `safe_calls.py`.
Each step is bounded in the size of what it makes before it is done; template.py bounds the time of the whole.
"""

from __future__ import annotations

import ast
import builtins
import datetime
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ipycachechat.prompts import safe_calls
from ipycachechat.prompts.expressions import LITERALS
from ipycachechat.prompts.safe_reads import as_key, attribute, is_hidden, item
from ipycachechat.prompts.safe_values import (
    MAX_BITS,
    MAX_ITEMS,
    Refused,
    Undefined,
    cells_of,
    check_cells,
    check_work,
    contains,
    is_array,
    is_boolean,
    is_collection,
    is_number,
    is_plain,
    is_plain_collection,
    is_small,
    library,
    same_rows,
)
from ipycachechat.text.redaction_log import RedactionLog

COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
CHEAP = frozenset({bool, int, float, str, datetime.date, datetime.datetime, datetime.timedelta})
"""Single values with which tables and arrays are compared cell by cell in C."""
LOOKING = frozenset(("count", "endswith", "find", "index", "startswith"))
"""Methods of strings that return no part of the string."""
MAX_REDACTED = 200_000
"""Characters up to which a string is redacted for those, too: question by question, a secret can be spelled out."""
ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}


@dataclass(frozen=True, slots=True)
class SandboxFunction:
    """A function of this package that expressions may call with a whole number: `cell(3)`."""

    name: str
    function: Callable[[int], Any]


def evaluate(tree: ast.expr, names: Mapping[str, Any], redact: RedactionLog) -> Any:
    """Return an expression's value. Raises Undefined, Refused, or what a library raises.

    A string is redacted before anything is done with it, since half a secret no longer looks like one.
    """
    return _Evaluator(names, redact).value(tree)


class _Evaluator:
    """Evaluate the nodes of a syntax tree with these names."""

    def __init__(self, names: Mapping[str, Any], redact: RedactionLog) -> None:
        self._names, self._redact = names, redact
        self._cells = 0
        """Cells of the tables and arrays that were computed."""

    def value(self, node: ast.expr) -> Any:
        """Return the value of a node; what the steps before it computed counts."""
        value = self._value(node)
        if isinstance(node, ast.Call | ast.Compare | ast.BinOp | ast.UnaryOp) and is_array(value):
            self._cells += cells_of(value)
            check_cells(self._cells)
        return value

    def _value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return self._name(name)
            case ast.List(elts=items):
                return [self.value(item) for item in items]
            case ast.Tuple(elts=items):
                return tuple(self.value(item) for item in items)
            case ast.Dict(keys=keys, values=values):
                pairs = [
                    (as_key(self.value(key)), value) for key, value in zip(keys, values, strict=True) if key
                ]
                return {key: self.value(value) for key, value in pairs}
            case ast.Attribute(value=owner, attr=name):
                return attribute(self.value(owner), name)
            case ast.Subscript(value=owner, slice=key):
                return self._item(self.value(owner), self._index(key))
            case ast.Call():
                return self._call(node)
            case ast.UnaryOp(op=op, operand=operand):
                return self._unary(op, self.value(operand))
            case ast.BinOp(left=left, op=op, right=right):
                return arithmetic(op, self._operand(left), self._operand(right))
            case ast.Compare():
                return self._compare(node)
            case ast.BoolOp(op=op, values=values):
                return self._bool(op, values)
            case ast.IfExp(test=test, body=body, orelse=other):
                return self.value(body if _truth(self.value(test)) else other)
            case _:
                raise Refused(f"{type(node).__name__} is not allowed in {{{{ }}}}")

    def _operand(self, node: ast.expr, *, is_read_whole: bool = False) -> Any:
        """Return an operand; if it is a string, without its secrets.

        `is_read_whole`: the operation returns no part of it, so that a long one can stay as it is.
        """
        value = self.value(node)
        if type(value) not in (str, bytes) or (is_read_whole and len(value) > MAX_REDACTED):
            return value
        return _on_text(value, self._redact)

    def _item(self, owner: Any, key: Any) -> Any:
        part = item(owner, key)
        if type(owner) not in (str, bytes):
            return part
        if isinstance(key, slice) and key.step not in (None, 1):
            return item(_on_text(owner, self._redact), key)
        extent = key if isinstance(key, slice) else slice(int(key), int(key) + 1 or None)
        start, stop, _ = extent.indices(len(owner))
        return _on_text(owner, lambda text: self._redact.slice(text, start, stop))

    def _name(self, name: str) -> Any:
        if name in self._names and not is_hidden(name):
            return self._names[name]
        if name in LITERALS:
            return LITERALS[name]
        if name in safe_calls.FUNCTIONS:
            raise Refused(f"{name} is a function: call it, as in {name}(x)")
        if hasattr(builtins, name):
            raise Refused(_no_call(name))
        hidden = ", since names that begin with _ are IPython's" if name in self._names else ""
        raise Undefined(f"{name!r} is not defined{hidden}")

    def _index(self, node: ast.expr) -> Any:
        match node:
            case ast.Slice(lower=lower, upper=upper, step=step):
                bounds = [None if part is None else self.value(part) for part in (lower, upper, step)]
                if not all(bound is None or is_plain(bound) for bound in bounds):
                    raise Refused("a slice takes single values")
                return slice(*bounds)
            case ast.Tuple(elts=parts):
                return tuple(self._index(part) for part in parts)
            case _:
                return self.value(node)

    def _call(self, node: ast.Call) -> Any:
        options = {str(keyword.arg): self.value(keyword.value) for keyword in node.keywords}
        match node.func:
            case ast.Name(id=name) if name in safe_calls.FUNCTIONS and name not in self._names:
                arguments = [self._operand(arg, is_read_whole=name == "len") for arg in node.args]
                return safe_calls.call_function(name, arguments, options)
            case ast.Name(id=name) if isinstance(function := self._name(name), SandboxFunction):
                arguments = [self.value(arg) for arg in node.args]
                if options or len(arguments) != 1 or type(arguments[0]) is not int:
                    raise Refused(f"{name}() takes the number of a cell")
                return function.function(arguments[0])
            case ast.Attribute(value=owner, attr=name):
                value = self._operand(owner, is_read_whole=name in LOOKING)
                if not safe_calls.has_method(value, name):
                    raise Refused(_no_call(ast.unparse(node.func)))
                return safe_calls.call_method(value, name, [self._operand(arg) for arg in node.args], options)
            case _:
                raise Refused(_no_call(ast.unparse(node.func)))

    def _unary(self, op: ast.unaryop, value: Any) -> Any:
        if isinstance(op, ast.Not):
            return not _truth(value)
        if isinstance(op, ast.Invert):
            return ~_mask(value)
        if not (is_number(value) and is_small(value)):
            raise Refused("a sign goes with a number")
        return -value if isinstance(op, ast.USub) else value

    def _bool(self, op: ast.boolop, nodes: list[ast.expr]) -> Any:
        value: Any = None
        for node in nodes:
            value = self.value(node)
            if _truth(value) is isinstance(op, ast.Or):
                return value
        return value

    def _compare(self, node: ast.Compare) -> Any:
        left, result = self._operand(node.left, is_read_whole=True), True
        for op, comparator in zip(node.ops, node.comparators, strict=True):
            right = self._operand(comparator, is_read_whole=True)
            result = compare(op, left, right)
            if len(node.ops) > 1 and not _truth(result):
                return result
            left = right
        return result


def _on_text(value: Any, change: Callable[[str], str]) -> Any:
    """Return a string or bytes with its text changed; bytes count as Latin-1."""
    if isinstance(value, str):
        return change(value)
    text = change(value.decode("latin-1"))
    return text.encode("latin-1", "replace")


def _no_call(name: str) -> str:
    return f"functions can't be called inside {{{{ }}}}. Call it first: result = {name}(…)"


def compare(op: ast.cmpop, left: Any, right: Any) -> Any:
    """Compare single values, or the cells of a table or array; look for a single value in a collection."""
    if isinstance(op, ast.Is | ast.IsNot):
        return (left is right) is isinstance(op, ast.Is)
    if isinstance(op, ast.In | ast.NotIn):
        if not is_plain(left):
            raise Refused("only a single value can be looked for")
        return contains(right, left) is isinstance(op, ast.In)
    for value, other in ((left, right), (right, left)):
        if is_array(value) and (type(other) in CHEAP or library(other) in ("numpy", "pandas")):
            if not is_plain(other) and not (is_array(other) and same_rows(value, other)):
                raise Refused(
                    "tables and arrays are compared with single values, or where their rows are the same"
                )
            check_work(value, "linear")
            return COMPARISONS[type(op)](left, right)
    if _is_comparable(left) and _is_comparable(right):
        return COMPARISONS[type(op)](left, right)
    raise Refused("only single values, and tables or arrays with a single value, can be compared")


def _is_comparable(value: Any) -> bool:
    if is_collection(value):
        parts = (value, list(value.values())) if isinstance(value, dict) else (value,)
        return all(map(is_plain_collection, parts))
    return is_plain(value) and (is_small(value) or isinstance(value, str | bytes))


def _mask(value: Any) -> Any:
    """Return a column or array of truth values. Raises Refused for anything else."""
    if not (is_array(value) and is_boolean(value)):
        raise Refused("&, | and ~ combine columns of truth values")
    check_work(value, "linear")
    return value


def arithmetic(op: ast.operator, left: Any, right: Any) -> Any:
    """Compute with single values: numbers, times, strings that are added; combine columns of truth values."""
    if isinstance(op, ast.BitAnd | ast.BitOr):
        if not same_rows(_mask(left), _mask(right)):
            raise Refused("&, | combine columns with the same rows")
        return left & right if isinstance(op, ast.BitAnd) else left | right
    if not (is_plain(left) and is_plain(right)):
        raise Refused("only single values can be computed with; compute it first, and name the result")
    if isinstance(left, str | bytes) or isinstance(right, str | bytes):
        if isinstance(op, ast.Mult) and isinstance(left, str) and type(right) is int:
            check_cells(len(left) * max(0, right), MAX_ITEMS // 10)
            return left * right
        if not isinstance(op, ast.Add) or type(left) is not type(right):
            raise Refused("strings can only be added to strings")
        check_cells(len(left) + len(right), MAX_ITEMS)
    elif not (is_small(left) and is_small(right)) or _bits(op, left, right) > MAX_BITS:
        raise Refused("the result would be too large")
    return ARITHMETIC[type(op)](left, right)


def _bits(op: ast.operator, left: Any, right: Any) -> Any:
    """Return an estimate of the bits of a result of whole numbers and fractions; 0 for others, which do not grow."""
    if not all(isinstance(value, int | Fraction) for value in (left, right)):
        return float("inf") if isinstance(op, ast.Pow) and not all(map(_is_float, (left, right))) else 0
    sizes = [max(part.bit_length() for part in value.as_integer_ratio()) for value in (left, right)]
    return sizes[0] * max(1, abs(right)) if isinstance(op, ast.Pow) else sum(sizes)


def _is_float(value: Any) -> bool:
    return isinstance(value, int | float | complex) or library(value) == "numpy"


def _truth(value: Any) -> bool:
    """Return the truth of a single value or of a built-in collection; others might run code of the user's."""
    if is_plain(value) or is_collection(value):
        return bool(value)
    raise Refused(f"a {type(value).__name__} is neither true nor false")
