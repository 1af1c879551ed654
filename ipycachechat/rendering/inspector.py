"""The usage inspector as static HTML: each turn's tokens, cost and prefix, and what is cached until when.

Nothing in it needs a script or a kernel: a turn's prefix unfolds by a click or the keyboard.
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
from ipycachechat.rendering import charts, html, panels, reports
from ipycachechat.rendering.format import cost_text as paid_of
from ipycachechat.rendering.format import one_line, output_text, time_of_day, totals_text
from ipycachechat.text.format import count, money

ROWS = 100
"""Turns, the last ones, that have a column and a row of their own; those before are one row."""
UNFOLDED = 30
"""Turns, the last ones, that unfold: all of it is sent again after each chat, and saved."""
HEADS = (
    *("turn", "question", "read", "written", "fresh", "input", "answered"),
    *("cost", "saved", "cost so far", "saved so far", "notes"),
)
WARM = ("what", "tokens", "cache")
EARLIER = (
    "answered in an earlier kernel, so that its prefix and what was expected of it are not known any more"
)
DIFFER = (
    "This kernel's bill and the sum of these turns differ. Requests of turns that were replaced, undone or deleted, "
    "that failed or kept the cache warm are in the bill alone; turns of an earlier kernel in the sum alone."
)


@dataclass(frozen=True, slots=True)
class UsageSnapshot:
    """The data that the inspector shows."""

    turns: tuple[Turn, ...]
    results: tuple[TurnResult | None, ...]
    """The result of each turn; None: it was answered in an earlier kernel."""
    stale: frozenset[int]
    """By number."""
    ledger: Ledger
    last: TurnResult | None
    """Of the last answer, which may be of another branch."""
    predicted: tuple[int, int] | None
    """Tokens that were expected to be read, and were."""
    keepalive: str
    """How keeping warm goes; empty: off."""

    @property
    def text(self) -> str:
        """This kernel's bill in two lines."""
        return "\n".join(totals_text(self.ledger))


def to_html(standing: UsageSnapshot, now: float) -> str:
    """Return all of it in one box, the turns' prefixes folded up."""
    there = len(standing.turns)
    folded = [
        f'<details><summary style="cursor:pointer">{html.clean(_name(standing, number))}</summary>'
        f'<div style="margin:0 0 0.6em 1.2em">{_inside(standing, number)}</div></details>'
        for number in range(max(1, there - UNFOLDED + 1), there + 1)
    ]
    return html.panel("inspector", _body(standing, now), *folded)


def _body(standing: UsageSnapshot, now: float) -> str:
    """The inspector without the parts that unfold."""
    bill = [html.title(f"Billed to this kernel, {_requests(standing.ledger)}")]
    bill += [html.line(told) for told in totals_text(standing.ledger)]
    if not standing.turns:
        return "".join([*bill, html.line("no turns yet")])
    if _differ(standing):
        bill.append(html.line(DIFFER))
    paid = charts.running_totals(
        (turn.cost.paid for turn in standing.turns), [turn.cost.at_least for turn in standing.turns]
    )
    saved = charts.running_totals(turn.cost.saved for turn in standing.turns)
    shown = [(n, turn) for n, turn in enumerate(standing.turns, 1)][-ROWS:]
    first = shown[0][0] - 1
    rows = [_row(standing, n, turn, paid[n - 1], saved[n - 1]) for n, turn in shown]
    if first:
        before = standing.turns[:first]
        rows.insert(0, (f"1 to {first}", *_together(before, paid[first - 1], saved[first - 1])))
    foot = ("all", *_together(standing.turns, paid[-1], saved[-1]))
    return "".join(
        [
            *bill,
            charts.tokens(shown),
            charts.costs([n for n, _ in shown], paid[first:], saved[first:]),
            _warmth(standing, now),
            html.table(HEADS, rows, foot, name="Turns"),
            html.title(f"Prefix of a turn{_which(standing)}, and what was expected of it"),
        ]
    )


def _which(standing: UsageSnapshot) -> str:
    return f" (of the last {UNFOLDED})" if len(standing.turns) > UNFOLDED else ""


def _name(standing: UsageSnapshot, number: int) -> str:
    """Return a turn in a line."""
    turn = standing.turns[number - 1]
    return f"turn {number}: {one_line(turn.prompt_text)}"


def _inside(standing: UsageSnapshot, number: int) -> str:
    """Of a turn: what was expected and what billed, and its prefix in a few rows."""
    turn, done = standing.turns[number - 1], standing.results[number - 1]
    cell = f", cell {turn.cell.id[:8]}" if turn.cell else ""
    head = html.line(f"{turn.model or 'model unknown'}{cell}")
    if turn.replayed:
        return head + html.line("replayed: nothing was sent")
    if done is None:
        return head + html.table(reports.COUNT_HEADS, reports.count_rows(turn, None)) + html.line(EARLIER)
    asked = f" of the last of {done.requests} requests" * (done.requests > 1)
    title = f"Prefix{asked}, as it was when the answer had come"
    prefix = html.table(reports.PREFIX_HEADS, reports.prefix_rows(done.rows), name=title) if done.rows else ""
    return head + panels.reason(done) + prefix


def _warmth(standing: UsageSnapshot, now: float) -> str:
    """Return which prefix is cached until when, by the last answer."""
    last, title = standing.last, html.title("Cache")
    kept = [html.line(standing.keepalive)] if standing.keepalive else []
    if last is None:
        return title + html.line("nothing was asked in this kernel: what is warm is unknown") + "".join(kept)
    head = html.line(reports.cache_status(last.warm_until, now, standing.predicted))
    rows = [
        _span([row for row, _ in group], until, now) for until, group in groupby(_lives(last.rows), _life)
    ]
    table = [html.table(WARM, rows)] if any(row.warm_until for row in last.rows) else []
    return "".join([title, head, *kept, *table])


def _lives(rows: Sequence[BlockRow]) -> list[tuple[BlockRow, float]]:
    """Each block with the time until which it is warm (0: it is not): with any prefix that goes beyond it."""
    untils = accumulate((row.warm_until or 0.0 for row in reversed(rows)), max)
    return list(zip(rows, reversed(list(untils)), strict=True))


def _life(block: tuple[BlockRow, float]) -> float:
    return block[1]


def _span(rows: Sequence[BlockRow], until: float, now: float) -> tuple[str, ...]:
    """Blocks, one after the other, that live equally long."""
    first, last = rows[0].label, rows[-1].label
    sure = "" if all(row.exact for row in rows) else "≈"
    life = (
        f"warm until {time_of_day(until)}" if until > now else f"no longer warm (until {time_of_day(until)})"
    )
    name = first if first == last else f"{first} … {last}"
    return name, f"{sure}{sum(row.tokens for row in rows):,}", life if until else "not in the cache"


def _row(
    standing: UsageSnapshot, number: int, turn: Turn, paid: charts.RunningTotal, saved: charts.RunningTotal
) -> tuple[str, ...]:
    usage = turn.usage
    tokens = [
        count(usage.read),
        count(usage.written) if usage.bills_writes else "not billed",
        *(count(one) for one in (usage.fresh, usage.input)),
        output_text(usage),
    ]
    if turn.replayed:
        tokens = ["–"] * 5
    notes = [turn.status.value] * (turn.status is not TurnStatus.COMPLETE) + ["stale"] * (
        number in standing.stale
    )
    earlier = standing.results[number - 1] is None
    notes += ["replayed"] * turn.replayed + ["earlier kernel"] * (earlier and not turn.replayed)
    cost = (paid_of(turn.cost), money(turn.cost.saved), paid.lower_bound, saved.text)
    return f"{number}", one_line(turn.prompt_text, 28), *tokens, *cost, ", ".join(notes)


def _together(
    turns: Sequence[Turn], paid: charts.RunningTotal, saved: charts.RunningTotal
) -> tuple[str, ...]:
    """The rest of a row that stands for many turns."""
    tokens = _sent(turns).tokens
    usages = [turn.usage for turn in turns if not turn.replayed]
    told = [
        _at_least(total, [one.fresh for one in usages])
        for total in (tokens.read, tokens.written, tokens.fresh, tokens.input)
    ]
    answered = _at_least(tokens.output, [one.output for one in usages], any(one.at_least for one in usages))
    return "", *told, answered, *(paid.lower_bound, saved.text) * 2, ""


def _at_least(total: int | None, of: Sequence[int | None], lower: bool = False) -> str:
    """A sum, whose parts may be unknown, or, with `lower`, lower bounds."""
    unknown = sum(one is None for one in of)
    return "unknown" if unknown and unknown == len(of) else f"{'≥' * (bool(unknown) or lower)}{count(total)}"


def _sent(turns: Sequence[Turn]) -> Ledger:
    """The turns for which something was sent, added up."""
    sent = (turn for turn in turns if not turn.replayed)
    return reduce(lambda ledger, turn: ledger.add(turn.usage, turn.cost), sent, Ledger())


def _differ(standing: UsageSnapshot) -> bool:
    """Return True if not all of the kernel's bill is in its turns, or more. A turn may have had many requests."""
    if standing.ledger.unknown_tokens or standing.ledger.unknown_cost:  # unknown
        return False
    bills = (standing.ledger, _sent(standing.turns))
    known = [(bill.tokens.input, bill.tokens.output, round(bill.paid, 9)) for bill in bills]
    return known[0] != known[1]


def _requests(ledger: Ledger) -> str:
    return f"{ledger.requests} request{'s' * (ledger.requests != 1)}"
