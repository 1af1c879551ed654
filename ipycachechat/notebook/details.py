"""What the badge opens to: the numbers, the prediction beside the bill, the times, and the prefix block by block.

Small, since it stays in the notebook's file: a table has one style, and its cells have none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from ipycachechat.caching.state import Outcome
from ipycachechat.conversation.events import Done
from ipycachechat.conversation.turns import Turn
from ipycachechat.conversation.usage import Timing
from ipycachechat.rendering import markdown, reports
from ipycachechat.rendering.format import short
from ipycachechat.text.format import count

_TABLE = "font-size:1em;text-align:right;margin:0.3em 0 0.6em 1.2em"
_LEFT = ' style="text-align:left"'
LONGEST = 80
"""Characters of a name that the provider gives."""
MOST_ROWS = 6
"""Of the prefix: of a longer one the first and the last."""


def to_html(turn: Turn, done: Done) -> str:
    """Of a finished turn; what the badge's line says already is not said again."""
    rows = [("requests", f"{done.requests}")] if done.requests > 1 else []
    rows += _times(done.timing)
    rows += [("request", short(done.request_id, LONGEST))] if done.request_id else []
    bill = "" if turn.replayed else table(("tokens", "expected", "billed"), _held(turn, done.expected))
    prefix = table(reports.PREFIX, shortened(reports.prefix(done.rows))) if done.rows else ""
    return bill + prefix + (table((), rows) if rows else "")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows of text; the first of each names it."""
    head = "".join(f"<th{_LEFT * (n == 0)}>{_clean(one)}</th>" for n, one in enumerate(heads))
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{_LEFT}>{_clean(one)}</td>" if n == 0 else f"<td>{_clean(one)}</td>"
            for n, one in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    top = f"<thead><tr>{head}</tr></thead>" if heads else ""
    return f'<table cellpadding="3" style="{_TABLE}">{top}<tbody>{body}</tbody></table>'


def _clean(text: str) -> str:
    return escape(markdown.clean(text))


def shortened(rows: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """With a row of dots for what is too much in the middle."""
    if len(rows) <= MOST_ROWS:
        return list(rows)
    half = MOST_ROWS // 2
    left_out = (f"… {len(rows) - 2 * half} more: %chat plan", "", "", "", "")
    return [*rows[:half], left_out, *rows[-half:]]


def _held(turn: Turn, expected: Outcome | None) -> list[tuple[str, str, str]]:
    """The prediction beside the bill."""
    used = turn.usage
    billed = {
        "read": count(used.read),
        "written": count(used.written) if used.bills_writes else "not billed",
        "fresh": count(used.fresh),
        "input": count(used.input),
    }
    sure = "" if expected is None or expected.exact else "≈"
    return [
        (name, "unknown" if expected is None else f"{sure}{getattr(expected, name):,}", value)
        for name, value in billed.items()
    ]


def _times(timing: Timing | None) -> list[tuple[str, str]]:
    if timing is None:
        return []
    rate = "" if timing.rate is None else f"{timing.rate:,.{0 if timing.rate >= 10 else 1}f} tokens a second"
    return [("first token", f"after {timing.first:.2f} s"), *([("then", rate)] if rate else [])]
