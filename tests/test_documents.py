"""The documents agree with the measurements and with the table of subcommands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ipycachechat.notebook import commands

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text()


def test_the_costs_in_the_readme_are_those_that_were_measured() -> None:
    rows = json.loads((PROJECT / "docs" / "cache_cost.json").read_text())["scenarios"]
    assert len(rows) == 12
    for name, row in rows.items():
        line = next(line for line in README.splitlines() if line.startswith(f"| {name} |"))
        cells = line.split(" | ")
        assert cells[1:11] == [f"{value:.3f}" for value in row.values()]


def test_the_readme_has_the_table_of_subcommands() -> None:
    """To update it: `python -c "from ipycachechat.notebook import commands; print(commands.reference())"`."""
    table = README.partition("<!-- commands -->\n")[2].partition("\n<!-- end -->")[0]
    assert table == commands.reference()


def test_every_subcommand_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    commands.help(None, "")  # type: ignore[arg-type]
    text = capsys.readouterr().out
    assert all(f"\n%chat {name}" in text for name in commands.TABLE)
    assert max(map(len, text.splitlines())) <= commands.WIDTH
