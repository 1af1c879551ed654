"""Turns keep the places of their cells, whichever cell is rerun."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ipycachechat.conversation.history import History
from ipycachechat.conversation.messages import Message
from ipycachechat.conversation.placement import Placement, Rerun, past_for, place_turn
from ipycachechat.conversation.turns import CellRef, Conversation, Turn, past_digests


def turn(cell: str | None, run: int = 0, prompt: str = "") -> Turn:
    place = None if cell is None else CellRef(cell, f"{cell}{run}")
    return Turn(prompt or f"{cell}{run}", (Message("assistant", "yes"),), cell=place)


def prompts(conversation: Conversation) -> list[str]:
    return [
        turn.prompt_text + "*" * (n in conversation.stale) for n, turn in enumerate(conversation.turns, 1)
    ]


def add(conversation: Conversation, new: Turn, rerun: Rerun = "replace") -> Conversation:
    """Place a turn with the digest of the turns that it follows, as an answer does."""
    place = Placement(new.cell, rerun)
    *_, past = past_digests(past_for(conversation, place).turns)
    return place_turn(conversation, replace(new, past_digest=past), place)


def conversation_of(*turns: Turn) -> Conversation:
    conversation = Conversation()
    for each in turns:
        conversation = add(conversation, each)
    return conversation


def test_a_new_cell_is_appended() -> None:
    assert prompts(conversation_of(turn("a"), turn("b"))) == ["a0", "b0"]


def test_a_cell_run_again_replaces_its_turn_and_later_ones_are_stale() -> None:
    assert prompts(conversation_of(turn("a"), turn("b"), turn("c"), turn("b", 1))) == ["a0", "b1", "c0*"]


def test_the_last_cell_run_again_makes_nothing_stale() -> None:
    assert prompts(conversation_of(turn("a"), turn("b"), turn("b", 1))) == ["a0", "b1"]


def test_a_stale_turn_that_is_asked_again_is_no_longer_stale() -> None:
    assert prompts(conversation_of(turn("a"), turn("b"), turn("a", 1), turn("b", 1))) == ["a1", "b1"]


def test_all_turns_of_one_run_stay_and_another_run_replaces_them() -> None:
    loop = [turn("loop", 0, f"first {n}") for n in range(3)]
    again = [turn("loop", 1, f"second {n}") for n in range(2)]
    assert prompts(conversation_of(turn("a"), *loop, turn("z"), *again)) == [
        "a0",
        "second 0",
        "second 1",
        "z0*",
    ]


def test_without_a_cell_every_turn_is_appended() -> None:
    assert prompts(conversation_of(turn(None), turn("a"), turn(None))) == ["None0", "a0", "None0"]


def test_a_prompt_follows_only_the_turns_before_its_cell() -> None:
    conversation = conversation_of(turn("a"), turn("b"), turn("c"))
    assert prompts(past_for(conversation, Placement(CellRef("b", "new")))) == ["a0"]
    assert prompts(past_for(conversation, Placement(CellRef("d", "new")))) == ["a0", "b0", "c0"]
    assert prompts(past_for(conversation, Placement(CellRef("b", "b0")))) == ["a0", "b0"]
    assert prompts(past_for(conversation, Placement(None))) == ["a0", "b0", "c0"]


@given(st.lists(st.sampled_from("abcdef"), max_size=12))
def test_running_all_twice_in_a_row_gives_the_same_conversation(cells: list[str]) -> None:
    notebook = list(dict.fromkeys(cells))
    once = conversation_of(*(turn(cell, 0, cell) for cell in notebook))
    twice = once
    for cell in notebook:
        twice = add(twice, turn(cell, 1, cell))
    assert prompts(twice) == prompts(once)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 3)), max_size=20))
def test_no_cell_ever_has_turns_of_two_runs(runs: list[tuple[str, int]]) -> None:
    conversation = conversation_of(*(turn(cell, run) for cell, run in runs))
    owners: dict[str, set[str]] = {}
    for each in conversation.turns:
        assert each.cell
        owners.setdefault(each.cell.id, set()).add(each.cell.run)
    assert all(len(them) == 1 for them in owners.values())


def test_undo_goes_back_one_version_and_stops_at_the_first() -> None:
    first, second = conversation_of(turn("a")), conversation_of(turn("a"), turn("b"))
    history = History.starting_with(first).change(second)
    assert history.current == second
    assert history.undo().current == first
    assert history.undo().undo().current == first
    assert history.change(second) is history
