"""The syntax of `{{ expressions }}`: the part of Python's that only looks at values.

Names, attributes, items and slices, literals, comparisons, arithmetic, and calls by name. No lambdas, comprehensions,
assignments, formatted strings, or unpacked arguments.
"""

from __future__ import annotations

import ast
import warnings
from functools import lru_cache

LITERALS = {"true": True, "false": False, "none": None}
"""Names with a fixed value, unless the kernel defines them."""
_ALLOWED = (
    ast.Name,
    ast.Load,
    ast.Constant,
    ast.List,
    ast.Tuple,
    ast.Dict,
    ast.Attribute,
    ast.Subscript,
    ast.Slice,
    ast.Call,
    ast.keyword,
    ast.Compare,
    ast.cmpop,
    ast.BoolOp,
    ast.boolop,
    ast.IfExp,
    ast.UnaryOp,
    ast.Not,
    ast.Invert,
    ast.USub,
    ast.UAdd,
    ast.BinOp,
    ast.Add,
    ast.Sub,
    ast.Mult,
    ast.Div,
    ast.FloorDiv,
    ast.Mod,
    ast.Pow,
    ast.BitAnd,
    ast.BitOr,
)
_NAMES = {ast.MatMult: "@", ast.Lambda: "lambda", ast.JoinedStr: "an f-string"}


@lru_cache(1_000)
def parse(source: str) -> ast.expr:
    """Return the syntax tree of an expression. Raises SyntaxError with a reason that a user can read."""
    text = source.strip()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes in strings, which are the user's
            tree = ast.parse(f"({text}\n)" if "\n" in text else text, mode="eval").body
        nodes = list(ast.walk(tree))
    except SyntaxError as error:
        raise SyntaxError(error.msg) from None
    except (RecursionError, MemoryError, ValueError):
        raise SyntaxError("it is nested too deeply") from None
    for node in nodes:
        if not isinstance(node, _ALLOWED) or (isinstance(node, ast.keyword) and node.arg is None):
            name = _NAMES.get(type(node), type(node).__name__)
            raise SyntaxError(f"{name} is not allowed in {{{{ }}}}")
        if isinstance(node, ast.Dict) and None in node.keys:
            raise SyntaxError("** is not allowed in {{ }}")
    return tree
