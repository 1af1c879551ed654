"""Numbers in words: tokens, money, shares. What is unknown reads so."""

from __future__ import annotations

import math

from ipycachechat.billing.cost_bound import Purse
from ipycachechat.conversation.usage import Cost, Ledger, Usage


def count(tokens: int | None) -> str:
    """Tokens with thousands apart, or "unknown"."""
    return "unknown" if tokens is None else f"{tokens:,}"


def money(dollars: float | None) -> str:
    """US dollars to the thousandth of a cent, or "unknown"."""
    if dollars is None:
        return "unknown"
    sign = "-" if dollars < 0 else ""
    return f"{sign}${abs(dollars):.5f}" if abs(dollars) < 10 else f"{sign}${abs(dollars):,.2f}"


def answered(usage: Usage) -> str:
    """Tokens of the answer; of one that broke off a lower bound."""
    return "≥" * (usage.at_least and usage.output is not None) + count(usage.output)


def paid(bill: Cost) -> str:
    """What was paid, or a lower bound."""
    return "≥" * (bill.at_least and bill.paid is not None) + money(bill.paid)


def share(part: float | None) -> str:
    """A share as a percentage, or "unknown"; 100% is all of it, not nearly all."""
    return "unknown" if part is None else f"{math.floor(part * 100)}%"


def totals(ledger: Ledger) -> tuple[str, str]:
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


def budgets(purse: Purse, whole: float, day: float, of_day: float | None) -> list[str]:
    """The budgets, what was spent and what is left, a line each. `of_day`: what all notebooks have; None: unknown."""
    spent = f"spent {'at least ' * bool(purse.unknown)}{money(purse.spent)}"
    if whole:
        lines = [f"this kernel: {spent} of {money(whole)}, {money(purse.left(whole))} left"]
    else:
        lines = [f"this kernel: {spent}, no budget (%chat budget 2.00)"]
    if purse.guessed:
        lines.append(
            f"  {money(purse.assumed)} of it for requests whose bill is not known, at the most that it can be"
            f" ({purse.guessed})"
        )
    if purse.unknown:
        lines.append(f"  requests that may have cost more, nobody knows how much: {purse.unknown}")
    if day:
        left = "unknown" if of_day is None else money(max(0.0, day - of_day))
        lines.append(f"today, all notebooks: spent {money(of_day)} of {money(day)}, {left} left")
    return lines
