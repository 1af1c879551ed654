"""A growing answer: what is finished is drawn once, nothing is lost, and the work grows with what is new."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipycachechat.conversation.events import StreamChunk, ToolCallFinished, ToolCallStarted
from ipycachechat.conversation.messages import Message, ToolCall
from ipycachechat.rendering import markdown_split
from ipycachechat.rendering.answer import Segment, TextSegment, ThinkingSegment, streaming_html
from ipycachechat.rendering.streaming_answer import MIN_PART, StreamingAnswer

PARAGRAPH = "Some words, *some* of them `code`, and $a<b$ for good measure; they go on for a while.\n\n"
TABLE = "| a | b |\n|---|--:|\n| 1 | 2 |\n| 3 | 4 |\n\n"
FENCE = "```python\nfor x in range(3):\n    print(x)\n\nprint()\n```\n\n"
LIST = "- one\n- two\n\n  more of two\n\n  - deep\n- three\n\n"
MATHS = "$$\n\\sum_{i<n} i\n$$\n\n"
PIECES = (PARAGRAPH, TABLE, FENCE, LIST, MATHS, "# Heading\n\n", "> quoted\n> more\n\n")


def grown(text: str, size: int) -> tuple[list[list[Segment]], StreamingAnswer]:
    """All that was taken as finished, while the text came in pieces of this size."""
    growing, taken = StreamingAnswer(), []
    for start in range(0, len(text), size):
        growing.add(StreamChunk(text[start : start + size]))
        if finished := growing.take_finished():
            taken.append(finished)
    return taken, growing


def texts(segments: list[Segment]) -> str:
    return "".join(one.text for one in segments if isinstance(one, TextSegment))


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=60), st.integers(1, 80))
def test_nothing_is_lost_and_no_block_is_cut(pieces: list[str], size: int) -> None:
    text = "".join(pieces)
    taken, growing = grown(text, size)
    assert "".join(map(texts, taken)) + texts(growing.rest) == text
    whole = [0]
    for piece in pieces:
        whole.append(whole[-1] + len(piece))
    at = 0
    for finished in taken:
        at += len(texts(finished))
        # Two lists or quotations with nothing between them are one block, which may be cut between its items.
        assert at in whole or text[at:].startswith(("- ", "> ")), text[at - 20 : at + 20]


def test_a_long_answer_is_drawn_in_few_parts_and_what_is_redrawn_stays_small() -> None:
    text = "".join(PIECES) * 300
    assert len(text) > 70_000
    taken, growing = grown(text, 40)
    assert len(taken) < 150
    assert max(len(texts(one)) for one in taken) < 0.05 * len(text)
    assert growing.rest_size < 0.05 * len(text)


def test_a_long_fence_is_cut_between_lines_and_opened_again() -> None:
    code = "".join(f"line({n})\n" for n in range(4_000))
    taken, growing = grown(f"Look:\n\n```python\n{code}```\n\nThat was it.", 50)
    assert len(taken) > 5
    for finished in taken[1:]:
        text = texts(finished)
        assert text.startswith("```python\n") and text.rstrip().endswith("\n```")
    shown = "".join(texts(finished) for finished in taken) + texts(growing.rest)
    assert [line for line in shown.splitlines() if line.startswith("line")] == code.splitlines()


def test_what_was_cut_is_one_block_again_in_the_output_that_holds_both_parts() -> None:
    growing = StreamingAnswer()
    begin = growing.rest_start
    for n in range(600):
        growing.add(StreamChunk(f"line({n})\n" if n else "```python\n"))
        growing.take_finished()
    assert growing.rest_start.close
    html = streaming_html(growing.finished_since(begin))
    lines = re.sub(r"<[^>]+>", "", html).split()
    assert html.count("<pre") == 1 and lines == [f"line({n})" for n in range(1, len(lines) + 1)]


ROW = "| some words in a cell | 1.25 | more |\n"


def test_a_long_table_is_cut_between_rows_and_gets_its_head_again() -> None:
    head = "| a | b | c |\n|---|--:|---|\n"
    growing, shown = StreamingAnswer(anywhere=True), ""
    for start in range(0, len(table := head + ROW * 300), 30):
        growing.add(StreamChunk(table[start : start + 30]))
        if finished := growing.take_finished():
            assert texts(finished).startswith(head)
            shown += texts(finished).removeprefix(head)
        assert growing.rest_size < 3_000
    shown += texts(growing.rest).removeprefix(head)
    assert shown == ROW * 300
    html = streaming_html(growing.rest)
    assert html.count("<th") == 4 and "<td" in html  # with its <thead>
    growing.add(StreamChunk("\nThat was **it**."))
    assert "<p>That was <strong>it</strong>.</p>" in streaming_html(growing.rest)


@pytest.mark.parametrize(
    "block",
    [
        "> a line of a quotation that goes on\n" * 800,
        "a line of a paragraph with no end\n" * 800,
        "word " * 6_000,
        "- outer\n" + "  - an inner item of a list that is long\n" * 800,
        "[^1]: " + "a footnote that goes on\n" * 1_000,
        "<div>\n" + "<p>text</p>\n" * 2_000,
    ],
    ids=["quotation", "lines", "one line", "nested list", "footnote", "raw html"],
)
def test_a_block_that_goes_on_for_ever_is_cut_where_a_line_or_a_word_begins(block: str) -> None:
    growing, shown = StreamingAnswer(anywhere=True), ""
    growing.add(StreamChunk("So:\n\n"))
    for start in range(0, len(block), 40):
        growing.add(StreamChunk(block[start : start + 40]))
        shown += texts(growing.take_finished())
        assert growing.rest_size < markdown_split.CUT_ANYWHERE + 1_000
    assert shown + texts(growing.rest) == "So:\n\n" + block


CODE = "".join(f"self.__init__({n}) * a[{n}]\n" for n in range(400))


def within(sign: str) -> str:
    return "".join(sign + line for line in CODE.splitlines(keepends=True))


@pytest.mark.parametrize(
    "block",
    [
        f"1. Make it:\n\n   ```python\n{within('   ')}   ```\n\n2. Run it.\n",
        f"- a list in which it stands further in:\n\n    - ```\n{within('      ')}      ```\n",
        f"> ```python\n{within('> ')}> ```\n",
        f"  ~~~~ python\n{within('  ')}  ~~~~\n",
        f"```json\n{CODE.replace(chr(10), ' ')}\n```\n",
    ],
    ids=["list", "deep list", "quotation", "indented", "one line"],
)
def test_code_that_stands_within_something_stays_code_and_ends_where_it_ends(block: str) -> None:
    growing, shown = StreamingAnswer(anywhere=True), ""
    text = block + "\nThat was **it**.\n"
    for start in range(0, len(text), 40):
        growing.add(StreamChunk(text[start : start + 40]))
        if finished := growing.take_finished():
            shown += streaming_html(finished)
    shown += streaming_html(growing.rest)
    seen = re.sub(r"<[^>]+>", "", shown)
    assert seen.split().count("*") == CODE.count("*") == seen.count("__init__")
    assert "That was <strong>it</strong>." in shown and "```" not in seen


@pytest.mark.parametrize(
    ("block", "empty"),
    [
        ("| a | b |\n|---|---|\n" + "| some words | 1.25 |\n" * 90, r"</thead>\s*</table>"),
        ("```python\n" + "some_code(x, 12)\n" * 120 + "```\n", r"<pre[^>]*>\s*</pre>"),
    ],
    ids=["table", "fence"],
)
def test_no_head_and_no_box_stands_there_empty(block: str, empty: str) -> None:
    growing, cuts = StreamingAnswer(anywhere=True), 0
    for line in f"{block}\nThat was it.\n".splitlines(keepends=True):
        growing.add(StreamChunk(line))
        cuts += bool(growing.take_finished())
        assert not cuts or not re.search(empty, streaming_html(growing.rest))
    assert cuts


def test_a_line_end_that_comes_in_two_pieces_ends_no_table() -> None:
    head, row = "| a | b |\r\n|---|---|\r\n", "| some words | 1.25 |\r\n"
    growing = StreamingAnswer(anywhere=True)
    for end in (head + row * 90).split("\n"):
        growing.add(StreamChunk(end))
        growing.take_finished()
        growing.add(StreamChunk("\n"))
        assert "|" not in re.sub(r"<[^>]+>", "", streaming_html(growing.rest)) or growing.size < len(head)


def test_what_is_drawn_for_good_is_not_cut_where_that_shows() -> None:
    quotation = "> a line of a quotation that goes on\n" * 800
    taken, growing = grown(quotation, 400)
    assert not taken and texts(growing.rest) == quotation


def test_what_follows_a_long_fence_is_no_code() -> None:
    growing = StreamingAnswer()
    growing.add(StreamChunk("Look:\n\n```python\n" + "line()\n" * 600 + "```\n"))
    assert growing.take_finished()
    growing.add(StreamChunk("\nThat was **it**.\n"))
    assert "<strong>it</strong>" in streaming_html(growing.rest)


SIGNS = [*"ab *_`~#>-1.|$\\[](){}:\n\r\t<&", "\r\n", "\n\n", "```", "\n```\n", "$$", "- ", "word " * 30]
WILD = st.lists(st.sampled_from(SIGNS), max_size=200).map("".join)


@given(WILD, st.integers(1, 200))
def test_whatever_comes_is_shown_once_and_nothing_is_raised(text: str, size: int) -> None:
    taken, growing = grown(text, size)
    streaming_html(growing.rest or [TextSegment("")])
    shown = "".join(map(texts, taken)) + texts(growing.rest)
    fences = sum(one.count("```") + one.count("~~~") for one in (shown, text))
    assert shown == text or fences


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n\r"])
def test_line_ends_of_other_systems_are_cut_at_too(end: str) -> None:
    text = f"a paragraph{end}{end}" * 400 + f"$${end}x_1*y{end}"
    taken, growing = grown(text, 30)
    assert taken and "".join(map(texts, taken)) + texts(growing.rest) == text
    assert "<em>" not in streaming_html(growing.rest)


def test_a_long_list_is_cut_between_items_and_goes_on_counting() -> None:
    items = "".join(f"{n}. this is item number {n} of the list, which is long\n" for n in range(1, 400))
    taken, _ = grown(items, 50)
    assert len(taken) > 3
    assert "".join(map(texts, taken)) == items[: sum(len(texts(one)) for one in taken)]
    second = streaming_html(taken[1])
    assert f'<ol start="{texts(taken[1]).partition(".")[0]}">' in second


def test_thoughts_are_finished_when_the_answer_begins() -> None:
    growing = StreamingAnswer()
    growing.add(StreamChunk(thinking="hm " * MIN_PART))
    assert growing.take_finished() == []
    growing.add(StreamChunk("So"))
    assert [type(one) for one in growing.take_finished()] == [ThinkingSegment]
    assert growing.rest == [TextSegment("So")]


def test_all_counts_as_one_again() -> None:
    _, growing = grown("".join(PIECES) * 20, 40)
    growing.restart()
    call = ToolCall("1", "look", "{}")
    growing.add(ToolCallStarted(call))
    growing.add(ToolCallFinished(call, Message("tool", "seen", tool_call_id="1")))
    assert texts(growing.rest) == "".join(PIECES) * 20
    assert growing.rest == growing.segments


@pytest.mark.parametrize(
    ("source", "begin"),
    [("Then\n\n$$\n\\sum_i a_i * b_i", 6), ("\\[ x_1 * y_1 * z", 0), ("\\begin{align}\na &= b_*", 0)],
)
def test_half_a_formula_is_shown_as_it_came(source: str, begin: int) -> None:
    html = streaming_html([TextSegment(source)])
    assert "<em>" not in html and "<pre" in html
    assert markdown_split.growing_source(source).startswith(source[:begin])
    assert source[begin:] in markdown_split.growing_source(source)


@pytest.mark.parametrize(
    "source", ["It costs $5 and", "$$x$$\n\nand more", "```\n$$\n```\n\nso", "", "$$ a $$"]
)
def test_what_is_whole_or_no_formula_is_left_alone(source: str) -> None:
    assert markdown_split.growing_source(source) == source
