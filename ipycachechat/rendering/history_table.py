"""The tables of %chat history and %chat switch: turns, which unfold on a click, and branches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ipycachechat.caching.breakdown import BlockRow
from ipycachechat.conversation.history import Branch, History
from ipycachechat.conversation.turns import Conversation, Turn
from ipycachechat.rendering import answer, html
from ipycachechat.rendering.format import align_columns, cost_text, one_line, output_text, time_of_day
from ipycachechat.text.format import count

HEADS = ("", "cell", "state", "input", "read", "answered", "cost", "cache", "question")
_LEFT = (0, 1, 2, 7, 8)
_ORDER = (0, 8, 2, 7, 6, 3, 4, 5, 1)
"""Order of the columns in HTML: a narrow page cuts off the least important ones."""
UNFOLDED = 100
"""Only the last 100 turns unfold, so that the notebook does not grow by megabytes (%chat save has all of them)."""
BRANCH_HEADS = ("branch", "turns", "forked from", "after turn", "")


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """A turn and its cells under HEADS."""

    turn: Turn
    cells: tuple[str, ...]


def warm_until_by_turn(blocks: Sequence[BlockRow]) -> dict[int, float]:
    """Return for each cached turn (from 1) when it expires, given the blocks of the next request.

    A block lives as long as any longer prefix that contains it.
    """
    expiries: dict[int, float] = {}
    until = 0.0
    for block in reversed(blocks):
        until = max(until, block.warm_until or 0.0)
        if block.turn >= 0 and until:
            expiries.setdefault(block.turn + 1, until)
    return expiries


def history_rows(
    conversation: Conversation, warm: Mapping[int, float], *, cache_known: bool
) -> list[HistoryRow]:
    """Return a row for each turn. `warm`: expiry by number; `cache_known`: False if nothing is known of the cache."""
    rows, number, stale = [], 0, conversation.stale
    for turn in conversation.all_turns:
        sent = turn.detached is None
        number += sent
        states = [turn.status.value] + ["out of date"] * (sent and number in stale) + ["pinned"] * turn.pinned
        states += ["detached"] * (not sent) + ["replayed"] * turn.replayed
        if not sent:
            cache = "not sent"
        elif number in warm:
            cache = f"cached until {time_of_day(warm[number])}"
        else:
            cache = "not cached" if cache_known else "unknown"
        cells = (
            f"{number}" if sent else "–",
            turn.cell.id[:8] if turn.cell else "",
            ", ".join(states),
            count(turn.usage.input),
            count(turn.usage.read),
            output_text(turn.usage),
            cost_text(turn.cost),
            cache,
            one_line(turn.prompt_text),
        )
        rows.append(HistoryRow(turn, cells))
    return rows


def to_text(rows: Sequence[HistoryRow]) -> str:
    """Return a line for each turn."""
    return "\n".join(align_columns(HEADS, (row.cells for row in rows)))


def to_html(rows: Sequence[HistoryRow]) -> str:
    """Return a line for each turn; the last ones unfold to question and answer, also without a kernel."""

    def ordered(cells: Sequence[str]) -> list[tuple[str, str]]:
        return [(cells[n], "left" if n in _LEFT else "right") for n in _ORDER]

    def unfolded(turn: Turn) -> str:
        return answer.to_html(answer.segments(turn.replies), style=False)

    folded = len(rows) - UNFOLDED
    values = [
        {
            "cells": ordered(row.cells),
            "prompt": row.turn.prompt_text,
            "answer": unfolded(row.turn) if n >= folded else None,
        }
        for n, row in enumerate(rows)
    ]
    return html.render("history", heads=ordered(HEADS), rows=values)


def branch_tree(history: History) -> list[str]:
    """Return the branches as a small tree."""
    lines = []
    for branch, corner in _branches(history):
        turns, since = _sizes(history, branch)
        forked = f", forked after turn {since}" if branch.parent else ""
        here = "  ← here" if branch.name == history.current_branch else ""
        lines.append(f"{corner}{branch.name}: {turns} turn{'s' * (turns != 1)}{forked}{here}")
    return lines


def branches_html(history: History) -> str:
    """Return a table of the branches, each below the one that it was forked from."""
    rows = []
    for branch, _ in _branches(history):
        turns, since = _sizes(history, branch)
        here = "← here" if branch.name == history.current_branch else ""
        rows.append((branch.name, f"{turns}", branch.parent, f"{since}" if branch.parent else "", here))
    return html.render("table", kind="branches", heads=BRANCH_HEADS, rows=rows)


def _branches(history: History, parent: str = "", indent: str = "") -> Iterator[tuple[Branch, str]]:
    """Yield each branch, with the lines that draw its place in the tree."""
    children = [branch for branch in history.branches if branch.parent == parent]
    for branch in children:
        last = branch is children[-1]
        yield branch, indent + ("└─ " if last else "├─ ") * bool(parent)
        yield from _branches(history, branch.name, indent + ("   " if last else "│  ") * bool(parent))


def _sizes(history: History, branch: Branch) -> tuple[int, int]:
    """Return the number of turns of a branch, and at its fork."""
    return len(history.conversation_at(branch).turns), len(
        history.versions[branch.forked_at].conversation.turns
    )


def turn_changes(before: Conversation, after: Conversation) -> list[str]:
    """Return a line for each turn whose number changes."""
    was = {_identity(turn): n for n, turn in enumerate(before.turns, 1)}
    now = {_identity(turn): n for n, turn in enumerate(after.turns, 1)}
    lines = []
    for turn in after.all_turns:
        old, new = was.get(_identity(turn)), now.get(_identity(turn))
        if old == new:
            continue
        if new is None:
            change = f"turn {old} is no longer sent, since its cell is gone"
        else:
            change = f"turn {new} is back" if old is None else f"turn {old} becomes turn {new}"
        lines.append(f"  {change}: {one_line(turn.prompt_text)}")
    return lines


def _identity(turn: Turn) -> tuple[object, ...]:
    """Return a key that stays the same when a turn is moved or detached."""
    return turn.cell, turn.asked_at, turn.digest
