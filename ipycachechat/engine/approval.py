"""A request is opened: at once, or after the person was asked about what it can cost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from ipycachechat.billing.forecast import prompt_cost
from ipycachechat.errors import OverBudget
from ipycachechat.text.format import money

if TYPE_CHECKING:
    from ipycachechat.caching.planner import PlannedRequest
    from ipycachechat.engine.client import ModelClient
    from ipycachechat.engine.turn_request import TurnRequest
    from ipycachechat.providers.endpoint import ModelEndpoint
    from ipycachechat.providers.exchange import Exchange

RunOnCaller = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs something on the thread of whoever asked."""


async def open_request(
    engine: ModelClient,
    to: ModelEndpoint,
    prepared: PlannedRequest,
    ask: TurnRequest,
    here: RunOnCaller,
    *,
    first: bool,
) -> Exchange:
    """The request, within the budgets, or since the person allows it. Raises OverBudget, and what `exchange` does.

    `first`: whether it is the turn's first; about the prompt the person is asked once, not at each step.
    """
    limit = ask.max_tokens or to.max_output_tokens
    bound = engine.bound(to, prepared.chain, limit)
    dollars = "what nobody knows" if bound.dollars is None else f"{money(bound.dollars)} at most"
    plan = _plan(to, prepared, f"This request costs {dollars}")
    await engine.budgets.wait_for_room(bound)
    try:
        exchange = engine.exchange(to, prepared, limit, ask.limits)
    except OverBudget as error:
        if not ask.confirm:
            raise
        await _confirmed(f"{error.message}. {plan}", ask, here)
        return engine.exchange(to, prepared, limit, ask.limits, allowed=True)
    try:
        much = bound.dollars is None or bound.dollars > ask.confirm_over
        if ask.confirm_over and first and much:
            await _confirmed(plan, ask, here)
    except BaseException:
        engine.close(exchange)
        raise
    return exchange


async def _confirmed(question: str, ask: TurnRequest, here: RunOnCaller) -> None:
    """Ask the person, on their own thread. Raises OverBudget unless they say yes."""
    person = ask.ask_user
    if person is None:
        raise OverBudget(
            f"{question}, and nobody is there to be asked",
            "It was not sent. Run it by hand; see %chat budget, and ChatMagics.confirm_over.",
        )
    if await here(lambda: person(f"{question}. Send it? [y/N] ")) is not True:
        raise OverBudget("You did not confirm the request", "It was not sent.")


def _plan(to: ModelEndpoint, prepared: PlannedRequest, cost: str) -> str:
    """What is expected of it, and what it can cost."""
    told = prepared.plan.expected
    expected = f"≈{told.read:,} tokens read, {told.written:,} written, {told.fresh:,} fresh"
    return f"{cost} (plan: {expected}, ≈{money(prompt_cost(told, to.price))} without the answer)"
