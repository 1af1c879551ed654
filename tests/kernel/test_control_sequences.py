"""Nothing that others wrote controls the terminal: errors, answers, names and files come through one wall."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from support.kernels import CellResult, Kernel
from wire import HttpError, Reply, ToolCall, WireServer

from ipycachechat.errors import BadInput, ModelError
from ipycachechat.rendering.format import write_stdout

SEQUENCES = {
    "clipboard": "\x1b]52;c;cm0gLXJm\x07",
    "title": "\x1b]0;owned\x1b\\",
    "clear": "\x1b[2J\x1b[H",
    "C1": "\x9b31m\x9d52;c;cm0=\x9c",
    "string": "\x1bPq#0\x1b\\",
    "backspace": "rm\x08\x08ls\r",
    "override": "\u202egnp.exe",
}
ALL = "".join(SEQUENCES.values())
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def shown(result: CellResult) -> str:
    """All text that a front end shows of a cell."""
    contents = [
        message["content"]
        for message in result.messages
        if message["header"]["msg_type"]
        in ("stream", "display_data", "update_display_data", "execute_result", "error")
    ]
    texts = [
        json.dumps(content, ensure_ascii=False).encode().decode("unicode_escape") for content in contents
    ]
    assert texts
    return "".join(texts).encode("latin-1", "ignore").decode("utf-8", "ignore").replace("\n", "")


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_an_error_of_a_provider_controls_nothing(wire: WireServer, kernel: Kernel, sequence: str) -> None:
    wire.script(Reply(fault=HttpError(400, f"no {SEQUENCES[sequence]} way")))
    assert not _CONTROL.search(shown(kernel.run("%%chat\nhello")))
    assert not _CONTROL.search(shown(kernel.run("%chat why")))


def test_neither_do_names_prompts_and_results(wire: WireServer, kernel: Kernel, tmp_path: Path) -> None:
    line = ALL.replace("\r", "")  # which would end it
    name = f"a{line}.json".replace("/", "")
    cells = [
        f"%%chat\nask about {ALL}",
        "%chat history",
        "%chat why",
        "%chat plan",
        "%chat show",
        f"%chat model x/{line}",
        f"%chat save {tmp_path}/{name}",
        f"%chat load {tmp_path}/no{name}",
        f"%chat switch {line}",
        f"%chat {line}",
        f"%chat replies {tmp_path}/{name}",
    ]
    wire.script(Reply(f"an answer {ALL} **bold**", tool_calls=()))
    for cell in cells:
        text = shown(kernel.run(cell))
        assert not _CONTROL.search(text), cell
    kernel.run("%chat model anthropic/claude-sonnet-5")
    kernel.run("%chat replies off")


def test_neither_do_the_names_and_arguments_of_tool_calls(wire: WireServer, kernel: Kernel) -> None:
    kernel.run("def look(text: str) -> str:\n    'Look.'\n    return text\n\n%chat tools look")
    wire.script(Reply(tool_calls=(ToolCall("look", {"text": ALL}), ToolCall(f"no{ALL}", {}))), Reply("done"))
    assert not _CONTROL.search(shown(kernel.run("%%chat\nLook.")))
    assert not _CONTROL.search(shown(kernel.run("%chat history")))
    kernel.run("%chat tools off")


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_what_is_printed_is_clean(sequence: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_stdout(f"one {SEQUENCES[sequence]} two\n")
    printed = capsys.readouterr().out
    assert (
        printed.startswith("one ")
        and printed.endswith(" two\n")
        and not _CONTROL.search(printed.replace("\n", ""))
    )
    for error in (
        BadInput(SEQUENCES[sequence], SEQUENCES[sequence]),
        ModelError("x", provider_message=SEQUENCES[sequence]),
    ):
        lines = "".join([str(error), *error._render_traceback_(), getattr(error, "provider_message", "")])
        assert not _CONTROL.search(lines.replace("\n", ""))
