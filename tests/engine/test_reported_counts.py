"""Whatever a provider or a gateway reports as counts, the chat goes on, and no budget counts less than the truth."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import pytest
from support.talks import SONNET, Talk, nothing
from wire import Counts, Reply

from ipycachechat.billing.pricing import Price, Rates
from ipycachechat.conversation.usage import Usage
from ipycachechat.providers.model_data import max_input_tokens, max_output_tokens, price_of

MODELS = [SONNET, "openai/gpt-5.5", "openai/gpt-4.1", "gemini/gemini-2.5-flash"]
UNPRICED = "openrouter/anthropic/claude-sonnet-4.5"
NAMES = {
    "input": ("prompt_tokens", "input_tokens", "promptTokenCount"),
    "output": ("completion_tokens", "output_tokens", "candidatesTokenCount"),
    "read": ("cached_tokens", "cache_read_input_tokens", "cachedContentTokenCount"),
    "written": ("cache_creation_input_tokens", "ephemeral_1h_input_tokens"),
    "thinking": ("reasoning_tokens", "thoughtsTokenCount"),
}
"""Names of the counts in the protocols."""
VALUES: list[Any] = [
    -1,
    -10_000_000,
    math.nan,
    math.inf,
    -math.inf,
    1e30,
    10**40,
    1.5,
    "many",
    "12",
    True,
    [],
    {},
    None,
]


def ask(talk: Talk, reply: Reply) -> Usage | None:
    talk.server.script(reply)
    result = talk.loop.run_until_complete(talk.chat.send(talk.next("one word " * 600), nothing))
    assert result.turn is not None or result.error is not None
    return result.turn.usage if result.turn else None


@pytest.mark.parametrize("model", [*MODELS, UNPRICED])
@pytest.mark.parametrize("kind", NAMES)
def test_what_is_no_count_is_unknown(talk: Talk, model: str, kind: str) -> None:
    talk.model = model
    talk.server.always = Reply("yes")
    if model != UNPRICED:
        talk.chat.client.budgets.set_limits(lambda: (1_000.0, 0.0))
    for value in VALUES:
        talk.chat.versions.reset()
        spent = talk.chat.client.budgets.state.spent
        usage = ask(talk, Reply("yes", fault=Counts(dict.fromkeys(NAMES[kind], value))))
        after = talk.chat.client.budgets.state.spent
        assert math.isfinite(after) and after >= spent, value
        if usage is not None:
            counts = [usage.input, usage.read, usage.written, usage.fresh, usage.output, usage.thinking]
            assert all(count is None or 0 <= count < 1_000_000 for count in counts), (value, usage)
        assert ask(talk, Reply("yes")) is not None, value
        assert len(talk.chat.history.current.turns) > 0
    paid = talk.chat.client.ledger.paid
    assert paid is None or (math.isfinite(paid) and paid >= 0)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", ["input", "output"])
@pytest.mark.parametrize("value", [-1, math.nan, 10**40])
def test_a_budget_counts_the_most_that_such_a_request_can_have_cost(
    talk: Talk, model: str, kind: str, value: Any
) -> None:
    talk.model = model
    client = talk.chat.client
    client.budgets.set_limits(lambda: (1_000.0, 0.0))
    ask(talk, Reply("yes"))
    normal = client.budgets.state.spent
    ask(talk, Reply("yes " * 200, fault=Counts(dict.fromkeys(NAMES[kind], value))))
    assert client.budgets.state.spent - normal > normal > 0


@pytest.mark.parametrize("model", [SONNET, "openai/gpt-4.1", "gemini/gemini-2.5-flash"])
def test_a_note_says_which_count_cannot_be_right(talk: Talk, model: str) -> None:
    talk.model = model
    counts = dict.fromkeys(NAMES["output"], -7) | dict.fromkeys(NAMES["thinking"], 0)
    talk.server.script(Reply("yes", fault=Counts(counts)))
    result = talk.loop.run_until_complete(talk.chat.send(talk.next("hello"), nothing))
    sentence = "token counts that cannot be right, shown as unknown: completion_tokens -7"
    assert any(sentence in note for note in result.notes), result.notes
    assert talk.ask("again").notes == ()


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, -1e-6, 5e6, "free", None, True, [1]])
def test_what_is_no_price_is_unknown(value: Any) -> None:
    record = {"input_cost_per_token": value, "output_cost_per_token": value}
    assert price_of(record) == Price()
    price = price_of({"input_cost_per_token": 1e-6, "output_cost_per_token": value})
    assert price.rates.input == 1e-6 and all(
        getattr(price.rates, rate.name) is None for rate in fields(Rates) if rate.name != "input"
    )
    assert price_of({"input_cost_per_token": "1e-6"}).rates.input == 1e-6


@pytest.mark.parametrize("value", [math.nan, math.inf, -1, "large", None])
def test_what_is_no_size_is_unknown(value: Any) -> None:
    assert max_input_tokens({"max_input_tokens": value}) is None
    assert max_output_tokens({"max_output_tokens": value}, 100) is None
