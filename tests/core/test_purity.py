"""`core/` has values and rules: no clock, network, disk, nor anybody else's package. Imports point downwards."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "ipycachechat"
WORLDLY = {
    "asyncio",
    "time",
    "datetime",
    "sqlite3",
    "os",
    "pathlib",
    "socket",
    "threading",
    "subprocess",
    "random",
}


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            yield node.module or ""
            if node.module == "ipycachechat":
                yield from (f"ipycachechat.{alias.name}" for alias in node.names)


def files(folder: str) -> list[Path]:
    found = sorted((PACKAGE / folder).glob("*.py"))
    assert found
    return found


@pytest.mark.parametrize("file", files("core"), ids=lambda file: file.stem)
def test_core_stays_inside_itself(file: Path) -> None:
    for name in imported(file):
        top = name.partition(".")[0]
        assert name.startswith("ipycachechat.core") or (
            top in sys.stdlib_module_names and top not in WORLDLY
        ), name


@pytest.mark.parametrize(("region", "others"), [("model", ("notebook",)), ("notebook", ("model",))])
def test_the_regions_know_core_and_not_each_other(region: str, others: tuple[str, ...]) -> None:
    top = ["commands", *(file.stem for file in PACKAGE.glob("*.py") if file.stem != "__init__")]
    above = tuple(f"ipycachechat.{name}" for name in (*others, *top))
    for file in files(region):
        assert not [name for name in imported(file) if name.startswith(above)], file.name


def test_only_model_and_what_asks_it_for_names_may_import_litellm() -> None:
    for file in PACKAGE.rglob("*.py"):
        if "litellm" in imported(file):
            assert file.parent.name == "model", file
