"""What the front end is sent while an answer arrives."""

from __future__ import annotations

import pytest
from kernels import Kernel
from wire import Drop, Reply, ToolCall, WireServer

TEN_KB = tuple("word " if n % 40 else "\n\n" for n in range(2000))
MOST = 700_000  # bytes on IOPub for an answer of 10 kB in 2,000 chunks


def long_answer(paragraphs: int) -> list[str]:
    """The chunks of so many paragraphs."""
    text = "A paragraph of the answer, with some words in it.\n\n" * paragraphs
    return [text[n : n + 50] for n in range(0, len(text), 50)]


def html(data: dict[str, str]) -> str:
    return data.get("text/html", "")


def test_placeholder_then_first_token_then_the_whole(wire: WireServer) -> None:
    wire.script(Reply(("Hello ", "there, ", "**friend**"), first_delay=2.5, chunk_delay=0.3))
    with Kernel(wire.env()) as kernel:
        kernel.run("%load_ext ipycachechat")
        ran = kernel.run("%%chat\nhello")
        frames = [html(content["data"]) for content in ran.of("display_data", "update_display_data")]
        waiting = [frame for frame in frames if "ipycachechat-waiting" in frame]
        assert "tokens to anthropic/claude-sonnet-5, the first turn" in waiting[0]
        assert any("2 s" in frame for frame in waiting)
        partial = [frame for frame in frames if "Hello" in frame and "friend" not in frame]
        assert partial
        assert ran.answer == "Hello there, **friend**"
        assert "<strong>friend</strong>" in html(ran.outputs[0])


def test_ten_kilobytes_in_two_thousand_chunks_stay_small(wire: WireServer) -> None:
    assert 9_500 < len("".join(TEN_KB)) < 10_500
    with Kernel(wire.env()) as kernel:
        kernel.run("%load_ext ipycachechat")
        sizes = []
        for rate in (150, 400, 2000):
            wire.script(Reply(TEN_KB, rate=rate))
            ran = kernel.run("%%chat\nhello")
            assert ran.answer.strip() == "".join(TEN_KB).strip()
            sizes.append(ran.size)
        print("bytes on IOPub at 150, 400 and 2,000 chunks a second:", sizes)
        assert max(sizes) <= MOST


def test_a_hundred_kilobytes_stay_small_and_end_as_one_answer_and_one_badge(wire: WireServer) -> None:
    paragraph = "Some *words* with `code` and $a<b$.\n\n```python\nprint(1)\n```\n\n- one\n- two\n\n"
    text = paragraph * (100_000 // len(paragraph))
    wire.script(Reply(tuple(text[n : n + 20] for n in range(0, len(text), 20)), rate=1500))
    with Kernel(wire.env()) as kernel:
        kernel.run("%load_ext ipycachechat")
        ran = kernel.run("%%chat --max-tokens 60000\nhello")
        assert ran.size <= 2_000_000
        assert len(ran.of("display_data")) < 50  # JupyterLab folds up what is more
        assert len(ran.of("clear_output")) == 1
        assert len(ran.outputs) == 2
        assert ran.answer.strip() == text.strip() and ran.badge


def test_what_a_tool_prints_stays_though_the_answer_was_long(wire: WireServer) -> None:
    long = "A paragraph of the answer, with some words in it.\n\n" * 100
    wire.script(
        Reply(
            tuple(long[n : n + 50] for n in range(0, len(long), 50)),
            rate=400,
            tool_calls=(ToolCall("shout", {}),),
        ),
        Reply(tuple(long[n : n + 50] for n in range(0, len(long), 50)), rate=400),
    )
    with Kernel(wire.env()) as kernel:
        kernel.run("%load_ext ipycachechat")
        kernel.run("def shout():\n    'Say something.'\n    print('HEARD')\n\n%chat tools shout")
        ran = kernel.run("%%chat\nhello")
        kinds = [message["header"]["msg_type"] for message in ran.messages]
        assert kinds.count("clear_output") == 1
        assert kinds.index("clear_output") < kinds.index("stream")
        assert "HEARD" in ran.printed
        assert len(ran.outputs) == 2 and ran.answer.count("A paragraph") == 200


def test_what_else_a_cell_shows_is_never_cleared(wire: WireServer) -> None:
    long = "A paragraph of the answer, with some words in it.\n\n" * 100
    wire.script(*[Reply(tuple(long[n : n + 50] for n in range(0, len(long), 50)), rate=400)] * 2)
    with Kernel(wire.env()) as kernel:
        kernel.run("%load_ext ipycachechat")
        ran = kernel.run("print('before')\nget_ipython().run_cell_magic('chat', '', 'hello')\nprint('after')")
        assert not ran.of("clear_output")
        assert ran.printed == "before\nafter\n" and len(ran.outputs) == 2


@pytest.mark.parametrize(
    ("before", "cell"),
    [
        ("def f():\n    print('HEARD')\n    return 1", "%%chat\n{{ f() }}"),
        ("get_ipython().events.register('pre_run_cell', lambda info: print('HEARD'))", "%%chat\nhello"),
    ],
    ids=["an expression that prints", "another's hook that prints"],
)
def test_what_was_printed_before_the_answer_stays(wire: WireServer, before: str, cell: str) -> None:
    wire.script(Reply(tuple(long_answer(100)), rate=400))
    with Kernel(wire.env()) as kernel:
        kernel.run("%load_ext ipycachechat")
        kernel.run(before)
        ran = kernel.run(cell)
        assert "HEARD" in ran.printed and not ran.of("clear_output")
        assert len(ran.outputs) == 2 and ran.answer.count("A paragraph") == 100


def test_carriage_returns_in_a_long_answer_do_no_harm(wire: WireServer) -> None:
    wire.script(Reply(tuple("one\rtwo\r\r" * 10 for _ in range(80)), rate=400))
    with Kernel(wire.env()) as kernel:
        kernel.run("%load_ext ipycachechat")
        ran = kernel.run("%%chat\nhello")
        assert not ran.error and len(ran.outputs) == 2 and ran.badge


def test_a_long_answer_that_breaks_off_ends_as_one_answer_and_one_badge(wire: WireServer) -> None:
    long = "A paragraph of the answer, with some words in it.\n\n" * 100
    pieces = tuple(long[n : n + 50] for n in range(0, len(long), 50))
    wire.script(Reply(pieces, rate=400, fault=Drop("chunk", after=80)), Reply(pieces, rate=50))
    with Kernel(wire.env()) as kernel:
        kernel.run("%load_ext ipycachechat")
        ran = kernel.run("%%chat\nhello")
        assert "connection" in ran.error
        assert len(ran.outputs) == 2 and "interrupted" in ran.badge
        assert ran.answer and long.startswith(ran.answer)


def test_a_long_answer_that_is_stopped_ends_as_one_answer_and_one_badge(wire: WireServer) -> None:
    long = "A paragraph of the answer, with some words in it.\n\n" * 400
    wire.script(Reply(tuple(long[n : n + 50] for n in range(0, len(long), 50)), rate=50))
    with Kernel(wire.env()) as kernel:
        kernel.run("%load_ext ipycachechat")
        request = kernel.start("%%chat\nhello")
        begun = kernel.finish(request, until="A paragraph")
        meanwhile = kernel.also(2)
        kernel.interrupt()
        ran = kernel.finish(request)
        ran.messages[:0] = [*begun.messages, *meanwhile]
        assert len(ran.of("display_data")) > 3
        assert len(ran.outputs) == 2 and "interrupted" in ran.badge
        assert ran.answer and long.startswith(ran.answer)


def test_a_stalled_stream_shows_all_that_has_come(wire: WireServer) -> None:
    words = tuple(f"word{n} " for n in range(300))
    wire.script(Reply((*words, "end"), chunk_delay=0.001, first_delay=0))
    with Kernel(wire.env()) as kernel:
        kernel.run("%load_ext ipycachechat")
        kernel.run("%%chat\nhello")
        from wire import Stall

        wire.script(Reply((*words, "end"), fault=Stall("chunk", after=300, seconds=30)))
        request = kernel.start("%%chat\nhello")
        assert kernel.finish(request, until="word299").messages
        kernel.interrupt()
        kernel.finish(request)


def test_hostile_answers_leave_no_tag_of_their_own(wire: WireServer) -> None:
    wire.script(Reply("<script>window.pwned=1</script> ![x](http://h/a.png)"))
    with Kernel(wire.env()) as kernel:
        kernel.run("%load_ext ipycachechat")
        ran = kernel.run("%%chat\nhello")
        answer = ran.outputs[0]
        assert "<script" not in html(answer) + answer["text/markdown"]
        assert "<img" not in html(answer)


def test_consoles_that_print_get_plain_text_once(wire: WireServer) -> None:
    wire.script(Reply(("Hello ", "there\x1b[31m red")))
    with Kernel(wire.env(), connection_file="kernel-4711.json") as kernel:
        kernel.run("%load_ext ipycachechat")
        ran = kernel.run("%%chat\nhello")
        assert not ran.outputs
        assert ran.printed.startswith("Hello there red\n[anthropic/claude-sonnet-5 · ")
