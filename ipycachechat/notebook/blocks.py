"""Where a growing answer can be cut in two: what stands before the cut is finished and need not be drawn again."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from ipycachechat.notebook.markdown_source import LONGEST, tangled
from ipycachechat.notebook.maths import maths_plugin

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

INSIDE, ANYWHERE = 1_500, 4_000
"""Characters: a block that is longer is cut within, where it can be well, and then wherever a line begins."""
PYTHON = ("python", "py", "python3", "ipython")
"""Languages whose code a cell can run."""
_MATHS = ("$$", "\\[", "\\begin{")


@dataclass(frozen=True, slots=True)
class Cut:
    """A place in a text; a fence that is cut is closed before it and opened anew behind it, a table gets its head."""

    at: int
    close: str = ""
    open: str = ""


def cut(source: str, least: int, *, anywhere: bool = False) -> Cut | None:
    """The last place before which at least so many characters are finished, if there is one.

    `anywhere`: a block that is very long is cut also where that shows, as it does in a table or a quotation.
    """
    if len(source) < least or len(source) > LONGEST or tangled(source):
        return None
    source = _with_plain_ends(source)
    blocks, starts = _blocks(source)
    if not blocks:
        return None
    last = blocks[-1]
    begin = starts[_line(last)]
    if begin >= least:
        return Cut(begin)
    if len(source) - begin < max(least, INSIDE):
        return None
    found = None
    if last.type == "fence":
        found = _inside(source, last, starts)
    elif last.type in ("bullet_list_open", "ordered_list_open"):
        found = _between_items(source, last, starts)
    elif last.type == "table_open" and anywhere:
        found = _between_rows(source, last, starts)
    if found is None and anywhere and len(source) - begin >= ANYWHERE:
        at = max(starts[-1], source.rfind(" ", 0, -1) + 1) if starts[-1] <= begin else starts[-1]
        return Cut(at) if at > begin else None
    return found


def shown(source: str) -> str:
    """A growing text as it is drawn: maths that has not come to its end is shown as the code that it is."""
    if not any(sign in source for sign in _MATHS) or len(source) > LONGEST or tangled(source):
        return source
    source = _with_plain_ends(source)
    blocks, starts = _blocks(source)
    if not blocks or blocks[-1].type != "paragraph_open":
        return source
    begin = starts[_line(blocks[-1])]
    rest = source[begin:]
    return f"{source[:begin]}`````\n{rest}\n`````" if rest.lstrip().startswith(_MATHS) else source


def python(source: str) -> list[str]:
    """The code of all fences that say they hold Python, in order."""
    if ("```" not in source and "~~~" not in source) or len(source) > LONGEST or tangled(source):
        return []
    fences = [token for token in _parser().parse(source) if token.type == "fence"]
    return [one.content for one in fences if (one.info.split() or [""])[0].strip("{}.").lower() in PYTHON]


def _inside(source: str, fence: Token, starts: list[int]) -> Cut | None:
    """Before the last line of a fence, which may be half there, or its end; behind a fence that has its end."""
    opening, line = _line(fence), source.count("\n")
    assert fence.map is not None
    end = fence.map[1]
    lines = fence.content.count("\n") + (bool(fence.content) and not fence.content.endswith("\n"))
    if end - opening - 1 > lines:
        return Cut(starts[end]) if end < len(starts) else None
    if line <= opening + 1 or starts[opening] != source.find(fence.markup, starts[opening]):
        return None
    return Cut(starts[line], f"{fence.markup}\n", f"{fence.markup}{fence.info}\n")


def _between_items(source: str, block: Token, starts: list[int]) -> Cut | None:
    """Before the last item of a list."""
    tokens = _parser().parse(source)
    items = [one for one in tokens if one.type == "list_item_open" and one.level == 1]
    begin = starts[_line(items[-1])]
    return Cut(begin) if begin > starts[_line(block)] else None


def _between_rows(source: str, table: Token, starts: list[int]) -> Cut | None:
    """Before the last line of a table, which may be half there; behind a table that has its end."""
    first, line = _line(table), source.count("\n")
    assert table.map is not None
    if table.map[1] < line:
        return Cut(starts[table.map[1]])
    if line < first + 3:  # its head and one row
        return None
    return Cut(starts[line], open=source[starts[first] : starts[first + 2]])


def _with_plain_ends(source: str) -> str:
    """With line feeds alone, as the parser sees it, and of the same length."""
    return source.replace("\r\n", " \n").replace("\r", "\n") if "\r" in source else source


def _blocks(source: str) -> tuple[list[Token], list[int]]:
    """The blocks of the highest level in order, and where each line begins."""
    tokens = _parser().parse(source)
    blocks = [one for one in tokens if one.level == 0 and one.nesting >= 0 and one.map]
    starts = [0]
    while (end := source.find("\n", starts[-1])) >= 0:
        starts.append(end + 1)
    return blocks, starts


def _line(block: Token) -> int:
    """That with which it begins."""
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
