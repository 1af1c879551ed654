"""The badge under an answer: tokens, cost and savings, and the details that it unfolds to."""

from __future__ import annotations

from collections.abc import Sequence

from ipycachechat.caching.state import ExpectedUsage
from ipycachechat.conversation.turns import Turn, TurnStatus
from ipycachechat.conversation.usage import Cost, Timing, Usage
from ipycachechat.engine.events import TurnResult
from ipycachechat.errors import Interrupted
from ipycachechat.rendering import html, reports
from ipycachechat.rendering.format import one_line, output_text, short_money, time_of_day, written_text
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
    share = "" if usage.share_read is None else f" ({percent(usage.share_read)})"
    written = (
        _tokens(count(usage.written), "newly cached") if usage.bills_writes else "cache writes not billed"
    )
    values = [
        ("model", turn.model),
        ("requests", f"{result.requests} requests" if result.requests > 1 else ""),
        ("read", _tokens(count(usage.read) + share, "cached")),
        ("written", written),
        ("fresh", _tokens(count(usage.fresh), "uncached")),
        ("input", _tokens(count(usage.input), "in")),
        ("output", _tokens(output_text(usage), "out")),
        *_cost_facts(usage, cost),
    ]
    if result.warm_until is not None:
        values.append(("warm until", f"cached until {time_of_day(result.warm_until)}"))
    return [(name, text) for name, text in values if text]


def _tokens(number: str, name: str) -> str:
    return f"{name} unknown" if number == "unknown" else f"{number} {name}"


def _cost_facts(usage: Usage, cost: Cost) -> list[tuple[str, str]]:
    if cost.paid == 0 and usage.input != 0:
        return [("cost", "free")]
    if cost.saved is None:
        saved = "savings unknown"
    elif cost.saved < 0:
        saved = f"+{short_money(-cost.saved)} to store it in the cache"
    else:
        saved = f"saved {short_money(cost.saved)}"
    if cost.paid is None:
        return [("cost", "cost unknown"), ("saved", saved)]
    return [("cost", f"≥{money(cost.paid)}" if cost.at_least else short_money(cost.paid)), ("saved", saved)]


def notes(result: TurnResult) -> list[str]:
    """Return the notes about the turn."""
    turn = result.turn
    if turn is None:
        return []
    lines = []
    if turn.status is TurnStatus.INTERRUPTED:
        stopped = result.error is None or isinstance(result.error, Interrupted)
        cause = "Stopped" if stopped or result.error is None else result.error.message.rstrip(".")
        lines.append(f"{cause}; partial answer kept")
    if turn.status is TurnStatus.CUT_OFF:
        output = turn.usage.output if result.requests == 1 and not turn.usage.at_least else None
        limit = "the token limit" if output is None else f"{output:,} tokens"
        lines.append(f"Answer cut off at {limit} (raise --max-tokens)")
    lines += [one_line(note, MAX_NOTE) for note in result.notes]
    if result.reason is not None:
        lines.append(result.reason.sentence)
    if result.stale:
        lines.append(
            f"{'Replaced' if result.replaced else 'Placed as'} turn {result.number}. {_out_of_date(result)}"
        )
    elif result.replaced:
        lines.append(f"Replaced turn {result.number}")
    lines += [
        f"Cell deleted, so “{one_line(turn.prompt_text)}” is no longer sent. "
        "Restore and run the cell to bring it back."
        for turn in result.detached_turns[:MAX_DETACHED]
    ]
    if (more := len(result.detached_turns) - MAX_DETACHED) > 0:
        turns = "turn of a deleted cell is" if more == 1 else "turns of deleted cells are"
        lines.append(f"{more} more {turns} no longer sent (%chat history)")
    return lines


def _out_of_date(result: TurnResult) -> str:
    are, them = ("are", "them") if len(result.stale) > 1 else ("is", "it")
    text = f"{_turns(result.stale)} {are} out of date (%chat replay reruns {them})"
    again = f"; ≈{result.uncached_tokens:,} tokens will be charged again" if result.uncached_tokens else ""
    return text + again


def _turns(numbers: Sequence[int]) -> str:
    """Return turn numbers in words, as in "Turns 4–6, 9"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1] = [runs[-1][0], number]
        else:
            runs.append([number])
    return f"Turn{'s' * (len(numbers) > 1)} {', '.join('–'.join(map(str, run)) for run in runs)}"


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
        rows.append(("then", f"{timing.rate:,.{0 if timing.rate >= 10 else 1}f} tokens per second"))
    return rows
