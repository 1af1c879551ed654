"""Safe markdown for converters such as nbconvert: raw HTML escaped, images as links.

markdown-it's inline tokens have no positions, so each critical character is replaced by a unique private character
before parsing; the token that contains it then shows if it was in code, in maths or in text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

from ipycachechat.rendering.maths import maths_plugin

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

# Longer than any model's longest answer. A longer text would block the kernel for seconds at every frame.
MAX_LENGTH = 400_000
# The parser's time grows with the square of the depth of square brackets in a paragraph.
MAX_BRACKET_DEPTH = 200
_BRACKET_OR_GAP = re.compile(r"[\[\]]|\n\s*\n")

# A `<` that could begin a tag (not an address in angle brackets, which stays a link), or an image.
_OPENER = re.compile(r"<(?=[A-Za-z/!?])(?!(?:https?://|mailto:)[^\s<>`$\"']+>)|!(?=\[)")
_IMAGE = re.compile(r"\[[^\]\n]*\][(\[]")
# The two private planes of Unicode, whose characters do not occur by chance.
_FIRST, _LAST = 0xF0000, 0x10FFFD
_MARKS = re.compile(f"[{chr(_FIRST)}-{chr(_LAST)}]")


def to_markdown(source: str) -> str:
    """Return the source so that no markdown parser finds raw HTML or an image in it; it reads the same.

    Code keeps its `<`; in maths, where an entity would be visible, a space follows it.
    """
    places = [match.start() for match in _OPENER.finditer(source)]
    if not places:
        return source
    if (
        len(source) > MAX_LENGTH
        or len(places) > _LAST - _FIRST
        or is_tangled(source)
        or _MARKS.search(source)
    ):
        return _all_escaped(source)
    try:
        exact = _escaped(source, places)
        # Parsers may treat the private character differently from the original one, so the result is checked.
        if not any(_has_html_or_image(parser.parse(exact)) for parser in _readers(html=True)):
            return exact
    except RecursionError:
        pass
    return _all_escaped(source)


def is_tangled(source: str) -> bool:
    """Return True if brackets are nested too deeply for the parser."""
    depth = 0
    for match in _BRACKET_OR_GAP.finditer(source):
        depth = depth + 1 if match[0] == "[" else max(depth - 1, 0) if match[0] == "]" else 0
        if depth > MAX_BRACKET_DEPTH:
            return True
    return False


def _escaped(source: str, places: list[int]) -> str:
    marked = list(source)
    for number, place in enumerate(places):
        marked[place] = chr(_FIRST + number)
    text = "".join(marked)
    readers = (*_readers(html=False), _reader(html=False, tables=True, maths=True))
    in_code: set[int] | None = None
    in_maths: set[int] = set()
    for reader in readers:
        code: set[int] = set()
        for token in _flat(reader.parse(text)):
            marks = {ord(mark) - _FIRST for mark in _MARKS.findall(token.content)} if token.content else set()
            if token.type in ("code_inline", "code_block", "fence"):
                code |= marks
            elif token.type.startswith("maths_"):
                in_maths |= marks
        # Front ends differ in what they take for code (tables, maths), so all readings have to agree.
        in_code = code if in_code is None else in_code & code
    for number, place in enumerate(places):
        if number not in (in_code or ()):
            marked[place] = _defused(source, place, number in in_maths)
        else:
            marked[place] = source[place]
    return "".join(marked)


def _defused(source: str, place: int, maths: bool) -> str:
    """Return the replacement of the `<` or `!` at an index."""
    start = place
    while start and source[start - 1] == "\\":
        start -= 1
    escaped = (place - start) % 2 == 1
    if source[place] == "<":
        return "< " if maths else "&lt;" if not escaped else "<"
    if maths:
        return "! "
    if escaped:
        return "!"
    return "" if _IMAGE.match(source, place + 1) and source[place - 1 : place] != "!" else "\\!"


def _all_escaped(source: str) -> str:
    """Return a source that is safe in every reading, if not pretty in code."""
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", source).replace("![", "! [")


def _has_html_or_image(tokens: Iterable[Token]) -> bool:
    return any(token.type in ("html_block", "html_inline", "image") for token in _flat(tokens))


def _flat(tokens: Iterable[Token]) -> Iterable[Token]:
    for token in tokens:
        if token.children:
            yield from _flat(token.children)
        if token.type != "inline":
            yield token


def _readers(*, html: bool) -> tuple[MarkdownIt, ...]:
    return _reader(html=html, tables=False, maths=False), _reader(html=html, tables=True, maths=False)


@cache
def _reader(*, html: bool, tables: bool, maths: bool) -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": html, "maxNesting": 100})
    if tables:
        parser.enable(["table", "strikethrough"])
    if maths:
        maths_plugin(parser)
    return parser
