"""Chat cells with the kernel's functions as tools, with thinking, and the same conversation from Python."""

from __future__ import annotations

import time

import pytest
from support.kernels import CellResult, ForkedKernel, Kernel
from wire import Reply, WireServer, words
from wire.replies import ToolCall

TOOLS = """
import asyncio
import threading

def look(q: str) -> str:
    "Look something up."
    print("looking for", q)
    return f"found {q} <b>here</b>"

async def fetch(n: int) -> int:
    "Fetch one."
    await asyncio.sleep(0.01)
    return n

def slow(n: int) -> int:
    "Take long."
    import time
    time.sleep(60)
    return n
"""


@pytest.fixture
def kernel(kernel: Kernel) -> Kernel:
    assert not kernel.run(TOOLS).error
    return kernel


def call(name: str, text: str = "", **arguments: object) -> Reply:
    return Reply(text, tool_calls=(ToolCall(name, arguments),))


def html(result: CellResult) -> str:
    return next(str(shown["text/html"]) for shown in result.outputs if "text/markdown" in shown)


def test_the_model_calls_functions_of_the_kernel_and_the_calls_are_folded(
    wire: WireServer, kernel: Kernel
) -> None:
    assert kernel.run("%chat tools").printed == "Tools are off\n"
    assert kernel.run("%chat tools look, fetch").printed == "Tools: look, fetch\n"
    wire.script(call("look", "Let me see.", q="x"), call("fetch", n=3), Reply("It is **done**."))
    result = kernel.run("%%chat --out reply\nWhat is x?")
    assert not result.error
    assert "looking for x" in result.printed  # in the cell, as if the cell had called it
    assert (
        result.answer
        == "Let me see.\n\n[look(q='x') → found x <b>here</b>]\n\n[fetch(n=3) → 3]\n\nIt is **done**."
    )
    shown = html(result)
    assert shown.count("<details") == 2 and "<strong>done</strong>" in shown
    assert "<b>here</b>" not in shown and "&lt;b&gt;here" in shown
    assert kernel.value("reply") == "It is **done**."
    bills = [request.bill for request in wire.requests]
    assert result.numbers()["input"] == sum(bill.prompt for bill in bills if bill)
    assert not kernel.run("%%chat\nAnd y?").error


def test_a_redefined_function_is_called_and_a_missing_one_is_reported(
    wire: WireServer, kernel: Kernel
) -> None:
    kernel.run("%chat tools look")
    kernel.run('def look(q: str) -> str:\n    "Look something up."\n    return "corrected"')
    wire.script(call("look", q="x"), Reply("done"))
    assert "→ corrected]" in kernel.run("%%chat\nhi").answer
    kernel.run("del look")
    assert "there is no function look" in kernel.run("%%chat\nhi").error
    assert kernel.run("%chat tools off").printed == "Tools are off\n"
    assert kernel.run("%%chat\nhi").answer


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("nothing", "no function nothing"),
        ("look look2", "no function look2"),
        ("TOOLBOX", "not a list"),
        ("--all", "no such option"),
        ("'look", "closing quotation"),
    ],
)
def test_a_value_that_is_not_a_tool_is_reported_and_nothing_changes(
    kernel: Kernel, line: str, expected: str
) -> None:
    kernel.run("TOOLBOX = [look]\n%chat tools look")
    result = kernel.run(f"%chat tools {line}")
    assert expected.lower() in result.error.lower() and len(result.error.splitlines()) == 2
    assert kernel.run("%chat tools").printed == "Tools: look\n"


@pytest.mark.parametrize(("answer", "outcome"), [("y", "found x"), ("", "did not allow")])
def test_the_user_can_be_asked_about_each_call(
    wire: WireServer, kernel: Kernel, answer: str, outcome: str
) -> None:
    assert kernel.run("%chat tools look --ask").printed == "Tools: look (you approve each call)\n"
    long = "x" * 300 + "\x1b[2K and the end"
    wire.script(call("look", q=long), Reply("done"))
    request = kernel.start("%%chat\nhi")
    asked = kernel.client.get_stdin_msg(timeout=20)
    assert f"look(q={long!r})" in asked["content"]["prompt"]  # the whole call
    kernel.client.input(answer)
    result = kernel.finish(request)
    assert outcome in result.answer and result.answer.endswith("done")


def test_nothing_is_sent_if_the_user_cannot_be_asked_about_calls(wire: WireServer, kernel: Kernel) -> None:
    kernel.run("%chat tools look --ask")
    result = kernel.run("%%chat\nhi", stdin=False)
    assert "this run cannot ask you" in result.error and not wire.requests
    kernel.run("%chat tools --no-ask")
    assert kernel.run("%%chat\nhi", stdin=False).answer


def test_an_async_tool_that_blocks_is_reported_when_the_cell_is_stopped(
    wire: WireServer, kernel: Kernel
) -> None:
    kernel.run(
        "import time\nasync def long(n: int) -> str:\n    'Block.'\n    time.sleep(7)\n    return 'late'"
    )
    kernel.run("%chat tools long\nfrom ipycachechat import get_chat")
    wire.script(Reply("I look.", tool_calls=(ToolCall("long", {"n": 1}),)))
    request = kernel.start("%%chat\nhello", cell="a")
    wire.wait(1, 30)[0].wait(5)
    time.sleep(0.5)
    kernel.interrupt()
    result = kernel.finish(request)
    hint = "It has not ended yet (a blocking async tool?); what arrived is kept once it does."
    assert result.error == f"Stopped. {hint}"
    assert kernel.run("%%chat\nand now?").answer  # the stop, which waits for it
    roles = kernel.value("[m['role'] for m in get_chat().hist]")
    assert roles == ["user", "assistant", "tool", "user", "assistant"]


def test_the_stop_button_stops_a_tool(wire: WireServer, kernel: Kernel) -> None:
    kernel.run("%chat tools slow look")
    wire.script(call("look", q="x"), call("slow", "And now", n=1))
    request = kernel.start("%%chat\nhi")
    result = kernel.finish(request, until="slow(n=1)")
    kernel.interrupt()
    result = kernel.finish(request)
    assert result.error == "Stopped. The partial answer is kept; rerun the cell to retry."
    assert not kernel.run("%%chat\ngo on").error
    roles = [message["role"] for message in wire.requests[-1].messages]
    assert roles[:3] == ["user", "assistant", "user"]


def test_thinking_is_requested_and_folded(wire: WireServer, kernel: Kernel) -> None:
    wire.script(Reply("done", thinking="let me <i>see</i>"))
    result = kernel.run("%%chat --think low\nhi")
    assert "<details" in html(result) and "let me &lt;i&gt;see" in html(result)
    assert result.answer == "done"
    assert "thinking" in wire.requests[0].body
    kernel.run("%config ChatMagics.think = 'high'")
    kernel.run("%%chat\nhi")
    assert wire.requests[1].body["output_config"] == {"effort": "high"}
    kernel.run("%%chat --think off\nhi")
    assert "thinking" not in wire.requests[2].body
    assert "invalid choice" in kernel.run("%%chat --think much\nhi").error


def test_python_and_chat_cells_share_one_conversation(wire: WireServer, kernel: Kernel) -> None:
    kernel.run("%%chat\n" + words(2000), "a")
    result = kernel.run(
        "from ipycachechat import get_chat\nchat = get_chat()\nchat('and from Python?').text", "b"
    )
    assert not result.error
    assert kernel.value("len(chat.hist)") == 4
    assert "Reply 3" in kernel.run("%%chat\nhello", "c").answer
    bill = wire.requests[1].bill
    assert bill is not None and bill.read >= 2000
    # A cell that is run again replaces its turn, asked by a chat cell or from Python.
    kernel.run("chat('and from Python once more?').text", "b")
    assert kernel.value("[m['content'] for m in chat.hist[2::4]]") == ["and from Python once more?"]
    kernel.run("%chat tools look")
    wire.script(call("look", q="x"), Reply("done"))
    assert "done" in str(kernel.run("chat('with tools').text", "d").messages)
    kernel.run("%chat model openai/gpt-5.5")
    kernel.run("chat('another model')")
    assert wire.requests[-1].model == "gpt-5.5"


def test_an_answer_from_python_is_shown_as_markdown(wire: WireServer, kernel: Kernel) -> None:
    wire.script(Reply("**bold** <script>x</script>"))
    result = kernel.run("from ipycachechat import Chat\nChat('anthropic/claude-sonnet-5')('hi')")
    (shown,) = (content["data"] for content in result.contents("execute_result"))
    assert "<strong>bold</strong>" in shown["text/html"] and "<script" not in shown["text/html"]


def test_get_chat_fails_without_the_extension() -> None:
    with ForkedKernel() as kernel:
        result = kernel.run("from ipycachechat import get_chat\nget_chat()")
        assert "%load_ext ipycachechat" in result.error and len(result.error.splitlines()) == 2
