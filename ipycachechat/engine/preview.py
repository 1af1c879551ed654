"""Preview: what the next request would contain, read and cost."""

from __future__ import annotations

from typing import NamedTuple

from ipycachechat.billing.pricing import Forecast, prompt_cost
from ipycachechat.caching.breakdown import RequestPreview, block_rows, block_texts
from ipycachechat.caching.planner import PlannedRequest
from ipycachechat.caching.prefix import PromptMessage, RequestOptions
from ipycachechat.caching.request import estimate_prompt, prompt_messages
from ipycachechat.conversation.turns import Conversation, Turn
from ipycachechat.engine.client import ModelClient, to_wire
from ipycachechat.engine.events import RequestStarted
from ipycachechat.engine.turn_request import TurnRequest, endpoint_for, past_of, request_options
from ipycachechat.providers.endpoint import ModelEndpoint


class NextRequest(NamedTuple):
    """The first request of a turn, as far as it can be planned."""

    endpoint: ModelEndpoint
    messages: list[PromptMessage]
    options: RequestOptions


def sending(request: TurnRequest, conversation: Conversation) -> RequestStarted:
    """Return a rough estimate of a request, before its model is looked up."""
    past = past_of(request, conversation)
    messages = prompt_messages(past, _turn(request), system=request.system)
    return RequestStarted(model=request.model, tokens=estimate_prompt(messages), turns=len(past.turns))


def next_request(request: TurnRequest, conversation: Conversation, endpoint: ModelEndpoint) -> NextRequest:
    """Return the request that a prompt would send."""
    past = past_of(request, conversation)
    endpoint = endpoint_for(endpoint, request, past)
    messages = prompt_messages(past, _turn(request), endpoint.view, request.system)
    return NextRequest(endpoint, messages, request_options(request, past, endpoint))


def plan(
    client: ModelClient, request: TurnRequest, conversation: Conversation, endpoint: ModelEndpoint
) -> Forecast:
    """Return what the request would read, write and cost; an empty prompt stands for any next one."""
    endpoint, messages, options = next_request(request, conversation, endpoint)

    def planned_for(ttl: int | None, cache: bool = True) -> PlannedRequest:
        return client.prepare(endpoint, messages, options, ttl, cache=cache)

    planned, price = planned_for(request.ttl, request.cache), endpoint.price
    expected = planned.expected
    choice = endpoint.rules.has_ttl_choice and request.cache
    return Forecast(
        model=endpoint.model,
        expected=expected,
        cost=prompt_cost(expected, price),
        cost_without_cache=prompt_cost(expected, price, cached=False),
        lifetimes=tuple(
            (ttl, prompt_cost(planned_for(ttl).expected, price)) for ttl in endpoint.rules.lifetimes if choice
        ),
        rows=block_rows(planned, client.trackers.get(endpoint).state),
        reason=client.predict_miss(endpoint, planned) if client.last_scope else None,
    )


def contents(
    client: ModelClient, request: TurnRequest, conversation: Conversation, endpoint: ModelEndpoint
) -> RequestPreview:
    """Return what the request would contain; with an empty prompt, everything in front of the next one."""
    endpoint, messages, options = next_request(request, conversation, endpoint)
    messages = messages if request.prompt or request.cell_runs else messages[:-1]
    planned = client.prepare(endpoint, messages, options, request.ttl)
    rows = block_rows(planned, client.trackers.get(endpoint).state)
    wire_messages, wire_options = to_wire(endpoint, planned)
    return RequestPreview(
        endpoint.model,
        tuple(zip(rows, block_texts(planned.chain), strict=True)),
        {"model": endpoint.litellm_model, "messages": wire_messages, **wire_options},
    )


def _turn(request: TurnRequest) -> Turn:
    return Turn(request.prompt, (), cell=request.placement.cell, cell_runs=request.cell_runs)
