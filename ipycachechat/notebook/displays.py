"""What `%chat plan`, `%chat why` and `%chat switch` show in a notebook; static, so that it stays without a kernel."""

from __future__ import annotations

from ipycachechat.core.contents import Contents
from ipycachechat.core.events import Done
from ipycachechat.core.forecast import Forecast, condensed
from ipycachechat.core.history import History
from ipycachechat.notebook import grid, tables


def plan(forecast: Forecast) -> str:
    """What the next request will do, and the prefix behind it."""
    told = [grid.line(sentence) for sentence in tables.sentences(forecast)]
    rows = tables.prefix(condensed(forecast.rows))
    prefix = [grid.table(tables.PREFIX, rows, name="Prefix")] if rows else []
    bar = grid.bar(forecast.expected)
    return grid.box("plan", *told, bar, grid.legend() if bar else "", *prefix)


def contents(found: Contents) -> str:
    """What a request contains, block by block, each folded up."""
    told = [grid.line(tables.contained(found))]
    for row, text in found.blocks:
        told.append(grid.folded(tables.block(row), grid.mono(text.split("\n"))))
    return grid.box("contents", *told)


def as_json(text: str) -> str:
    """A request as it is handed over."""
    return grid.box("contents", grid.mono(text.split("\n")))


def why(done: Done | None) -> str:
    """What a request was expected to be billed, what it was billed, and the reason of the difference."""
    if done is None or done.turn is None:
        return grid.box("why", grid.line(tables.NOTHING_ASKED))
    return grid.box("why", grid.title(f"turn {done.number}, {done.turn.model}"), reason(done, grid.legend()))


def reason(done: Done, legend: str = "") -> str:
    """The same, without saying which turn it is; `legend` where none of the bar's colours stands elsewhere."""
    if done.turn is None:
        return ""
    bar = grid.bar(done.turn.usage)
    told = [grid.table(tables.COUNTS, tables.counts(done.turn, done.expected)), bar, legend if bar else ""]
    told.append(grid.line(tables.verdict(done)))
    if difference := tables.difference(done.reason):
        told += [grid.line(difference[0]), grid.mono([text.strip() for text in difference[1:]])]
    return "".join([*told, *map(grid.line, (*tables.advice(done.reason), *done.notes))])


def branches(history: History) -> str:
    """The branches, and from where each was forked."""
    return grid.box("branches", grid.table(tables.BRANCHES, tables.forks(history)))
