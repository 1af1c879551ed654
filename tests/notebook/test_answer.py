"""What is folded up in an answer: thoughts and calls, as plain text that nothing in it can leave."""

from __future__ import annotations

import re

import pytest
from hostile import corpus

from ipycachechat.core.conversation import File, Message, Thought, ToolCall
from ipycachechat.notebook.answer import Call, Text, Thinking, bundle, heading, segments, to_html, to_text

CALL = ToolCall("1", "look", '{"q": "x", "n": 3}')


@pytest.mark.parametrize("hostile", [text for _, text in corpus("http://127.0.0.1:9/hit")])
def test_what_a_tool_or_a_thought_says_is_no_markup(hostile: str) -> None:
    call = ToolCall("1", "look", '{"q": "<img src=x onerror=alert(1)>"}')
    html = to_html([Thinking(hostile), Call(call, Message("tool", hostile))], style=False)
    assert {*re.findall(r"<\s*/?\s*([a-zA-Z]+)", html)} <= {"div", "details", "summary", "pre"}
    assert not re.search(r"<[^>]*\son\w+\s*=", html)
    markdown = bundle([Thinking(hostile), Call(call, Message("tool", hostile))])["text/markdown"]
    assert all(line.startswith(">") or not line for line in markdown.splitlines())


def test_a_turn_in_its_order() -> None:
    replies = [
        Message("assistant", "so", (CALL,), thoughts=(Thought("claude", "hm", "seal"),)),
        Message("tool", "a\nresult", call_id="1"),
        Message("assistant", "done"),
    ]
    assert segments(replies) == [Thinking("hm"), Text("so"), Call(CALL, replies[1]), Text("done")]
    assert to_text(segments(replies)) == "so\n\n[look(q='x', n=3) → a result]\n\ndone"


def test_a_heading_is_short_and_tells_of_files() -> None:
    long = Message("tool", ("y" * 500, File("image/png", "AAAA")), call_id="1")
    assert len(heading(Call(ToolCall("1", "look", '{"q": "' + "x" * 500 + '"}'), long))) < 200
    assert (
        heading(Call(CALL, Message("tool", (File("image/png", "AAAA", "plot.png"),))))
        == "look(q='x', n=3) → plot.png"
    )
    assert heading(Call(ToolCall("1", "look", "no json"))) == "look(no json)"
