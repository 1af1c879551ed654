"""What is folded up in an answer: thoughts and calls, as plain text that nothing in it can leave."""

from __future__ import annotations

import re

import pytest
from support.hostile_answers import corpus

from ipycachechat.conversation.messages import Attachment, Message, Thinking, ToolCall
from ipycachechat.rendering.answer import (
    CallSegment,
    TextSegment,
    ThinkingSegment,
    bundle,
    call_heading,
    python_blocks,
    segments,
    to_html,
    to_text,
)

CALL = ToolCall("1", "look", '{"q": "x", "n": 3}')


@pytest.mark.parametrize("hostile", [text for _, text in corpus("http://127.0.0.1:9/hit")])
def test_what_a_tool_or_a_thought_says_is_no_markup(hostile: str) -> None:
    call = ToolCall("1", "look", '{"q": "<img src=x onerror=alert(1)>"}')
    html = to_html([ThinkingSegment(hostile), CallSegment(call, Message("tool", hostile))], style=False)
    assert {*re.findall(r"<\s*/?\s*([a-zA-Z]+)", html)} <= {"div", "details", "summary", "pre"}
    assert not re.search(r"<[^>]*\son\w+\s*=", html)
    markdown = bundle([ThinkingSegment(hostile), CallSegment(call, Message("tool", hostile))])[
        "text/markdown"
    ]
    # Not `splitlines`: no parser of markdown takes U+2028 for the end of a line.
    assert all(line.startswith(">") or not line for line in markdown.split("\n"))


def test_a_turn_in_its_order() -> None:
    replies = [
        Message("assistant", "so", (CALL,), thinking=(Thinking("claude", "hm", "seal"),)),
        Message("tool", "a\nresult", tool_call_id="1"),
        Message("assistant", "done"),
    ]
    assert segments(replies) == [
        ThinkingSegment("hm"),
        TextSegment("so"),
        CallSegment(CALL, replies[1]),
        TextSegment("done"),
    ]
    assert to_text(segments(replies)) == "so\n\n[look(q='x', n=3) → a result]\n\ndone"


def test_a_heading_is_short_and_tells_of_files() -> None:
    long = Message("tool", ("y" * 500, Attachment("image/png", "AAAA")), tool_call_id="1")
    assert len(call_heading(CallSegment(ToolCall("1", "look", '{"q": "' + "x" * 500 + '"}'), long))) < 200
    assert (
        call_heading(CallSegment(CALL, Message("tool", (Attachment("image/png", "AAAA", "plot.png"),))))
        == "look(q='x', n=3) → plot.png"
    )
    assert call_heading(CallSegment(ToolCall("1", "look", "no json"))) == "look(no json)"


CODE = (
    "Look:\n\n```python\na = 1\n```\n\n1. then\n\n   ```py\n   b = 2\n   ```\n\n```sh\nls\n```\n\n```\nx\n```"
)


def test_python_code_is_found_wherever_it_stands() -> None:
    assert python_blocks([ThinkingSegment("```python\nno\n```"), TextSegment(CODE)]) == ["a = 1\n", "b = 2\n"]


def test_python_code_is_offered_for_new_cells_once_the_answer_is_whole() -> None:
    assert "%chat insert 1 … 2" in bundle([TextSegment(CODE)], insert_hint=True)["text/html"]
    assert (
        "%chat insert copies the code block into a new cell"
        in bundle([TextSegment("```python\nx\n```")], insert_hint=True)["text/html"]
    )
    for shown in (bundle([TextSegment(CODE)]), bundle([TextSegment("```sh\nls\n```")], insert_hint=True)):
        assert "%chat insert" not in shown["text/html"]
    assert "%chat insert" not in bundle([TextSegment(CODE)], insert_hint=True)["text/markdown"]


IMAGES = (
    '![a"b<c](http://h/a.png "t") [![y](https://h/b.png)](javascript:1) '
    "![z](data:image/png;base64,AA) ![w](/rel.png)"
)


def test_images_are_links() -> None:
    html = bundle([TextSegment(IMAGES)])["text/html"]
    assert "<img" not in html
    assert "data:image" in html and "javascript:1" in html  # as text
