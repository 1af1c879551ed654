"""Versions and branches: nothing is ever lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ipycachechat.conversation.history import History
from ipycachechat.conversation.messages import Message
from ipycachechat.conversation.turns import CellRef, Conversation, Turn
from ipycachechat.errors import BadInput


def of(*prompts: str) -> Conversation:
    return Conversation("", tuple(Turn(prompt, (Message("assistant", "yes"),)) for prompt in prompts))


def prompts(history: History) -> str:
    return "".join(turn.prompt_text for turn in history.current.turns)


def versions(*texts: str) -> History:
    """A history with a version for each text, a turn for each letter of it."""
    history = History()
    for text in texts:
        history = history.change(of(*text))
    return history


def test_undo_and_redo_go_through_all_versions_and_stop_at_both_ends() -> None:
    history = versions("a", "ab", "abc")
    back = [prompts(history := history.undo()) for _ in range(4)]
    forth = [prompts(history := history.redo()) for _ in range(4)]
    assert (back, forth) == (["ab", "a", "", ""], ["a", "ab", "abc", "abc"])


def test_redo_follows_the_change_made_after_an_undo() -> None:
    history = versions("a", "ab").undo().change(of("a", "x"))
    assert prompts(history) == "ax"
    assert prompts(history.redo()) == "ax"
    assert prompts(history.undo().redo()) == "ax"
    assert "ab" in {
        "".join(turn.prompt_text for turn in version.conversation.turns) for version in history.versions
    }


def test_a_branch_is_independent_and_keeps_its_position() -> None:
    history = versions("a").fork("idea").change(of("a", "i")).switch("main").change(of("a", "b"))
    assert prompts(history) == "ab"
    assert prompts(history.switch("idea")) == "ai"
    assert prompts(history.switch("idea").undo().undo()) == ""
    assert prompts(history.switch("idea").undo().switch("main")) == "ab"


def test_a_new_branch_cannot_redo_what_was_undone_before_it() -> None:
    history = versions("a", "ab").undo().fork("idea")
    assert history.redo() is history
    assert prompts(history.switch("main").redo()) == "ab"


@pytest.mark.parametrize("name", ["", " ", "two words", "main", "a\nb", "\x1b[31m"])
def test_a_branch_needs_a_unique_name_of_one_word(name: str) -> None:
    with pytest.raises(BadInput):
        History().fork(name)


def test_a_merged_history_is_continued_and_the_current_one_stays_as_branches() -> None:
    here = versions("x").fork("idea").change(of("x", "i"))
    there = versions("a", "ab").fork("idea").change(of("a", "b", "c")).switch("main").undo()
    both = here.merge(there)
    assert prompts(both) == "a" and prompts(both.redo()) == "ab"
    assert [branch.name for branch in both.branches] == ["main", "idea", "main-2", "idea-2"]
    assert prompts(both.switch("idea")) == "abc"
    assert prompts(both.switch("main-2")) == "x" and prompts(both.switch("idea-2")) == "xi"
    assert prompts(both.switch("idea-2").undo().undo()) == ""
    assert both.get_branch("idea-2").parent == "main-2"
    since = both.versions[both.get_branch("idea-2").forked_at].conversation
    assert [turn.prompt_text for turn in since.turns] == ["x"]
    assert prompts(both.switch("main-2").change(of("x", "y"))) == "xy"


def test_an_empty_history_leaves_no_branch_after_a_merge() -> None:
    assert History().merge(versions("a")) == versions("a")


def test_a_deleted_cell_is_detached_in_all_versions_and_branches_without_a_new_version() -> None:
    cells = [Turn(cell, (Message("assistant", "yes"),), cell=CellRef(cell, "1")) for cell in "abc"]
    history = History()
    for number in (1, 2, 3):
        history = history.change(Conversation("", tuple(cells[:number])))
    history = history.fork("idea").mark_deleted({"b", "unknown"}, 5.0)
    assert prompts(history) == "ac" and prompts(history.switch("main")) == "ac"
    assert prompts(history.undo()) == "a" and prompts(history.undo().redo()) == "ac"
    changed = history.change(replace(history.current, system="be brief"))
    assert prompts(changed) == "ac"
    assert (
        prompts(changed.mark_restored({"b"})) == "abc"
        and changed.mark_restored({"b"}).current.system == "be brief"
    )
    assert len(changed.mark_restored({"b"}).versions) == len(changed.versions) == len(history.versions) + 1
