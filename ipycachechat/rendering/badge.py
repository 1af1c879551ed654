"""The line under an answer: what came from the cache, what it cost, what was saved.

Made of tags and attributes that an untrusted notebook keeps: class, title, inline style, details, meter.
"""

from __future__ import annotations

from collections.abc import Sequence

from ipycachechat.conversation.events import Done
from ipycachechat.conversation.turns import State, Turn
from ipycachechat.notebook import details
from ipycachechat.rendering.format import clock, short
from ipycachechat.text.format import answered, count, money, paid, share

# Blue, orange and grey stay apart for every kind of colour blindness; no number is told by colour alone.
_PARTS = (("read", "#2b7bba"), ("written", "#e08214"), ("fresh", "#8c8c8c"))
# Dollars are no maths, so MathJax is kept away; as a widget and as HTML it has the same letters.
_CLASS = "ipycachechat-badge mathjax_ignore tex2jax_ignore"
_LINE = "font:12px/1.6 system-ui,sans-serif;margin:2px 0;opacity:0.85"
_BAR = "display:inline-flex;width:5em;height:0.55em;border-radius:0.2em;overflow:hidden;margin-right:0.6em"


FREE = "nothing to pay"
NAMED, LONGEST_NOTE = 2, 200
"""Turns that were left out, by name, and letters: what a badge adds to a notebook stays small."""


def facts(turn: Turn, done: Done) -> list[tuple[str, str]]:
    """What the badge tells, in order: name and value."""
    usage, bill = turn.usage, done.bill
    if turn.replayed:
        return [("model", turn.model), ("replayed", "nothing sent"), ("cost", "free")]
    written = count(usage.written) if usage.bills_writes else "not billed"
    free = bill.paid == 0 and usage.input != 0
    return [
        ("model", turn.model),
        *([("requests", f"{done.requests}")] if done.requests > 1 else []),
        ("read", f"{count(usage.read)} ({share(usage.share_read)})"),
        ("written", written),
        ("fresh", count(usage.fresh)),
        ("input", count(usage.input)),
        ("answered", answered(usage)),
        ("cost", "free" if free else paid(bill)),
        ("saved", FREE if free else money(bill.saved)),
        *([("warm until", clock(done.warm_until))] if done.warm_until is not None else []),
    ]


def notes(done: Done) -> list[str]:
    """What else is to be said of the turn."""
    told: list[str] = []
    if done.turn is None:
        return told
    if done.turn.state is State.INTERRUPTED:
        told.append(f"interrupted ({done.error.what if done.error else 'stopped'}): kept as far as it came")
    if done.turn.state is State.CUT_OFF:
        told.append("cut off at the most tokens an answer may have (--max-tokens)")
    told += [short(note, LONGEST_NOTE) for note in done.notes]
    if done.reason is not None:
        told.append(done.reason.sentence)
    if done.stale:
        how = "replaced" if done.replaced else "placed as"
        told.append(
            f"{how} turn {done.number}; {_later(done.stale)} answered an older version{_again(done.lost)}"
        )
    elif done.replaced:
        told.append(f"replaced turn {done.number}")
    told += [
        f"left out, since its cell was deleted: “{short(turn.question)}”. It comes back when the cell runs, "
        "or once the notebook is saved with it"
        for turn in done.left[:NAMED]
    ]
    if (more := len(done.left) - NAMED) > 0:
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


def to_text(done: Done) -> str:
    """The badge in one line, for terminals."""
    if done.turn is None:
        return ""
    return " · ".join(
        [_sentence(name, value) for name, value in facts(done.turn, done) if value != FREE] + notes(done)
    )


def to_html(done: Done) -> str:
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
    opened = NotStr(details.to_html(done.turn, done))
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
