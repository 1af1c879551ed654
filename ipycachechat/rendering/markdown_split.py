"""Where a growing markdown text can be cut, so that the finished part need not be drawn again."""

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
"""Characters: a block that is longer is cut within, where it can be well, and then wherever a line begins."""
PYTHON = ("python", "py", "python3", "ipython")
"""Languages whose code a cell can run."""
_MATHS = ("$$", "\\[", "\\begin{")


@dataclass(frozen=True, slots=True)
class Cut:
    """A place in a text; a fence that is cut is closed before it and reopened behind it, a table gets its head."""

    offset: int
    close: str = ""
    open: str = ""


def cut(source: str, min_length: int, *, anywhere: bool = False) -> Cut | None:
    """The last place before which at least so many characters are finished, if there is one.

    `anywhere`: a block that is very long is cut also where that shows, as it does in a table or a quotation.
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
    found = None
    if last.type == "fence":
        found = _cut_fence(source, last, starts)
    elif last.type in ("bullet_list_open", "ordered_list_open"):
        found = _cut_list(tokens, last, starts)
    elif last.type == "table_open" and anywhere:
        found = _cut_table(source, last, starts)
    if found is None and anywhere and len(source) - begin >= CUT_ANYWHERE:
        return _cut_anywhere(source, tokens, begin, starts)
    return found


def growing_source(source: str) -> str:
    """A growing text as it is drawn: maths that has not come to its end is shown as the code that it is."""
    if not any(sign in source for sign in _MATHS) or len(source) > MAX_LENGTH or is_tangled(source):
        return source
    source = _with_line_feeds(source)
    _, blocks, starts = _blocks(source)
    if not blocks or blocks[-1].type != "paragraph_open":
        return source
    begin = starts[_first_line(blocks[-1])]
    rest = source[begin:]
    return f"{source[:begin]}`````\n{rest}\n`````" if rest.lstrip().startswith(_MATHS) else source


def python_blocks(source: str) -> list[str]:
    """The code of all fences that say they hold Python, in order."""
    if ("```" not in source and "~~~" not in source) or len(source) > MAX_LENGTH or is_tangled(source):
        return []
    fences = [token for token in _parser().parse(source) if token.type == "fence"]
    return [one.content for one in fences if (one.info.split() or [""])[0].strip("{}.").lower() in PYTHON]


def _cut_anywhere(source: str, tokens: list[Token], begin: int, starts: list[int]) -> Cut | None:
    """Where the last line begins, or the last word of a line without end; not in a fence that cannot go on behind."""
    if starts[-1] <= begin:
        at = source.rfind(" ", 0, -1) + 1
        return Cut(at) if at > begin else None
    for token in reversed(tokens):
        if token.map and token.map[1] >= len(starts) - 1:
            if token.type == "fence":
                return _cut_fence(source, token, starts)
            if token.type == "table_open":
                return _cut_table(source, token, starts) or Cut(starts[-1])
    return Cut(starts[-1])


def _cut_fence(source: str, fence: Token, starts: list[int]) -> Cut | None:
    """Before the last whole line of a fence, so that no box is empty when its end comes; behind one that has its end.

    The line that opens it is repeated as it stands: with the sign of a quotation, or as far in as in a list.
    """
    opening, line = _first_line(fence), len(starts) - 1
    assert fence.map is not None
    end = fence.map[1]
    lines = fence.content.count("\n") + (bool(fence.content) and not fence.content.endswith("\n"))
    if end - opening - 1 > lines:
        return Cut(starts[end]) if end < len(starts) else None
    if line <= opening + 2:
        return None
    at, head = starts[line - 1], source[starts[opening] : starts[opening + 1]]
    again = _first_block(head + source[at:], "fence")
    if again is None or not fence.content.endswith(again.content):
        return None
    return Cut(at, f"{fence.markup}\n" if fence.level == 0 else "", head)


def _cut_list(tokens: list[Token], block: Token, starts: list[int]) -> Cut | None:
    """Before the last item of a list."""
    items = [one for one in tokens if one.type == "list_item_open" and one.level == 1]
    begin = starts[_first_line(items[-1])]
    return Cut(begin) if begin > starts[_first_line(block)] else None


def _cut_table(source: str, table: Token, starts: list[int]) -> Cut | None:
    """Before the last whole row of a table, so that no head stands alone; behind a table that has its end."""
    first, line = _first_line(table), len(starts) - 1
    assert table.map is not None
    if table.map[1] < line:
        return Cut(starts[table.map[1]])
    if line < first + 4:  # its head and two rows
        return None
    at, head = starts[line - 1], source[starts[first] : starts[first + 2]]
    return Cut(at, open=head) if _first_block(head + source[at:], "table_open") else None


def _first_block(source: str, kind: str) -> Token | None:
    """The block of that kind that begins in the first line."""
    return next((one for one in _parser().parse(source) if one.type == kind and _first_line(one) == 0), None)


def _with_line_feeds(source: str) -> str:
    """With line feeds alone, as the parser sees it, and of the same length; the last may be half of an end."""
    if source.endswith("\r"):
        source = source[:-1] + " "
    return source.replace("\r\n", " \n").replace("\r", "\n") if "\r" in source else source


def _blocks(source: str) -> tuple[list[Token], list[Token], list[int]]:
    """All tokens, of these the blocks of the highest level, and where each line begins."""
    tokens = _parser().parse(source)
    blocks = [one for one in tokens if one.level == 0 and one.nesting >= 0 and one.map]
    starts = [0]
    while (end := source.find("\n", starts[-1])) >= 0:
        starts.append(end + 1)
    return tokens, blocks, starts


def _first_line(block: Token) -> int:
    """Return what it begins with."""
    assert block.map is not None
    return block.map[0]


@cache
def _parser() -> MarkdownIt:
    """For blocks alone; what is in their lines makes no difference here."""
    from markdown_it import MarkdownIt
    from mdit_py_plugins.footnote import footnote_plugin

    parser = MarkdownIt("commonmark", {"html": False})
    parser.enable(["table"])
    footnote_plugin(parser, inline=False)
    maths_plugin(parser)
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser
