"""Streaming: the messages to the front end while an answer arrives."""

from __future__ import annotations

import re
import threading

from support.kernels import CellResult, ForkedKernel, Kernel
from wire import Drop, HttpError, Reply, Stall, ToolCall, WireServer

TEN_KB = tuple("word " if n % 40 else "\n\n" for n in range(2000))
MAX_BYTES = 700_000  # bytes on IOPub for an answer of 10 kB in 2,000 chunks


def long_answer(paragraphs: int) -> list[str]:
    """The chunks of an answer with so many paragraphs."""
    text = "A paragraph of the answer, with some words in it.\n\n" * paragraphs
    return [text[n : n + 50] for n in range(0, len(text), 50)]


def html(data: dict[str, str]) -> str:
    return data.get("text/html", "")


def test_the_placeholder_the_first_token_and_the_whole_answer_are_drawn_in_turn(
    wire: WireServer, kernel: Kernel
) -> None:
    # Long enough that even a busy machine redraws the waiting line while it counts seconds.
    drawn = threading.Event()
    wire.script(Reply(("Hello ", "there, ", "**friend**"), first_delay=4, hold=drawn))
    request = kernel.start("%%chat\nhello")
    start = kernel.finish(request, until="Hello")
    drawn.set()
    result = kernel.finish(request)
    result.messages[:0] = start.messages
    frames = [html(content["data"]) for content in result.contents("display_data", "update_display_data")]
    waiting = [frame for frame in frames if "ipycachechat-waiting" in frame]
    assert "Waiting for anthropic/claude-sonnet-5: turn 1, ≈" in waiting[0]
    assert any(re.search(r"\b[1-9]\d* s\b", frame) for frame in waiting)
    partial = [frame for frame in frames if "Hello" in frame and "friend" not in frame]
    assert partial
    assert result.answer == "Hello there, **friend**"
    assert "<strong>friend</strong>" in html(result.outputs[0])


def test_ten_kilobytes_in_two_thousand_chunks_stay_small(wire: WireServer, kernel: Kernel) -> None:
    assert 9_500 < len("".join(TEN_KB)) < 10_500
    sizes = []
    for rate in (400, 2000):
        wire.script(Reply(TEN_KB, rate=rate))
        result = kernel.run("%%chat\nhello")
        assert result.answer.strip() == "".join(TEN_KB).strip()
        sizes.append(result.size)
    print("bytes on IOPub at 400 and 2,000 chunks a second:", sizes)
    assert max(sizes) <= MAX_BYTES


def test_a_hundred_kilobytes_stay_small_and_end_as_one_answer_and_one_badge(
    wire: WireServer, kernel: Kernel
) -> None:
    paragraph = "Some *words* with `code` and $a<b$.\n\n```python\nprint(1)\n```\n\n- one\n- two\n\n"
    text = paragraph * (100_000 // len(paragraph))
    wire.script(Reply(tuple(text[n : n + 20] for n in range(0, len(text), 20)), rate=1500))
    result = kernel.run("%%chat --max-tokens 60000\nhello")
    assert result.size <= 2_000_000
    assert len(result.contents("display_data")) < 50  # JupyterLab folds more outputs than that
    assert len(result.contents("clear_output")) == 1
    assert len(result.outputs) == 2
    assert result.answer.strip() == text.strip() and result.badge


def test_never_more_outputs_than_the_front_end_shows(wire: WireServer, kernel: Kernel) -> None:
    wire.script(Reply(tuple(long_answer(200)), rate=200))
    kernel.run(
        "from ipycachechat.notebook.display import screen\nlimit, screen.MAX_OUTPUTS = screen.MAX_OUTPUTS, 3"
    )
    result = kernel.run("%%chat\nhello")
    kernel.run("screen.MAX_OUTPUTS = limit")
    assert len(result.contents("display_data")) == 3 + 2  # and finally the answer and its badge
    assert len(result.outputs) == 2 and result.answer.count("A paragraph") == 200


def test_the_output_of_a_tool_stays_below_a_long_answer(wire: WireServer, kernel: Kernel) -> None:
    long = "A paragraph of the answer, with some words in it.\n\n" * 100
    wire.script(
        Reply(
            tuple(long[n : n + 50] for n in range(0, len(long), 50)),
            rate=400,
            tool_calls=(ToolCall("shout", {}),),
        ),
        Reply(tuple(long[n : n + 50] for n in range(0, len(long), 50)), rate=400),
    )
    kernel.run("def shout():\n    'Say something.'\n    print('HEARD')\n\n%chat tools shout")
    result = kernel.run("%%chat\nhello")
    kinds = [message["header"]["msg_type"] for message in result.messages]
    assert kinds.count("clear_output") == 1
    assert kinds.index("clear_output") < kinds.index("stream")
    assert "HEARD" in result.printed
    assert len(result.outputs) == 2 and result.answer.count("A paragraph") == 200


def test_a_question_is_asked_below_the_answer_so_far(wire: WireServer, kernel: Kernel) -> None:
    wire.script(
        Reply((*long_answer(100), "So I look."), rate=400, tool_calls=(ToolCall("shout", {}),)),
        Reply("It was loud."),
    )
    kernel.run("def shout():\n    'Say something.'\n    print('HEARD')\n\n%chat tools shout --ask")
    request = kernel.start("%%chat\nhello")
    asked = kernel.client.get_stdin_msg(timeout=30)
    so_far = CellResult(kernel.iopub_messages(1))
    assert "shout()" in asked["content"]["prompt"]
    assert len(so_far.contents("clear_output")) == 1
    assert len(so_far.outputs) == 1 and "So I look." in html(so_far.outputs[0])
    assert html(so_far.outputs[0]).count("A paragraph") == 100
    kernel.client.input("y")
    result = kernel.finish(request)
    result.messages[:0] = so_far.messages
    assert len(result.contents("clear_output")) == 1 and "HEARD" in result.printed
    assert len(result.outputs) == 2 and result.answer.endswith("It was loud.")


def test_other_outputs_of_a_cell_are_never_cleared(wire: WireServer, kernel: Kernel) -> None:
    long = "A paragraph of the answer, with some words in it.\n\n" * 100
    wire.script(*[Reply(tuple(long[n : n + 50] for n in range(0, len(long), 50)), rate=400)] * 2)
    result = kernel.run("print('before')\nget_ipython().run_cell_magic('chat', '', 'hello')\nprint('after')")
    assert not result.contents("clear_output")
    assert result.printed == "before\nafter\n" and len(result.outputs) == 2


def test_the_output_of_an_expression_stays(wire: WireServer, kernel: Kernel) -> None:
    wire.script(Reply(tuple(long_answer(100)), rate=400))
    kernel.run(
        "class Loud:\n    def __repr__(self):\n        print('HEARD')\n        return 'loud'\n\nloud = Loud()"
    )
    result = kernel.run("%%chat\n{{ loud }}")
    assert "HEARD" in result.printed and not result.contents("clear_output")
    assert len(result.outputs) == 2 and result.answer.count("A paragraph") == 100


def test_the_output_of_another_hook_before_a_cell_stays(wire: WireServer, kernel: Kernel) -> None:
    wire.script(Reply(tuple(long_answer(100)), rate=400))
    kernel.run("def hook(info):\n    print('HEARD')\n\nget_ipython().events.register('pre_run_cell', hook)")
    result = kernel.run("%%chat\nhello")
    kernel.run("get_ipython().events.unregister('pre_run_cell', hook)")
    assert "HEARD" in result.printed and not result.contents("clear_output")
    assert len(result.outputs) == 2 and result.answer.count("A paragraph") == 100


def test_carriage_returns_in_a_long_answer_do_no_harm(wire: WireServer, kernel: Kernel) -> None:
    wire.script(Reply(tuple("one\rtwo\r\r" * 10 for _ in range(80)), rate=400))
    result = kernel.run("%%chat\nhello")
    assert not result.error and len(result.outputs) == 2 and result.badge


def test_a_broken_off_long_answer_ends_as_one_answer_and_one_badge(wire: WireServer, kernel: Kernel) -> None:
    long = "A paragraph of the answer, with some words in it.\n\n" * 100
    chunks = tuple(long[n : n + 50] for n in range(0, len(long), 50))
    kernel.run("%config ChatMagics.retries = 0")
    wire.script(Reply(chunks, rate=400, fault=Drop("chunk", after=80)))
    result = kernel.run("%%chat\nhello")
    assert "connection" in result.error
    assert len(result.outputs) == 2 and "partial answer kept" in result.badge
    assert result.answer and long.startswith(result.answer)


def test_the_first_attempt_of_a_retried_answer_stays_folded(wire: WireServer, kernel: Kernel) -> None:
    long = "A paragraph of the answer, with some words in it.\n\n" * 100
    chunks = tuple(long[n : n + 50] for n in range(0, len(long), 50))
    wire.script(Reply(chunks, rate=400, fault=Drop("chunk", after=80)), Reply("All of it."))
    result = kernel.run("%%chat\nhello")
    assert not result.error and len(result.outputs) == 2 and result.answer == "All of it."
    answer = result.outputs[0]
    assert (
        answer["text/html"].count("<details") == 1
        and "First attempt (connection lost)" in answer["text/html"]
    )
    assert "> ```broken" in answer["text/markdown"]


def test_the_pause_before_a_retry_is_counted_down(wire: WireServer, kernel: Kernel) -> None:
    wire.script(Reply(fault=HttpError(429, "slow", headers={"retry-after": "2"})), Reply("Here."))
    result = kernel.run("%%chat\nhello")
    status_lines = [
        str(content["data"].get("text/plain"))
        for content in result.contents("display_data", "update_display_data")
    ]
    seconds_left = [
        text.partition("Retrying in ")[2].partition(" s")[0] for text in status_lines if "Retrying" in text
    ]
    assert seconds_left[0] in "23" and seconds_left[-1] in "01" and result.answer == "Here."
    assert "too many requests (slow)" in "".join(status_lines) and "(2 of 4)" in "".join(status_lines)


def test_a_stopped_long_answer_ends_as_one_answer_and_one_badge(wire: WireServer, kernel: Kernel) -> None:
    long = "A paragraph of the answer, with some words in it.\n\n" * 400
    wire.script(Reply(tuple(long[n : n + 50] for n in range(0, len(long), 50)), rate=50))
    request = kernel.start("%%chat\nhello")
    first_messages = kernel.finish(request, until="A paragraph")
    meanwhile = kernel.iopub_messages(2)
    kernel.interrupt()
    result = kernel.finish(request)
    result.messages[:0] = [*first_messages.messages, *meanwhile]
    assert len(result.contents("display_data")) > 3
    assert len(result.outputs) == 2 and "partial answer kept" in result.badge
    assert result.answer and long.startswith(result.answer)


def test_a_stalled_stream_shows_everything_that_arrived(wire: WireServer, kernel: Kernel) -> None:
    words = tuple(f"word{n} " for n in range(300))
    wire.script(Reply((*words, "end"), chunk_delay=0.001, first_delay=0))
    kernel.run("%%chat\nhello")
    wire.script(Reply((*words, "end"), fault=Stall("chunk", after=300, seconds=30)))
    request = kernel.start("%%chat\nhello")
    assert kernel.finish(request, until="word299").messages
    kernel.interrupt()
    kernel.finish(request)


def test_tags_of_hostile_answers_are_removed(wire: WireServer, kernel: Kernel) -> None:
    wire.script(Reply("<script>window.pwned=1</script> ![x](http://h/a.png)"))
    result = kernel.run("%%chat\nhello")
    answer = result.outputs[0]
    assert "<script" not in html(answer) + answer["text/markdown"]
    assert "<img" not in html(answer)


def test_consoles_that_print_get_plain_text_once(wire: WireServer) -> None:
    wire.script(Reply(("Hello ", "there\x1b[31m red")))
    with ForkedKernel(wire.env(), connection_file="kernel-4711.json") as kernel:
        kernel.run("%load_ext ipycachechat")
        result = kernel.run("%%chat\nhello")
        assert not result.outputs
        assert result.printed.startswith("Hello there red\n[anthropic/claude-sonnet-5 · ")
