"""Spending by day, notebook and model, as a table and as a dataframe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipycachechat.errors import BadInput
from ipycachechat.rendering import html
from ipycachechat.rendering.format import align_columns
from ipycachechat.text.format import count, money

if TYPE_CHECKING:
    from ipycachechat.storage.usage_log import SpendRow

HEADS = tuple("day notebook model requests input read written fresh answered cost saved".split())
NOTHING_SPENT = "Nothing has been spent yet"


class SpendReport:
    """Rows by day, notebook and model, the newest day first. Sums with unknown parts are marked "≥"."""

    def __init__(self, rows: Sequence[SpendRow]) -> None:
        self.rows = tuple(rows)

    def dataframe(self) -> Any:
        """Return the rows as a pandas DataFrame, None where numbers are unknown. Raises BadInput without pandas."""
        try:
            import pandas
        except ImportError:
            raise BadInput("pandas is not installed", "pip install pandas") from None
        names = "requests input read written fresh output paid saved unknown_tokens unknown_cost".split()
        names = ["day", "notebook", "model", *names]
        return pandas.DataFrame([{n: getattr(row, n) for n in names} for row in self.rows], columns=names)

    def _cells(self) -> Iterator[tuple[str, ...]]:
        for row in self.rows:
            least, least_paid = "≥" * bool(row.unknown_tokens), "≥" * bool(row.unknown_cost)
            counts = (row.input, row.read, row.written, row.fresh, row.output)
            tokens = [f"{least * (n is not None)}{count(n)}" for n in counts]
            dollars = [f"{least_paid * (n is not None)}{money(n)}" for n in (row.paid, row.saved)]
            yield row.day, Path(row.notebook).name, row.model, f"{row.requests:,}", *tokens, *dollars

    def __repr__(self) -> str:
        if not self.rows:
            return NOTHING_SPENT
        return "\n".join([*align_columns(HEADS, self._cells()), self._total])

    def _repr_html_(self) -> str:
        if not self.rows:
            return NOTHING_SPENT
        name = "Spending by day, notebook and model"
        return html.render(
            "table", kind="spending", heads=HEADS, rows=list(self._cells()), name=name, lines=[self._total]
        )

    @property
    def _total(self) -> str:
        known = [row.paid for row in self.rows if row.paid is not None]
        least = "at least " if any(row.unknown_cost for row in self.rows) else ""
        return (
            f"Total: {least}{money(sum(known))}. As a dataframe: spent = %chat usage --all; spent.dataframe()"
        )
