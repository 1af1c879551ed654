"""The badge under an answer: tokens, cost and savings, and the details that it unfolds to.

Made of tags and attributes that an untrusted notebook keeps: class, title, inline style, details, meter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from ipycachechat.caching.state import ExpectedUsage
from ipycachechat.conversation.turns import Turn, TurnStatus
from ipycachechat.conversation.usage import Timing
from ipycachechat.engine.events import TurnResult
from ipycachechat.rendering import reports
from ipycachechat.rendering.format import cost_text, one_line, output_text, time_of_day
from ipycachechat.text import sanitize
from ipycachechat.text.format import count, money, percent

# Blue, orange and grey stay apart for every kind of colour blindness; no number is told by colour alone.
_PARTS = (("read", "#2b7bba"), ("written", "#e08214"), ("fresh", "#8c8c8c"))
# Dollars are no maths, so MathJax is kept away; as a widget and as HTML it has the same letters.
_CLASS = "ipycachechat-badge mathjax_ignore tex2jax_ignore"
_LINE = "font:12px/1.6 system-ui,sans-serif;margin:2px 0;opacity:0.85"
_BAR = "display:inline-flex;width:5em;height:0.55em;border-radius:0.2em;overflow:hidden;margin-right:0.6em"


FREE = "nothing to pay"
_TABLE = "font-size:1em;text-align:right;margin:0.3em 0 0.6em 1.2em"
_LEFT = ' style="text-align:left"'
LONGEST_ID = 80
"""Characters of a name that the provider gives."""
MAX_PREFIX_ROWS = 6
"""Of the prefix: of a longer one the first and the last."""
NAMED, LONGEST_NOTE = 2, 200
"""Turns that were left out, by name, and letters: what a badge adds to a notebook stays small."""


def facts(turn: Turn, done: TurnResult) -> list[tuple[str, str]]:
    """Return the badge's facts in order: name and value."""
    usage, bill = turn.usage, done.cost
    if turn.replayed:
        return [("model", turn.model), ("replayed", "nothing sent"), ("cost", "free")]
    written = count(usage.written) if usage.bills_writes else "not billed"
    free = bill.paid == 0 and usage.input != 0
    return [
        ("model", turn.model),
        *([("requests", f"{done.requests}")] if done.requests > 1 else []),
        ("read", f"{count(usage.read)} ({percent(usage.share_read)})"),
        ("written", written),
        ("fresh", count(usage.fresh)),
        ("input", count(usage.input)),
        ("answered", output_text(usage)),
        ("cost", "free" if free else cost_text(bill)),
        ("saved", FREE if free else money(bill.saved)),
        *([("warm until", time_of_day(done.warm_until))] if done.warm_until is not None else []),
    ]


def notes(done: TurnResult) -> list[str]:
    """Return the notes about the turn."""
    told: list[str] = []
    if done.turn is None:
        return told
    if done.turn.status is TurnStatus.INTERRUPTED:
        told.append(
            f"interrupted ({done.error.message if done.error else 'stopped'}): kept as far as it came"
        )
    if done.turn.status is TurnStatus.CUT_OFF:
        told.append("cut off at the most tokens an answer may have (--max-tokens)")
    told += [one_line(note, LONGEST_NOTE) for note in done.notes]
    if done.reason is not None:
        told.append(done.reason.sentence)
    if done.stale:
        how = "replaced" if done.replaced else "placed as"
        told.append(
            f"{how} turn {done.number}; {_later(done.stale)} answered an older version{_again(done.uncached_tokens)}"
        )
    elif done.replaced:
        told.append(f"replaced turn {done.number}")
    told += [
        f"left out, since its cell was deleted: “{one_line(turn.prompt_text)}”. It comes back when the cell runs, "
        "or once the notebook is saved with it"
        for turn in done.detached_turns[:NAMED]
    ]
    if (more := len(done.detached_turns) - NAMED) > 0:
        told.append(f"{more} more left out likewise (%chat history)")
    return told


def _later(numbers: Sequence[int]) -> str:
    """Turns by number, as in "turns 4 to 6"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1] = [runs[-1][0], number]
        else:
            runs.append([number])
    told = ", ".join(" to ".join(map(str, run)) for run in runs)
    return f"turn{'s' * (len(numbers) > 1)} {told}"


def _again(tokens: int) -> str:
    return f"; ≈{tokens:,} tokens behind it are no longer read from the cache" if tokens else ""


def to_text(done: TurnResult) -> str:
    """The badge in one line, for terminals."""
    if done.turn is None:
        return ""
    return " · ".join(
        [_sentence(name, value) for name, value in facts(done.turn, done) if value != FREE] + notes(done)
    )


def to_html(done: TurnResult) -> str:
    """The badge as static HTML that needs no script and no style sheet."""
    from fastcore.xml import Details, Div, NotStr, Span, Summary, to_xml

    if done.turn is None:
        return ""
    told = facts(done.turn, done)
    shown = [
        _sentence(name, value) for name, value in told if name not in ("input", "requests") and value != FREE
    ]
    usage = done.turn.usage
    bar = [
        Span(title=f"{name} {tokens:,}", style=f"width:{tokens / usage.input:.1%};background:{colour}")
        for name, colour in _PARTS
        if usage.input and (tokens := getattr(usage, name))
    ]
    line = [Span(*bar, style=_BAR)] if bar else []
    opened = NotStr(_unfolded(done.turn, done))
    summary = Summary(
        *line, Span(" · ".join(shown)), style="cursor:pointer;padding-left:1.2em;text-indent:-1.2em"
    )
    more = [Div(note, style="margin-left:1.2em") for note in notes(done)]
    return str(to_xml(Div(Details(summary, opened), *more, cls=_CLASS, style=_LINE), indent=False)).strip()


def _sentence(name: str, value: str) -> str:
    """One fact in the badge's line."""
    return {
        "model": value,
        "read": f"{value.replace('(unknown)', '').strip()} read",
        "replayed": f"replayed, {value}",
        "cost": value if value != "unknown" else "cost unknown",
        "saved": f"saved {value}",
        "warm until": f"warm until {value}",
    }.get(name, f"{name} {value}" if value in ("unknown", "not billed") else f"{value} {name}")


def _unfolded(turn: Turn, done: TurnResult) -> str:
    """Of a finished turn; what the badge's line says already is not said again."""
    rows = [("requests", f"{done.requests}")] if done.requests > 1 else []
    rows += _times(done.timing)
    rows += [("request", one_line(done.request_id, LONGEST_ID))] if done.request_id else []
    bill = "" if turn.replayed else table(("tokens", "expected", "billed"), _held(turn, done.expected))
    prefix = table(reports.PREFIX_HEADS, shortened(reports.prefix_rows(done.rows))) if done.rows else ""
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
    return escape(sanitize.clean(text))


def shortened(rows: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """With a row of dots for what is too much in the middle."""
    if len(rows) <= MAX_PREFIX_ROWS:
        return list(rows)
    half = MAX_PREFIX_ROWS // 2
    left_out = (f"… {len(rows) - 2 * half} more: %chat plan", "", "", "", "")
    return [*rows[:half], left_out, *rows[-half:]]


def _held(turn: Turn, expected: ExpectedUsage | None) -> list[tuple[str, str, str]]:
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
