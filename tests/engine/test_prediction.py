"""The engine against the wire: what it predicts is billed, and the reason that it names is the real one."""

from __future__ import annotations

import asyncio
from itertools import count as counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.talks import OPUS, SONNET, Talk, assert_predicted_and_billed_alike, cause, nothing
from wire import Reply, WireServer, count, words

from ipycachechat.caching.miss_reasons import MissCause
from ipycachechat.engine.events import RequestStarted
from ipycachechat.engine.turn_request import TurnRequest

steps = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(1, 900)),
        st.tuples(st.just("again"), st.integers(0, 9)),
        st.tuples(st.just("wait"), st.sampled_from([10, 60, 280, 299, 300, 301, 900, 3599, 3600, 4000])),
        st.tuples(st.just("system"), st.integers(1, 600)),
        st.tuples(st.just("model"), st.just(0)),
        st.tuples(st.just("undo"), st.just(0)),
        st.tuples(st.just("pin"), st.integers(0, 9)),
        st.tuples(st.just("same"), st.just(0)),
    ),
    min_size=3,
    max_size=25,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=steps, ttl=st.sampled_from([None, 300, 3600]), first=st.integers(1, 3000))
def test_the_prediction_is_the_bill(
    server: WireServer,
    loop: asyncio.AbstractEventLoop,
    steps: list[tuple[str, int]],
    ttl: int | None,
    first: int,
) -> None:
    talk = Talk(server, loop, ttl=ttl)
    cells = counter()
    assert_predicted_and_billed_alike(talk.ask(words(first), f"cell-{next(cells)}"), talk.bill)
    for what, number in steps:
        if what == "ask":
            assert_predicted_and_billed_alike(talk.ask(words(number), f"cell-{next(cells)}"), talk.bill)
        elif what == "again":
            assert_predicted_and_billed_alike(
                talk.ask(words(number + 5, "again"), f"cell-{number}"), talk.bill
            )
        elif what == "same" and (turns := talk.chat.history.current.turns) and (cell := turns[-1].cell):
            assert_predicted_and_billed_alike(talk.ask(turns[-1].prompt, cell.id), talk.bill)
        elif what == "pin":
            talk.chat.versions.pin(min(number, len(talk.chat.history.current.turns)))
        elif what == "wait":
            talk.wait(number)
        elif what == "system":
            talk.chat.versions.set_system(words(number, "rule"))
        elif what == "model":
            talk.model = OPUS if talk.model == SONNET else SONNET
        else:
            talk.chat.versions.undo()
    for request in server.requests:
        assert str(request.body).count("cache_control") <= 4


def test_a_write_twenty_blocks_back_is_reached(talk: Talk) -> None:
    talk.ask(words(2000))
    for _ in range(30):  # asked of somebody else meanwhile: no entry of Sonnet's on the way
        talk.model = OPUS
        talk.ask("and?")
    talk.model = SONNET
    assert_predicted_and_billed_alike(talk.ask("again?"), talk.bill)
    assert talk.bill.read >= 2000


def test_an_hours_entry_after_a_small_addition_keeps_the_whole_prefix_through_a_pause(talk: Talk) -> None:
    talk.ask(words(9000))
    assert_predicted_and_billed_alike(talk.ask("a small addition"), talk.bill)
    assert talk.bill.written_1h > 0
    assert talk.bill.written_1h < 50
    done = talk.ask("another")
    assert talk.bill.written_1h == 0
    assert (
        done.warm_until and done.warm_until - talk.server.clock.now == 3600
    )  # though its own end lives for less
    talk.wait(1500)
    assert_predicted_and_billed_alike(talk.ask("after a long pause"), talk.bill)
    assert talk.bill.read > 9000


def test_what_lives_for_an_hour_is_kept_alive_behind_a_growing_end(talk: Talk) -> None:
    talk.ask(words(9000))
    talk.ask("a small addition")
    assert talk.bill.written_1h > 0
    for _ in range(17):
        talk.wait(250)
        talk.ask(words(3000))
        assert talk.bill.written_1h == 0
    talk.wait(1500)
    assert_predicted_and_billed_alike(talk.ask("after a long pause"), talk.bill)
    assert talk.bill.read > 9000


def test_the_place_to_which_a_conversation_goes_back_is_marked(talk: Talk) -> None:
    talk.ttl = 300
    talk.ask(words(20_000))
    for n in range(3):
        talk.ask(f"question {n}")
        talk.chat.versions.undo()
    talk.wait(400)  # all of it is gone, and is written again
    talk.ask("question 4")
    assert talk.bill.read == 0
    talk.chat.versions.undo()
    assert_predicted_and_billed_alike(talk.ask("question 5"), talk.bill)
    assert talk.bill.read >= 20_000


def test_pins_are_kept_and_never_make_more_than_four_checkpoints(talk: Talk) -> None:
    talk.chat.versions.set_system(words(1500, "rule"))
    for n in range(8):
        talk.ask(words(100))
        talk.chat.versions.pin(n + 1)
    assert_predicted_and_billed_alike(talk.ask("and?"), talk.bill)
    call = talk.server.requests[-1].call
    assert call and sum(block.ttl is not None for block in call.blocks) == 4


# Causes


def test_first_request(talk: Talk) -> None:
    assert cause(talk.ask(words(2000))) is MissCause.FIRST


def test_nothing_missed_is_no_cause(talk: Talk) -> None:
    talk.ask(words(2000))
    for _ in range(5):
        assert talk.ask("and?").reason is None


def test_below_the_minimum(talk: Talk) -> None:
    for _ in range(2):
        done = talk.ask(words(300))
        assert cause(done) is MissCause.SHORT
        assert done.reason and "1,024" in done.reason.sentence


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(turns=st.integers(1, 6), pause=st.integers(300, 20_000), size=st.integers(1100, 4000))
def test_expired(
    server: WireServer, loop: asyncio.AbstractEventLoop, turns: int, pause: int, size: int
) -> None:
    talk = Talk(server, loop, ttl=300)
    for n in range(turns):
        talk.ask(words(size if not n else 20))
    read = talk.bill.prompt
    talk.wait(pause)
    done = talk.ask("and?")
    assert cause(done) is MissCause.EXPIRED
    assert done.reason and done.reason.seconds == pause
    assert done.reason.tokens == read


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(turns=st.integers(3, 8), data=st.data())
def test_turn_edited(
    server: WireServer, loop: asyncio.AbstractEventLoop, turns: int, data: st.DataObject
) -> None:
    talk = Talk(server, loop)
    for n in range(turns):
        talk.ask(words(1500), f"cell-{n}")
    edited = data.draw(st.integers(0, turns - 2))
    talk.ask(words(1500, "changed"), f"cell-{edited}", "a new answer")
    done = talk.ask("and?", "new")
    # The edit's own request ended with the edited prompt: what was missed are the turns after it.
    assert cause(done) is MissCause.EDITED
    assert done.reason and done.reason.turn == edited
    # The last one's answer had not been sent before.
    later = turns - 1 - edited
    assert done.reason.tokens == later * 1500 + (later - 1) * count("yes, that is so")
    assert_predicted_and_billed_alike(done, talk.bill)
    assert talk.ask("and then?", "newer").reason is None


def test_system_prompt_changed(talk: Talk) -> None:
    talk.chat.versions.set_system(words(1500, "rule"))
    talk.ask(words(500))
    talk.chat.versions.set_system(words(1500, "other"))
    done = talk.ask("and?")
    assert cause(done) is MissCause.SYSTEM


def test_model_changed(talk: Talk) -> None:
    talk.ask(words(2000))
    talk.model = OPUS
    done = talk.ask("and?")
    assert cause(done) is MissCause.MODEL
    assert done.reason and SONNET in done.reason.sentence


def test_dropped_though_still_warm(talk: Talk) -> None:
    talk.ask(words(2000))
    talk.ask("and?")
    talk.server.forget()
    done = talk.ask("and then?")
    assert cause(done) is MissCause.DROPPED
    assert done.reason and (done.reason.tokens or 0) > 2000
    assert_predicted_and_billed_alike(talk.ask("and now?"), talk.bill)


def test_not_reported(talk: Talk) -> None:
    talk.model = "openai/gpt-5.5"
    talk.server.script(Reply("yes", report_cache=False))
    done = talk.loop.run_until_complete(talk.chat.send(TurnRequest("hello", talk.model), nothing))
    assert cause(done) is MissCause.SILENT


def test_another_key_is_another_cache(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    talk.ask(words(2000))
    monkeypatch.setenv("ANTHROPIC_API_KEY", "another-key")
    done = talk.ask("and?")
    assert_predicted_and_billed_alike(done, talk.bill)
    assert talk.bill.read == 0


@pytest.mark.parametrize(("size", "warned"), [(9000, False), (10_500, True)])
def test_a_warning_precedes_a_large_rewrite_but_not_a_small_one(talk: Talk, size: int, warned: bool) -> None:
    talk.chat.versions.set_system(words(100, "rule"))
    talk.ask(words(size))
    talk.ask("and?")
    talk.chat.versions.set_system(words(100, "other"))
    events: list[object] = []
    talk.server.script(Reply("yes"))
    talk.loop.run_until_complete(talk.chat.send(TurnRequest("again", SONNET), events.append))
    warning = next(event.warning for event in events if isinstance(event, RequestStarted))
    assert ("The system prompt changed" in warning) is warned
    assert ("tokens charged again" in warning) is warned
