"""Dataframes and series as text: shape, types and first rows, for every dataframe library."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ipycachechat.prompts.duck_typing import has_attributes

TABLE_ROWS, TABLE_COLUMNS, TABLE_CHARACTERS, CELL_CHARACTERS = 50, 50, 6_000, 80


def table(value: Any, rows: int = TABLE_ROWS) -> str:
    """A dataframe or a series: its shape, types, and first rows. Nothing else of it is touched."""
    head = value.head(rows) if has_attributes(value, "head") else value.slice(0, rows)
    names, types, records = columns(head.to_frame() if has_attributes(head, "to_frame") else head)
    heads = [f"{name} ({kind})" if str(kind) else name for name, kind in zip(names, types, strict=False)]
    lines = [row(heads), row("---" for _ in heads)]
    shape = tuple(value.shape) if has_attributes(value, "shape") else (len(value),)
    left = [shape[0], *(max(0, number - TABLE_COLUMNS) for number in shape[1:])]
    for line in map(row, records):
        if sum(map(len, lines)) + len(line) > TABLE_CHARACTERS:
            break
        lines, left[0] = [*lines, line], left[0] - 1
    note = f"\n\n({_counted(left, 1)} left out)" if any(left) else ""
    return f"{type(value).__name__}, {_counted(shape)}:\n\n" + "\n".join(lines) + note


def columns(head: Any) -> tuple[Sequence[Any], Sequence[Any], Iterable[Any]]:
    """Names, types and rows of a dataframe of pandas', polars' or Arrow's."""
    if has_attributes(head, "itertuples"):
        head = head.iloc[:, :TABLE_COLUMNS]
        return [head.index.name or "", *head.columns], ["", *head.dtypes], head.itertuples(name=None)
    if has_attributes(head, "rows"):
        head = head[:, :TABLE_COLUMNS]
        return head.columns, head.dtypes, head.rows()
    if not has_attributes(head, "select"):
        return [""], [head.type], ([value] for value in head.to_pylist())
    head = head.select(range(min(TABLE_COLUMNS, head.num_columns)))
    return (
        head.schema.names,
        head.schema.types,
        zip(*(each.to_pylist() for each in head.columns), strict=True),
    )


def _counted(shape: Iterable[int], least: int = 0) -> str:
    named = zip(shape, ("row", "column"), strict=False)
    return " and ".join(f"{n:,} {name}{'s' * (n != 1)}" for n, name in named if n >= least)


def row(cells: Iterable[Any]) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"


def short(value: Any, length: int) -> str:
    text = str(value)
    if len(text) <= length:
        return text
    from ipycachechat.text.truncate import truncate_end  # whose patterns take a moment to make

    return truncate_end(text, length)


def _cell(value: Any) -> str:
    return short(value, CELL_CHARACTERS).translate({ord("|"): r"\|", ord("\n"): r"\n", ord("\r"): r"\r"})
