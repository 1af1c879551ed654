"""Spending by day, notebook and model, as a table and as a dataframe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipycachechat.errors import BadInput
from ipycachechat.rendering.format import align_columns
from ipycachechat.text.format import count, money

if TYPE_CHECKING:
    from ipycachechat.storage.usage_log import SpendRow

HEADS = (
    "day",
    "notebook",
    "model",
    "requests",
    "input",
    "read",
    "written",
    "fresh",
    "answered",
    "cost",
    "saved",
)


class SpendReport:
    """Rows by day, notebook and model, the newest day first. Sums of which a part is unknown read "at least"."""

    def __init__(self, rows: Sequence[SpendRow]) -> None:
        self.rows = tuple(rows)

    def dataframe(self) -> Any:
        """The rows with plain numbers, None where they are unknown. Raises BadInput without pandas."""
        try:
            import pandas
        except ImportError:
            raise BadInput("There is no pandas here", "pip install pandas") from None
        names = "requests input read written fresh output paid saved unknown_tokens unknown_cost".split()
        return pandas.DataFrame(
            [{n: getattr(row, n) for n in ("day", "notebook", "model", *names)} for row in self.rows],
            columns=["day", "notebook", "model", *names],
        )

    def _cells(self) -> Iterator[tuple[str, ...]]:
        for row in self.rows:
            least, least_paid = "≥" * bool(row.unknown_tokens), "≥" * bool(row.unknown_cost)
            tokens = (row.input, row.read, row.written, row.fresh, row.output)
            told = [f"{least * (n is not None)}{count(n)}" for n in tokens]
            paid = [
                f"{least_paid * (dollars is not None)}{money(dollars)}" for dollars in (row.paid, row.saved)
            ]
            yield row.day, Path(row.notebook).name, row.model, f"{row.requests:,}", *told, *paid

    def __repr__(self) -> str:
        if not self.rows:
            return "nothing has been paid yet"
        return "\n".join([*align_columns(HEADS, self._cells()), self._end])

    @property
    def _end(self) -> str:
        known = [row.paid for row in self.rows if row.paid is not None]
        least = "at least " if any(row.unknown_cost for row in self.rows) else ""
        return (
            f"in all {least}{money(sum(known))}; as a dataframe: spent = %chat usage --all; spent.dataframe()"
        )

    def _repr_html_(self) -> str:
        if not self.rows:
            return escape(repr(self))
        from ipycachechat.rendering import html

        return html.panel(
            "spending",
            html.table(HEADS, list(self._cells()), name="Paid, by day, notebook and model"),
            html.line(self._end),
        )
