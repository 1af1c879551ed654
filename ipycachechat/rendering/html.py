"""HTML building blocks (panel, table, bar) from tags and attributes that an untrusted notebook keeps.

No colour is set for text, so that it reads in light and dark, and no bar tells anything that is not also in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ipycachechat.caching.state import ExpectedUsage
from ipycachechat.conversation.usage import Usage
from ipycachechat.rendering import badge
from ipycachechat.text import sanitize

FONT = "font:12px/1.6 system-ui,sans-serif"
_CELL = "padding:1px 8px"
_BOLD = "font-weight:600"
_RULE = "border-bottom:1px solid rgba(128,128,128,0.6)"
# Stripes of light over the colour, each part its own: told apart in black and white, too.
_LIGHT = "rgba(255,255,255,0.55)"
_PATTERNS = {
    "read": "",
    "written": f"repeating-linear-gradient(45deg,{_LIGHT} 0,{_LIGHT} 2px,transparent 2px,transparent 5px)",
    "fresh": f"repeating-linear-gradient(0deg,{_LIGHT} 0,{_LIGHT} 1px,transparent 1px,transparent 4px)",
}
PARTS = {
    name: f"background-color:{colour}" + (f";background-image:{_PATTERNS[name]}" if _PATTERNS[name] else "")
    for name, colour in badge._PARTS
}
"""How each part of the input is filled, the badge's colours among it."""


def panel(kind: str, *parts: str) -> str:
    """All of a display. Dollars in it are no maths."""
    name = f"ipycachechat-{kind} mathjax_ignore tex2jax_ignore"
    return f'<div class="{name}" style="{FONT};margin:2px 0">{"".join(parts)}</div>'


def line(text: str, style: str = "") -> str:
    """A paragraph."""
    how = f' style="{style}"' if style else ""
    return f"<div{how}>{clean(text)}</div>"


def title(text: str) -> str:
    """Return a heading as HTML."""
    return line(text, f"{_BOLD};margin-top:0.6em")


def preformatted(lines: Sequence[str]) -> str:
    """Lines one below the other in letters of one width, broken where the page ends."""
    style = "font:12px/1.5 monospace;white-space:pre-wrap;overflow-wrap:anywhere;margin:0.2em 0 0.2em 1em"
    return f'<div style="{style}">{clean(chr(10).join(lines))}</div>'


def details(name: str, inside: str) -> str:
    """Return a section that unfolds on a click."""
    return f'<details><summary style="cursor:pointer">{clean(name)}</summary>{inside}</details>'


def table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], foot: Sequence[str] = (), *, name: str = ""
) -> str:
    """A table; numbers to the right. `foot`: its last row, of sums. Where the page is narrow it scrolls by itself.

    A `name` is a heading that folds it. A table that may be wide needs one: what scrolls has to have something in it
    that the keyboard gets to, and an untrusted notebook keeps no tabindex.
    """
    told = [*rows, *([foot] if foot else [])]
    right = [all(_number(row[n]) for row in told) for n in range(len(heads))]
    head = f"<tr>{_cells('th', heads, right, _RULE)}</tr>"
    body = "".join(f"<tr>{_cells('td', row, right)}</tr>" for row in rows)
    end = f"<tr>{_cells('td', foot, right, _BOLD)}</tr>" if foot else ""
    style = "border-collapse:collapse;font-size:1em;margin:0.2em 0"
    made = f'<table style="{style}"><thead>{head}</thead><tbody>{body}{end}</tbody></table>'
    if name:
        summary = f'<summary style="{_BOLD};cursor:pointer">{clean(name)}</summary>'
        made = f"<details open>{summary}{made}</details>"
    return f'<div style="overflow-x:auto;max-width:100%;margin-top:{0.6 if name else 0}em">{made}</div>'


def _number(cell: str) -> bool:
    """Return True if a cell is one, or stands where one would."""
    return cell in ("", "–", "unknown", "not billed") or cell.lstrip("≈≥-$")[:1].isdecimal()


def _cells(tag: str, cells: Sequence[str], right: Sequence[bool], more: str = "") -> str:
    start = '<th scope="col"' if tag == "th" else f"<{tag}"
    made = []
    for cell, number in zip(cells, right, strict=True):
        style = f"{_CELL};text-align:{'right' if number else 'left'}"
        style += ";white-space:nowrap" * (" " in cell) + f";{more}" * bool(more)
        made.append(f'{start} style="{style}">{clean(cell)}</{tag}>')
    return "".join(made)


def bar(what: ExpectedUsage | Usage) -> str:
    """Read, written and fresh side by side in the badge's colours; nothing where a part is unknown."""
    parts = [(name, getattr(what, name)) for name in PARTS]
    if not what.input or None in (tokens for _, tokens in parts):
        return ""
    spans = "".join(
        f'<span title="{name} {tokens:,}" style="width:{tokens / what.input:.1%};{PARTS[name]}"></span>'
        for name, tokens in parts
        if tokens
    )
    style = "display:flex;width:100%;max-width:30em;height:0.8em;border-radius:0.2em;overflow:hidden"
    return f'<div style="{style};margin:0.3em 0">{spans}</div>'


def legend(order: str = "from the left") -> str:
    """Which part is which, by its colour and by its place, since an untrusted notebook loses the stripes."""
    named = [f"{swatch(style)}{name}" for name, style in PARTS.items()]
    return f'<div style="opacity:0.85">{order}: {"&emsp;".join(named)}</div>'


def swatch(style: str) -> str:
    """A small square that is filled as a part is."""
    size = "display:inline-block;width:0.8em;height:0.8em;margin-right:0.4em;border-radius:0.15em"
    return f'<span style="{size};{style}"></span>'


def clean(text: str) -> str:
    """A text as HTML, without what could reorder or hide letters."""
    return escape(sanitize.clean(text))
