"""What the documents say is what was measured, and what there is."""

from __future__ import annotations

import json
from pathlib import Path

from ipycachechat.notebook.commands import COMMANDS, HELP

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text()


def test_the_costs_in_the_readme_are_those_that_were_measured() -> None:
    rows = json.loads((PROJECT / "docs" / "cache_cost.json").read_text())["scenarios"]
    assert len(rows) == 12
    for name, row in rows.items():
        line = next(line for line in README.splitlines() if line.startswith(f"| {name} |"))
        cells = line.split(" | ")
        assert cells[1:11] == [f"{value:.3f}" for value in row.values()]


def test_every_subcommand_is_in_the_help_and_in_the_readme() -> None:
    for name in COMMANDS:
        assert f"%chat {name}" in HELP
        assert f"`%chat {name}" in README, name
