"""`%chat plan`, `why`, `pin`, `ttl`, `warm` and `doctor`, in a real kernel over the wire."""

from __future__ import annotations

import pytest
from support.kernels import Kernel, run_and_answer
from wire import Reply, WireServer, words


@pytest.fixture(autouse=True)
def _always_yes(wire: WireServer) -> None:
    wire.always = Reply("Yes.")
    wire.clock.run()


def test_a_plan_predicts_the_bill_of_the_next_prompt(wire: WireServer, kernel: Kernel) -> None:
    assert kernel.run("%chat why").text == "Nothing has been asked yet"
    assert "tokens in" in kernel.run("%chat plan").text
    kernel.run(f"%%chat\n{words(3000)}", cell="document")
    asked = len(wire.requests)
    plan = kernel.run("%chat plan and what else").text
    assert len(wire.requests) == asked
    assert "3,000 cached" in plan
    assert "without a cache ≈$0.0" in plan
    assert "if cached for 5 min" in plan and "if cached for 1 h" in plan
    assert "turn 1: prompt" in plan and "document" in plan
    kernel.run("%%chat\nand what else?")
    bill = wire.requests[-1].bill
    assert bill and bill.read == 3000


def test_why_names_the_cell_and_the_first_difference(wire: WireServer, kernel: Kernel) -> None:
    assert kernel.run(f"%%chat\n{words(2000)}", cell="a").error == ""
    why = kernel.run("%chat why").text
    assert "First request" in why
    kernel.run(f"%%chat\n{words(2000, 'more')}", cell="b")
    assert "Everything that could come from the cache did" in kernel.run("%chat why").text
    wire.script(Reply("No."))
    kernel.run(f"%%chat\n{words(2000)} changed", cell="a")
    badge = kernel.run("%%chat\nand?", cell="c").badge
    assert "Turn 1 was edited" in badge and "2,00" in badge
    why = kernel.run("%chat why").text
    assert "expected" in why and "billed" in why
    assert "cell a, first difference at character 10,000" in why
    assert "changed" in why
    assert "What to do" in why
    of_two = kernel.run("%chat why 2").text
    assert of_two.startswith("turn 2, ") and "Everything that could come from the cache did" in of_two
    kernel.run("%reload_ext ipycachechat")
    assert kernel.run("%chat why 2").text == of_two
    assert "turns 1 to 3" in kernel.run("%chat why 9").error


def test_a_pinned_turn_keeps_a_checkpoint(wire: WireServer, kernel: Kernel) -> None:
    assert "no turns yet" in kernel.run("%chat pin").error
    kernel.run(f"%%chat\n{words(3000)}", cell="document")
    assert "turn 1" in kernel.run("%chat pin").printed
    for n in range(3):
        kernel.run(f"%%chat\n{words(50, 'also')}", cell=f"q{n}")
    answer = wire.requests[-1].body["messages"][1]["content"]
    assert "cache_control" in answer[0]
    assert "turns 1 to 4" in kernel.run("%chat pin 9").error
    assert kernel.run("%chat pin off").error == ""
    kernel.run("%%chat\nand?", cell="last")
    assert "cache_control" not in str(wire.requests[-1].body["messages"][1])


def test_the_lifetime_is_set_and_sent(wire: WireServer, kernel: Kernel) -> None:
    assert "Cache lifetime: auto" in kernel.run("%chat ttl").printed
    assert "Cache lifetime: 1h" in kernel.run("%chat ttl 1h").printed
    assert "Choose auto, 5m, 1h." in kernel.run("%chat ttl 2h").error
    kernel.run("%%chat\nhello")
    assert "'ttl': '1h'" in str(wire.requests[-1].body)


def test_warm_writes_now_and_keeps_warm_until_it_is_switched_off(wire: WireServer, kernel: Kernel) -> None:
    assert "1,024 tokens" in kernel.run("%chat warm").error
    kernel.run(f"%%chat\n{words(3000)}")
    kernel.run("%chat ttl 5m")
    kernel.run("%%chat\nand?")
    output = kernel.run("%chat warm 30m").printed
    assert wire.requests[-1].body["max_tokens"] == 0
    assert "3,004 cached + " in output and "cached until" in output
    assert "kept warm until" in kernel.run("%chat").printed
    assert kernel.run("%chat warm off").error == ""
    assert "not kept warm: stopped" in kernel.run("%chat").printed
    assert "this is not a duration" in kernel.run("%chat warm soon").error
    assert len(kernel.run("%chat warm soon").error.splitlines()) == 2


def test_a_prefix_that_lives_long_enough_is_not_kept_warm(wire: WireServer, kernel: Kernel) -> None:
    kernel.run("%chat ttl 1h")
    kernel.run(f"%%chat\n{words(3000)}")
    assert "stays cached for 30m without further requests" in kernel.run("%chat warm 30m").printed
    assert "kept warm" not in kernel.run("%chat").printed


@pytest.mark.parametrize(
    "question", ["%chat plan What is it?", "# later\n%chat plan and what is x?\n%chat ttl"]
)
def test_a_question_mark_is_part_of_the_question(kernel: Kernel, question: str) -> None:
    output = kernel.run(question).text
    assert "tokens in" in output and "not found" not in output


@pytest.mark.parametrize("line", ["%chat?", "%chat plan?", "x = 1\nx?", "%%capture\n%chat plan why?"])
def test_a_question_mark_still_asks_for_help_after_a_subcommand(kernel: Kernel, line: str) -> None:
    assert "tokens in" not in kernel.run(line).text


def test_the_doctor_fails_if_the_user_cannot_be_asked(wire: WireServer, kernel: Kernel) -> None:
    error = kernel.run("%chat doctor", stdin=False).error
    assert "this run cannot ask you" in error
    assert not wire.requests


def test_the_doctor_asks_and_prints_a_table(wire: WireServer, kernel: Kernel) -> None:
    question, output = run_and_answer(kernel, "%chat doctor anthropic/claude-sonnet-5", "y")
    assert "8 requests" in question and "at most $0.0" in question
    assert "8 checked" not in output and output.count(" ok\n") == 8
    assert max(map(len, output.splitlines())) <= 112  # JupyterLab wraps no line
    assert "The provider charges as the rules predict." in output
    assert len(wire.requests) == 8
    assert "nothing was sent" in run_and_answer(kernel, "%chat doctor", "")[1]
    assert len(wire.requests) == 8
