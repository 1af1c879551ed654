"""The IPython terminal: the same magics, plain text."""

from __future__ import annotations

import os
import re
import sys

import pytest
from wire import Reply, ToolCall, WireServer

pexpect = pytest.importorskip("pexpect")


def test_chat_in_the_terminal(wire: WireServer) -> None:
    wire.script(Reply(("Plain ", "**text**")), Reply(("again ", "and ", "again"), chunk_delay=30))
    env = os.environ | wire.env() | {"TERM": "dumb", "PYTHONPATH": os.getcwd()}
    shell = pexpect.spawn(
        sys.executable,
        ["-m", "IPython", "--simple-prompt", "--no-banner", "--colors=NoColor"],
        env=env,
        encoding="utf-8",
        timeout=60,
        dimensions=(50, 300),
    )
    shell.expect("In ")
    shell.sendline("%load_ext ipycachechat")
    shell.expect(r"anthropic/claude-sonnet-5 \(%chat help\)")
    shell.sendline("get_ipython().run_cell_magic('chat', '', 'hello')")
    shell.expect(r"Plain \*\*text\*\*\r\n\[anthropic/claude-sonnet-5 · .* saved .*\]")
    shell.sendline("get_ipython().run_cell_magic('chat', '', 'hello')")
    shell.expect("again ")
    shell.sendintr()
    shell.expect("Stopped.")
    shell.sendline("%chat")
    shell.expect("2 turns")
    shell.sendline("%chat histry")
    shell.expect("Did you mean: %chat history")
    shell.sendline("exit")
    shell.expect(pexpect.EOF)
    shell.close()
    assert shell.exitstatus == 0


def test_a_terminal_that_shows_styles_gets_rich_markdown(wire: WireServer) -> None:
    long = "A paragraph that goes on for a while, to be cut.\n\n" * 40
    hostile = "\x1b]0;owned\x07<b>tag</b> [red]brackets[/red]"
    wire.script(
        Reply(("Some **bold** text\n\n", hostile), tool_calls=(ToolCall("shout", {}),)),
        Reply((*[long[n : n + 40] for n in range(0, len(long), 40)], "The *very* end."), rate=400),
    )
    env = os.environ | wire.env() | {"TERM": "xterm-256color", "PYTHONPATH": os.getcwd(), "NO_COLOR": ""}
    shell = pexpect.spawn(
        sys.executable,
        ["-m", "IPython", "--simple-prompt", "--no-banner", "--colors=NoColor"],
        env=env,
        encoding="utf-8",
        timeout=60,
        dimensions=(50, 200),
    )
    shell.expect("In ")
    shell.sendline("%load_ext ipycachechat")
    shell.expect("help")
    shell.sendline('exec(\'def shout():\\n    "Say it."\\n    print("HE" + "ARD")\')')
    shell.sendline("%chat tools shout")
    shell.expect("may call: shout|shout\\(")
    shell.sendline("get_ipython().run_cell_magic('chat', '', 'hello')")
    shell.expect(r"anthropic/claude-sonnet-5 · .* saved .*\]")
    seen = shell.before
    assert "\x1b[1mbold" in seen
    assert "<b>tag</b> [red]brackets[/red]" in seen and "owned" not in seen
    assert "HEARD" in seen and "[shout() → " in seen
    # What is drawn anew is taken away again; the rest stands there once.
    kept = re.sub(r"(?s)(\x1b\[2K\x1b\[1A|\x1b\[1A\x1b\[2K)", "", seen)
    assert "very" in kept and "end." in kept
    assert shell.expect([r"\x1b\[\?25l", "In "]) == 1  # the cursor is there again
    shell.sendline("exit")
    shell.expect(pexpect.EOF)
