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


def bound_of(usage: Usage, terms: BillingTerms, more: int = 0) -> CostBound:
    """The bound that was computed before this bill."""
    assert usage.input is not None and usage.output is not None
    rate_in, rate_out = terms.max_rates(usage.input + more)
    assert rate_in is not None and rate_out is not None
    sent, answered = usage.input + more, usage.output + more
    return CostBound(sent, answered, sent * rate_in, answered * rate_out)


@given(bills(), prices(), tokens)
def test_no_bill_exceeds_the_bound(usage: Usage, price: Price, more: int) -> None:
    # No provider charges more for reading than for fresh input.
    cheap = min(rates.input or 0 for rates in (price.rates, *(higher for _, higher in price.above)))
    kind = Price(replace(price.rates, read=min(price.rates.read or 0, cheap)))
    terms = BillingTerms("m", kind)
    paid = cost(usage, kind).paid
    whole = bound_of(usage, terms, more).dollars
    assert paid is not None and whole is not None
    assert paid <= whole * (1 + 1e-9)


@given(bills(), st.booleans(), st.sampled_from(["read", "written", "output", "input"]), tokens)
def test_a_budget_charge_lies_between_the_bill_and_the_bound(
    usage: Usage, whole: bool, missing: str, more: int
) -> None:
    bound = bound_of(usage, SONNET, more)
    paid = cost(usage, SONNET.price).paid
    assert paid is not None and bound.dollars is not None
    partial = {
        "read": replace(usage, read=None, thinking=None),
        "written": replace(usage, written=None, written_1h=0, thinking=None),
        "output": replace(usage, output=None, thinking=None),
        "input": NOTHING_REPORTED,
    }[missing]
    for reported in (usage, partial):
        charge = budget_charge(reported, bound, SONNET, whole=whole)
        assert paid * (1 - 1e-9) <= charge.dollars <= bound.dollars * (1 + 1e-9)
        assert not charge.unknown
        assert charge.exact == (reported is usage and whole)


def test_billed_prefixes_count_exactly_and_the_rest_with_a_margin() -> None:
    chain = build_chain([PromptMessage(Message("user", "x" * 4000), 0)])
    bound = cost_bound(chain, CacheState(), SONNET, 100)
    assert bound.tokens == REQUEST_OVERHEAD + 1000 * MARGIN + BLOCK_OVERHEAD
    assert bound.dollars == pytest.approx((bound.tokens or 0) * 4e-6 + 100 * 10e-6)
    known = CacheState(billed_sizes={chain.prefixes[-1].digest: 777}, estimate_ratio=1.2)
    assert cost_bound(chain, known, SONNET, 100).tokens == 777
    longer = build_chain([*chain.messages, PromptMessage(Message("assistant", "y" * 400), 0)], earlier=chain)
    assert cost_bound(longer, known, SONNET, 100).tokens == 777 + 100 * MARGIN * 1.2 + BLOCK_OVERHEAD


def test_above_an_input_size_the_higher_rates_apply() -> None:
    terms = BillingTerms("m", TIERS)
    assert terms.max_rates(200) == (1.0, 1.0)
    assert terms.max_rates(201) == (2.0, 3.0)
    assert terms.max_rates(None) == (5.0, 4.0)


@pytest.mark.parametrize(
    ("terms", "max_tokens", "why"),
    [
        (BillingTerms("m", Price()), 100, "price"),
        (SONNET, None, "max_tokens"),
        (BillingTerms("m", Price(Rates(input=1.0))), 100, "price"),
    ],
)
def test_what_is_not_known_makes_the_bound_unknown_and_is_named(
    terms: BillingTerms, max_tokens: int | None, why: str
) -> None:
    bound = cost_bound(build_chain([PromptMessage(Message("user", "x"), 0)]), CacheState(), terms, max_tokens)
    assert bound.dollars is None and why in bound.unknown


def test_the_model_on_this_machine_is_free_whatever_is_asked() -> None:
    bound = cost_bound(
        build_chain([PromptMessage(Message("user", "x"), 0)]), CacheState(), BillingTerms("m", FREE), None
    )
    assert bound.dollars == 0.0


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
    bound = cost_bound(
        build_chain([PromptMessage(Message("user", "x"), 0)], settings), CacheState(), SONNET, 100
    )
    assert bound.dollars is None and named in bound.unknown
    assert budget_charge(Usage(input=10, read=0, written=0, output=5), bound, SONNET, whole=True).unknown


def test_images_and_files_count_as_the_largest_possible() -> None:
    def input_tokens(media: str, data: str, terms: BillingTerms = SONNET) -> int:
        chain = build_chain([PromptMessage(Message("user", (Attachment(media, data),)), 0)])
        return cost_bound(chain, CacheState(), terms, 1).tokens or 0

    assert input_tokens("image/png", "AAAA") >= 4_784
    two = b64encode(
        b"1 0 obj <</Type /Pages /Count 2>> 2 0 obj <</Type /Page>> 3 0 obj <</Type/Page>>"
    ).decode()
    assert 2 * (4_784 + 3_000) <= input_tokens("application/pdf", two) < 3 * (4_784 + 3_000)
    assert input_tokens("application/pdf", b64encode(b"no pages").decode()) == SONNET.context
    assert input_tokens("audio/wav", "AAAA") == input_tokens("application/pdf", "no base64") == SONNET.context
    assert cost_bound(
        build_chain([PromptMessage(Message("user", (Attachment("audio/wav", "AAAA"),)), 0)]),
        CacheState(),
        BillingTerms("m", SONNET.price),
        1,
    ).unknown.startswith("how many tokens")


def test_pages_of_compressed_pdfs_are_counted() -> None:
    packed = zlib.compress(b"<</Type/Page /Parent 1 0 R>> <</Type/Page>> <</Type/Pages/Count 3>>")
    pdf = b"%PDF-1.5\n4 0 obj <</Type /ObjStm /Filter /FlateDecode>> stream\n" + packed + b"\nendstream"
    assert pdf_pages(pdf) == 3
    assert pdf_pages(b"%PDF-1.5 /ObjStm stream\nno zlib\nendstream") is None
    assert pdf_pages(b"") is None


dollars = st.floats(0.0, 1.0)
steps = st.lists(st.tuples(dollars, st.floats(0, 1), st.booleans(), st.integers(0, 5)), max_size=40)


@given(st.floats(0.01, 5.0), steps)
def test_parallel_requests_never_spend_more_than_the_budget(limit: float, steps: list[object]) -> None:
    state, open_requests = BudgetState(), {}
    for number, (reserved, part, exact, ends) in enumerate(steps):  # type: ignore[misc]
        if reserved <= state.left(limit):
            state = state.hold(number, reserved)
            open_requests[number] = BudgetCharge(reserved * part, exact)
        for request in list(open_requests)[:ends]:
            state = state.settle(request, open_requests.pop(request))
        assert state.spent + state.reserved <= limit * (1 + 1e-9)
    for one, paid in open_requests.items():
        state = state.settle(one, paid)
    assert state.spent <= limit * (1 + 1e-9) and not state.held
