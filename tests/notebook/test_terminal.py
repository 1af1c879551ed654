"""The IPython terminal: the same magics; plain text, or rich's markdown where styles are shown."""

from __future__ import annotations

import io
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from html import unescape
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from support.honest_answers import corpus
from wire import Reply, Stall, ToolCall, WireServer

from ipycachechat.conversation.events import StreamChunk
from ipycachechat.engine.events import TurnResult
from ipycachechat.notebook.display.terminal import PlainScreen, _rendered
from ipycachechat.rendering import markdown
from ipycachechat.rendering.answer import TextSegment
from ipycachechat.text import sanitize

pexpect = pytest.importorskip("pexpect")

HIDDEN, VISIBLE = "\x1b[?25l", "\x1b[?25h"
PARAGRAPH = "A paragraph that goes on for a while, to be cut.\n\n"
CHAT = "get_ipython().run_cell_magic('chat', '', 'hello')"
SHOUT = 'exec(\'def shout():\\n    "Say it."\\n    print("HE" + "ARD")\')'


@contextmanager
def terminal(wire: WireServer, term: str, **env: str) -> Iterator[Any]:
    """IPython in a terminal of that kind, with the extension loaded."""
    shell = pexpect.spawn(
        sys.executable,
        ["-m", "IPython", "--simple-prompt", "--no-banner", "--colors=NoColor"],
        env=os.environ | wire.env() | {"TERM": term, "PYTHONPATH": os.getcwd(), "NO_COLOR": ""} | env,
        encoding="utf-8",
        codec_errors="replace",
        timeout=120,
        dimensions=(50, 200),
    )
    shell.expect("In ")
    shell.sendline("%load_ext ipycachechat")
    shell.expect("lists the rest")
    yield shell
    shell.sendline("exit")
    shell.expect(pexpect.EOF)
    shell.close()
    assert shell.exitstatus == 0


def pieces(text: str) -> list[str]:
    return [text[n : n + 40] for n in range(0, len(text), 40)]


@given(
    st.text(st.sampled_from(["a", "\n", "\r", "\x1b", "[", "3", "m", "]", ";", "\x07", "\x9b", " "])),
    st.integers(1, 9),
)
def test_plain_text_comes_as_if_in_one_piece_and_printed_lines_are_not_read_again(
    text: str, size: int
) -> None:
    screen, out = PlainScreen(), io.StringIO()
    with redirect_stdout(out):
        for start in range(0, len(text), size):
            screen.on_event(StreamChunk(text[start : start + size]))
            assert "\n" not in screen._text
        screen.finish(TurnResult())
    clean = sanitize.clean(text)
    assert out.getvalue() == clean + "\n" * bool(clean)


def test_chat_in_the_terminal(wire: WireServer) -> None:
    wire.script(Reply(("Plain ", "**text**")), Reply(("again ", "and ", "again"), chunk_delay=30))
    with terminal(wire, "dumb") as shell:
        shell.sendline(CHAT)
        shell.expect(r"Plain \*\*text\*\*\r\n\[anthropic/claude-sonnet-5 · [^]]* saved [^]]*\]")
        shell.sendline(CHAT)
        shell.expect("again ")
        shell.sendintr()
        shell.expect("Stopped.")
        shell.sendline("%chat")
        shell.expect("2 turns")
        shell.sendline("%chat histry")
        shell.expect("Did you mean: %chat history")


@pytest.mark.parametrize("term", ["dumb", "xterm-256color"])
def test_a_terminal_that_cannot_show_a_letter_shows_the_others(wire: WireServer, term: str) -> None:
    wire.script(Reply("caf\xe9, ≈ 3 and 🎉"))
    with terminal(wire, term, PYTHONIOENCODING="latin-1") as shell:
        shell.sendline(CHAT)
        shell.expect(r"caf., \? 3 and \?\s+\[anthropic/claude-sonnet-5 . [^]]* saved [^]]*\]")
        shell.sendline("%chat usage")
        shell.expect(r"In \[")
        assert "Error" not in shell.before


def test_a_terminal_that_shows_styles_gets_rich_markdown(wire: WireServer) -> None:
    hostile = "\x1b]0;owned\x07<b>tag</b> [red]brackets[/red]"
    wire.script(
        Reply(("Some **bold** text\n\n", hostile), tool_calls=(ToolCall("shout", {}),)),
        Reply((*pieces(PARAGRAPH * 40), "The *very* end."), rate=400),
    )
    with terminal(wire, "xterm-256color") as shell:
        shell.sendline(SHOUT)
        shell.sendline("%chat tools shout")
        shell.expect("Tools: shout")
        shell.sendline(CHAT)
        shell.expect(r"anthropic/claude-sonnet-5 · [^]]* saved [^]]*\]")
        seen = shell.before
        assert "\x1b[1mbold" in seen
        assert "<b>tag</b> [red]brackets[/red]" in seen and "owned" not in seen
        assert "HEARD" in seen and "[shout() → " in seen
        # What is redrawn is erased first; the rest is on the screen once.
        kept = re.sub(r"(?s)(\x1b\[2K\x1b\[1A|\x1b\[1A\x1b\[2K)", "", seen)
        assert "very" in kept and "end." in kept
        assert shell.expect([r"\x1b\[\?25l", "In "]) == 1  # the cursor is there again


@pytest.mark.parametrize(("name", "answer"), corpus(), ids=[name for name, _ in corpus()])
def test_nothing_that_the_page_says_is_missing_in_the_terminal(name: str, answer: str) -> None:
    shown = io.StringIO()
    Console(width=4_000, file=shown).print(_rendered([TextSegment(answer)]))
    page = unescape(re.sub(r"<[^>]+>", "", markdown.to_html(answer, style=False)))
    lost = Counter(re.findall(r"\w|[=<>+]", page)) - Counter(re.findall(r"\w|[=<>+]", shown.getvalue()))
    # A footnote has its number on the page alone, and an image its address.
    links = {"footnotes": "2", "image and relative link": "image http://127.0.0.1:9/chart.png"}
    assert set(lost) <= set(links.get(name, ""))


def test_what_is_longer_than_the_terminal_is_shown_from_its_end(wire: WireServer) -> None:
    code = "".join(f"line_{n}()\n" for n in range(70))
    wire.script(
        Reply(
            ("```python\n", *code.splitlines(keepends=True), "```"), rate=40, fault=Stall("chunk", after=69)
        )
    )
    with terminal(wire, "xterm-256color") as shell:
        shell.sendline(CHAT)
        shell.expect(r"line_6\d")  # long before it is finished
        shell.sendintr()
        shell.expect("Stopped.")


@pytest.mark.parametrize("pressed", [1, 2, 5], ids=["once", "twice", "five times"])
def test_the_cursor_comes_back_however_often_stop_is_pressed(wire: WireServer, pressed: int) -> None:
    wire.script(Reply((*pieces(PARAGRAPH * 60), "more"), rate=400, fault=Stall("chunk", after=70)))
    with terminal(wire, "xterm-256color") as shell:
        shell.sendline(CHAT)
        shell.expect_exact(HIDDEN)
        shell.expect("A paragraph")
        for _ in range(pressed):
            shell.sendintr()
            time.sleep(0.05)
        shell.expect("Stopped.")
        screen = shell.before
        assert screen.rfind(VISIBLE) > screen.rfind(HIDDEN)
        shell.expect("In ")
        time.sleep(0.5)  # the last of them may have come at the prompt, which is drawn again then
        shell.sendline("%chat")
        shell.expect(r"1 turn\b")


def test_a_question_in_the_middle_of_an_answer_stands_below_what_was_said(wire: WireServer) -> None:
    wire.script(
        Reply((*pieces(PARAGRAPH * 40), "So I look."), rate=400, tool_calls=(ToolCall("shout", {}),)),
        Reply("It was loud."),
    )
    with terminal(wire, "xterm-256color") as shell:
        shell.sendline(SHOUT)
        shell.sendline("%chat tools shout --ask")
        shell.expect("you approve each call")
        shell.sendline(CHAT)
        shell.expect(r"shout\(\)[^\r\n]*\[y")
        screen = shell.before
        assert "So I look." in screen and screen.rfind(VISIBLE) > screen.rfind(HIDDEN)
        assert screen.rfind("So I look.") > screen.rfind("\x1b[2K")  # none of it is erased
        shell.sendline("y")
        shell.expect("HEARD")
        shell.expect("It was loud.")
        shell.expect(r"anthropic/claude-sonnet-5 · [^]]* saved [^]]*\]")
