"""Bar charts of tokens and cost by turn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, repeat

from ipycachechat.conversation.turns import Turn
from ipycachechat.rendering.html import FILLS, LEGEND
from ipycachechat.text.format import count, money

HEIGHT = 72
"""Height of a chart in pixels."""
_UNKNOWN = "box-sizing:border-box;border:2px dashed gray"
_COSTS = {
    "cost (filled)": "background-color:#8c6bb1",
    "saved (outlined)": "box-sizing:border-box;border:2px solid #238b45",
}

Boxes = Sequence[tuple[int, str]]
"""Heights in pixels, and CSS."""


@dataclass(frozen=True, slots=True)
class Column:
    """The boxes of one turn, and those that hang below the line."""

    number: int
    title: str
    boxes: Boxes
    below: Boxes = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """The values of the template `charts`."""

    title: str
    columns: Sequence[Column] = ()
    order: str = ""
    """Words in front of the legend."""
    fills: Mapping[str, str]
    note: str = ""
    height: int = HEIGHT
    line: int = 0
    """Height above the line that losses hang from."""


@dataclass(frozen=True, slots=True)
class RunningTotal:
    """Dollars so far; those of some turns, or of all, may be unknown."""

    dollars: float = 0.0
    known: int = 0
    unknown: int = 0

    def add(self, dollars: float | None, at_least: bool = False) -> RunningTotal:
        """Return the total with one more turn; `at_least`: its dollars are a lower bound."""
        if dollars is None:
            return RunningTotal(self.dollars, self.known, self.unknown + 1)
        return RunningTotal(self.dollars + dollars, self.known + 1, self.unknown + at_least)

    @property
    def text(self) -> str:
        """Dollars as in "$0.01 + unknown"."""
        return self._or_unknown(money(self.dollars) + " + unknown" * bool(self.unknown))

    @property
    def lower_bound(self) -> str:
        """Dollars as in "≥$0.01", for amounts that cannot be negative."""
        return self._or_unknown("≥" * bool(self.unknown) + money(self.dollars))

    def _or_unknown(self, text: str) -> str:
        return "unknown" if self.unknown and not self.known else text


def running_totals(
    values: Iterable[float | None], at_least: Iterable[bool] = repeat(False)
) -> list[RunningTotal]:
    """Return the sum after each value."""
    amounts = zip(values, at_least, strict=False)
    return list(accumulate(amounts, lambda total, amount: total.add(*amount), initial=RunningTotal()))[1:]


def token_chart(turns: Sequence[tuple[int, Turn]]) -> Chart:
    """Return a column for each turn (with its number), stacked of read, written and fresh tokens."""
    highest = max((turn.usage.input or 0 for _, turn in turns if not turn.replayed), default=0)
    unknown = [f"{number}" for number, turn in turns if turn.usage.fresh is None and not turn.replayed]
    return Chart(
        title="Input tokens by turn",
        columns=[
            Column(number, f"turn {number}: {_tokens(turn)}", _stack(turn, highest)) for number, turn in turns
        ],
        order="from below: ",
        fills=LEGEND,
        note=f"Dashed: cached tokens not reported (turn {', '.join(unknown)})" if unknown else "",
    )


def _tokens(turn: Turn) -> str:
    usage = turn.usage
    if turn.replayed:
        return "replayed, nothing sent"
    written = f"{count(usage.written)} newly cached" if usage.bills_writes else "cache writes not billed"
    return f"{count(usage.input)} in: {count(usage.read)} cached, {written}, {count(usage.fresh)} uncached"


def _stack(turn: Turn, highest: int) -> Boxes:
    """Return the boxes from top to bottom: what was read comes first in the prompt, so it is at the bottom."""
    usage = turn.usage
    if turn.replayed:
        return []
    if usage.read is None or usage.written is None or usage.fresh is None:
        return [(_pixels(usage.input, highest) if usage.input else HEIGHT // 2, _UNKNOWN)]
    parts = (usage.fresh, FILLS["fresh"]), (usage.written, FILLS["written"]), (usage.read, FILLS["read"])
    return [(_pixels(tokens, highest), fill) for tokens, fill in parts if tokens]


def cost_chart(numbers: Sequence[int], paid: Sequence[RunningTotal], saved: Sequence[RunningTotal]) -> Chart:
    """Return two columns for each turn, for cost and savings up to it; a loss hangs below the line."""
    title = f"Cost and savings so far: cost {paid[-1].lower_bound}, saved {saved[-1].text}"
    dollars = [total.dollars for total in (*paid, *saved)]
    highest, lowest = max((0.0, *dollars)), -min((0.0, *dollars))
    if not highest + lowest:
        return Chart(title=title, fills=_COSTS)
    line = round(HEIGHT * highest / (highest + lowest))
    fills = list(_COSTS.values())
    columns = []
    for number, *totals in zip(numbers, paid, saved, strict=True):
        above = [_pixels(total.dollars, highest, line) for total in totals]
        below = [_pixels(-total.dollars, lowest, HEIGHT - line) for total in totals]
        text = f"up to turn {number}: cost {totals[0].lower_bound}, saved {totals[1].text}"
        boxes, losses = list(zip(above, fills, strict=True)), list(zip(below, fills, strict=True))
        columns.append(Column(number, text, boxes, losses))
    note = "Below zero: caching has cost more than it saved so far" if lowest else ""
    return Chart(title=title, columns=columns, fills=_COSTS, note=note, line=line)


def _pixels(part: float, highest: float, height: int = HEIGHT) -> int:
    """Return a height in pixels, at least 1 if there is anything."""
    return max(1, round(height * part / highest)) if part > 0 and highest else 0
