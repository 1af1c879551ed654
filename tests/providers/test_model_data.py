"""Prices and limits from litellm's model map."""

from __future__ import annotations

from typing import Any

import pytest

from ipycachechat.billing.pricing import Price
from ipycachechat.providers.litellm_import import import_in_portions
from ipycachechat.providers.model_data import max_output_tokens, model_record, price_of


@pytest.fixture(scope="module")
def data() -> dict[str, dict[str, Any]]:
    assert list(import_in_portions())[-1] == "schemas"
    import litellm

    return dict(litellm.model_cost)


def test_rates_as_the_providers_publish_them(data: dict[str, dict[str, Any]]) -> None:
    rates = price_of(model_record(data, "anthropic", "claude-sonnet-5")).rates
    assert rates.input == pytest.approx(2e-6)
    assert rates.output == pytest.approx(10e-6)
    assert rates.read == pytest.approx(0.2e-6)
    assert rates.write == pytest.approx(2.5e-6)
    assert rates.write_1h == pytest.approx(4e-6)


def test_every_default_model_has_a_price_and_a_limit(data: dict[str, dict[str, Any]]) -> None:
    from ipycachechat.defaults import DEFAULT_MODELS

    for model in DEFAULT_MODELS.values():
        provider, _, name = model.partition("/")
        record = model_record(data, provider, name)
        rates = price_of(record).rates
        assert None not in (rates.input, rates.output, rates.read)
        assert max_output_tokens(record, 16_000) == 16_000


def test_a_price_tier_keeps_rates_that_it_does_not_change() -> None:
    record = {
        "input_cost_per_token": 1.0,
        "output_cost_per_token": 2.0,
        "cache_read_input_token_cost": 0.1,
        "input_cost_per_token_above_200k_tokens": 3.0,
        "output_cost_per_token_above_400k_tokens": 9.0,
    }
    found = price_of(record)
    assert (found.at(200_000).input, found.at(200_001).input, found.at(400_001).input) == (1.0, 3.0, 3.0)
    assert (found.at(200_001).output, found.at(400_001).output) == (2.0, 9.0)
    assert found.at(400_001).read == 0.1


@pytest.mark.parametrize("record", [{}, {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0}])
def test_a_missing_or_zero_price_is_unknown(record: dict[str, Any]) -> None:
    assert price_of(record) == Price()


def test_another_providers_model_of_the_same_name_does_not_match(data: dict[str, dict[str, Any]]) -> None:
    assert model_record(data, "openrouter", "claude-sonnet-5") == {}
    assert model_record(data, "anthropic", "no-such-model") == {}


def test_max_output_tokens_is_limited() -> None:
    assert max_output_tokens({"max_output_tokens": 64_000}, 16_000) == 16_000
    assert max_output_tokens({"max_output_tokens": 4_096}, 16_000) == 4_096
    assert max_output_tokens({}, 16_000) is None
