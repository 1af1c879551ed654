"""Cut a growing markdown text, so that its finished part need not be drawn again."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from ipycachechat.rendering.markdown_escape import MAX_LENGTH, is_tangled
from ipycachechat.rendering.maths import maths_plugin

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

CUT_INSIDE, CUT_ANYWHERE = 1_500, 4_000
"""Characters above which a block is cut inside: at a good place, and at the start of any line."""
PYTHON = ("python", "py", "python3", "ipython")
"""Names of fences with code that a cell can run."""
_MATHS = ("$$", "\\[", "\\begin{")


@dataclass(frozen=True, slots=True)
class Cut:
    """A place to cut. A fence is closed before it and reopened after it; a table gets its head again."""

    offset: int
    close: str = ""
    open: str = ""


def cut(source: str, min_length: int, *, anywhere: bool = False) -> Cut | None:
    """Return the last place with at least `min_length` finished characters before it; None: there is none.

    `anywhere`: cut a very long block even where the cut is visible, as in a table or a quotation.
    """
    if len(source) < min_length or len(source) > MAX_LENGTH or is_tangled(source):
        return None
    source = _with_line_feeds(source)
    tokens, blocks, starts = _blocks(source)
    if not blocks:
        return None
    last = blocks[-1]
    begin = starts[_first_line(last)]
    if begin >= min_length:
        return Cut(begin)
    if len(source) - begin < max(min_length, CUT_INSIDE):
        return None
    place = None
    if last.type == "fence":
        place = _cut_fence(source, last, starts)
    elif last.type in ("bullet_list_open", "ordered_list_open"):
        place = _cut_list(tokens, last, starts)
    elif last.type == "table_open" and anywhere:
        place = _cut_table(source, last, starts)
    if place is None and anywhere and len(source) - begin >= CUT_ANYWHERE:
        return _cut_anywhere(source, tokens, begin, starts)
    return place


def growing_source(source: str) -> str:
    """Return a growing text as it is drawn: unfinished maths at its end is shown as code."""
    if not any(opener in source for opener in _MATHS) or len(source) > MAX_LENGTH or is_tangled(source):
        return source
    source = _with_line_feeds(source)
    _, blocks, starts = _blocks(source)
    if not blocks or blocks[-1].type != "paragraph_open":
        return source
    begin = starts[_first_line(blocks[-1])]
    rest = source[begin:]
    return f"{source[:begin]}`````\n{rest}\n`````" if rest.lstrip().startswith(_MATHS) else source


def python_blocks(source: str) -> list[str]:
    """Return the code of all fences marked as Python, in order."""
    if ("```" not in source and "~~~" not in source) or len(source) > MAX_LENGTH or is_tangled(source):
        return []
    fences = [token for token in _parser().parse(source) if token.type == "fence"]
    return [
        fence.content for fence in fences if (fence.info.split() or [""])[0].strip("{}.").lower() in PYTHON
    ]


def _cut_anywhere(source: str, tokens: list[Token], begin: int, starts: list[int]) -> Cut | None:
    """Return the start of the last line, or of the last word of an endless line; never inside a fence."""
    if starts[-1] <= begin:
        offset = source.rfind(" ", 0, -1) + 1
        return Cut(offset) if offset > begin else None
    for token in reversed(tokens):
        if token.map and token.map[1] >= len(starts) - 1:
            if token.type == "fence":
                return _cut_fence(source, token, starts)
            if token.type == "table_open":
                return _cut_table(source, token, starts) or Cut(starts[-1])
    return Cut(starts[-1])


def _cut_fence(source: str, fence: Token, starts: list[int]) -> Cut | None:
    """Return the start of the last whole line of a fence, so that no box is empty at its end; of a closed one the end.

    Its opening line is repeated as it is, with the prefix of a quotation or the indent of a list.
    """
    opening, line = _first_line(fence), len(starts) - 1
    assert fence.map is not None
    end = fence.map[1]
    lines = fence.content.count("\n") + (bool(fence.content) and not fence.content.endswith("\n"))
    if end - opening - 1 > lines:
        return Cut(starts[end]) if end < len(starts) else None
    if line <= opening + 2:
        return None
    offset, head = starts[line - 1], source[starts[opening] : starts[opening + 1]]
    reopened = _first_block(head + source[offset:], "fence")
    if reopened is None or not fence.content.endswith(reopened.content):
        return None
    return Cut(offset, f"{fence.markup}\n" if fence.level == 0 else "", head)


def _cut_list(tokens: list[Token], block: Token, starts: list[int]) -> Cut | None:
    """Return the start of the last item of a list."""
    items = [token for token in tokens if token.type == "list_item_open" and token.level == 1]
    begin = starts[_first_line(items[-1])]
    return Cut(begin) if begin > starts[_first_line(block)] else None


def _cut_table(source: str, table: Token, starts: list[int]) -> Cut | None:
    """Return the start of the last whole row of a table, so that no head is alone, or the end of a finished one."""
    first, line = _first_line(table), len(starts) - 1
    assert table.map is not None
    if table.map[1] < line:
        return Cut(starts[table.map[1]])
    if line < first + 4:  # its head and two rows
        return None
    offset, head = starts[line - 1], source[starts[first] : starts[first + 2]]
    return Cut(offset, open=head) if _first_block(head + source[offset:], "table_open") else None


def _first_block(source: str, kind: str) -> Token | None:
    """Return the block of a kind that begins in the first line."""
    tokens = _parser().parse(source)
    return next((token for token in tokens if token.type == kind and _first_line(token) == 0), None)


def _with_line_feeds(source: str) -> str:
    """Return the source with line feeds only, of the same length; a last "\r" may be half of a line end."""
    if source.endswith("\r"):
        source = source[:-1] + " "
    return source.replace("\r\n", " \n").replace("\r", "\n") if "\r" in source else source


def _blocks(source: str) -> tuple[list[Token], list[Token], list[int]]:
    """Return all tokens, the top-level blocks among them, and the start of each line."""
    tokens = _parser().parse(source)
    blocks = [token for token in tokens if token.level == 0 and token.nesting >= 0 and token.map]
    starts = [0]
    while (end := source.find("\n", starts[-1])) >= 0:
        starts.append(end + 1)
    return tokens, blocks, starts


def _first_line(block: Token) -> int:
    assert block.map is not None
    return block.map[0]


@cache
def _parser() -> MarkdownIt:
    """Return a parser of blocks alone, without their inline content."""
    from markdown_it import MarkdownIt
    from mdit_py_plugins.footnote import footnote_plugin

    parser = MarkdownIt("commonmark", {"html": False})
    parser.enable(["table"])
    footnote_plugin(parser, inline=False)
    maths_plugin(parser)
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser
