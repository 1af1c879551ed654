"""The usage inspector as static HTML: each turn's tokens, cost and prefix, and what is cached until when.

It needs no script and no kernel: a turn's prefix unfolds by a click or the keyboard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate, groupby

from ipycachechat.billing.records import Ledger
from ipycachechat.caching.breakdown import BlockRow
from ipycachechat.conversation.turns import Turn, TurnStatus
from ipycachechat.engine.events import TurnResult
from ipycachechat.rendering import charts, html, reports
from ipycachechat.rendering.charts import RunningTotal
from ipycachechat.rendering.format import (
    cost_text,
    one_line,
    output_text,
    time_of_day,
    totals_text,
    written_text,
)
from ipycachechat.text.format import count, money

MAX_ROWS = 100
"""The last 100 turns have a column and a row each; those before share a row."""
MAX_UNFOLDED = 30
"""Only the last 30 turns unfold, since all of this is sent again after each chat, and saved."""
HEADS = (
    *("turn", "question", "read", "written", "fresh", "input", "answered"),
    *("cost", "saved", "cost so far", "saved so far", "notes"),
)
EARLIER = "Answered in an earlier kernel; its prefix and prediction are not stored"
MORE_BILLED = "The total also includes replaced, deleted and failed requests"
NOT_BILLED = "; turns of an earlier kernel are not part of it"


@dataclass(frozen=True, slots=True)
class UsageSnapshot:
    """The data that the inspector shows."""

    turns: tuple[Turn, ...]
    results: tuple[TurnResult | None, ...]
    """The result of each turn; None: it was answered in an earlier kernel."""
    stale: frozenset[int]
    """Numbers of turns that answered an older version."""
    ledger: Ledger
    last: TurnResult | None
    """The last result, which may be of another branch."""
    predicted: tuple[int, int] | None
    """Tokens that were predicted to be read, and were."""
    keepalive: str
    """Status of the keepalive; "": off."""

    @property
    def text(self) -> str:
        """This kernel's bill in two lines."""
        return "\n".join(totals_text(self.ledger))


def to_html(snapshot: UsageSnapshot, now: float) -> str:
    """Return the inspector in one box, the turns' prefixes folded up."""
    ledger, turns = snapshot.ledger, snapshot.turns
    bill_title = f"Billed to this kernel, {ledger.requests} request{'s' * (ledger.requests != 1)}"
    bill = list(totals_text(ledger))
    if not turns:
        return html.render("inspector", bill_title=bill_title, bill=[*bill, "No turns yet"], turns=[])
    paid = charts.running_totals((turn.cost.paid for turn in turns), [turn.cost.at_least for turn in turns])
    saved = charts.running_totals(turn.cost.saved for turn in turns)
    earlier = max(0, len(turns) - MAX_ROWS)
    numbers = range(earlier + 1, len(turns) + 1)
    rows = [_row(snapshot, number, paid[number - 1], saved[number - 1]) for number in numbers]
    if earlier:
        sums = _sums(turns[:earlier], paid[earlier - 1], saved[earlier - 1])
        rows.insert(0, (f"1 to {earlier}", *sums))
    which = f" (of the last {MAX_UNFOLDED})" if len(turns) > MAX_UNFOLDED else ""
    return html.render(
        "inspector",
        bill_title=bill_title,
        bill=[*bill, *_difference(snapshot)],
        tokens=charts.token_chart([(number, turns[number - 1]) for number in numbers]),
        costs=charts.cost_chart(numbers, paid[earlier:], saved[earlier:]),
        cache=_cache(snapshot, now),
        heads=HEADS,
        rows=rows,
        foot=("all", *_sums(turns, paid[-1], saved[-1])),
        turns_title=f"Cache details by turn{which}",
        turns=[_unfolded(snapshot, number) for number in numbers[-MAX_UNFOLDED:]],
        count_heads=reports.COUNT_HEADS,
        prefix_heads=reports.PREFIX_HEADS,
    )


def _unfolded(snapshot: UsageSnapshot, number: int) -> dict[str, object]:
    """Return the values of one turn: expected and billed tokens, and its prefix in a few rows."""
    turn, result = snapshot.turns[number - 1], snapshot.results[number - 1]
    cell = f", cell {turn.cell.id[:8]}" if turn.cell else ""
    values: dict[str, object] = {
        "name": f"turn {number}: {one_line(turn.prompt_text)}",
        "model": f"{turn.model or 'model unknown'}{cell}",
    }
    if turn.replayed:
        return {**values, "explained": None, "counts": None, "note": "Replayed; nothing was sent"}
    if result is None:
        counts = reports.count_rows(turn.usage, None)
        return {**values, "explained": None, "counts": counts, "note": EARLIER}
    last = f" of the last of {result.requests} requests" * (result.requests > 1)
    return {
        **values,
        "explained": reports.explained(turn.usage, result),
        "prefix": reports.prefix_rows(result.rows),
        "prefix_name": f"Prefix{last}, after the answer",
    }


def _cache(snapshot: UsageSnapshot, now: float) -> dict[str, object]:
    """Return which prefix is cached until when, by the last answer."""
    last, keepalive = snapshot.last, [snapshot.keepalive] if snapshot.keepalive else []
    if last is None:
        return {
            "lines": ["No request in this kernel yet, so it is unknown what is cached", *keepalive],
            "rows": [],
        }
    # A block lives as long as any longer prefix that contains it.
    expiries = list(accumulate((row.warm_until or 0.0 for row in reversed(last.rows)), max))[::-1]
    blocks = groupby(zip(last.rows, expiries, strict=True), lambda block: block[1])
    rows = [_span([row for row, _ in group], until, now) for until, group in blocks]
    return {
        "lines": [reports.cache_status(last.warm_until, now, snapshot.predicted), *keepalive],
        "heads": ("what", "tokens", "cache"),
        "rows": rows if any(expiries) else [],
    }


def _span(rows: Sequence[BlockRow], until: float, now: float) -> tuple[str, ...]:
    """Return a row for consecutive blocks that expire at the same time (0: not cached)."""
    first, last = rows[0].label, rows[-1].label
    about = "" if all(row.exact for row in rows) else "≈"
    if not until:
        life = "not cached"
    else:
        expiry = time_of_day(until)
        life = f"cached until {expiry}" if until > now else f"no longer cached (until {expiry})"
    name = first if first == last else f"{first} … {last}"
    return name, f"{about}{sum(row.tokens for row in rows):,}", life


def _row(snapshot: UsageSnapshot, number: int, paid: RunningTotal, saved: RunningTotal) -> tuple[str, ...]:
    turn = snapshot.turns[number - 1]
    usage, cost = turn.usage, turn.cost
    tokens = [
        count(usage.read),
        written_text(usage),
        count(usage.fresh),
        count(usage.input),
        output_text(usage),
    ]
    notes = [turn.status.value] * (turn.status is not TurnStatus.COMPLETE)
    notes += ["out of date"] * (number in snapshot.stale)
    if turn.replayed:
        tokens = ["–"] * 5
        notes.append("replayed")
    elif snapshot.results[number - 1] is None:
        notes.append("earlier kernel")
    dollars = (cost_text(cost), money(cost.saved), paid.lower_bound, saved.text)
    return f"{number}", one_line(turn.prompt_text, 28), *tokens, *dollars, ", ".join(notes)


def _sums(turns: Sequence[Turn], paid: RunningTotal, saved: RunningTotal) -> tuple[str, ...]:
    """Return the cells after the first of a row that stands for many turns."""
    tokens = _sent(turns).tokens
    usages = [turn.usage for turn in turns if not turn.replayed]
    answered = _at_least(
        tokens.output, [usage.output for usage in usages], any(usage.at_least for usage in usages)
    )
    fresh = [usage.fresh for usage in usages]
    counts = [_at_least(total, fresh) for total in (tokens.read, tokens.written, tokens.fresh, tokens.input)]
    return "", *counts, answered, *(paid.lower_bound, saved.text) * 2, ""


def _at_least(total: int | None, parts: Sequence[int | None], lower_bound: bool = False) -> str:
    """Return a sum of parts that may be unknown or, with `lower_bound`, lower bounds."""
    unknown = sum(part is None for part in parts)
    if unknown and unknown == len(parts):
        return "unknown"
    return f"{'≥' * (bool(unknown) or lower_bound)}{count(total)}"


def _sent(turns: Sequence[Turn]) -> Ledger:
    """Return the sums over the turns for which something was sent."""
    sent = (turn for turn in turns if not turn.replayed)
    return reduce(lambda ledger, turn: ledger.add(turn.usage, turn.cost), sent, Ledger())


def _difference(snapshot: UsageSnapshot) -> list[str]:
    """Return a note if the kernel's bill and the sum of the turns are known and differ."""
    if snapshot.ledger.unknown_tokens or snapshot.ledger.unknown_cost:
        return []
    bill, turns = (
        (ledger.tokens.input, ledger.tokens.output, round(ledger.paid, 9))
        for ledger in (snapshot.ledger, _sent(snapshot.turns))
    )
    pairs = zip(snapshot.turns, snapshot.results, strict=True)
    earlier = any(result is None and not turn.replayed for turn, result in pairs)
    return [] if bill == turns else [MORE_BILLED + NOT_BILLED * earlier]
