"""What the inspector says of many turns, of what is unknown, and of which HTML it is made."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.html_tables import Html

from ipycachechat.billing.records import Ledger
from ipycachechat.caching.breakdown import BlockRow
from ipycachechat.caching.miss_reasons import MissCause, MissReason
from ipycachechat.caching.state import ExpectedUsage
from ipycachechat.conversation.messages import Message
from ipycachechat.conversation.turns import CellRef, Turn, TurnStatus
from ipycachechat.conversation.usage import NOTHING_REPORTED, Cost, Usage
from ipycachechat.engine.events import TurnResult
from ipycachechat.rendering import charts, inspector, reports
from ipycachechat.rendering.format import time_of_day

NOW = 1_000_000.0
KEPT = {"div", "details", "summary", "span", "table", "thead", "tbody", "tr", "th", "td"}
"""Of the tags that an untrusted notebook keeps, those in use."""


def turn(n: int) -> Turn:
    """The first writes 3,000 tokens, each later one reads them and writes 100 more."""
    usage = (
        Usage(input=3000, read=0, written=3000, output=20)
        if n == 1
        else Usage(input=3000 + 100 * n, read=2900 + 100 * n, written=90, output=20)
    )
    cost = Cost(0.008, -0.002) if n == 1 else Cost(0.002, 0.005)
    said = (Message("assistant", "!"),)
    cell = CellRef(f"cell-{n}", "r")
    return Turn(f"What <b>about</b> ${n}$?", said, model="a/b", usage=usage, cell=cell, cost=cost)


def result_of(one: Turn, number: int) -> TurnResult:
    rows = (
        BlockRow(
            what="system", turn=-1, cell="", tokens=500, exact=True, checkpoint=300, warm_until=NOW + 200
        ),
        BlockRow(what="prompt", turn=0, cell="cell-1", tokens=2000, exact=False),
        BlockRow(
            what="prompt",
            turn=number - 1,
            cell=f"cell-{number}",
            tokens=7,
            exact=False,
            checkpoint=3600,
            warm_until=NOW + 3000,
        ),
        BlockRow(
            what="answer",
            turn=number - 1,
            cell=f"cell-{number}",
            tokens=8,
            exact=False,
            checkpoint=300,
            warm_until=NOW - 5,
        ),
    )
    usage = one.usage
    expected = ExpectedUsage(usage.read or 0, usage.written or 0, 0, 0)
    return TurnResult(
        turn=one, cost=one.cost, number=number, expected=expected, warm_until=NOW + 3000, rows=rows
    )


def standing(*turns: Turn) -> inspector.UsageSnapshot:
    ledger = Ledger()
    for one in turns:
        ledger = ledger.add(one.usage, one.cost)
    done = tuple(result_of(one, n) for n, one in enumerate(turns, 1))
    return inspector.UsageSnapshot(turns, done, frozenset(), ledger, done[-1] if done else None, (9, 9), "")


def rows(standing: inspector.UsageSnapshot) -> list[dict[str, str]]:
    return Html(inspector.to_html(standing, NOW)).table("turn", "cost so far")


def test_it_is_made_of_what_an_untrusted_notebook_keeps_and_a_question_is_only_text() -> None:
    some = standing(turn(1), replace(turn(2), usage=NOTHING_REPORTED, cost=Cost()), turn(3))
    reason = MissReason(MissCause.EDITED, 9, old_text="a <i>b</i>", new_text="a $x$", cell="<c>")
    wrong = replace(result_of(turn(2), 2), reason=reason)
    for html in (inspector.to_html(some, NOW), reports.why_html(wrong), reports.why_html(None)):
        seen = Html(html)
        assert seen.tags <= KEPT
        assert seen.attributes <= {"class", "title", "style", "open", "scope"}
        assert "color:" not in html.replace("background-color:", "")
        assert "mathjax_ignore tex2jax_ignore" in html
    assert "What &lt;b&gt;about&lt;/b&gt;" in inspector.to_html(some, NOW)


def test_cost_and_savings_add_up_and_the_last_row_is_the_sum() -> None:
    found = rows(standing(turn(1), turn(2), turn(3)))
    assert [row["cost so far"] for row in found] == ["$0.00800", "$0.01000", "$0.01200", "$0.01200"]
    assert [row["saved so far"] for row in found] == ["-$0.00200", "$0.00300", "$0.00800", "$0.00800"]
    assert found[-1]["turn"] == "all" and found[-1]["input"] == "9,500" and found[-1]["read"] == "6,300"
    html = inspector.to_html(standing(turn(1), turn(2)), NOW)
    assert "up to turn 1: cost $0.00800, saved -$0.00200" in Html(html).titles
    assert "Below zero: caching has cost more than it saved so far" in html


def test_a_turn_of_which_nothing_is_known_leaves_the_sums_at_least() -> None:
    unknown = replace(turn(2), usage=NOTHING_REPORTED, cost=Cost())
    found = rows(standing(turn(1), unknown, turn(3)))
    assert {found[1][name] for name in ("read", "written", "fresh", "input", "answered", "cost")} == {
        "unknown"
    }
    assert found[-1]["input"] == "≥6,300"
    assert found[-1]["cost"] == "≥$0.01000" and found[-1]["saved"] == "$0.00300 + unknown"
    alone = standing(unknown)
    assert set(rows(alone)[-1].values()) == {"all", "unknown", ""}
    html = inspector.to_html(alone, NOW)
    assert "turn 1: unknown in: unknown cached, unknown newly cached, unknown uncached" in Html(html).titles
    assert "dashed" in html and "Dashed: cached tokens not reported (turn 1)" in html


def test_the_known_cost_of_a_broken_answer_is_in_every_sum() -> None:
    usage, cost = (
        Usage(input=3000, read=0, written=3000, output=7, at_least=True),
        Cost(0.008, -0.002, at_least=True),
    )
    alone = standing(replace(turn(1), usage=usage, cost=cost))
    row, total = rows(alone)
    assert row["answered"] == total["answered"] == "≥7" and row["cost"] == total["cost"] == "≥$0.00800"
    assert total["input"] == "3,000"
    assert alone.text.splitlines()[1].startswith("cost at least $0.00800 ")


def test_what_was_not_sent_not_billed_or_not_finished_says_so() -> None:
    gone = replace(turn(2), replayed=True, cost=Cost(0.0, 0.0))
    odd = replace(
        turn(3),
        status=TurnStatus.INTERRUPTED,
        usage=Usage(input=50, read=40, written=0, output=2, bills_writes=False),
    )
    some = replace(standing(turn(1), gone, odd), stale=frozenset({3}))
    _, replayed, last, total = rows(some)
    assert replayed["read"] == "–" and replayed["notes"] == "replayed" and replayed["cost"] == "$0.00000"
    assert last["written"] == "not billed" and last["notes"] == "interrupted, out of date"
    assert total["input"] == "3,050"
    assert "turn 2: replayed, nothing sent" in Html(inspector.to_html(some, NOW)).titles


def test_a_block_is_warm_as_long_as_any_prefix_that_goes_beyond_it() -> None:
    cache = Html(inspector.to_html(standing(turn(1), turn(2)), NOW)).table("what", "cache")
    assert [tuple(row.values()) for row in cache] == [
        ("system … turn 2: prompt", "≈2,507", f"cached until {time_of_day(NOW + 3000)}"),
        ("turn 2: answer", "≈8", f"no longer cached (until {time_of_day(NOW - 5)})"),
    ]


def test_a_long_conversation_stays_small_and_its_sums_right() -> None:
    many = standing(*(turn(n) for n in range(1, 1001)))
    html = inspector.to_html(many, NOW)
    found = rows(many)
    assert found[0]["turn"] == "1 to 900" and len(found) == 1 + inspector.MAX_ROWS + 1
    assert found[-1]["cost so far"] == "$2.00600"
    assert html.count(">block</th>") == inspector.MAX_UNFOLDED
    assert len(html) < 400_000


@pytest.mark.parametrize(
    ("values", "said", "least"),
    [
        ([], "$0.00000", "$0.00000"),
        ([None], "unknown", "unknown"),
        ([1.0, None], "$1.00000 + unknown", "≥$1.00000"),
        ([-1.0, 0.5], "-$0.50000", "-$0.50000"),
    ],
)
def test_sums_of_money_in_words(values: list[float | None], said: str, least: str) -> None:
    total = (charts.running_totals(values) or [charts.RunningTotal()])[-1]
    assert (total.text, total.lower_bound) == (said, least)


def test_no_turns() -> None:
    assert "No turns yet" in inspector.to_html(standing(), NOW)
