"""Render the HTML templates. All that they insert is escaped and stripped of control characters."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ipycachechat.caching.state import ExpectedUsage
from ipycachechat.conversation.usage import Usage
from ipycachechat.text import sanitize

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).with_name("templates")
# Blue, orange and grey stay apart for every kind of colour blindness.
COLOURS = {"read": "#2b7bba", "written": "#e08214", "fresh": "#8c8c8c"}
# Light stripes over the colour, so that the parts differ in black and white, too.
_STRIPES = (
    "background-image:repeating-linear-gradient({},rgba(255,255,255,0.55) 0,rgba(255,255,255,0.55) {}".format
)
FILLS = {
    "read": f"background-color:{COLOURS['read']}",
    "written": f"background-color:{COLOURS['written']};"
    + _STRIPES("45deg", "2px,transparent 2px,transparent 5px)"),
    "fresh": f"background-color:{COLOURS['fresh']};"
    + _STRIPES("0deg", "1px,transparent 1px,transparent 4px)"),
}
"""CSS of each part of the input in a bar or chart."""
LEGEND = {
    "read (cached)": FILLS["read"],
    "written (newly cached)": FILLS["written"],
    "fresh (uncached)": FILLS["fresh"],
}
_CELL_STYLES = {
    (numeric, spaced): f"padding:1px 8px;text-align:{'right' if numeric else 'left'}"
    + ";white-space:nowrap" * spaced
    for numeric in (False, True)
    for spaced in (False, True)
}


def render(template: str, **values: object) -> str:
    """Return the HTML of a template. Whitespace at its line ends is layout of the template alone."""
    return _environment().get_template(f"{template}.html.j2").render(values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        autoescape=True,
        # Markup is a subclass of `str`. Most text is printable, so that there is nothing to strip.
        finalize=lambda value: (
            value if type(value) is not str or value.isprintable() else sanitize.clean(value)
        ),
        loader=FunctionLoader(_load),
        undefined=StrictUndefined,
    )
    environment.globals |= {"COLOURS": COLOURS, "FILLS": FILLS, "LEGEND": LEGEND}
    environment.globals |= {"input_parts": input_parts, "styled_cells": _styled_cells}
    return environment


def _load(name: str) -> str:
    """Return the source of a template in one line, since badges are saved in notebooks."""
    return "".join(map(str.strip, (TEMPLATES / name).read_text("utf-8").splitlines()))


def input_parts(usage: ExpectedUsage | Usage) -> list[tuple[str, str, str]]:
    """Return name, tokens and width of each part of the input that is not 0; none if a part is unknown."""
    parts = {"read": usage.read, "written": usage.written, "fresh": usage.fresh}
    if not usage.input or None in parts.values():
        return []
    return [(name, f"{tokens:,}", f"{tokens / usage.input:.1%}") for name, tokens in parts.items() if tokens]


def _styled_cells(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[list[tuple[str, str]]]:
    """Return style and text of each cell, row by row. Columns of numbers are on the right."""
    right = [all(_is_number(row[n]) for row in rows) for n in range(len(heads))]
    return [
        [(_CELL_STYLES[numeric, " " in cell], cell) for cell, numeric in zip(row, right, strict=True)]
        for row in (heads, *rows)
    ]


def _is_number(cell: str) -> bool:
    """Return True for a number, and for what may be in its place."""
    return cell in ("", "–", "unknown", "not billed") or cell.lstrip("≈≥-$")[:1].isdecimal()
