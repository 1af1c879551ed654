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


def render(template: str, **values: object) -> str:
    """Return the HTML of a template. Whitespace at its line ends is layout of the template alone."""
    return _environment().get_template(f"{template}.html.j2").render(values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        autoescape=True,
        finalize=lambda value: sanitize.clean(value) if type(value) is str else value,
        loader=FunctionLoader(_load),
        undefined=StrictUndefined,
    )
    environment.globals |= {
        "COLOURS": COLOURS,
        "FILLS": FILLS,
        "cell_style": _cell_style,
        "input_parts": input_parts,
        "numeric_columns": _numeric_columns,
    }
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


def _numeric_columns(heads: Sequence[str], rows: Sequence[Sequence[str]], foot: Sequence[str]) -> list[bool]:
    """Return for each column True if all its cells are numbers or stand for one."""
    return [all(_is_number(row[n]) for row in (*rows, *filter(None, [foot]))) for n in range(len(heads))]


def _is_number(cell: str) -> bool:
    return cell in ("", "–", "unknown", "not billed") or cell.lstrip("≈≥-$")[:1].isdecimal()


def _cell_style(cell: str, numeric: bool) -> str:
    wrap = ";white-space:nowrap" if " " in cell else ""
    return f"padding:1px 8px;text-align:{'right' if numeric else 'left'}{wrap}"
