"""What requests were billed, and what is held back of a day's budget for open ones: two tables of the store."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipycachechat.billing.records import RequestRecord

COLUMNS = "at, notebook, model, input, read, written, written_1h, output, thinking, paid, saved, at_least"
"""Named where they are written: a later version may add some to a file that both use."""


@dataclass(frozen=True, slots=True)
class SpendRow:
    """Requests of one notebook to one model on one day (local time) added up; tokens and dollars None: unknown."""

    notebook: str
    model: str
    day: str
    requests: int
    input: int | None
    read: int | None
    written: int | None
    fresh: int | None
    output: int | None
    paid: float | None
    saved: float | None
    unknown_tokens: int
    """Requests of which some count is unknown, or a lower bound, so that the sums are "at least"."""
    unknown_cost: int


def add(db: sqlite3.Connection, notebook: str, requests: Iterable[RequestRecord]) -> None:
    """Keep what they were billed."""
    for one in requests:
        used, bill = one.usage, one.cost
        counts = (used.input, used.read, used.written, used.written_1h, used.output, used.thinking)
        row = (one.sent_at, notebook, one.model, *counts, bill.paid, bill.saved, used.at_least)
        db.execute(f"INSERT INTO requests({COLUMNS}) VALUES({', '.join('?' * len(row))})", row)


def spent(db: sqlite3.Connection, now: float) -> float:
    """Dollars of all kernels on that day (local time): bills, and what is held back.

    A bill that is a lower bound is none of them: for its request the most that it can be is held back for good.
    """
    day = time.localtime(now)[:3]
    begins, ends = (time.mktime((*day[:2], day[2] + n, 0, 0, 0, 0, 0, -1)) for n in (0, 1))
    sums = [
        db.execute(f"SELECT total({what}) FROM {table} WHERE at >= ? AND at < ?", (begins, ends)).fetchone()
        for what, table in (("paid * (NOT at_least)", "requests"), ("dollars", "held"))
    ]
    return sum(float(one) for (one,) in sums)


def reserve(db: sqlite3.Connection, dollars: float, now: float) -> int:
    """Hold back so much: its number."""
    return int(db.execute("INSERT INTO held(at, dollars) VALUES(?, ?)", (now, dollars)).lastrowid or 0)


def release(db: sqlite3.Connection, held: int | None) -> None:
    """Hold that number back no longer."""
    db.execute("DELETE FROM held WHERE id=?", (held,))


def spending(db: sqlite3.Connection) -> list[SpendRow]:
    """What was paid, by notebook, model and day, the newest day first."""
    rows = db.execute(
        "SELECT notebook, model, date(at, 'unixepoch', 'localtime') AS day, count(*), sum(input), sum(read),"
        " sum(written), sum(input - read - written), sum(output), sum(paid), sum(saved),"
        " sum(input IS NULL OR read IS NULL OR written IS NULL OR output IS NULL OR at_least),"
        " sum(paid IS NULL OR at_least)"
        " FROM requests GROUP BY notebook, model, day ORDER BY day DESC, 1, 2"
    )
    return [SpendRow(*row) for row in rows]
