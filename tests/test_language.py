"""The language of the code: plain docstrings, short modules, and a document that names every module.

`python tests/test_language.py` prints all counts, also of what no test checks yet.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).parents[1]
PACKAGE = PROJECT / "ipycachechat"
FILLERS = re.compile("told|said|foretold|anew|whoever|nobody|somebody", re.IGNORECASE)
RIDDLES = re.compile("(What|Whether|Who|Whose|That of) ")
MAX_LINES, MAX_METHODS, MAX_PARAMETERS = 350, 20, 6


def modules() -> list[tuple[str, str, ast.Module]]:
    """Return path, source and syntax tree of every module."""
    sources = {str(path.relative_to(PACKAGE)): path.read_text() for path in sorted(PACKAGE.rglob("*.py"))}
    return [(name, source, ast.parse(source)) for name, source in sources.items()]


def docstrings() -> Iterator[tuple[str, str]]:
    """Yield place and text of every docstring, those of attributes included."""
    for name, _, tree in modules():
        for node in ast.walk(tree):
            value = node.value if isinstance(node, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield f"{name}:{value.lineno}", value.value


def names() -> Iterator[tuple[str, str]]:
    """Yield place and name of every class, function, parameter and assigned variable or attribute."""
    for path, _, tree in modules():
        for node in ast.walk(tree):
            name = ""
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                name = node.name
            elif isinstance(node, ast.arg):
                name = node.arg
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                name = node.id
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                name = node.attr
            if name:
                yield f"{path}:{getattr(node, 'lineno', 0)}", name


def large_classes() -> list[str]:
    """Return the classes with more than 20 methods."""
    classes = []
    for path, _, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                count = sum(isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) for part in node.body)
                if count > MAX_METHODS:
                    classes.append(f"{path}: {node.name} ({count})")
    return classes


def long_signatures() -> list[str]:
    """Return the functions with more than 6 parameters, `self` and `cls` not counted."""
    functions = []
    for path, _, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                count = sum(argument.arg not in ("self", "cls") for argument in arguments)
                if count > MAX_PARAMETERS:
                    functions.append(f"{path}: {node.name} ({count})")
    return functions


def test_docstrings_begin_with_what_they_return_or_do() -> None:
    assert not [place for place, text in docstrings() if FILLERS.match(text)]
    riddles = [place for place, text in docstrings() if RIDDLES.match(text)]
    assert len(riddles) < 20, riddles


def test_no_module_is_long() -> None:
    assert not [name for name, source, _ in modules() if source.count("\n") > MAX_LINES]


def test_contributing_names_every_module() -> None:
    tree = (PROJECT / "CONTRIBUTING.md").read_text().partition("```")[2].partition("```")[0]
    listed = re.findall(r"^ +(\S+\.py) ", tree, re.MULTILINE)
    there = [Path(name).name for name, _, _ in modules() if not name.endswith("__init__.py")]
    assert sorted(listed) == sorted(there)


if __name__ == "__main__":
    fillers = [f"{place} {name}" for place, name in names() if FILLERS.fullmatch(name)]
    riddles = [place for place, text in docstrings() if RIDDLES.match(text)]
    lines = sum(source.count("\n") for _, source, _ in modules())
    print(f"{len(modules())} modules, {lines:,} lines")
    print(f"{len(riddles)} docstrings begin with What, Whether, Who, Whose or That of: {riddles}")
    print(f"{len(fillers)} names are fillers (told, said, …): {fillers}")
    print(f"classes over {MAX_METHODS} methods: {large_classes()}")
    print(f"functions over {MAX_PARAMETERS} parameters: {long_signatures()}")
