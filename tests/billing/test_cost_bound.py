"""The most that a request can cost is never less than its bill, and a budget is never less than what is spent."""

from __future__ import annotations

import zlib
from base64 import b64encode
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipycachechat.billing.budget import BudgetCharge, BudgetState, budget_charge
from ipycachechat.billing.cost_bound import (
    BLOCK_OVERHEAD,
    MARGIN,
    REQUEST_OVERHEAD,
    BillingTerms,
    CostBound,
    cost_bound,
    pdf_pages,
)
from ipycachechat.billing.pricing import FREE, Price, Rates, cost
from ipycachechat.caching.prefix import PromptMessage, RequestOptions, build_chain
from ipycachechat.caching.state import CacheState
from ipycachechat.conversation.messages import Attachment, Message
from ipycachechat.conversation.usage import NOTHING_REPORTED, Usage

SONNET = BillingTerms(
    "anthropic/claude-sonnet-5",
    Price(Rates(input=2e-6, output=10e-6, read=0.2e-6, write=2.5e-6, write_1h=4e-6)),
    (1.25, 2.0),
    1_000_000,
)
TIERS = Price(
    Rates(input=1.0, output=1.0, read=0.1),
    ((200, Rates(input=2.0, output=3.0, read=0.2)), (400, Rates(input=5.0, output=4.0, read=0.5))),
)
tokens = st.integers(0, 500)
rates = st.floats(0.01, 10)


def links(*content: str | Attachment, settings: RequestOptions = RequestOptions()) -> object:
    return build_chain([PromptMessage(Message("user", content), 0)], settings)


@st.composite
def bills(draw: st.DrawFn) -> Usage:
    read, written, fresh, output = draw(tokens), draw(tokens), draw(tokens), draw(tokens)
    thinking = draw(st.integers(0, output))
    return Usage(
        input=read + written + fresh,
        read=read,
        written=written,
        written_1h=draw(st.integers(0, written)),
        output=output,
        thinking=thinking,
    )


@st.composite
def prices(draw: st.DrawFn) -> Price:
    def some() -> Rates:
        return Rates(
            input=draw(rates),
            output=draw(rates),
            read=draw(st.just(0.0) | rates),
            write=draw(rates),
            write_1h=draw(rates),
            thinking=draw(rates),
        )

    return Price(some(), tuple((size, some()) for size in draw(st.lists(st.integers(1, 2000), max_size=2))))


def at_most(usage: Usage, terms: BillingTerms, more: int = 0) -> CostBound:
    """The bound that was told before this bill."""
    assert usage.input is not None and usage.output is not None
    rate_in, rate_out = terms.max_rates(usage.input + more)
    assert rate_in is not None and rate_out is not None
    sent, said = usage.input + more, usage.output + more
    return CostBound(sent, said, sent * rate_in, said * rate_out)


@given(bills(), prices(), tokens)
def test_no_bill_is_more_than_the_bound_however_it_is_divided(usage: Usage, price: Price, more: int) -> None:
    # A price for reading that is higher than that for fresh input is nobody's.
    cheap = min(rates.input or 0 for rates in (price.rates, *(higher for _, higher in price.above)))
    kind = Price(replace(price.rates, read=min(price.rates.read or 0, cheap)))
    terms = BillingTerms("m", kind)
    paid = cost(usage, kind).paid
    whole = at_most(usage, terms, more).dollars
    assert paid is not None and whole is not None
    assert paid <= whole * (1 + 1e-9)


@given(bills(), st.booleans(), st.sampled_from(["read", "written", "output", "input"]), tokens)
def test_what_a_request_counts_as_lies_between_its_bill_and_its_bound(
    usage: Usage, whole: bool, untold: str, more: int
) -> None:
    most = at_most(usage, SONNET, more)
    paid = cost(usage, SONNET.price).paid
    assert paid is not None and most.dollars is not None
    told = {
        "read": replace(usage, read=None, thinking=None),
        "written": replace(usage, written=None, written_1h=0, thinking=None),
        "output": replace(usage, output=None, thinking=None),
        "input": NOTHING_REPORTED,
    }[untold]
    for one in (usage, told):
        found = budget_charge(one, most, SONNET, whole=whole)
        assert paid * (1 - 1e-9) <= found.dollars <= most.dollars * (1 + 1e-9)
        assert not found.unknown
        assert found.exact == (one is usage and whole)


def test_what_a_bill_has_told_counts_exactly_and_the_rest_with_a_margin() -> None:
    one = build_chain([PromptMessage(Message("user", "x" * 4000), 0)])
    most = cost_bound(one, CacheState(), SONNET, 100)
    assert most.tokens == REQUEST_OVERHEAD + 1000 * MARGIN + BLOCK_OVERHEAD
    assert most.dollars == pytest.approx((most.tokens or 0) * 4e-6 + 100 * 10e-6)
    known = CacheState(billed_sizes={one.prefixes[-1].digest: 777}, estimate_ratio=1.2)
    assert cost_bound(one, known, SONNET, 100).tokens == 777
    longer = build_chain([*one.messages, PromptMessage(Message("assistant", "y" * 400), 0)], earlier=one)
    assert cost_bound(longer, known, SONNET, 100).tokens == 777 + 100 * MARGIN * 1.2 + BLOCK_OVERHEAD


def test_above_a_size_the_dearer_price_is_taken() -> None:
    terms = BillingTerms("m", TIERS)
    assert terms.max_rates(200) == (1.0, 1.0)
    assert terms.max_rates(201) == (2.0, 3.0)
    assert terms.max_rates(None) == (5.0, 4.0)


@pytest.mark.parametrize(
    ("terms", "most", "why"),
    [
        (BillingTerms("m", Price()), 100, "price"),
        (SONNET, None, "max_tokens"),
        (BillingTerms("m", Price(Rates(input=1.0))), 100, "price"),
    ],
)
def test_what_is_not_known_makes_the_bound_unknown_and_is_named(
    terms: BillingTerms, most: int | None, why: str
) -> None:
    found = cost_bound(build_chain([PromptMessage(Message("user", "x"), 0)]), CacheState(), terms, most)
    assert found.dollars is None and why in found.unknown


def test_the_model_on_this_machine_is_free_whatever_is_asked() -> None:
    found = cost_bound(
        build_chain([PromptMessage(Message("user", "x"), 0)]), CacheState(), BillingTerms("m", FREE), None
    )
    assert found.dollars == 0.0


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (RequestOptions(options=(("service_tier", '"priority"'),)), "service_tier"),
        (RequestOptions(options=(("web_search_options", "{}"),)), "web_search_options"),
        (
            RequestOptions(tools=('{"type":"web_search_20250305","name":"web_search"}',)),
            "web_search_20250305",
        ),
    ],
)
def test_what_may_be_billed_besides_makes_it_unknown_before_and_after(
    settings: RequestOptions, named: str
) -> None:
    found = cost_bound(
        build_chain([PromptMessage(Message("user", "x"), 0)], settings), CacheState(), SONNET, 100
    )
    assert found.dollars is None and named in found.unknown
    assert budget_charge(Usage(input=10, read=0, written=0, output=5), found, SONNET, whole=True).unknown


def test_images_and_files_are_as_large_as_they_can_be() -> None:
    def told(media: str, data: str, terms: BillingTerms = SONNET) -> int:
        one = build_chain([PromptMessage(Message("user", (Attachment(media, data),)), 0)])
        return cost_bound(one, CacheState(), terms, 1).tokens or 0

    assert told("image/png", "AAAA") >= 4_784
    two = b64encode(
        b"1 0 obj <</Type /Pages /Count 2>> 2 0 obj <</Type /Page>> 3 0 obj <</Type/Page>>"
    ).decode()
    assert 2 * (4_784 + 3_000) <= told("application/pdf", two) < 3 * (4_784 + 3_000)
    assert told("application/pdf", b64encode(b"nothing is told").decode()) == SONNET.context
    assert told("audio/wav", "AAAA") == told("application/pdf", "no base64") == SONNET.context
    assert cost_bound(
        build_chain([PromptMessage(Message("user", (Attachment("audio/wav", "AAAA"),)), 0)]),
        CacheState(),
        BillingTerms("m", SONNET.price),
        1,
    ).unknown.startswith("how many tokens")


def test_pages_are_counted_where_they_are_packed_too() -> None:
    packed = zlib.compress(b"<</Type/Page /Parent 1 0 R>> <</Type/Page>> <</Type/Pages/Count 3>>")
    pdf = b"%PDF-1.5\n4 0 obj <</Type /ObjStm /Filter /FlateDecode>> stream\n" + packed + b"\nendstream"
    assert pdf_pages(pdf) == 3
    assert pdf_pages(b"%PDF-1.5 /ObjStm stream\nno zlib\nendstream") is None
    assert pdf_pages(b"") is None


dollars = st.floats(0.0, 1.0)
steps = st.lists(st.tuples(dollars, st.floats(0, 1), st.booleans(), st.integers(0, 5)), max_size=40)


@given(st.floats(0.01, 5.0), steps)
def test_whatever_is_open_at_once_no_more_is_spent_than_the_budget(limit: float, steps: list[object]) -> None:
    purse, open_requests = BudgetState(), {}
    for number, (most, part, exact, ends) in enumerate(steps):  # type: ignore[misc]
        if most <= purse.left(limit):
            purse = purse.hold(number, most)
            open_requests[number] = BudgetCharge(most * part, exact)
        for one in list(open_requests)[:ends]:
            purse = purse.settle(one, open_requests.pop(one))
        assert purse.spent + purse.reserved <= limit * (1 + 1e-9)
    for one, paid in open_requests.items():
        purse = purse.settle(one, paid)
    assert purse.spent <= limit * (1 + 1e-9) and not purse.held
