"""What a request would do to the cache and to the bill, told before it is sent."""

from __future__ import annotations

from dataclasses import dataclass

from ipycachechat.core.cache import CacheState, Outcome
from ipycachechat.core.plan import Prepared
from ipycachechat.core.reason import Reason
from ipycachechat.core.usage import Price, Usage, cost

KINDS = {"tool": "tool", "tool_use": "call", "tool_result": "result"}


@dataclass(frozen=True, slots=True)
class Row:
    """One block of the prefix."""

    what: str
    turn: int
    """From 0; -1: none."""
    cell: str
    tokens: int
    exact: bool
    checkpoint: int | None = None
    """Lifetime in seconds."""
    warm_until: float | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """Tokens, the prompt's costs in dollars (None: unknown), and the blocks in order."""

    model: str
    expected: Outcome
    paid: float | None
    uncached: float | None
    lifetimes: tuple[tuple[int, float | None], ...]
    """What it would cost with either lifetime, where there is a choice."""
    rows: tuple[Row, ...]
    reason: Reason | None = None


def prompt_cost(expected: Outcome, price: Price, *, cached: bool = True) -> float | None:
    """Dollars for the prompt alone; with `cached` False what it would cost with no cache."""
    usage = Usage(expected.input, expected.read, expected.written, expected.written_1h, 0)
    return cost(usage if cached else Usage(expected.input, 0, 0, 0, 0), price).paid


def rows(prepared: Prepared, state: CacheState) -> tuple[Row, ...]:
    """The blocks of a request; tokens are those of the block alone."""
    chain, marked = prepared.chain, {mark.at: mark.ttl for mark in prepared.plan.marks}
    found, before, known = [], 0, True
    sizes = state.sizes(chain)
    for n, prefix in enumerate(chain.prefixes):
        one = chain.said[prefix.message] if prefix.message >= 0 else None
        upto, exact = sizes[n]
        entry = state.live(prefix.digest, prepared.at)
        what = KINDS.get(prefix.kind) or {"system": "system", "user": "prompt"}.get(
            one.message.role if one else "", "answer"
        )
        found.append(
            Row(
                what,
                prefix.turn,
                one.cell if one else "",
                upto - before,
                exact and known,
                marked.get(n),
                entry.expires if entry else None,
            )
        )
        before, known = upto, exact
    return tuple(found)
