"""Bar charts of tokens and cost by turn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import repeat

from ipycachechat.conversation.turns import Turn
from ipycachechat.rendering import html
from ipycachechat.text.format import count, money

HEIGHT = 72
"""Of a chart, in pixels."""
EACH = 30
"""Turns up to which every column has its number; of more only each tenth has."""
_HOLLOW = "box-sizing:border-box;border:2px dashed gray"
_PAID = "background-color:#8c6bb1"
_SAVED = "box-sizing:border-box;border:2px solid #238b45"


@dataclass(frozen=True, slots=True)
class RunningTotal:
    """Dollars so far; those of some turns, or of all, may be unknown."""

    dollars: float = 0.0
    known: int = 0
    unknown: int = 0

    def add(self, dollars: float | None, at_least: bool = False) -> RunningTotal:
        """With those of one more turn. `at_least`: it may be more."""
        if dollars is None:
            return RunningTotal(self.dollars, self.known, self.unknown + 1)
        return RunningTotal(self.dollars + dollars, self.known + 1, self.unknown + at_least)

    @property
    def text(self) -> str:
        """As in "$0.01 + unknown"."""
        return self._or_unknown(money(self.dollars) + " + unknown" * bool(self.unknown))

    @property
    def lower_bound(self) -> str:
        """As in "≥$0.01", of what cannot be negative."""
        return self._or_unknown("≥" * bool(self.unknown) + money(self.dollars))

    def _or_unknown(self, told: str) -> str:
        return "unknown" if self.unknown and not self.known else told


def running_totals(
    values: Iterable[float | None], at_least: Iterable[bool] = repeat(False)
) -> list[RunningTotal]:
    """The sum after each."""
    found, now = [], RunningTotal()
    for value, more in zip(values, at_least, strict=False):
        now = now.add(value, more)
        found.append(now)
    return found


def tokens(turns: Sequence[tuple[int, Turn]]) -> str:
    """A column for each turn (with its number), stacked of what was read, written and fresh."""
    most = max((turn.usage.input or 0 for _, turn in turns if not turn.replayed), default=0)
    columns = [(number, f"turn {number}: {_told(turn)}", _stack(turn, most)) for number, turn in turns]
    unknown = [f"{number}" for number, turn in turns if turn.usage.fresh is None and not turn.replayed]
    note = f"Dashed: not told what was read (turn {', '.join(unknown)})" if unknown else ""
    title = "Tokens in, by turn" + f"; the highest column is {most:,}" * bool(most)
    return html.title(title) + _chart(columns, note, html.legend("from below"))


def _told(turn: Turn) -> str:
    usage = turn.usage
    if turn.replayed:
        return "replayed, nothing sent"
    written = f"{count(usage.written)} written" if usage.bills_writes else "written not billed"
    return f"{count(usage.input)} in: {count(usage.read)} read, {written}, {count(usage.fresh)} fresh"


def _stack(turn: Turn, most: int) -> str:
    usage = turn.usage
    if turn.replayed:
        return ""
    if usage.fresh is None:
        height = _height(usage.input, most) if usage.input else HEIGHT // 2
        return f'<div style="height:{height}px;{_HOLLOW}"></div>'
    # What was read comes first in the prompt, so it lies below.
    parts = [(html.PARTS[name], getattr(usage, name)) for name in reversed(html.PARTS)]
    return "".join(f'<div style="height:{_height(n, most)}px;{style}"></div>' for style, n in parts if n)


def costs(numbers: Sequence[int], paid: Sequence[RunningTotal], saved: Sequence[RunningTotal]) -> str:
    """For each turn two columns, what was paid and what was saved up to it; a loss hangs below the line."""
    title = html.title(f"Cost and savings so far: cost {paid[-1].lower_bound}, saved {saved[-1].text}")
    dollars = [one.dollars for one in (*paid, *saved)]
    most, least = max((0.0, *dollars)), -min((0.0, *dollars))
    if not most + least:
        return title
    above = round(HEIGHT * most / (most + least))
    columns = []
    for number, pair in zip(numbers, zip(paid, saved, strict=True), strict=True):
        up = [_height(one.dollars, most, above) for one in pair]
        down = [_height(-one.dollars, least, HEIGHT - above) for one in pair]
        told = f"up to turn {number}: cost {pair[0].lower_bound}, saved {pair[1].text}"
        stack = _side(up, above, "flex-end;border-bottom:1px solid") + _side(
            down, HEIGHT - above, "flex-start"
        )
        columns.append((number, told, stack))
    named = [(_PAID, "cost (filled)"), (_SAVED, "saved (outlined)")]
    key = "&emsp;".join(f"{html.swatch(style)}{name}" for style, name in named)
    note = "Below the line: more was paid for writing than reading has saved" if least else ""
    return title + _chart(columns, note, f'<div style="opacity:0.85">{key}</div>')


def _side(heights: Sequence[int], height: int, at: str) -> str:
    """Cost and savings side by side, above or below the line."""
    # One of no height is there all the same, so that the other keeps its own place.
    inside = "".join(
        f'<div style="flex:1;height:{tall}px;{style if tall else ""}"></div>'
        for tall, style in zip(heights, (_PAID, _SAVED), strict=True)
    )
    return f'<div style="display:flex;height:{height}px;align-items:{at}">{inside}</div>'


def _height(part: float, most: float, highest: int = HEIGHT) -> int:
    """In pixels; what there is can be seen."""
    return max(1, round(highest * part / most)) if part > 0 and most else 0


def _chart(columns: Sequence[tuple[int, str, str]], note: str, key: str) -> str:
    many = len(columns) > EACH
    shown = "".join(
        f'<div title="{escape(told)}" style="flex:1 1 0;min-width:0;max-width:28px">{stack}'
        f"{_label('' if many and number % 10 else f'{number}')}</div>"
        for number, told, stack in columns
    )
    style = f"display:flex;gap:{1 if many else 3}px;align-items:flex-end;min-height:{HEIGHT + 14}px;margin:0.3em 0"
    return f'<div style="{style}">{shown}</div>{key}{html.line(note) if note else ""}'


def _label(number: str) -> str:
    if not number:
        return '<div style="height:14px"></div>'
    style = "font-size:10px;line-height:14px;height:14px;text-align:center;white-space:nowrap"
    return f'<div style="{style}">{number}</div>'
