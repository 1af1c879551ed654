"""Find maths delimiters in markdown.

Two syntax rules for markdown-it, for the ways in which models write maths: `$…$`, `$$…$$`, `\\(…\\)`,
`\\[…\\]` and a bare `\\begin{align}…\\end{align}`. Their tokens are `maths_inline` and `maths_block`, whose content
includes the delimiters.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_core import StateCore
    from markdown_it.rules_inline import StateInline

# Longer text is not maths, which bounds the search for the end of an unclosed opener.
MAX_LENGTH = 5_000
# Deeper braces could overflow the stack of the front end's parser.
MAX_DEPTH = 40

_BLOCK_END = {"$$": "$$", "\\[": "\\]"}
_ENVIRONMENT = re.compile(
    r"\\begin\{((?:equation|align|alignat|gather|multline|flalign|eqnarray)\*?"
    r"|[bpvBV]?matrix|cases|array|aligned|gathered|split)\}"
)
# "$ x = 1 $" is maths, "$ ls and $ pwd" are commands: maths has one of these characters and no bare word.
_SIGN = re.compile(r"[\\^=]")
_WORD = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{3,}")
# A row of a table, also in a list or quotation.
_ROW = re.compile(r"^[ \t>*+\d.)-]*\|.*[$\\].*$", re.MULTILINE)
# Code, and possible maths. The bounds keep many unclosed openers from taking long.
_IN_ROW = re.compile(
    r"(?<!`)(`+)(?!`).{0,200}?(?<!`)\1(?!`)|\$\$[^$]+\$\$|\\\(.{1,200}?\\\)|\\[^(]|\$(?:\\.|[^$\\])+\$"
)
_BRACKETED = re.compile(r"\([^()]*\)|\{[^{}]*\}|\[[^\[\]]*\]")
# Replaces a bar in maths while tables are cut into cells; a Unicode noncharacter.
_PIPE = "\ufdd0"
# "$5 and 10$" is money: a number, then words, which maths has in \text{}.
_MONEY = re.compile(r"[\d.,]+[kKMB]?[\"'”)]*\s+\(?[^\W\d_]{2,}")


def maths_plugin(md: MarkdownIt) -> None:
    """Add the rules to a parser."""
    md.inline.ruler.before("escape", "maths_inline", _inline)
    md.core.ruler.before("block", "maths_pipes", _hide_pipes)
    md.core.ruler.after("block", "maths_pipes_back", _show_pipes)
    stops = ["paragraph", "reference", "blockquote", "list", "footnote_def"]
    md.block.ruler.before("fence", "maths_block", _block, {"alt": stops})


def _hide_pipes(state: StateCore) -> None:
    """Hide the inner bars of `| $|x|$ |`, which are not the table's."""
    state.env["pipes"] = _PIPE not in state.src
    if state.env["pipes"]:
        state.src = _ROW.sub(lambda row: _IN_ROW.sub(_hidden, row[0]), state.src)


def _hidden(match: re.Match[str]) -> str:
    """Return code as it is, and maths with its bars replaced."""
    maths = match[0]
    if "|" not in maths or maths.startswith("`"):
        return maths
    single = maths.startswith("$") and not maths.startswith("$$")
    if single and _find_dollar_end(match.string, match.start(), match.end()) != match.end():
        return maths
    # "| $HOME | US$ |" are two cells. Maths has bars in brackets, or in pairs without spaces on both sides.
    outside = _BRACKETED.sub("", maths)
    if outside.count("|") % 2 or re.search(r"\s\|\s", outside):
        return maths
    return maths.replace("|", _PIPE)


def _show_pipes(state: StateCore) -> None:
    if state.env.pop("pipes"):
        for token in state.tokens:
            token.content = token.content.replace(_PIPE, "|")


def _inline(state: StateInline, silent: bool) -> bool:
    src, start = state.src, state.pos
    if src.startswith("$$", start):
        end = _find_end(src, start + 2, "$$", state.posMax)
    elif src[start] == "$":
        end = _find_dollar_end(src, start, state.posMax)
    elif src.startswith("\\(", start):
        end = _find_end(src, start + 2, "\\)", state.posMax)
    elif src.startswith("\\[", start):
        # `\[` may also be an escaped bracket ("array\[0\]"): maths has a space after it or starts a line.
        alone = start == 0 or src[start - 1] == "\n" or src[start + 2 : start + 3].isspace()
        end = _find_end(src, start + 2, "\\]", state.posMax) if alone else 0
        end = 0 if src[end : end + 1] == "(" else end
    else:
        return False
    if not end:
        return False
    if not silent:
        state.push("maths_inline", "", 0).content = src[start:end]
    state.pos = end
    return True


def _find_end(src: str, start: int, closer: str, limit: int) -> int:
    """Return the end of the maths whose content begins at `start`, or 0."""
    end = src.find(closer, start, min(limit, start + MAX_LENGTH))
    return end + len(closer) if end >= 0 and src[start:end].strip() else 0


def _find_dollar_end(src: str, start: int, limit: int) -> int:
    """Return the end of `$…$`, or 0, by a rule like pandoc's, so that prices stay text."""
    limit = min(limit, start + MAX_LENGTH)
    spaced = src[start + 1 : start + 2] == " "
    if src[start - 1 : start].isdigit() or (src[start + 1 : start + 2].isspace() and not spaced):
        return 0
    end = src.find("$", start + 1, limit)
    while end > 0 and src[end - 1] == "\\":
        end = src.find("$", end + 1, limit)
    if end < start + 2 or src[end - 1].isspace() != spaced or src[end + 1 : end + 2].isdigit():
        return 0
    inside = src[start + 1 : end]
    if spaced and (_WORD.search(inside) or not _SIGN.search(inside)):
        return 0
    return 0 if _MONEY.match(src, start + 1, end) else end + 1


def _block(state: StateBlock, first: int, stop: int, silent: bool) -> bool:
    src = state.src
    start = state.bMarks[first] + state.tShift[first]
    opener = src[start : start + 2]
    if opener == "\\b" and (environment := _ENVIRONMENT.match(src, start)):
        inside, closer = environment.end(), f"\\end{{{environment[1]}}}"
    elif opener in _BLOCK_END:
        inside, closer = start + 2, _BLOCK_END[opener]
    else:
        return False
    if state.is_code_block(first):
        return False
    end = _find_end(src, inside, closer, state.eMarks[stop - 1])
    if not end:
        return False
    last = bisect_left(state.eMarks, end, first, stop)
    if src[end : state.eMarks[last]].strip() or last >= stop:
        return False
    # A closer in another list item or outside the quotation does not count.
    if any(
        state.sCount[line] < state.blkIndent and not state.isEmpty(line) for line in range(first, last + 1)
    ):
        return False
    if silent:
        return True
    if last == first:
        content = src[start:end]
    else:
        head, tail = src[start : state.eMarks[first]], src[state.bMarks[last] : end]
        middle = (src[state.bMarks[line] : state.eMarks[line]] for line in range(first + 1, last))
        content = "\n".join((head, *middle, tail))
    token = state.push("maths_block", "", 0)
    token.block = True
    token.content = content
    token.map = [first, last + 1]
    state.line = last + 1
    return True


def strip_delimiters(maths: str) -> tuple[str, bool]:
    """Return the text between the delimiters (a bare environment has none), and True for display maths."""
    if maths.startswith(("$$", "\\[")):
        return maths[2:-2], True
    if maths.startswith("\\("):
        return maths[2:-2], False
    return (maths, True) if maths.startswith("\\begin") else (maths[1:-1], False)
