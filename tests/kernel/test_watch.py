"""`%chat watch`: the cells that ran since the last chat go along, as one block in front of the prompt."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from support.kernels import Kernel
from wire import HttpError, Reply, WireServer, words

from ipycachechat.conversation.cell_runs import HEADING


def blocks(wire: WireServer, message: int = -1) -> list[dict[str, Any]]:
    """The content of a message of the last request."""
    found = wire.requests[-1].body["messages"][message]["content"]
    return [{"type": "text", "text": found}] if isinstance(found, str) else list(found)


def texts(wire: WireServer, message: int = -1) -> list[str]:
    return [block["text"] for block in blocks(wire, message) if block["type"] == "text"]


def told(wire: WireServer, message: int = -1) -> list[str]:
    """The sources of the cells that go along with a prompt."""
    first, *rest = texts(wire, message)
    if not rest:
        return []
    assert first.startswith(HEADING)
    return [part.partition("\n```")[0] for part in first.split("```python\n")[1:]]


def bare(messages: Any) -> Any:
    """Without checkpoints."""
    if isinstance(messages, dict):
        return {name: bare(value) for name, value in messages.items() if name != "cache_control"}
    return [bare(one) for one in messages] if isinstance(messages, list) else messages


def watch(kernel: Kernel, what: str = "code") -> None:
    assert kernel.run(f"%chat watch {what}").printed == f"Include recently run cells: {what}\n"


# In one block


def test_forty_cells_are_one_block_and_the_next_request_reads_all_before_it(
    kernel: Kernel, wire: WireServer
) -> None:
    watch(kernel, "code+output")
    kernel.run(f"%%chat\n{words(1500)}", "first")
    ran = [f"total_{n} = sum(range({n * 1000}))\nprint('total', total_{n})" for n in range(40)]
    for n, source in enumerate(ran):
        kernel.run(source, f"code {n}")
    second = kernel.run("%%chat\nWhat of these?", "second")
    context, question = texts(wire)  # one block, and the prompt
    assert question == "What of these?" and told(wire) == ran
    assert "Output:\n```\ntotal 499500\n```" in context
    assert "included 40 recently run cells (≈" in second.badge

    before = wire.requests[-1].bill
    assert before.prompt > before.read > 1400
    plan = kernel.run("%chat plan And now?").text
    kernel.run("%%chat\nAnd now?", "third")
    after = wire.requests[-1].bill
    assert after.read == before.prompt and f"{after.read:,} read" in plan
    assert [len(message["content"]) for message in wire.requests[-1].body["messages"][::2]] == [1, 2, 1]


def test_code_alone_is_what_code_says(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel, "code")
    kernel.run("x = 6 * 7\nprint('printed')\nx", "a")
    kernel.run("%%chat\nSo?", "q")
    assert told(wire) == ["x = 6 * 7\nprint('printed')\nx"]
    assert "Output" not in texts(wire)[0]


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("print('hello')\n6 * 7", "hello\n42"),
        ("import sys\nprint('careful', file=sys.stderr)", "careful"),
        ("for n in range(3):\n    print(f'\\r{n} of 2', end='')", "2 of 2"),
        ("print('\\x1b[31mred\\x1b[0m')", "red"),
        ("from IPython.display import Markdown, display\ndisplay(Markdown('**bold**'))", "**bold**"),
        ("import pandas as pd\npd.DataFrame({'a': [1, 2]})", "   a\n0  1\n1  2"),
        ("def f(n):\n    return 1 / n\n\nf(0)", "ZeroDivisionError: division by zero"),
        ("print('```')", "```"),
        ("print('x' * 5_000)", f"{'x' * 600}\n[… 4,000 characters left out …]\n{'x' * 400}"),
        ("def f(:", "SyntaxError"),
        (
            "import sys\nfor n in range(1_000):\n    print(n)\n    print(n, file=sys.stderr)",
            "[… 6,779 characters left out …]",
        ),
        (
            "class Odd(Exception):\n    def __str__(self):\n        raise ValueError\n\nraise Odd",
            "raise ValueError",
        ),
        ("def f(:", 'File "a cell", line 1'),
        ("import warnings\nwarnings.warn('beware')", "a cell:2: UserWarning: beware"),
        ("object()", "<object>"),
    ],
)
def test_what_a_cell_showed_goes_along_as_it_stands_on_the_screen(
    kernel: Kernel, wire: WireServer, source: str, shown: str
) -> None:
    watch(kernel, "code+output")
    number = kernel.run(source, "a").reply["content"]["execution_count"]
    kernel.run("%%chat\nSo?", "q")
    context = texts(wire)[0]
    assert f"In [{number}]:" in context
    assert shown in context.partition("Output:")[2], context
    assert "\x1b" not in context and "\r" not in context


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("for n in range(3):\n    clear_output(wait=True)\n    print(n)\n    display(n)", "2\n2"),
        ("for n in range(3):\n    clear_output(wait=True)\n    display(n)", "2"),
        ("print('one')\nclear_output()\nprint('two')", "two"),
        ("print('one')\ndisplay('shown')\nclear_output()", ""),
        ("print('one')\nclear_output(wait=True)", "one"),
        ("print('one')\nclear_output(wait=True)\n6 * 7", "42"),
        ("handle = display(1, display_id=True)\nfor n in range(4):\n    handle.update(n)", "3"),
    ],
)
def test_what_was_cleared_or_updated_is_not_told(
    kernel: Kernel, wire: WireServer, source: str, shown: str
) -> None:
    watch(kernel, "code+output")
    kernel.run(f"from IPython.display import clear_output, display\n{source}", "a")
    kernel.run("%%chat\nSo?", "q")
    told = f"Output:\n```\n{shown}\n```" if shown else ""
    assert texts(wire)[0].partition("\n```\n")[2] == told


def test_of_a_picture_that_is_drawn_anew_the_last_goes_along(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel, "code+output+images")
    show = "from IPython.display import clear_output, display\nfrom PIL import Image\n"
    kernel.run(
        f"{show}for n in range(3):\n    clear_output(wait=True)\n    display(Image.new('RGB', (8, n + 1)))",
        "a",
    )
    kernel.run("%%chat\nSo?", "q")
    assert [block["type"] for block in blocks(wire)] == ["text", "image", "text"]


def test_what_the_chat_shows_is_not_told_as_output(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel, "code+output+images")
    kernel.run("from ipycachechat import get_chat\nget_chat()('One?')", "a")
    kernel.run("x = 1\n%chat plan", "b")
    kernel.run("1 / 0", "c")
    kernel.run("y = 2\n%chat fix", "d")
    assert "get_chat()('One?')" in texts(wire)[0] and "1 / 0" in texts(wire)[0]
    assert "Output:" not in texts(wire)[0].partition("1 / 0")[0]
    kernel.run("%%chat\nSo?", "q")
    assert told(wire) == ["y = 2\n%chat fix"] and "Output:" not in texts(wire)[0]


def test_what_stands_in_memory_elsewhere_is_the_same_output(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel, "code+output")
    source = "kept = [*globals().get('kept', ()), object()]\nprint(kept[-1])"
    kernel.run(source, "a")
    kernel.run("%%chat\nOne", "q1")
    kernel.run(source, "a")
    kernel.run("%%chat\nTwo", "q2")
    assert told(wire) == [] and "<object object>" in texts(wire, 0)[0]


def test_pictures_go_along_only_if_they_are_asked_for(kernel: Kernel, wire: WireServer) -> None:
    plot = "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"
    watch(kernel, "code+output")
    kernel.run(plot, "a")
    kernel.run("%%chat\nSo?", "q")
    assert [block["type"] for block in blocks(wire)] == ["text", "text"] and "<Figure" in texts(wire)[0]
    watch(kernel, "code+output+images")
    kernel.run(plot.replace("[1, 2]", "[2, 1]"), "a")
    kernel.run("from PIL import Image\nImage.new('RGB', (8, 8), 'red')", "b")
    badge = kernel.run("%%chat\nAnd so?", "r").badge
    assert [block["type"] for block in blocks(wire)] == ["text", "image", "image", "text"]
    assert "and 2 images" in badge
    kernel.run("%%chat -m openai/gpt-3.5-turbo\nAnd you?", "s")  # which sees none
    assert "not shown, this model takes no image" in str(wire.requests[-1].body["messages"])


def test_of_many_pictures_the_last_go_along(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel, "code+output+images")
    show = "from IPython.display import display\nfrom PIL import Image\n"
    for n in range(5):
        kernel.run(f"{show}for _ in range(3):\n    display(Image.new('RGB', (8, {n + 1})))", f"{n}")
    kernel.run("%%chat\nSo?", "q")
    assert [block["type"] for block in blocks(wire)] == ["text", *["image"] * 8, "text"]


# No run twice


def test_a_cell_goes_along_once_and_again_when_it_has_changed(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel)
    kernel.run("x = 1", "a")
    kernel.run("y = 2", "b")
    kernel.run("%%chat\nOne", "q1")
    assert told(wire) == ["x = 1", "y = 2"]
    kernel.run("%%chat\nTwo", "q2")
    assert told(wire) == []
    kernel.run("y = 2", "b")  # the same, and it is known
    kernel.run("x = 10", "a")
    kernel.run("x = 11", "a")  # the last run counts
    kernel.run("%%chat\nThree", "q3")
    assert told(wire) == ["x = 11"] and told(wire, 0) == ["x = 1", "y = 2"]
    kernel.run("x = 1", "a")  # as it was, but not as it was told of last
    kernel.run("%%chat\nFour", "q4")
    assert told(wire) == ["x = 1"]


def test_a_chat_cell_that_is_run_again_keeps_the_cells_before_it(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel)
    kernel.run("x = 1", "a")
    kernel.run("y = 2", "b")
    kernel.run("%%chat\nOne", "q1")
    kernel.run("z = 3", "c")
    kernel.run("%%chat\nTwo", "q2")
    first = wire.requests[0].body["messages"]
    kernel.run("%%chat\nOne", "q1")
    assert wire.requests[-1].body["messages"] == first
    kernel.run("x = 100", "a")
    kernel.run("%%chat\nOne, again", "q1")
    assert told(wire) == ["y = 2", "x = 100"]
    kernel.run("%%chat\nThree", "q3")
    assert told(wire) == [] and told(wire, 2) == ["z = 3"] and told(wire, 0) == ["y = 2", "x = 100"]


def test_run_all_after_a_restart_sends_the_very_same_and_reads_it(wire: WireServer) -> None:
    notebook = [
        ("%chat watch code+output", "w"),
        (f"text = {words(1500)!r}\nlen(text)", "a"),
        ("%%chat\nOne", "q1"),
        ("print('second')", "b"),
        ("%%chat\nTwo", "q2"),
    ]
    with Kernel(wire.env()) as other:
        for _ in range(2):
            other.run("%load_ext ipycachechat", "load")
            for source, cell in notebook:
                assert not other.run(source, cell).error
            other.restart()
    first, second, third, fourth = wire.requests
    assert bare(third.body["messages"]) == bare(first.body["messages"])
    assert bare(fourth.body["messages"]) == bare(second.body["messages"])
    assert fourth.bill.read == second.bill.prompt > 1200


def test_what_was_told_in_a_turn_that_is_gone_goes_along_again(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel)
    kernel.run("x = 1", "a")
    kernel.run("%%chat\nOne", "q1")
    kernel.run("y = 2", "b")
    kernel.run("%%chat\nTwo", "q2")
    kernel.run("%chat undo")
    kernel.run("%%chat\nOtherwise", "q3")
    assert told(wire) == ["y = 2"]
    kernel.run("z = 3", "c")
    kernel.run("%%chat\nMore", "q4")
    kernel.run("%config ChatMagics.rerun = 'rewind'")
    kernel.run("%%chat\nOne, anew", "q1")
    assert told(wire) == ["x = 1", "y = 2", "z = 3"] and len(wire.requests[-1].body["messages"]) == 1
    kernel.run("%chat reset")
    kernel.run("%%chat\nFrom the beginning", "q5")
    assert told(wire) == ["x = 1", "y = 2", "z = 3"]


def test_what_was_told_is_not_told_again_when_other_things_are_watched(
    kernel: Kernel, wire: WireServer
) -> None:
    watch(kernel, "code+output")
    kernel.run("print('x')", "a")
    kernel.run("%%chat\nOne", "q1")
    watch(kernel, "code")
    kernel.run("print('y')", "b")
    kernel.run("%%chat\nTwo", "q2")
    assert told(wire) == ["print('y')"]
    watch(kernel, "code+output")
    kernel.run("%%chat\nThree", "q3")
    assert told(wire) == []


def test_each_branch_is_told_what_it_does_not_know(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel)
    kernel.run("x = 1", "a")
    kernel.run("%%chat\nOne", "q1")
    kernel.run("%chat fork other")
    kernel.run("y = 2", "b")
    kernel.run("%%chat\nThere", "q2")
    kernel.run("%chat switch main")
    kernel.run("z = 3", "c")
    kernel.run("%%chat\nHere", "q3")
    assert told(wire) == ["y = 2", "z = 3"] and told(wire, 0) == ["x = 1"]


def test_a_request_that_failed_has_told_nothing(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel)
    kernel.run("x = 1", "a")
    wire.script(Reply(fault=HttpError(400, "No")))
    assert kernel.run("%%chat\nOne", "q1").error
    kernel.run("%%chat\nOne", "q1")
    assert told(wire) == ["x = 1"]


def test_a_loop_that_asks_tells_of_the_cells_once(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel)
    kernel.run("x = 1", "a")
    kernel.run("from ipycachechat import get_chat\nfor n in range(3):\n    get_chat()(f'Question {n}')", "q")
    assert [len(message["content"]) for message in wire.requests[-1].body["messages"][::2]] == [2, 1, 1]
    assert told(wire, 0) == ["x = 1"]


# What is watched, and since when


def test_cells_about_the_chat_are_not_told_of(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel)
    for source in (
        "%chat",
        "%%chat\nhi",
        "%load_ext ipycachechat",
        "%chat ttl 5m\n%chat model",
        "",
        "# note",
    ):
        kernel.run(source, f"cell of {source}")
    kernel.run("%config ChatMagics.max_tokens = 100\nx = 1", "a")
    kernel.run("%%time\ny = 1", "b")
    kernel.run("%%chatter\nsome other magic", "c")
    kernel.run("%%chat\nSo?", "q")
    assert told(wire)[-1:] == ["%%chatter\nsome other magic"]
    assert told(wire)[:-1] == ["# note", "%config ChatMagics.max_tokens = 100\nx = 1", "%%time\ny = 1"]


def test_whoever_starts_to_watch_is_told_of_what_ran_since_the_last_chat(
    kernel: Kernel, wire: WireServer
) -> None:
    kernel.run("x = 1", "a")
    kernel.run("%%chat\nOne", "q1")
    assert told(wire) == []
    kernel.run("print('y')", "b")
    watch(kernel, "code+output")
    kernel.run("%%chat\nTwo", "q2")
    assert told(wire) == ["print('y')"] and "Output:\n```\ny\n```" in texts(wire)[0]
    watch(kernel, "off")
    kernel.run("z = 3", "c")
    kernel.run("%%chat\nThree", "q3")
    assert told(wire) == [] and told(wire, 2) == ["print('y')"]


def test_it_can_be_set_before_the_extension_is_loaded(wire: WireServer) -> None:
    with Kernel(wire.env(), config="--ChatMagics.watch=code") as kernel:
        kernel.run("before = 1", "a")
        kernel.run("%load_ext ipycachechat", "b")
        kernel.run("x = 1", "c")
        kernel.run("%%chat\nSo?", "q")
    assert told(wire) == ["x = 1"]


def test_what_cannot_be_watched_is_an_error(kernel: Kernel) -> None:
    error = kernel.run("%chat watch everything").error
    assert "code+output" in error and len(error.splitlines()) == 2
    assert kernel.run("%chat watch").printed == "Include recently run cells: off\n"


def test_a_cell_that_awaits_goes_along(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel, "code+output")
    kernel.run("import asyncio\nawait asyncio.sleep(0)\n6 * 7", "a")
    kernel.run("%%chat\nSo?", "q")
    assert told(wire) == ["import asyncio\nawait asyncio.sleep(0)\n6 * 7"] and "\n42\n" in texts(wire)[0]


@pytest.mark.parametrize("line", ["%%chat --raw\n{{ x }}", "%%chat\n{{ x }}", "%chat fix"])
def test_it_goes_along_with_every_way_to_ask(kernel: Kernel, wire: WireServer, line: str) -> None:
    watch(kernel)
    kernel.run("x = 1", "a")
    kernel.run("1 / 0", "b")
    kernel.run(line, "q")
    assert told(wire) == ["x = 1", "1 / 0"]


# Looking, keeping, and what is not to go along


def test_what_will_go_along_is_shown_and_planned_before(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel)
    kernel.run(f"text = {words(1000)!r}", "a")
    shown = kernel.run("%chat show So?").text
    assert (
        "2 blocks" in shown
        and "turn 1: cells that ran" in shown
        and HEADING in shown
        and words(1000) in shown
    )
    assert HEADING in kernel.run("%chat show").text
    plan = kernel.run("%chat plan So?").text
    assert "≈1,2" in plan or "≈1,0" in plan
    assert not wire.requests
    kernel.run("%%chat\nSo?", "q")
    kernel.run("%%chat\nAnd?", "r")
    assert HEADING in kernel.run("%chat show 1").text


def test_the_question_is_what_the_person_typed(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel)
    kernel.run("secretly = 1", "a")
    kernel.run("%%chat\nWhat now?", "q")
    history = kernel.run("%chat history").text
    assert "What now?" in history and "secretly" not in history
    kernel.run("%chat save told.md")
    written = (Path(kernel.folder.name) / "told.md").read_text()
    assert (
        "What now?" in written and "secretly = 1" not in written and "[1 cell that ran before it]" in written
    )


def test_it_is_kept_with_the_conversation(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel, "code+output+images")
    kernel.run("from PIL import Image\nprint('ran')\nImage.new('RGB', (8, 8), 'red')", "a")
    kernel.run("%%chat\nOne", "q1")
    first = wire.requests[-1].body["messages"]
    kernel.run("%chat save kept.json")
    kernel.run("%chat reset")
    kernel.run("%chat load kept.json")
    kernel.run("%%chat\nTwo", "q2")

    assert bare(wire.requests[-1].body["messages"][:1]) == bare(first)
    assert told(wire) == []
    (Path(kernel.folder.name) / "kept.json").unlink()


def test_a_restarted_kernel_that_resumes_goes_on_watching(wire: WireServer) -> None:
    with Kernel(wire.env()) as kernel:
        kernel.run("%load_ext ipycachechat\n%chat watch code")
        kernel.run("x = 1", "a")
        kernel.run("%%chat\nOne", "q1")
        kernel.restart()
        kernel.run("%load_ext ipycachechat\n%chat resume")
        kernel.run("x = 1", "a")
        kernel.run("y = 2", "b")
        kernel.run("%%chat\nTwo", "q2")
    assert told(wire, 0) == ["x = 1"] and told(wire) == ["y = 2"]


def test_asking_the_stale_turns_again_tells_of_the_same_cells(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel)
    kernel.run("%%chat\nOne", "q1")
    kernel.run("x = 1", "a")
    kernel.run("%%chat\nTwo", "q2")
    wire.script(Reply("Something else."))
    kernel.run("%%chat\nOne, edited", "q1")
    kernel.run("y = 2", "b")
    kernel.run("%chat replay")
    assert texts(wire)[-1] == "Two" and told(wire) == ["x = 1"]


def test_no_secret_goes_along_or_is_kept(kernel: Kernel, wire: WireServer) -> None:
    key = "sk-" + "ant-api03-" + "b8" * 40
    watch(kernel, "code+output")
    kernel.run(f"key = '{key}'\nprint(key)\nkey", "a")
    kernel.run(f"raise ValueError('{key}')", "b")
    cell = kernel.run("%%chat\nSo?", "q")
    assert key not in json.dumps(wire.requests[-1].body) and "masked: 5" in cell.badge
    assert len(told(wire)) == 2
    stored = Path(kernel.folder.name) / "ipycachechat" / "chats.db"
    data = b"".join(path.read_bytes() for path in stored.parent.glob("chats.db*"))
    assert data and key.encode() not in data


def test_what_is_too_long_is_cut_and_the_badge_says_so(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel, "code+output")
    kernel.run("%config ChatMagics.context_tokens = 500")
    kernel.run("small = 1", "a")
    ran = kernel.run(f"long = '{'x' * 5000}'\nprint(long)", "b")
    number = ran.reply["content"]["execution_count"]
    badge = kernel.run("%%chat\nWhat of {{ small }}?", "q").badge
    assert f"cut to the 500 tokens of context_tokens: In [{number}] (≈" in badge
    assert len(texts(wire)[0]) < 2500 and "small = 1" in texts(wire)[0]
    kernel.run("%%chat\nAgain?", "r")  # what was cut was told of all the same
    assert told(wire) == []


def test_the_badge_tells_what_became_of_what_was_cut(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel, "code")
    kernel.run("%config ChatMagics.context_tokens = 20")
    for n in range(10):
        kernel.run(f"x{n} = 'short'", f"{n}")
    assert "cut to" not in kernel.run("%%chat\nOne", "q1").badge  # a note would be longer than what it says
    number = kernel.run(f"long = '{'x' * 400}'", "a").reply["content"]["execution_count"]
    badge = kernel.run(f"%%chat\n{{{{ cell({number}) }}}}", "q2").badge
    tokens = (len(texts(wire)[0]) - len(HEADING) - 2) // 4
    assert f"cell({number}) (≈" in badge
    assert re.search(rf"In \[{number}\] \(≈\d+ tokens to ≈{tokens}\)", badge)
