"""The badge under an answer: tokens, cost and savings, and the details that it unfolds to."""

from __future__ import annotations

from collections.abc import Sequence

from ipycachechat.caching.state import ExpectedUsage
from ipycachechat.conversation.turns import Turn, TurnStatus
from ipycachechat.conversation.usage import Timing, Usage
from ipycachechat.engine.events import TurnResult
from ipycachechat.rendering import html, reports
from ipycachechat.rendering.format import cost_text, one_line, output_text, time_of_day, written_text
from ipycachechat.text.format import count, money, percent

# A badge stays small, since it is saved in the notebook.
MAX_ID = 80
"""Characters of the provider's request id."""
MAX_PREFIX_ROWS = 6
"""Rows of the prefix; of a longer one the first and the last are shown."""
MAX_DETACHED, MAX_NOTE = 2, 200
"""Detached turns that are quoted, and characters of a note."""


def facts(turn: Turn, result: TurnResult) -> list[tuple[str, str]]:
    """Return the badge's facts in order: name and text."""
    usage, cost = turn.usage, result.cost
    if turn.replayed:
        return [("model", turn.model), ("replayed", "replayed, nothing sent"), ("cost", "free")]
    share = f" ({percent(usage.share_read)})" if usage.share_read is not None else ""
    values = [
        ("model", turn.model),
        ("requests", f"{result.requests} requests" if result.requests > 1 else ""),
        ("read", f"{count(usage.read)}{share} read"),
        ("written", _named(written_text(usage), "written")),
        ("fresh", _named(count(usage.fresh), "fresh")),
        ("input", _named(count(usage.input), "input")),
        ("output", _named(output_text(usage), "answered")),
    ]
    if cost.paid == 0 and usage.input != 0:
        values.append(("cost", "free"))
    else:
        values.append(("cost", "cost unknown" if cost.paid is None else cost_text(cost)))
        values.append(("saved", f"saved {money(cost.saved)}"))
    if result.warm_until is not None:
        values.append(("warm until", f"warm until {time_of_day(result.warm_until)}"))
    return [(name, text) for name, text in values if text]


def _named(number: str, name: str) -> str:
    return f"{name} {number}" if number in ("unknown", "not billed") else f"{number} {name}"


def notes(result: TurnResult) -> list[str]:
    """Return the notes about the turn."""
    turn = result.turn
    if turn is None:
        return []
    lines = [one_line(note, MAX_NOTE) for note in result.notes]
    if turn.status is TurnStatus.CUT_OFF:
        lines.insert(0, "cut off at the most tokens an answer may have (--max-tokens)")
    if turn.status is TurnStatus.INTERRUPTED:
        why = result.error.message if result.error else "stopped"
        lines.insert(0, f"interrupted ({why}): kept as far as it came")
    if result.reason is not None:
        lines.append(result.reason.sentence)
    if result.stale:
        placed = "replaced" if result.replaced else "placed as"
        lines.append(
            f"{placed} turn {result.number}; {_turns(result.stale)} answered an older version"
            + f"; ≈{result.uncached_tokens:,} tokens behind it are no longer read from the cache"
            * bool(result.uncached_tokens)
        )
    elif result.replaced:
        lines.append(f"replaced turn {result.number}")
    lines += [
        f"left out, since its cell was deleted: “{one_line(turn.prompt_text)}”. It comes back when the cell runs, "
        "or once the notebook is saved with it"
        for turn in result.detached_turns[:MAX_DETACHED]
    ]
    if (more := len(result.detached_turns) - MAX_DETACHED) > 0:
        lines.append(f"{more} more left out likewise (%chat history)")
    return lines


def _turns(numbers: Sequence[int]) -> str:
    """Return turn numbers in words, as in "turns 4 to 6, 9"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1] = [runs[-1][0], number]
        else:
            runs.append([number])
    return f"turn{'s' * (len(numbers) > 1)} {', '.join(' to '.join(map(str, run)) for run in runs)}"


def to_text(result: TurnResult) -> str:
    """Return the badge in one line, for terminals."""
    if result.turn is None:
        return ""
    return " · ".join([text for _, text in facts(result.turn, result)] + notes(result))


def to_html(result: TurnResult) -> str:
    """Return the badge as static HTML that needs no script and no style sheet."""
    turn = result.turn
    if turn is None:
        return ""
    return html.render(
        "badge",
        parts=html.input_parts(turn.usage),
        line=" · ".join(text for name, text in facts(turn, result) if name not in ("input", "requests")),
        bill=[] if turn.replayed else _bill(turn.usage, result.expected),
        heads=reports.PREFIX_HEADS,
        prefix=_shortened(reports.prefix_rows(result.rows)),
        request=_request(result),
        notes=notes(result),
    )


def _bill(billed: Usage, expected: ExpectedUsage | None) -> list[tuple[str, str, str]]:
    """Return rows of name, expected and billed tokens."""
    if expected is None:
        predicted = ["unknown"] * 4
    else:
        predicted = [
            ("" if expected.exact else "≈") + f"{tokens:,}"
            for tokens in (expected.read, expected.written, expected.fresh, expected.input)
        ]
    actual = [count(billed.read), written_text(billed), count(billed.fresh), count(billed.input)]
    return list(zip(("read", "written", "fresh", "input"), predicted, actual, strict=True))


def _request(result: TurnResult) -> list[tuple[str, str]]:
    """Return rows of name and value about the requests themselves."""
    rows = [("requests", f"{result.requests}")] if result.requests > 1 else []
    if result.timing is not None:
        rows += _speed(result.timing)
    return [*rows, ("request", one_line(result.request_id, MAX_ID))] if result.request_id else rows


def _shortened(rows: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Return the rows, with a row of dots in place of the middle if they are many."""
    if len(rows) <= MAX_PREFIX_ROWS:
        return list(rows)
    half = MAX_PREFIX_ROWS // 2
    left_out = (f"… {len(rows) - 2 * half} more: %chat plan", "", "", "", "")
    return [*rows[:half], left_out, *rows[-half:]]


def _speed(timing: Timing) -> list[tuple[str, str]]:
    rows = [("first token", f"after {timing.first:.2f} s")]
    if timing.rate is not None:
        rows.append(("then", f"{timing.rate:,.{0 if timing.rate >= 10 else 1}f} tokens a second"))
    return rows
