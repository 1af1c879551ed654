"""`%chat watch`: cells that ran since the last chat are sent as one block in front of the prompt."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from support.kernels import ForkedKernel, Kernel
from wire import HttpError, Reply, WireServer, words

from ipycachechat.conversation.cell_runs import HEADING


def blocks(wire: WireServer, message: int = -1) -> list[dict[str, Any]]:
    """Return the content of a message of the last request."""
    content = wire.requests[-1].body["messages"][message]["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def texts(wire: WireServer, message: int = -1) -> list[str]:
    return [block["text"] for block in blocks(wire, message) if block["type"] == "text"]


def cell_sources(wire: WireServer, message: int = -1) -> list[str]:
    """Return the sources of the cells that are sent with a prompt."""
    context, *remaining = texts(wire, message)
    if not remaining:
        return []
    assert context.startswith(HEADING)
    return [part.partition("\n```")[0] for part in context.split("```python\n")[1:]]


def bare(messages: Any) -> Any:
    """Return messages without checkpoints."""
    if isinstance(messages, dict):
        return {name: bare(value) for name, value in messages.items() if name != "cache_control"}
    return [bare(content_part) for content_part in messages] if isinstance(messages, list) else messages


def watch(kernel: Kernel, what: str = "code") -> None:
    assert kernel.run(f"%chat watch {what}").printed == f"Include recently run cells: {what}\n"


# In one block


def test_forty_cells_are_one_block_and_the_next_request_reads_everything_before_it(
    kernel: Kernel, wire: WireServer
) -> None:
    watch(kernel, "code+output")
    kernel.run(f"%%chat\n{words(1500)}", "first")
    result = [f"total_{n} = sum(range({n * 1000}))\nprint('total', total_{n})" for n in range(40)]
    for n, source in enumerate(result):
        kernel.run(source, f"code {n}")
    second = kernel.run("%%chat\nWhat of these?", "second")
    context, question = texts(wire)  # one block and the prompt
    assert question == "What of these?" and cell_sources(wire) == result
    assert "Output:\n```\ntotal 499500\n```" in context
    assert "included 40 recently run cells (≈" in second.badge

    before = wire.requests[-1].bill
    assert before.prompt > before.read > 1400
    plan = kernel.run("%chat plan And now?").text
    kernel.run("%%chat\nAnd now?", "third")
    after = wire.requests[-1].bill
    assert after.read == before.prompt and f"{after.read:,} cached" in plan
    assert [len(message["content"]) for message in wire.requests[-1].body["messages"][::2]] == [1, 2, 1]


def test_watch_code_sends_code_only(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel, "code")
    kernel.run("x = 6 * 7\nprint('printed')\nx", "a")
    kernel.run("%%chat\nSo?", "q")
    assert cell_sources(wire) == ["x = 6 * 7\nprint('printed')\nx"]
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
def test_a_cells_output_is_sent_as_shown_on_the_screen(
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
def test_cleared_or_replaced_output_is_not_sent(
    kernel: Kernel, wire: WireServer, source: str, shown: str
) -> None:
    watch(kernel, "code+output")
    kernel.run(f"from IPython.display import clear_output, display\n{source}", "a")
    kernel.run("%%chat\nSo?", "q")
    cell_sources = f"Output:\n```\n{shown}\n```" if shown else ""
    assert texts(wire)[0].partition("\n```\n")[2] == cell_sources


def test_only_the_last_version_of_an_updated_picture_is_sent(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel, "code+output+images")
    show = "from IPython.display import clear_output, display\nfrom PIL import Image\n"
    kernel.run(
        f"{show}for n in range(3):\n    clear_output(wait=True)\n    display(Image.new('RGB', (8, n + 1)))",
        "a",
    )
    kernel.run("%%chat\nSo?", "q")
    assert [block["type"] for block in blocks(wire)] == ["text", "image", "text"]


def test_output_of_the_chat_is_not_sent_as_output(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel, "code+output+images")
    kernel.run("from ipycachechat import get_chat\nget_chat()('One?')", "a")
    kernel.run("x = 1\n%chat plan", "b")
    kernel.run("1 / 0", "c")
    kernel.run("y = 2\n%chat fix", "d")
    assert "get_chat()('One?')" in texts(wire)[0] and "1 / 0" in texts(wire)[0]
    assert "Output:" not in texts(wire)[0].partition("1 / 0")[0]
    kernel.run("%%chat\nSo?", "q")
    assert cell_sources(wire) == ["y = 2\n%chat fix"] and "Output:" not in texts(wire)[0]


def test_another_memory_address_is_the_same_output(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel, "code+output")
    source = "kept = [*globals().get('kept', ()), object()]\nprint(kept[-1])"
    kernel.run(source, "a")
    kernel.run("%%chat\nOne", "q1")
    kernel.run(source, "a")
    kernel.run("%%chat\nTwo", "q2")
    assert cell_sources(wire) == [] and "<object object>" in texts(wire, 0)[0]


def test_pictures_are_sent_only_if_asked_for(kernel: Kernel, wire: WireServer) -> None:
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
    kernel.run("%%chat -m openai/gpt-3.5-turbo\nAnd you?", "s")  # a model without vision
    assert "not shown, this model takes no image" in str(wire.requests[-1].body["messages"])


def test_only_the_last_of_many_pictures_are_sent(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel, "code+output+images")
    show = "from IPython.display import display\nfrom PIL import Image\n"
    for n in range(5):
        kernel.run(f"{show}for _ in range(3):\n    display(Image.new('RGB', (8, {n + 1})))", f"{n}")
    kernel.run("%%chat\nSo?", "q")
    assert [block["type"] for block in blocks(wire)] == ["text", *["image"] * 8, "text"]


# Each run is sent once


def test_a_cell_is_sent_once_and_again_when_it_has_changed(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel)
    kernel.run("x = 1", "a")
    kernel.run("y = 2", "b")
    kernel.run("%%chat\nOne", "q1")
    assert cell_sources(wire) == ["x = 1", "y = 2"]
    kernel.run("%%chat\nTwo", "q2")
    assert cell_sources(wire) == []
    kernel.run("y = 2", "b")  # the same again, which was already sent
    kernel.run("x = 10", "a")
    kernel.run("x = 11", "a")  # only the last run is sent
    kernel.run("%%chat\nThree", "q3")
    assert cell_sources(wire) == ["x = 11"] and cell_sources(wire, 0) == ["x = 1", "y = 2"]
    kernel.run("x = 1", "a")  # as at first, but not as it was sent last
    kernel.run("%%chat\nFour", "q4")
    assert cell_sources(wire) == ["x = 1"]


def test_a_chat_cell_that_is_run_again_keeps_its_cells(kernel: Kernel, wire: WireServer) -> None:
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
    assert cell_sources(wire) == ["y = 2", "x = 100"]
    kernel.run("%%chat\nThree", "q3")
    assert (
        cell_sources(wire) == []
        and cell_sources(wire, 2) == ["z = 3"]
        and cell_sources(wire, 0) == ["y = 2", "x = 100"]
    )


def test_run_all_after_a_restart_sends_the_same_and_reads_it(wire: WireServer) -> None:
    notebook = [
        ("%chat watch code+output", "w"),
        (f"text = {words(1500)!r}\nlen(text)", "a"),
        ("%%chat\nOne", "q1"),
        ("print('second')", "b"),
        ("%%chat\nTwo", "q2"),
    ]
    with ForkedKernel(wire.env()) as other:
        for _ in range(2):
            other.run("%load_ext ipycachechat", "load")
            for source, cell in notebook:
                assert not other.run(source, cell).error
            other.restart()
    first, second, third, fourth = wire.requests
    assert bare(third.body["messages"]) == bare(first.body["messages"])
    assert bare(fourth.body["messages"]) == bare(second.body["messages"])
    assert fourth.bill.read == second.bill.prompt > 1200


def test_cells_of_a_removed_turn_are_sent_again(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel)
    kernel.run("x = 1", "a")
    kernel.run("%%chat\nOne", "q1")
    kernel.run("y = 2", "b")
    kernel.run("%%chat\nTwo", "q2")
    kernel.run("%chat undo")
    kernel.run("%%chat\nOtherwise", "q3")
    assert cell_sources(wire) == ["y = 2"]
    kernel.run("z = 3", "c")
    kernel.run("%%chat\nMore", "q4")
    kernel.run("%config ChatMagics.rerun = 'rewind'")
    kernel.run("%%chat\nOne, again", "q1")
    assert cell_sources(wire) == ["x = 1", "y = 2", "z = 3"] and len(wire.requests[-1].body["messages"]) == 1
    kernel.run("%chat reset")
    kernel.run("%%chat\nFrom the beginning", "q5")
    assert cell_sources(wire) == ["x = 1", "y = 2", "z = 3"]


def test_cells_are_not_sent_again_when_the_watch_setting_changes(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel, "code+output")
    kernel.run("print('x')", "a")
    kernel.run("%%chat\nOne", "q1")
    watch(kernel, "code")
    kernel.run("print('y')", "b")
    kernel.run("%%chat\nTwo", "q2")
    assert cell_sources(wire) == ["print('y')"]
    watch(kernel, "code+output")
    kernel.run("%%chat\nThree", "q3")
    assert cell_sources(wire) == []


def test_each_branch_gets_the_cells_that_it_does_not_have(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel)
    kernel.run("x = 1", "a")
    kernel.run("%%chat\nOne", "q1")
    kernel.run("%chat fork other")
    kernel.run("y = 2", "b")
    kernel.run("%%chat\nThere", "q2")
    kernel.run("%chat switch main")
    kernel.run("z = 3", "c")
    kernel.run("%%chat\nHere", "q3")
    assert cell_sources(wire) == ["y = 2", "z = 3"] and cell_sources(wire, 0) == ["x = 1"]


def test_cells_of_a_failed_request_are_sent_again(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel)
    kernel.run("x = 1", "a")
    wire.script(Reply(fault=HttpError(400, "No")))
    assert kernel.run("%%chat\nOne", "q1").error
    kernel.run("%%chat\nOne", "q1")
    assert cell_sources(wire) == ["x = 1"]


def test_a_loop_of_chats_sends_the_cells_once(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel)
    kernel.run("x = 1", "a")
    kernel.run("from ipycachechat import get_chat\nfor n in range(3):\n    get_chat()(f'Question {n}')", "q")
    assert [len(message["content"]) for message in wire.requests[-1].body["messages"][::2]] == [2, 1, 1]
    assert cell_sources(wire, 0) == ["x = 1"]


# Which cells are watched, and since when


def test_cells_about_the_chat_are_not_sent(kernel: Kernel, wire: WireServer) -> None:
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
    assert cell_sources(wire)[-1:] == ["%%chatter\nsome other magic"]
    assert cell_sources(wire)[:-1] == [
        "# note",
        "%config ChatMagics.max_tokens = 100\nx = 1",
        "%%time\ny = 1",
    ]


def test_watching_starts_with_the_cells_since_the_last_chat(kernel: Kernel, wire: WireServer) -> None:
    kernel.run("x = 1", "a")
    kernel.run("%%chat\nOne", "q1")
    assert cell_sources(wire) == []
    kernel.run("print('y')", "b")
    watch(kernel, "code+output")
    kernel.run("%%chat\nTwo", "q2")
    assert cell_sources(wire) == ["print('y')"] and "Output:\n```\ny\n```" in texts(wire)[0]
    watch(kernel, "off")
    kernel.run("z = 3", "c")
    kernel.run("%%chat\nThree", "q3")
    assert cell_sources(wire) == [] and cell_sources(wire, 2) == ["print('y')"]


def test_watch_can_be_set_before_the_extension_is_loaded(wire: WireServer) -> None:
    with ForkedKernel(wire.env(), config="--ChatMagics.watch=code") as kernel:
        kernel.run("before = 1", "a")
        kernel.run("%load_ext ipycachechat", "b")
        kernel.run("x = 1", "c")
        kernel.run("%%chat\nSo?", "q")
    assert cell_sources(wire) == ["x = 1"]


def test_a_wrong_watch_setting_is_an_error(kernel: Kernel) -> None:
    error = kernel.run("%chat watch everything").error
    assert "code+output" in error and len(error.splitlines()) == 2
    assert kernel.run("%chat watch").printed == "Include recently run cells: off\n"


def test_a_cell_that_awaits_is_sent(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel, "code+output")
    kernel.run("import asyncio\nawait asyncio.sleep(0)\n6 * 7", "a")
    kernel.run("%%chat\nSo?", "q")
    assert (
        cell_sources(wire) == ["import asyncio\nawait asyncio.sleep(0)\n6 * 7"] and "\n42\n" in texts(wire)[0]
    )


@pytest.mark.parametrize("line", ["%%chat --raw\n{{ x }}", "%%chat\n{{ x }}", "%chat fix"])
def test_cells_are_sent_with_every_way_to_ask(kernel: Kernel, wire: WireServer, line: str) -> None:
    watch(kernel)
    kernel.run("x = 1", "a")
    kernel.run("1 / 0", "b")
    kernel.run(line, "q")
    assert cell_sources(wire) == ["x = 1", "1 / 0"]


# Showing, storing and redacting cells


def test_cells_are_in_show_and_plan_before_they_are_sent(kernel: Kernel, wire: WireServer) -> None:
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


def test_the_stored_question_is_what_the_user_typed(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel)
    kernel.run("secretly = 1", "a")
    kernel.run("%%chat\nWhat now?", "q")
    history = kernel.run("%chat history").text
    assert "What now?" in history and "secretly" not in history
    kernel.run("%chat save saved.md")
    written = (Path(kernel.folder.name) / "saved.md").read_text()
    assert (
        "What now?" in written and "secretly = 1" not in written and "[1 cell that ran before it]" in written
    )


def test_sent_cells_are_kept_with_the_conversation(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel, "code+output+images")
    kernel.run("from PIL import Image\nprint('ran')\nImage.new('RGB', (8, 8), 'red')", "a")
    kernel.run("%%chat\nOne", "q1")
    first = wire.requests[-1].body["messages"]
    kernel.run("%chat save kept.json")
    kernel.run("%chat reset")
    kernel.run("%chat load kept.json")
    kernel.run("%%chat\nTwo", "q2")

    assert bare(wire.requests[-1].body["messages"][:1]) == bare(first)
    assert cell_sources(wire) == []
    (Path(kernel.folder.name) / "kept.json").unlink()


def test_a_resumed_conversation_keeps_watching(wire: WireServer) -> None:
    with ForkedKernel(wire.env()) as kernel:
        kernel.run("%load_ext ipycachechat\n%chat watch code")
        kernel.run("x = 1", "a")
        kernel.run("%%chat\nOne", "q1")
        kernel.restart()
        kernel.run("%load_ext ipycachechat\n%chat resume")
        kernel.run("x = 1", "a")
        kernel.run("y = 2", "b")
        kernel.run("%%chat\nTwo", "q2")
    assert cell_sources(wire, 0) == ["x = 1"] and cell_sources(wire) == ["y = 2"]


def test_a_replay_of_stale_turns_sends_the_same_cells(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel)
    kernel.run("%%chat\nOne", "q1")
    kernel.run("x = 1", "a")
    kernel.run("%%chat\nTwo", "q2")
    wire.script(Reply("Something else."))
    kernel.run("%%chat\nOne, edited", "q1")
    kernel.run("y = 2", "b")
    kernel.run("%chat replay")
    assert texts(wire)[-1] == "Two" and cell_sources(wire) == ["x = 1"]


def test_no_secret_of_a_cell_is_sent_or_stored(kernel: Kernel, wire: WireServer) -> None:
    key = "sk-" + "ant-api03-" + "b8" * 40
    watch(kernel, "code+output")
    kernel.run(f"key = '{key}'\nprint(key)\nkey", "a")
    kernel.run(f"raise ValueError('{key}')", "b")
    cell = kernel.run("%%chat\nSo?", "q")
    assert key not in json.dumps(wire.requests[-1].body) and "masked: 5" in cell.badge
    assert len(cell_sources(wire)) == 2
    stored = Path(kernel.folder.name) / "ipycachechat" / "chats.db"
    data = b"".join(path.read_bytes() for path in stored.parent.glob("chats.db*"))
    assert data and key.encode() not in data


def test_long_cells_are_cut_and_the_badge_says_so(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel, "code+output")
    kernel.run("%config ChatMagics.context_tokens = 500")
    kernel.run("small = 1", "a")
    result = kernel.run(f"long = '{'x' * 5000}'\nprint(long)", "b")
    number = result.reply["content"]["execution_count"]
    badge = kernel.run("%%chat\nWhat of {{ small }}?", "q").badge
    assert f"cut to the 500 tokens of context_tokens: In [{number}] (≈" in badge
    assert len(texts(wire)[0]) < 2500 and "small = 1" in texts(wire)[0]
    kernel.run("%%chat\nAgain?", "r")  # a cut cell counts as sent
    assert cell_sources(wire) == []


def test_the_badge_counts_cut_cells(kernel: Kernel, wire: WireServer) -> None:
    watch(kernel, "code")
    kernel.run("%config ChatMagics.context_tokens = 20")
    for n in range(10):
        kernel.run(f"x{n} = 'short'", f"{n}")
    assert (
        "cut to" not in kernel.run("%%chat\nOne", "q1").badge
    )  # a note on it would be longer than the text itself
    number = kernel.run(f"long = '{'x' * 400}'", "a").reply["content"]["execution_count"]
    badge = kernel.run(f"%%chat\n{{{{ cell({number}) }}}}", "q2").badge
    tokens = (len(texts(wire)[0]) - len(HEADING) - 2) // 4
    assert f"cell({number}) (≈" in badge
    assert re.search(rf"In \[{number}\] \(≈\d+ tokens to ≈{tokens}\)", badge)
