"""Where a turn goes, and what becomes of the others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ipycachechat.conversation.history import History
from ipycachechat.conversation.messages import Message
from ipycachechat.conversation.placement import Place, attach, before, by_notebook, moved, put
from ipycachechat.conversation.turns import Cell, Conversation, Turn, pasts


def turn(cell: str, run: str = "1", prompt: str = "", at: float = 1.0, page: str = "") -> Turn:
    where = Cell(cell, run, page) if cell else None
    return Turn(prompt or cell, (Message("assistant", f"{cell}{run}"),), cell=where, at=at)


def told(*turns: Turn) -> Conversation:
    conversation = Conversation()
    for one in turns:
        conversation = add(conversation, one, Place(one.cell))
    return conversation


def add(conversation: Conversation, one: Turn, place: Place) -> Conversation:
    *_, past = pasts(before(conversation, place).turns)
    return put(conversation, replace(one, past=past), place)


def detach(conversation: Conversation, cells: set[str], now: float) -> Conversation:
    return History.of(conversation).lost(cells, now).now


def shown(conversation: Conversation) -> str:
    """The prompts in their places: in brackets what is detached, with a star what is stale."""
    found, number = [], 0
    for one in conversation.placed:
        number += one.detached is None
        stale = one.detached is None and number in conversation.stale
        found.append(f"({one.question})" if one.detached is not None else one.question + "*" * stale)
    return " ".join(found)


ABC = told(turn("a"), turn("b"), turn("c"))


def test_who_gets_the_same_answer_again_makes_nothing_stale() -> None:
    assert shown(add(ABC, turn("a", "2"), Place(Cell("a", "2")))) == "a b* c*"
    same = replace(turn("a"), cell=Cell("a", "2"))
    assert shown(add(ABC, same, Place(same.cell))) == "a b c"


def test_results_of_tools_that_are_cut_make_nothing_stale() -> None:
    first = ABC.placed[0]
    longer = replace(first, replies=(*first.replies, Message("tool", "much", call_id="1"), *first.replies))
    with_tool = add(Conversation(), longer, Place(longer.cell))
    with_tool = add(with_tool, turn("b"), Place(Cell("b", "1")))
    cut = replace(longer, replies=(longer.replies[0], Message("tool", "m…", call_id="1"), longer.replies[2]))
    assert not replace(with_tool, placed=(cut, with_tool.placed[1])).stale


def test_rewinding_takes_the_later_turns_away() -> None:
    assert shown(add(ABC, turn("b", "2", "B"), Place(Cell("b", "2"), "rewind"))) == "a B"
    assert shown(add(ABC, turn("d"), Place(Cell("d", "1"), "rewind"))) == "a b c d"


def test_appending_leaves_the_earlier_turn_to_no_cell() -> None:
    both = add(ABC, turn("b", "2", "B"), Place(Cell("b", "2"), "append"))
    assert shown(both) == "a b c B"
    assert [one.cell and one.cell.id for one in both.placed] == ["a", None, "c", "b"]
    assert shown(add(both, turn("b", "3", "again"), Place(Cell("b", "3")))) == "a b c again"


def test_the_very_turn_that_is_asked_again_is_replaced_also_in_a_loop() -> None:
    loop = told(turn("a"), turn("l", "1", "one"), turn("l", "1", "two"), turn("z"))
    second = loop.placed[2]
    place = Place(second.cell, again=second)
    assert shown(before(loop, place)) == "a one"
    assert shown(add(loop, replace(second, prompt="TWO"), place)) == "a one TWO z*"


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("axbc", "a x b* c*"),
        ("xabc", "x a* b* c*"),
        ("abcx", "a b c x"),
        ("qxb", "a x b* c*"),
        ("x", "a b c x"),
    ],
)
def test_a_cell_goes_where_the_notebook_has_it(order: str, expected: str) -> None:
    assert shown(add(ABC, turn("x"), Place(Cell("x", "1"), order=tuple(order)))) == expected


def test_a_cell_that_has_a_turn_elsewhere_takes_it_along() -> None:
    moved = add(ABC, turn("c", "2", "C"), Place(Cell("c", "2"), order=("a", "c", "b")))
    assert shown(moved) == "a C b*"


def test_a_detached_turn_keeps_its_place_and_comes_back_to_it() -> None:
    away = detach(ABC, {"b", "unknown"}, 5.0)
    assert shown(away) == "a (b) c*"
    assert [one.question for one in away.turns] == ["a", "c"]
    assert shown(before(away, Place(Cell("c", "2")))) == "a"
    assert detach(away, {"b"}, 9.0) == away
    assert shown(attach(away, {"b", "c"})) == "a b c"
    assert shown(add(away, turn("b", "2", "B"), Place(Cell("b", "2")))) == "a B c*"


def test_a_turn_that_was_pinned_meanwhile_is_the_same_turn() -> None:
    loop = told(turn("a"), turn("b"))
    pinned = replace(loop, placed=(loop.placed[0], replace(loop.placed[1], pinned=True)))
    place = Place(loop.placed[1].cell, again=loop.placed[1])
    assert shown(add(pinned, replace(loop.placed[1], prompt="B"), place)) == "a B"


def test_a_pin_stays_when_its_cell_runs_again() -> None:
    pinned = replace(ABC, placed=(ABC.placed[0], replace(ABC.placed[1], pinned=True), ABC.placed[2]))
    assert [one.pinned for one in add(pinned, turn("b", "2"), Place(Cell("b", "2"))).placed] == [
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("cba", "c* b* a*"),
        ("abc", "a b c"),
        ("ac", "a (b) c*"),
        ("", "(a) (b) (c)"),
        ("xcxa", "c* a* (b)"),
    ],
)
def test_turns_take_the_order_of_the_notebook_and_those_without_a_cell_are_detached(
    order: str, expected: str
) -> None:
    assert shown(by_notebook(ABC, order, 2.0, 3.0)) == expected


def test_what_no_notebook_can_tell_stays_behind_the_turn_that_it_follows() -> None:
    newer, elsewhere, free = turn("n", at=9.0), turn("e", page="other"), turn("", prompt="free")
    mixed = told(turn("a"), free, turn("b"), newer, elsewhere, turn("c"))
    assert shown(by_notebook(mixed, "cba", 2.0, 3.0)) == "c* b* n* e* a* free*"


def test_what_is_back_in_a_newer_notebook_is_sent_again() -> None:
    away = detach(ABC, {"b"}, 5.0)
    assert shown(by_notebook(away, "abc", 4.0, 6.0)) == "a (b) c*"
    assert shown(by_notebook(away, "abc", 5.5, 6.0)) == "a b c"


def test_a_cell_below_another_one_than_before_was_moved() -> None:
    assert moved(ABC, {"a"}, "bac") == {"a"}
    assert not moved(ABC, {"a"}, "abc")
    assert not moved(ABC, {"a"}, "bc")
    assert not moved(ABC, {"a"}, "xay")
    assert moved(ABC, {"a", "b"}, "cab") == {"a", "b"}
