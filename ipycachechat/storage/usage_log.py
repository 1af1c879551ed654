"""Billed requests, and reservations of the day's budget for open requests: two tables of the database."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass

from ipycachechat.billing.records import RequestRecord
from ipycachechat.storage.database import Database

COLUMNS = "at, notebook, model, input, read, written, written_1h, output, thinking, paid, saved, at_least"
"""Named in every INSERT, since a later version may add columns to a file that both use."""
SPEND_COLUMNS = {
    "notebook": "notebook",
    "model": "model",
    "day": "date(at, 'unixepoch', 'localtime')",
    "requests": "count(*)",
    "input": "sum(input)",
    "read": "sum(read)",
    "written": "sum(written)",
    "fresh": "sum(input - read - written)",
    "output": "sum(output)",
    "paid": "sum(paid)",
    "saved": "sum(saved)",
    "unknown_tokens": "sum(input IS NULL OR read IS NULL OR written IS NULL OR output IS NULL OR at_least)",
    "unknown_cost": "sum(paid IS NULL OR at_least)",
}
"""The fields of a SpendRow in SQL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendRow:
    """Sums over the requests of one notebook to one model on one day (local time); None: unknown."""

    notebook: str
    model: str
    day: str
    """As YYYY-MM-DD."""
    requests: int
    input: int | None
    read: int | None
    written: int | None
    fresh: int | None
    output: int | None
    paid: float | None
    """Dollars."""
    saved: float | None
    unknown_tokens: int
    """Number of requests with a count that is unknown or a lower bound, so that the sums are lower bounds."""
    unknown_cost: int


class UsageLog:
    """The two tables of one open database. All kernels of the user write to them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, notebook: str, records: Iterable[RequestRecord]) -> None:
        """Add billed requests."""
        with self._database.transaction() as db:
            for record in records:
                usage, cost = record.usage, record.cost
                prompt = (usage.input, usage.read, usage.written, usage.written_1h)
                rest = (usage.output, usage.thinking, cost.paid, cost.saved, usage.at_least)
                row = (record.sent_at, notebook, record.model, *prompt, *rest)
                db.execute(f"INSERT INTO requests({COLUMNS}) VALUES({', '.join('?' * len(row))})", row)

    def spent(self, now: float) -> float:
        """Return the dollars that all kernels spent on the day of `now` (local time), reservations included.

        A bill that is a lower bound does not count: the cost bound of its request stays reserved instead.
        """
        day = time.localtime(now)[:3]
        start, end = (time.mktime((*day[:2], day[2] + n, 0, 0, 0, 0, 0, -1)) for n in (0, 1))
        columns = (("paid * (NOT at_least)", "requests"), ("dollars", "reservations"))
        sums = [
            self._database.fetch(
                f"SELECT total({column}) FROM {table} WHERE at >= ? AND at < ?", (start, end)
            )
            for column, table in columns
        ]
        return sum(float(dollars) for ((dollars,),) in sums)

    def reserve(self, dollars: float, limit: float, now: float) -> tuple[int | None, float]:
        """Reserve dollars of the day's budget `limit`.

        Return the number of the reservation (None if less is left) and the dollars that were left before it.
        """
        with self._database.transaction() as db:
            left = max(0.0, limit - self.spent(now))
            return (None if dollars > left else _insert_reservation(db, dollars, now)), left

    def settle(self, reservation: int | None, dollars: float, now: float) -> None:
        """Replace a reservation (None: there was none) by dollars that stay reserved for good; 0: none do."""
        with self._database.transaction() as db:
            db.execute("DELETE FROM reservations WHERE id=?", (reservation,))
            if dollars:
                _insert_reservation(db, dollars, now)

    def by_day(self) -> list[SpendRow]:
        """Return the sums by day, notebook and model, the newest day first."""
        columns = ", ".join(f"{value} AS {name}" for name, value in SPEND_COLUMNS.items())
        rows = self._database.fetch(
            f"SELECT {columns} FROM requests GROUP BY notebook, model, day ORDER BY day DESC, notebook, model"
        )
        return [SpendRow(**dict(zip(SPEND_COLUMNS, row, strict=True))) for row in rows]


def _insert_reservation(db: sqlite3.Connection, dollars: float, now: float) -> int:
    row = db.execute("INSERT INTO reservations(at, dollars) VALUES(?, ?)", (now, dollars))
    return int(row.lastrowid or 0)
