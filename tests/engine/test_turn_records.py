"""What the requests of one turn cost together, also where one was stopped."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from support.talks import Talk, nothing
from wire import HttpError, Reply, ToolCall, WireServer

from ipycachechat.billing.records import RequestRecord, TurnRecords
from ipycachechat.caching.state import ExpectedUsage
from ipycachechat.conversation.events import ToolCallFinished
from ipycachechat.conversation.turns import TurnStatus
from ipycachechat.conversation.usage import Cost, Usage
from ipycachechat.engine.events import TurnResult
from ipycachechat.engine.turn_request import TurnRequest
from ipycachechat.providers.timeouts import RequestLimits
from ipycachechat.tools.schema import make_tools

PROVIDERS = ["anthropic/claude-sonnet-5", "openai/gpt-5.5", "gemini/gemini-3.8-flash"]
REPORTED = RequestRecord(
    model="a/b",
    sent_at=0.0,
    expected=ExpectedUsage(0, 0, 0, 0),
    usage=Usage(input=10, read=4, written=6, output=1),
    cost=Cost(0.5, 0.1),
)
REPLAYED = replace(REPORTED, replayed=True, cost=Cost(0.0, 0.0))
UNREPORTED = replace(REPORTED, usage=Usage(), cost=Cost())


def test_the_total_is_all_that_was_reported() -> None:
    bills = TurnRecords().add(REPORTED).add(REPORTED)
    assert bills.cost == Cost(1.0, 0.2) and bills.usage == Usage(input=20, read=8, written=12, output=2)


@pytest.mark.parametrize(
    "bills",
    [TurnRecords().add(REPORTED).add(UNREPORTED), TurnRecords().add(REPORTED).add_unreported(UNREPORTED)],
)
def test_with_an_unreported_request_the_total_is_a_lower_bound(bills: TurnRecords) -> None:
    assert bills.cost == Cost(0.5, None, at_least=True)


def test_where_nothing_was_reported_the_cost_is_unknown() -> None:
    assert (
        TurnRecords().cost
        == TurnRecords().add(UNREPORTED).cost
        == TurnRecords().add_unreported(UNREPORTED).cost
        == Cost()
    )


def test_a_turn_is_replayed_only_if_all_of_its_replies_were() -> None:
    assert TurnRecords().add(REPLAYED).replayed
    assert not TurnRecords().replayed
    assert not TurnRecords().add(REPLAYED).add(REPORTED).replayed
    assert not TurnRecords().add(REPLAYED).add_unreported(UNREPORTED).replayed


@pytest.mark.parametrize("model", PROVIDERS)
def test_a_turn_that_is_stopped_while_its_second_request_waits_cost_at_least_the_first(
    talk: Talk, model: str
) -> None:
    talk.server.script(Reply("I look", tool_calls=(ToolCall("look", {}),)), Reply("late", first_delay=30))
    done = stopped(talk, model)
    assert done.turn and done.turn.status is TurnStatus.INTERRUPTED
    assert done.turn.cost.at_least and done.turn.cost.paid
    assert talk.chat.client.ledger.requests == 2 and talk.chat.client.ledger.unknown_cost == 1


def test_a_request_that_was_refused_makes_no_bill_uncertain(talk: Talk, server: WireServer) -> None:
    talk.server.script(HttpError(429, "slow down"), Reply("yes"))
    done = talk.loop.run_until_complete(
        talk.chat.send(
            TurnRequest("hello", talk.model, limits=RequestLimits(retries=1, retry_time=60)), nothing
        )
    )
    assert done.turn and not done.turn.cost.at_least
    assert talk.chat.client.ledger.requests == 1 and not talk.chat.client.ledger.unknown_cost


def stopped(talk: Talk, model: str) -> TurnResult:
    """A turn that is stopped once its tool has returned and the next request is on its way."""

    def look() -> str:
        "Look."
        return "seen"

    results: list[TurnResult] = []

    async def run() -> None:
        returned = asyncio.Event()

        def tell(event: object) -> None:
            match event:
                case ToolCallFinished():
                    returned.set()
                case TurnResult():
                    results.append(event)
                case _ if hasattr(event, "work"):
                    event.work()

        task = asyncio.ensure_future(
            talk.chat.send(TurnRequest("hello", model, tools=make_tools([look])), tell)
        )
        await returned.wait()
        while len(talk.server.requests) < 2:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])

    talk.loop.run_until_complete(run())
    return results[-1]
