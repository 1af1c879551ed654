"""Tokens add up, and a bill is either exact or unknown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipycachechat.billing.pricing import FREE, Price, Rates, cost
from ipycachechat.billing.records import Ledger
from ipycachechat.conversation.usage import NOTHING_REPORTED, Cost, Timing, Usage

SONNET = Price(Rates(input=2e-6, output=10e-6, read=0.2e-6, write=2.5e-6, write_1h=4e-6))
tokens = st.integers(0, 10**6)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    read, written, fresh = draw(tokens), draw(tokens), draw(tokens)
    return Usage(
        input=read + written + fresh,
        read=read,
        written=written,
        written_1h=draw(st.integers(0, written)),
        output=draw(tokens),
    )


@given(usages())
def test_read_written_and_fresh_add_up_to_the_input(usage: Usage) -> None:
    assert usage.read is not None and usage.written is not None and usage.fresh is not None
    assert usage.read + usage.written + usage.fresh == usage.input


def test_counts_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="more tokens"):
        Usage(input=10, read=8, written=8)


def test_unknown_counts_stay_unknown() -> None:
    assert NOTHING_REPORTED.fresh is None
    assert Usage(input=100, read=None, written=0).fresh is None
    assert Usage(input=100, read=None, written=0).share_read is None
    assert Usage(input=0, read=0, written=0).share_read is None


def test_the_cost_equals_a_calculation_by_hand() -> None:
    usage = Usage(input=12 + 1000 + 2000 + 10_000, read=10_000, written=3000, written_1h=2000, output=50)
    by_hand = 12 * 2e-6 + 10_000 * 0.2e-6 + 1000 * 2.5e-6 + 2000 * 4e-6 + 50 * 10e-6
    bill = cost(usage, SONNET)
    assert bill.paid == pytest.approx(by_hand)
    assert bill.saved == pytest.approx(13_012 * 2e-6 + 50 * 10e-6 - by_hand)


def test_writing_costs_more_than_no_cache() -> None:
    saved = cost(Usage(input=1000, read=0, written=1000, written_1h=1000, output=0), SONNET).saved
    assert saved == pytest.approx(-1000 * 2e-6)


@pytest.mark.parametrize(
    ("usage", "price"),
    [
        (NOTHING_REPORTED, SONNET),
        (Usage(input=100, read=0, written=0, output=None), SONNET),
        (Usage(input=100, read=None, written=0, output=5), SONNET),
        (Usage(input=100, read=50, written=0, output=5), Price(Rates(input=2e-6, output=10e-6))),
        (
            Usage(input=100, read=0, written=50, written_1h=50, output=5),
            Price(Rates(input=2e-6, output=10e-6, read=0.2e-6, write=2.5e-6)),
        ),
        (Usage(input=100, read=0, written=0, output=5), Price()),
    ],
)
def test_a_missing_count_or_rate_makes_the_bill_unknown(usage: Usage, price: Price) -> None:
    assert cost(usage, price) == Cost(None, None)


def test_a_rate_that_is_not_needed_may_be_missing() -> None:
    assert cost(
        Usage(input=100, read=0, written=0, output=5), Price(Rates(input=2e-6, output=10e-6))
    ).paid == pytest.approx(250e-6)


def test_above_an_input_size_the_higher_rates_apply_to_the_whole_request() -> None:
    price = Price(
        Rates(input=1.0, output=1.0),
        ((200, Rates(input=2.0, output=3.0)), (400, Rates(input=5.0, output=5.0))),
    )
    bills = [cost(Usage(input=size, read=0, written=0, output=10), price).paid for size in (200, 201, 401)]
    assert bills == [210, 402 + 30, 2005 + 50]


def test_thinking_tokens_may_have_their_own_rate() -> None:
    assert (
        cost(
            Usage(input=0, read=0, written=0, output=10, thinking=4),
            Price(Rates(input=1.0, output=1.0, thinking=3.0)),
        ).paid
        == 6 + 12
    )
    assert (
        cost(
            Usage(input=0, read=0, written=0, output=10, thinking=4), Price(Rates(input=1.0, output=1.0))
        ).paid
        == 10
    )


def test_the_local_model_is_free() -> None:
    assert cost(Usage(input=100, read=50, written=0, output=5), FREE) == Cost(0.0, 0.0)


@given(st.lists(usages(), max_size=8))
def test_a_ledger_is_the_sum_of_its_bills(requests: list[Usage]) -> None:
    ledger = Ledger()
    for usage in requests:
        ledger = ledger.add(usage, cost(usage, SONNET))
    assert ledger.requests == len(requests)
    assert ledger.tokens.input == sum(usage.input or 0 for usage in requests)
    assert ledger.tokens.fresh == sum(usage.fresh or 0 for usage in requests)
    assert ledger.paid == pytest.approx(sum(cost(usage, SONNET).paid or 0 for usage in requests))
    assert ledger.unknown_tokens == ledger.unknown_cost == 0


def test_a_ledger_counts_requests_with_unknown_tokens_or_cost() -> None:
    ledger = (
        Ledger()
        .add(NOTHING_REPORTED, Cost())
        .add(Usage(input=5, read=0, written=0, output=5), Cost(1.0, 0.0))
    )
    assert (ledger.unknown_tokens, ledger.unknown_cost, ledger.paid) == (1, 1, 1.0)


def test_a_speed_needs_tokens_and_time() -> None:
    assert Timing(0.5, 2.0, 100).rate == 50
    assert (Timing(0.5, 2.0, 100) + Timing(9.0, 3.0, 50)) == Timing(0.5, 5.0, 150)
    for timing in (
        Timing(0.5, 2.0, None),
        Timing(0.5, 0.0, 100),
        Timing(0.5, 0.01, 100),
        Timing(1, 2, 3) + Timing(1, 2, None),
    ):
        assert timing.rate is None


def test_a_lower_bound_stays_one_in_every_sum() -> None:
    whole, broken = (
        Usage(input=10, read=0, written=0, output=5),
        Usage(input=20, read=0, written=0, output=1, at_least=True),
    )
    assert (whole + broken).at_least and not (whole + whole).at_least
    bills = [cost(usage, SONNET) for usage in (whole, broken)]
    assert [bill.at_least for bill in bills] == [False, True] and (bills[0] + bills[1]).at_least
    ledger = Ledger().add(whole, bills[0]).add(broken, bills[1])
    assert ledger.tokens.input == 30 and ledger.unknown_tokens == ledger.unknown_cost == 1
