"""What the badge says, and of which HTML it is made."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from ipycachechat.caching.breakdown import BlockRow
from ipycachechat.caching.state import ExpectedUsage
from ipycachechat.conversation.messages import Message
from ipycachechat.conversation.turns import Turn, TurnStatus
from ipycachechat.conversation.usage import NOTHING_REPORTED, Cost, Timing, Usage
from ipycachechat.engine.events import TurnResult
from ipycachechat.rendering import badge
from ipycachechat.rendering.format import short_money
from ipycachechat.text import format


def done(
    usage: Usage, bill: Cost = Cost(), state: TurnStatus = TurnStatus.COMPLETE, model: str = "a/b"
) -> TurnResult:
    turn = Turn("?", (Message("assistant", "!"),), model=model, usage=usage, status=state)
    return TurnResult(turn=turn, cost=bill, number=1)


KNOWN = done(Usage(input=4023, read=4004, written=16, written_1h=16, output=120), Cost(0.00207, 0.00721))


def test_the_line_of_numbers() -> None:
    assert badge.to_text(KNOWN) == (
        "a/b · 4,004 (99%) cached · 16 newly cached · 3 uncached · 4,023 in · 120 out · $0.0021 · saved $0.0072"
    )


def test_what_is_unknown_says_so_and_is_never_nought() -> None:
    text = badge.to_text(done(NOTHING_REPORTED))
    assert text == (
        "a/b · cached unknown · newly cached unknown · uncached unknown · in unknown · out unknown"
        " · cost unknown · savings unknown"
    )
    assert "0" not in text


def test_who_does_not_bill_writes_shows_none() -> None:
    assert "cache writes not billed" in badge.to_text(
        done(Usage(input=10, read=0, written=0, output=1, bills_writes=False))
    )


def test_what_is_billed_of_an_answer_that_broke_off_is_a_lower_bound() -> None:
    usage = Usage(input=10, read=0, written=0, output=3, at_least=True)
    text = badge.to_text(done(usage, Cost(0.00003, 0.0, at_least=True)))
    assert "≥3 out · ≥$0.00003" in text and "10 in" in text


def test_an_answer_that_broke_off_says_so() -> None:
    stopped = badge.to_text(done(NOTHING_REPORTED, state=TurnStatus.INTERRUPTED))
    assert stopped.endswith(" · Stopped; partial answer kept")
    unknown = badge.to_text(done(NOTHING_REPORTED, state=TurnStatus.CUT_OFF))
    assert "Answer cut off at the token limit (raise --max-tokens)" in unknown
    cut_off = badge.to_text(done(Usage(input=10, read=0, written=0, output=100), state=TurnStatus.CUT_OFF))
    assert "Answer cut off at 100 tokens (raise --max-tokens)" in cut_off


def test_a_loss_is_the_price_of_storing() -> None:
    text = badge.to_text(done(Usage(input=8047, read=0, written=7901, output=146), Cost(0.0219, -0.00395)))
    assert text == (
        "a/b · 0 (0%) cached · 7,901 newly cached · 146 uncached · 8,047 in · 146 out · $0.0219"
        " · +$0.0040 to store it in the cache"
    )


def test_turns_out_of_date_and_of_deleted_cells_say_what_to_do() -> None:
    gone = Turn("Which island?", ())
    late = replace(KNOWN, replaced=True, stale=(2, 3, 4, 7), uncached_tokens=8565, detached_turns=(gone,) * 3)
    assert badge.notes(late) == [
        "Replaced turn 1. Turns 2–4, 7 are out of date (%chat replay reruns them); ≈8,565 tokens will be charged again",
        *["Cell deleted, so “Which island?” is no longer sent. Restore and run the cell to bring it back."]
        * 2,
        "1 more turn of a deleted cell is no longer sent (%chat history)",
    ]


@pytest.mark.parametrize(
    ("dollars", "text"),
    [(0, "$0.00"), (0.00001, "< $0.0001"), (0.00207, "$0.0021"), (0.1948, "$0.1948"), (1234.5, "$1,234.50")],
)
def test_amounts_on_the_badge_have_as_many_digits_as_help(dollars: float, text: str) -> None:
    assert short_money(dollars) == text


@pytest.mark.parametrize(
    ("dollars", "shown"),
    [
        (None, "unknown"),
        (0.00001, "$0.00001"),
        (-0.005, "-$0.00500"),
        (1.5, "$1.50000"),
        (1234.5, "$1,234.50"),
    ],
)
def test_money(dollars: float | None, shown: str) -> None:
    assert format.money(dollars) == shown


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_the_html_is_made_of_what_an_untrusted_notebook_keeps() -> None:
    seen = Tags()
    seen.feed(badge.to_html(KNOWN))
    assert seen.tags <= {"div", "details", "summary", "span", "table", "thead", "tbody", "tr", "th", "td"}
    assert seen.attributes <= {"class", "title", "style", "cellpadding"}


def test_a_models_name_is_only_text() -> None:
    html = badge.to_html(done(NOTHING_REPORTED, model="<script>\u202ealert(1)</script>"))
    assert "<script" not in html and "\u202e" not in html
    assert "&lt;script&gt;" in html


def test_a_badge_that_has_much_to_tell_stays_small() -> None:
    rows = tuple(
        BlockRow(
            what=f"turns {n}0 to {n}9",
            turn=n,
            cell="abcdefgh",
            tokens=123_456,
            exact=False,
            checkpoint=3600,
            warm_until=1e9 + n,
            blocks=40,
            cells=10,
        )
        for n in range(50)
    )
    usage = Usage(input=1_234_567, read=1_234_000, written=500, written_1h=500, output=12_345)
    turn = Turn(
        "?",
        (Message("assistant", "!"),),
        model="openrouter/anthropic/claude-sonnet-5",
        usage=usage,
        status=TurnStatus.INTERRUPTED,
    )
    much = TurnResult(
        turn=turn,
        cost=Cost(0.12345, 1.2345),
        number=123,
        expected=ExpectedUsage(1_234_567, 1_234_000, 500, 500, exact=False),
        warm_until=1e9,
        replaced=True,
        stale=(124, 125, 126),
        uncached_tokens=12_345,
        requests=3,
        rows=rows,
        timing=Timing(1.234, 12.3, 12_345),
        request_id="req_011CSHoEeqs5C35K2UUqR7Fy",
    )
    html, text = badge.to_html(much), badge.to_text(much)
    assert "more: %chat plan" in html
    assert (
        len(json.dumps([html, text], ensure_ascii=False).encode()) < 3_700
    )  # and the file's own frame around it
