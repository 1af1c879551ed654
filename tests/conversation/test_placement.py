"""Where a turn goes, and what happens to the others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ipycachechat.conversation.history import History
from ipycachechat.conversation.messages import Message
from ipycachechat.conversation.placement import (
    Placement,
    attach,
    moved_cells,
    past_for,
    place_turn,
    reorder_to_notebook,
)
from ipycachechat.conversation.turns import CellRef, Conversation, Turn, past_digests


def turn(cell: str, run: str = "1", prompt: str = "", at: float = 1.0, page: str = "") -> Turn:
    where = CellRef(cell, run, page) if cell else None
    return Turn(prompt or cell, (Message("assistant", f"{cell}{run}"),), cell=where, asked_at=at)


def conversation_of(*turns: Turn) -> Conversation:
    conversation = Conversation()
    for new in turns:
        conversation = add(conversation, new, Placement(new.cell))
    return conversation


def add(conversation: Conversation, new: Turn, place: Placement) -> Conversation:
    *_, past = past_digests(past_for(conversation, place).turns)
    return place_turn(conversation, replace(new, past_digest=past), place)


def detach(conversation: Conversation, cells: set[str], now: float) -> Conversation:
    return History.starting_with(conversation).mark_deleted(cells, now).current


def shown(conversation: Conversation) -> str:
    """Return the prompts in order: detached ones in brackets, stale ones with a star."""
    prompts, number = [], 0
    for turn in conversation.all_turns:
        number += turn.detached is None
        stale = turn.detached is None and number in conversation.stale
        prompts.append(
            f"({turn.prompt_text})" if turn.detached is not None else turn.prompt_text + "*" * stale
        )
    return " ".join(prompts)


ABC = conversation_of(turn("a"), turn("b"), turn("c"))


def test_the_same_answer_again_makes_nothing_stale() -> None:
    assert shown(add(ABC, turn("a", "2"), Placement(CellRef("a", "2")))) == "a b* c*"
    same = replace(turn("a"), cell=CellRef("a", "2"))
    assert shown(add(ABC, same, Placement(same.cell))) == "a b c"


def test_shortened_tool_results_make_nothing_stale() -> None:
    first = ABC.all_turns[0]
    longer = replace(
        first, replies=(*first.replies, Message("tool", "much", tool_call_id="1"), *first.replies)
    )
    with_tool = add(Conversation(), longer, Placement(longer.cell))
    with_tool = add(with_tool, turn("b"), Placement(CellRef("b", "1")))
    cut = replace(
        longer, replies=(longer.replies[0], Message("tool", "m…", tool_call_id="1"), longer.replies[2])
    )
    assert not replace(with_tool, all_turns=(cut, with_tool.all_turns[1])).stale


def test_rewinding_removes_the_later_turns() -> None:
    assert shown(add(ABC, turn("b", "2", "B"), Placement(CellRef("b", "2"), "rewind"))) == "a B"
    assert shown(add(ABC, turn("d"), Placement(CellRef("d", "1"), "rewind"))) == "a b c d"


def test_appending_leaves_the_earlier_turn_without_a_cell() -> None:
    both = add(ABC, turn("b", "2", "B"), Placement(CellRef("b", "2"), "append"))
    assert shown(both) == "a b c B"
    assert [turn.cell and turn.cell.id for turn in both.all_turns] == ["a", None, "c", "b"]
    assert shown(add(both, turn("b", "3", "again"), Placement(CellRef("b", "3")))) == "a b c again"


def test_exactly_the_turn_that_is_asked_again_is_replaced_even_in_a_loop() -> None:
    loop = conversation_of(turn("a"), turn("l", "1", "one"), turn("l", "1", "two"), turn("z"))
    second = loop.all_turns[2]
    place = Placement(second.cell, replaces=second)
    assert shown(past_for(loop, place)) == "a one"
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
def test_a_turn_goes_where_its_cell_is_in_the_notebook(order: str, expected: str) -> None:
    assert shown(add(ABC, turn("x"), Placement(CellRef("x", "1"), order=tuple(order)))) == expected


def test_rerunning_a_moved_cell_moves_its_turn() -> None:
    moved = add(ABC, turn("c", "2", "C"), Placement(CellRef("c", "2"), order=("a", "c", "b")))
    assert shown(moved) == "a C b*"


def test_a_detached_turn_keeps_its_place_and_is_attached_there() -> None:
    away = detach(ABC, {"b", "unknown"}, 5.0)
    assert shown(away) == "a (b) c*"
    assert [turn.prompt_text for turn in away.turns] == ["a", "c"]
    assert shown(past_for(away, Placement(CellRef("c", "2")))) == "a"
    assert detach(away, {"b"}, 9.0) == away
    assert shown(attach(away, {"b", "c"})) == "a b c"
    assert shown(add(away, turn("b", "2", "B"), Placement(CellRef("b", "2")))) == "a B c*"


def test_a_turn_that_was_pinned_since_is_the_same_turn() -> None:
    loop = conversation_of(turn("a"), turn("b"))
    pinned = replace(loop, all_turns=(loop.all_turns[0], replace(loop.all_turns[1], pinned=True)))
    place = Placement(loop.all_turns[1].cell, replaces=loop.all_turns[1])
    assert shown(add(pinned, replace(loop.all_turns[1], prompt="B"), place)) == "a B"


def test_a_pin_stays_when_its_cell_runs_again() -> None:
    pinned = replace(
        ABC, all_turns=(ABC.all_turns[0], replace(ABC.all_turns[1], pinned=True), ABC.all_turns[2])
    )
    assert [turn.pinned for turn in add(pinned, turn("b", "2"), Placement(CellRef("b", "2"))).all_turns] == [
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("order", "expected"),
    [("cba", "c* b* a*"), ("abc", "a b c"), ("ac", "a (b) c*"), ("", "(a) (b) (c)"), ("xcxa", "c* a* (b)")],
)
def test_turns_follow_the_notebooks_order_and_those_of_deleted_cells_are_detached(
    order: str, expected: str
) -> None:
    assert shown(reorder_to_notebook(ABC, order, 2.0, 3.0)) == expected


def test_turns_that_are_not_in_the_notebook_stay_behind_the_turn_that_they_follow() -> None:
    newer, elsewhere, free = turn("n", at=9.0), turn("e", page="other"), turn("", prompt="free")
    mixed = conversation_of(turn("a"), free, turn("b"), newer, elsewhere, turn("c"))
    assert shown(reorder_to_notebook(mixed, "cba", 2.0, 3.0)) == "c* b* n* e* a* free*"


def test_a_cell_that_is_back_in_a_newer_notebook_is_sent_again() -> None:
    away = detach(ABC, {"b"}, 5.0)
    assert shown(reorder_to_notebook(away, "abc", 4.0, 6.0)) == "a (b) c*"
    assert shown(reorder_to_notebook(away, "abc", 5.5, 6.0)) == "a b c"


def test_a_cell_below_a_different_cell_than_before_was_moved() -> None:
    assert moved_cells(ABC, {"a"}, "bac") == {"a"}
    assert not moved_cells(ABC, {"a"}, "abc")
    assert not moved_cells(ABC, {"a"}, "bc")
    assert not moved_cells(ABC, {"a"}, "xay")
    assert moved_cells(ABC, {"a", "b"}, "cab") == {"a", "b"}
