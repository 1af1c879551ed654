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
    """Return the local time of day, as in "14:05"."""
    return time.strftime("%H:%M", time.localtime(seconds))


def one_line(text: str, max_length: int = 60) -> str:
    """Return the beginning of a text in one line."""
    line = " ".join(sanitize.clean(text).split())
    return line if len(line) <= max_length else line[: max_length - 1] + "…"


def write_stdout(text: str) -> None:
    """Write a text to stdout without control sequences; what cannot be encoded there becomes question marks."""
    text = sanitize.clean(text)
    code = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout.write(text.encode(code, "replace").decode(code))
    sys.stdout.flush()


def output_text(usage: Usage) -> str:
    """Return the tokens of the answer, with "≥" if they are a lower bound."""
    return "≥" * (usage.at_least and usage.output is not None) + count(usage.output)


def written_text(usage: Usage) -> str:
    """Return the tokens written to the cache, or "not billed" if the provider does not bill writes."""
    return count(usage.written) if usage.bills_writes else "not billed"


def cost_text(bill: Cost) -> str:
    """Return the cost as text, with "≥" if it is a lower bound."""
    return "≥" * (bill.at_least and bill.paid is not None) + money(bill.paid)


def short_money(dollars: float) -> str:
    """Return an amount of at least 0 with as many digits as help: "$1.50", "$0.0021", "< $0.0001"."""
    if 0 < dollars < 0.00005:
        return "< $0.0001"
    return f"${dollars:,.2f}" if dollars >= 1 or dollars == 0 else f"${dollars:.4f}"


def totals_text(ledger: Ledger) -> tuple[str, str]:
    """Return a line of tokens and a line of costs on all requests of the kernel."""
    tokens, cost = ledger.tokens, f"cost {money(ledger.paid)}"

    def unreported(requests: int) -> str:
        return f" ({requests} of {ledger.requests} requests not fully reported)" if requests else ""

    first = (
        f"{'at least ' * bool(ledger.unknown_tokens)}{count(tokens.input)} tokens in: {count(tokens.read)} cached, "
        f"{count(tokens.written)} newly cached, {count(tokens.fresh)} uncached; {count(tokens.output)} out"
        + unreported(ledger.unknown_tokens)
    )
    if ledger.requests and ledger.unknown_cost == ledger.requests and not ledger.paid:
        return first, "cost unknown"
    if ledger.unknown_cost:
        cost = f"cost at least {money(ledger.paid)}{unreported(ledger.unknown_cost)}"
    return first, f"{cost}, saved {money(ledger.saved)}" + " as far as reported" * bool(ledger.unknown_cost)


def budget_lines(state: BudgetState, limit: float, day_limit: float, day_spent: float | None) -> list[str]:
    """Return a line for each budget: its limit, what was spent and what is left (dollars; limit 0: none).

    `day_spent` is the amount of all notebooks today; None: unknown.
    """
    spent = f"spent {'at least ' * bool(state.unknown)}{money(state.spent)}"
    if limit:
        lines = [f"this kernel: {spent} of {money(limit)}, {money(state.left(limit))} left"]
    else:
        lines = [f"this kernel: {spent}, no budget (%chat budget 2.00)"]
    if state.unbilled_requests:
        requests = f"{state.unbilled_requests} request{'s' * (state.unbilled_requests > 1)}"
        lines.append(f"  includes {money(state.unbilled_max)}, the maximum, for {requests} without a bill")
    if state.unknown:
        lines.append(
            f"  {state.unknown} request{'s' * (state.unknown > 1)} may have cost more, of unknown price"
        )
    if day_limit:
        left = "unknown" if day_spent is None else money(max(0.0, day_limit - day_spent))
        lines.append(f"today, all notebooks: spent {money(day_spent)} of {money(day_limit)}, {left} left")
    return lines


def align_columns(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return aligned rows of text, numbers on the right."""
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
