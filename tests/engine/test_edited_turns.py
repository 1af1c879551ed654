"""What an edit costs the cache, as the user is warned of it, and what branches keep warm, against the bills."""

from __future__ import annotations

import pytest
from support.talks import SONNET, Talk, assert_predicted_and_billed_alike, nothing
from wire import Reply, words

from ipycachechat.conversation.placement import Placement
from ipycachechat.engine.events import TurnResult

GPT = "openai/gpt-5.6-terra"


def four_turns(talk: Talk) -> None:
    """In four cells, each with something to lose."""
    for cell in "abcd":
        talk.ask(f"{cell} {words(1500)}", cell)


@pytest.mark.parametrize("model", [SONNET, GPT])
@pytest.mark.parametrize("edited", ["a", "b", "c", "d"])
def test_the_tokens_that_an_edit_costs_are_those_that_the_next_prompt_does_not_read(
    talk: Talk, edited: str, model: str
) -> None:
    talk.model = model
    four_turns(talk)
    talk.ask("and?", "e")
    would_read = talk.bill.read
    talk.chat.versions.undo()
    done = talk.ask("edited, and short", edited)
    assert done.replaced and done.number == "abcd".index(edited) + 1
    assert done.stale == tuple(range(done.number + 1, 5))
    talk.ask("and?", "e")
    if edited == "d":
        assert done.uncached_tokens == 0  # nothing is behind it
    else:
        assert done.uncached_tokens == would_read - talk.bill.read > 0


def test_a_new_turn_at_the_end_costs_nothing(talk: Talk) -> None:
    four_turns(talk)
    done = talk.ask("and?", "e")
    assert not done.replaced and not done.stale and not done.uncached_tokens


def test_stale_turns_asked_again_in_order_are_foreseen_to_the_token(talk: Talk) -> None:
    four_turns(talk)
    talk.ask("edited", "b")
    for number in (3, 4):
        assert min(talk.chat.history.current.stale) == number
        assert_predicted_and_billed_alike(asked_again(talk, number), talk.bill)
    assert not talk.chat.history.current.stale


def asked_again(talk: Talk, number: int) -> TurnResult:
    turn = talk.chat.history.current.turns[number - 1]
    talk.server.script(Reply(f"another answer {number}"))
    ask = talk.next(turn.prompt_text)
    place = Placement(turn.cell, replaces=turn)
    return talk.loop.run_until_complete(talk.chat.send(type(ask)(ask.prompt, ask.model, place), nothing))


@pytest.mark.parametrize("model", [SONNET, GPT])
def test_each_branch_reads_what_it_wrote_when_it_is_gone_back_to(talk: Talk, model: str) -> None:
    talk.model = model
    four_turns(talk)
    history = talk.chat.history
    talk.chat.versions.change(lambda _: history.fork("idea"))
    for cell in "ij":
        talk.ask(f"{cell} {words(1500)}", cell)
    idea = talk.bill.prompt
    talk.chat.versions.change(lambda _: talk.chat.history.switch("main"))
    for cell in "mn":
        assert_predicted_and_billed_alike(talk.ask(f"{cell} {words(1500)}", cell), talk.bill)
    assert talk.bill.read > 6000  # what both have in common, and its own
    talk.chat.versions.change(lambda _: talk.chat.history.switch("idea"))
    assert_predicted_and_billed_alike(talk.ask("and?", "k"), talk.bill)
    assert talk.bill.read >= idea
