"""Whatever happens to a conversation, the server's bill is never more than the budget."""

from __future__ import annotations

import ast
import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.budget_world import MODELS, TINY, TOOLS, World, random_step
from support.talks import SONNET, Talk, nothing
from wire import HttpError, Reply, WireServer, words
from wire.money import dollars
from wire.replies import ToolCall

from ipycachechat.api import batch
from ipycachechat.conversation.turns import TurnStatus
from ipycachechat.engine.events import TurnResult
from ipycachechat.errors import OverBudget
from ipycachechat.tools.schema import make_tools


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 1 << 30), cents=st.sampled_from([0.2, 1, 3, 10, 40]), steps=st.integers(3, 25))
def test_over_random_conversations_the_server_never_bills_more_than_the_budget(
    server: WireServer, loop: asyncio.AbstractEventLoop, seed: int, cents: float, steps: int
) -> None:
    r = random.Random(seed)
    world = World(server, loop, cents / 100, model=r.choice(MODELS))
    for _ in range(steps):
        random_step(world, r)
        assert world.billed <= world.spent + TINY
        assert world.billed <= world.budget + TINY
    assert world.spent <= world.budget + TINY


@pytest.fixture
def world(server: WireServer, loop: asyncio.AbstractEventLoop) -> World:
    return World(server, loop, 0.01)


def test_what_could_be_too_much_is_not_sent_and_the_conversation_is_as_it_was(world: World) -> None:
    world.server.script(Reply("yes"))
    assert (done := world.send(world.request("hello"))) and done.error is None
    before = world.chat.history.current
    done = world.send(world.request("and?", max_tokens=16_000))
    assert done and isinstance(done.error, OverBudget)
    first, second = str(done.error).splitlines()
    assert "could cost up to $0.16" in first and "of your $0.01000 budget is left" in first
    assert first.startswith("Not sent") and "16,000 out (max_tokens)" in second and "tokens in" in second
    assert len(world.server.requests) == 1 and world.chat.history.current is before
    world.server.script(Reply("yes"))
    assert (done := world.send(world.request("and?"))) and done.error is None
    assert world.spent == pytest.approx(world.billed)


def test_a_tool_loop_ends_before_the_step_that_is_too_much_and_keeps_what_there_is(world: World) -> None:
    called: list[str] = []

    def read(q: str) -> str:
        "Read something long."
        called.append(q)
        return words(900)

    world.server.script(*[Reply("so", tool_calls=(ToolCall("read", {"q": str(n)}),)) for n in range(9)])
    done = world.send(world.request("look", tools=make_tools([read])))
    assert done and isinstance(done.error, OverBudget) and done.turn
    assert "The tool calls so far are kept" in done.error.hint
    assert done.turn.status is TurnStatus.INTERRUPTED
    assert 0 < len(called) < 9 and len(world.server.requests) == len(called)
    assert [message.role for message in done.turn.replies] == ["assistant", "tool"] * len(called)
    assert world.billed <= world.budget
    world.budget = 1.0
    world.server.clear_scripts()
    assert (done := world.send(world.request("go on", tools=make_tools([read])))) and done.error is None


@pytest.mark.parametrize(("says", "sent"), [(True, 1), (False, 0), (None, 0)])
def test_who_wants_to_be_asked_is_asked_with_the_plan(world: World, says: bool | None, sent: int) -> None:
    questions: list[str] = []

    def person(question: str) -> bool:
        questions.append(question)
        return bool(says)

    who = None if says is None else person
    done = world.send(world.request("hello", max_tokens=16_000, confirm=True, ask_user=who))
    assert done and len(world.server.requests) == sent
    assert (done.error is None) == bool(says)
    if says is None:
        assert "there is no one to ask" in str(done.error) and len(str(done.error).splitlines()) == 2
    else:
        (question,) = questions
        assert "$0.01000 of your $0.01000 budget is left" in question
        assert "plan: ≈0 tokens read" in question and question.endswith("Send it? [y/N] ")
    assert not world.chat.client.budgets.state.held


@pytest.mark.parametrize(("over", "asked"), [(0.0, 0), (10.0, 0), (0.001, 1)])
def test_a_prompt_that_can_cost_much_is_asked_about_once(world: World, over: float, asked: int) -> None:
    world.budget, questions = 0.0, []

    def person(question: str) -> bool:
        questions.append(question)
        return True

    world.server.script(Reply("so", tool_calls=(ToolCall("look", {"q": "x"}),)), Reply("done"))
    done = world.send(
        world.request("hello", tools=TOOLS, max_tokens=1000, ask_user=person, confirm_over=over)
    )
    assert done and done.error is None and len(questions) == asked
    done = world.send(world.request("hello", max_tokens=1000, confirm_over=over))
    assert done and (done.error is None) == (not asked)
    done = world.send(world.request("hello", max_tokens=1000, confirm_over=over, ask_user=lambda _: False))
    assert done and (done.error is None) == (not asked)
    assert len(world.server.requests) == (2 if asked else 4)
    assert not world.chat.client.budgets.state.held and not world.chat.client.busy


def test_an_unknown_price_is_no_price(world: World) -> None:
    world.model = "openai/unknown-model"
    done = world.send(world.request("hello"))
    assert done and "is unknown (its price is unknown), and there is a budget" in str(done.error)
    assert not world.server.requests
    assert (
        done := world.send(world.request("hello", confirm=True, ask_user=lambda _: True))
    ) and not done.error
    assert len(world.server.requests) == 1 and world.chat.client.budgets.state.unknown == 1
    world.budget = 0.0
    assert (done := world.send(world.request("hello"))) and not done.error


@pytest.mark.parametrize("options", [{"service_tier": "priority"}, {"web_search_options": {}}])
def test_what_is_billed_besides_tokens_is_unknown(world: World, options: dict[str, Any]) -> None:
    done = world.send(world.request("hello", options=options))
    assert done and f"{next(iter(options))} may cost something" in str(done.error)
    assert not world.server.requests


def test_an_answer_that_was_stopped_counts_as_a_whole_one(world: World) -> None:
    world.server.script(Reply(words(40), chunk_delay=0.01))
    assert world.send(world.request("hello", max_tokens=300), stop_after=2) is None
    purse = world.chat.client.budgets.state
    assert purse.unbilled_requests == 1 and purse.unbilled_max >= 300 * 10e-6 > world.billed
    world.server.script(Reply(fault=HttpError(400, "no")))
    before = world.spent
    assert (done := world.send(world.request("hello", max_tokens=300))) and done.error
    assert world.spent == before  # a refusal is not billed


def test_many_at_once_are_never_too_much_together_and_wait_for_each_other(world: World) -> None:
    world.budget, together = 0.02, []
    hold = world.chat.client.budgets.reserve

    def watched(*args: Any, **more: Any) -> None:
        hold(*args, **more)
        together.append(len(world.chat.client.budgets.state.held))

    world.chat.client.budgets.reserve = watched  # type: ignore[method-assign]
    world.server.always = Reply("yes " * 3, chunk_delay=0.003)
    asks = [world.request(f"question {n}", max_tokens=500) for n in range(8)]
    found = world.loop.run_until_complete(batch.run_batch(world.chat, asks, 8, nothing))
    done = [one for one in found if isinstance(one, TurnResult) and one.error is None]
    assert len(done) == 8 and 1 < max(together) < 4  # each holds $0.009 back, and costs a hundredth of that
    assert world.billed <= world.budget


def test_what_keeps_the_cache_warm_counts_and_ends_at_the_budget(talk: Talk) -> None:
    talk.ttl = 300
    talk.ask(words(3000))
    budgets = talk.chat.client.budgets
    budgets.set_limits(lambda: (budgets_left, 0.0))
    budgets_left = budgets.state.spent + 4200 * 4e-6 + 3 * 3000 * 0.2e-6
    talk.loop.run_until_complete(talk.chat.keep_warm(talk.next(), 3000).run())
    assert talk.chat.keepalive and 0 < talk.chat.keepalive.refreshed < 6
    assert "could cost" in talk.chat.keepalive.ended
    assert dollars(talk.server.requests) <= budgets_left
    with pytest.raises(OverBudget):
        talk.loop.run_until_complete(talk.chat.warm(talk.next(), nothing))


def test_the_check_of_the_rules_ends_at_the_budget(world: World) -> None:
    world.budget = 0.025
    with pytest.raises(OverBudget):
        world.loop.run_until_complete(world.chat.examine(SONNET, nothing))
    assert 0 < len(world.server.requests) < 8
    assert world.billed == pytest.approx(world.spent) and world.billed <= world.budget


def test_what_was_too_long_holds_nothing_back_and_the_shorter_one_is_checked_again(world: World) -> None:
    world.budget = 0.1

    def read(q: str) -> str:
        "Read something long."
        return words(9000)

    world.server.context_limit = 6000
    world.server.script(Reply("so", tool_calls=(ToolCall("read", {"q": "x"}),)), Reply("done"))
    done = world.send(world.request("look", tools=make_tools([read])))
    assert done and done.error is None and done.turn
    first, *refused, last = [request.bill is not None for request in world.server.requests]
    assert first and last and refused and not any(refused)
    assert (
        world.spent == pytest.approx(world.billed) and world.chat.client.budgets.state.unbilled_requests == 0
    )


@pytest.mark.parametrize("model", MODELS)
def test_what_is_spent_is_what_the_server_bills_to_the_token(world: World, model: str) -> None:
    world.budget, world.model = 1.0, model
    for n in range(4):
        world.server.script(Reply(words(30)))
        assert (done := world.send(world.request(f"{n} {words(2000)}"))) and done.error is None
    assert world.spent == pytest.approx(world.billed)


def test_no_request_is_made_but_by_the_engine() -> None:
    package = Path(__file__).parents[2] / "ipycachechat"
    makers = [
        file.name
        for file in package.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Exchange"
    ]
    assert makers == ["client.py", "client.py"]
    senders = [file.name for file in package.rglob("*.py") if "acompletion(" in file.read_text()]
    assert sorted(senders) == ["exchange.py", "litellm_import.py"]  # the latter asks a closed port
