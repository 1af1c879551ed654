"""Ask the user before a request over budget or over `confirm_over`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ipycachechat.billing.pricing import prompt_cost
from ipycachechat.caching.planner import PlannedRequest
from ipycachechat.engine.client import ModelClient
from ipycachechat.engine.turn_request import TurnRequest
from ipycachechat.errors import OverBudget
from ipycachechat.providers.endpoint import ModelEndpoint
from ipycachechat.providers.exchange import Exchange
from ipycachechat.text.format import money

RunOnCaller = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs a function on the caller's thread and returns what it returns."""


async def open_request(
    client: ModelClient,
    endpoint: ModelEndpoint,
    planned: PlannedRequest,
    request: TurnRequest,
    run_on_caller: RunOnCaller,
    *,
    first: bool,
) -> Exchange:
    """Open a request, after asking the user where needed. Raises OverBudget, and what `ModelClient.exchange` does.

    `first`: it is the turn's first request; `confirm_over` asks once a turn, not at each step.
    """
    limit = request.max_tokens or endpoint.max_output_tokens
    bound = client.bound(endpoint, planned.chain, limit)
    cost = "an unknown amount" if bound.dollars is None else f"{money(bound.dollars)} at most"
    plan = _describe_plan(endpoint, planned, f"This request costs {cost}")
    await client.budgets.wait_for_room(bound)
    try:
        exchange = client.exchange(endpoint, planned, limit, request.limits)
    except OverBudget as error:
        if not request.confirm:
            raise
        problem = error.message.removeprefix("Not sent: ")
        question = f"{problem[:1].upper()}{problem[1:]}. {plan}"
        await _confirm(question, request, run_on_caller, first=first)
        return client.exchange(endpoint, planned, limit, request.limits, allowed=True)
    try:
        expensive = bound.dollars is None or bound.dollars > request.confirm_over
        if request.confirm_over and first and expensive:
            await _confirm(plan, request, run_on_caller, first=True)
    except BaseException:
        client.close(exchange)
        raise
    return exchange


async def _confirm(question: str, request: TurnRequest, run_on_caller: RunOnCaller, *, first: bool) -> None:
    """Ask the user on the caller's thread. Raises OverBudget unless the answer is yes."""
    ask_user = request.ask_user
    if ask_user is None:
        raise OverBudget(
            f"{question}, and there is no one to ask",
            "It was not sent. Run the cell yourself; see %chat budget and ChatMagics.confirm_over.",
        )
    if await run_on_caller(lambda: ask_user(f"{question}. Send it? [y/N] ")) is not True:
        what = "Cancelled; nothing was sent." if first else "Cancelled; this request was not sent."
        raise OverBudget(what, "Run the cell again to send it.")


def _describe_plan(endpoint: ModelEndpoint, planned: PlannedRequest, cost: str) -> str:
    expected = planned.expected
    tokens = f"≈{expected.read:,} tokens read, {expected.written:,} written, {expected.fresh:,} fresh"
    return f"{cost} (plan: {tokens}, ≈{money(prompt_cost(expected, endpoint.price))} without the answer)"
