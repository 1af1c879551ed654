"""The IPython terminal: the same magics, plain text."""

from __future__ import annotations

import os
import sys

import pytest
from wire import Reply, WireServer

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
