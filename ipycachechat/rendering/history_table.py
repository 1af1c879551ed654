"""The table of `%chat history`: one row per turn, which unfolds on a click."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from ipycachechat.caching.breakdown import BlockRow
from ipycachechat.conversation.turns import Conversation, Turn
from ipycachechat.rendering import answer
from ipycachechat.rendering.format import align_columns, cost_text, one_line, output_text, time_of_day
from ipycachechat.text import sanitize
from ipycachechat.text.format import count

HEADS = ("", "cell", "state", "input", "read", "answered", "cost", "cache", "question")
_LEFT = (0, 1, 2, 7, 8)
_ORDER = (0, 8, 2, 7, 6, 3, 4, 5, 1)
"""As a page shows them: what is cut off where it is narrow is what is asked for least."""
_CELL = "overflow:hidden;text-overflow:ellipsis;white-space:nowrap"
_GRID = (
    "display:inline-grid;vertical-align:top;width:calc(100% - 1.6em);gap:0.9em;grid-template-columns:"
    "1.5em minmax(11em,1fr) 10.5em 9em 6.5em 4.5em 4.5em 5.5em 6em"
)
_BOX = "font:12px/1.6 system-ui,sans-serif"
_PROMPT = "white-space:pre-wrap;font-weight:600;margin:0.4em 0"


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """A turn as it is told."""

    turn: Turn
    cells: tuple[str, ...]
    """As the heads name them."""


def warm_until_by_turn(blocks: Sequence[BlockRow]) -> dict[int, float]:
    """For each turn (from 1) until when it is warm, by the blocks of the next request: with any that comes after it."""
    found: dict[int, float] = {}
    until = 0.0
    for block in reversed(blocks):
        until = max(until, block.warm_until or 0.0)
        if block.turn >= 0 and until:
            found.setdefault(block.turn + 1, until)
    return found


def history_rows(
    conversation: Conversation, warm: Mapping[int, float], *, cache_known: bool
) -> list[HistoryRow]:
    """All turns in their places. `known`: whether anything is known of the cache."""
    found, number, stale = [], 0, conversation.stale
    for turn in conversation.all_turns:
        live = turn.detached is None
        number += live
        states = [turn.status.value] + ["stale"] * (live and number in stale) + ["pinned"] * turn.pinned
        states += ["detached"] * (not live) + ["replayed"] * turn.replayed
        cache = (
            f"warm until {time_of_day(warm[number])}"
            if live and number in warm
            else "not warm"
            if cache_known
            else "unknown"
        )
        usage = turn.usage
        found.append(
            HistoryRow(
                turn,
                (
                    f"{number}" if live else "–",
                    turn.cell.id[:8] if turn.cell else "",
                    ", ".join(states),
                    *(count(tokens) for tokens in (usage.input, usage.read)),
                    output_text(usage),
                    cost_text(turn.cost),
                    cache if live else "left out",
                    one_line(turn.prompt_text),
                ),
            )
        )
    return found


def to_text(told: Sequence[HistoryRow]) -> str:
    """A line for each."""
    return "\n".join(align_columns(HEADS, (row.cells for row in told)))


UNFOLDED = 100
"""Turns, the last ones, that a click unfolds: a notebook is not to grow by megabytes (%chat save has all of them)."""


def to_html(told: Sequence[HistoryRow]) -> str:
    """A line for each, the last of which open to question and answer; static, so that it stays without a kernel."""
    heading = f"{_GRID};width:calc(100% - 0.5em);font-weight:600"
    head = f'<div style="padding-left:1.1em"><div style="{heading}">{_line(HEADS)}</div></div>'
    folded = len(told) - UNFOLDED
    lines = [_closed(row) if n < folded else _folded(row) for n, row in enumerate(told)]
    box = f'class="ipycachechat-history mathjax_ignore tex2jax_ignore" style="{_BOX};overflow-x:auto"'
    return f"<div {box}>{head}{''.join(lines)}</div>"


def _closed(row: HistoryRow) -> str:
    return f'<div style="padding-left:1.1em"><span style="{_GRID}">{_line(row.cells)}</span></div>'


def _folded(row: HistoryRow) -> str:
    shown = answer.to_html(answer.segments(row.turn.replies), style=False)
    asked = f'<div style="{_PROMPT}">{escape(sanitize.clean(row.turn.prompt_text))}</div>'
    summary = f'<summary style="cursor:pointer"><span style="{_GRID}">{_line(row.cells)}</span></summary>'
    return f'<details>{summary}<div style="margin:0 0 0.8em 3.6em">{asked}{shown}</div></details>'


def _line(cells: Sequence[str]) -> str:
    told = []
    for n in _ORDER:
        side = "left" if n in _LEFT else "right"
        text = escape(cells[n])
        told.append(f'<span style="{_CELL};text-align:{side}" title="{text}">{text}</span>')
    return "".join(told)
