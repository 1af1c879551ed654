"""Clock times, short titles, totals in words, aligned text tables."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence

from ipycachechat.billing.budget import BudgetState
from ipycachechat.billing.records import Ledger
from ipycachechat.conversation.usage import Cost, Usage
from ipycachechat.text import sanitize
from ipycachechat.text.format import count, money


def time_of_day(seconds: float) -> str:
    """The time of day, as in "14:05"."""
    return time.strftime("%H:%M", time.localtime(seconds))


def one_line(text: str, max_length: int = 60) -> str:
    """The beginning of a text, in one line."""
    line = " ".join(sanitize.clean(text).split())
    return line if len(line) <= max_length else line[: max_length - 1] + "…"


def write_stdout(text: str) -> None:
    """Print it as it is; a letter that the terminal has no code for is a question mark, and no error."""
    code = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout.write(text.encode(code, "replace").decode(code))
    sys.stdout.flush()


def output_text(usage: Usage) -> str:
    """Tokens of the answer; of one that broke off a lower bound."""
    return "≥" * (usage.at_least and usage.output is not None) + count(usage.output)


def written_text(usage: Usage) -> str:
    """Return the tokens written to the cache, or "not billed" if the provider does not bill writes."""
    return count(usage.written) if usage.bills_writes else "not billed"


def cost_text(bill: Cost) -> str:
    """Return the cost as text, with "≥" if it is a lower bound."""
    return "≥" * (bill.at_least and bill.paid is not None) + money(bill.paid)


def totals_text(ledger: Ledger) -> tuple[str, str]:
    """All requests of the kernel: a line of tokens, a line of money."""
    tokens, at_least = ledger.tokens, "at least " if ledger.unknown_tokens else ""
    missing = (
        f" ({ledger.unknown_tokens} of {ledger.requests} requests not told in full)"
        if ledger.unknown_tokens
        else ""
    )
    first = (
        f"{at_least}{count(tokens.input)} tokens in: {count(tokens.read)} read, {count(tokens.written)} written, "
        f"{count(tokens.fresh)} fresh; {count(tokens.output)} answered{missing}"
    )
    if ledger.requests and ledger.unknown_cost == ledger.requests and not ledger.paid:
        return first, "cost unknown"
    least = f"at least {money(ledger.paid)} ({ledger.unknown_cost} of {ledger.requests} requests not told in full)"
    spent = least if ledger.unknown_cost else money(ledger.paid)
    saved = f"saved {money(ledger.saved)}" + " by what was told" * bool(ledger.unknown_cost)
    return first, f"cost {spent}, {saved}"


def budget_lines(purse: BudgetState, whole: float, day: float, of_day: float | None) -> list[str]:
    """The budgets, what was spent and what is left, a line each. `of_day`: what all notebooks have; None: unknown."""
    spent = f"spent {'at least ' * bool(purse.unknown)}{money(purse.spent)}"
    if whole:
        lines = [f"this kernel: {spent} of {money(whole)}, {money(purse.left(whole))} left"]
    else:
        lines = [f"this kernel: {spent}, no budget (%chat budget 2.00)"]
    if purse.unbilled_requests:
        lines.append(
            f"  {money(purse.unbilled_max)} of it for requests whose bill is not known, at the most that it can be"
            f" ({purse.unbilled_requests})"
        )
    if purse.unknown:
        lines.append(f"  requests that may have cost more, nobody knows how much: {purse.unknown}")
    if day:
        left = "unknown" if of_day is None else money(max(0.0, day - of_day))
        lines.append(f"today, all notebooks: spent {money(of_day)} of {money(day)}, {left} left")
    return lines


def align_columns(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Aligned; numbers to the right."""
    table = [list(heads), *(list(row) for row in rows)]
    widths = [max(len(row[n]) for row in table) for n in range(len(heads))]
    numeric = [
        all(row[n][:1] in "≈0123456789" or row[n] == "unknown" for row in table[1:] if row[n])
        for n in range(len(heads))
    ]
    return [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in table
    ]
