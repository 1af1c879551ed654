"""markdown-it rules beyond CommonMark: bare addresses, task lists, bold in Chinese text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_core import StateCore
    from markdown_it.rules_inline import StateInline

# A longer address stays text, which bounds the work for each colon.
MAX_ADDRESS = 1_000

_SCHEME = re.compile(r"(?<![A-Za-z0-9])https?\Z", re.IGNORECASE)
# Characters that no address contains unescaped; the last ones end a Chinese or Japanese sentence.
_REST = re.compile(r"://[^\s<>\[\]\"`|\\^“”‘’…\u3000-\u303f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff65]+")
_SENTENCE = "?!.,:;*_~'"
_TASK = re.compile(r"\[([ xX])\] +(?=\S)")
# Scripts without spaces between words, and Korean, which has none before particles.
_UNSPACED = re.compile(
    "[\u1100-\u11ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]"
)


def dialect_plugin(md: MarkdownIt) -> None:
    """Add the rules to a parser."""
    md.inline.ruler.after("text", "bare_address", _bare_address)
    md.inline.ruler.at("emphasis", _emphasis)
    md.core.ruler.push("tasks", _tasks)


def _bare_address(state: StateInline, silent: bool) -> bool:
    """Make `https://…` in text a link. Mail addresses ("lodash@4.17.21"?) and "www." without a scheme stay text."""
    # The parser looks silently for the end of a link's text, which an address must not swallow.
    if silent or state.linkLevel or not state.src.startswith("://", state.pos):
        return False
    scheme = _SCHEME.search(state.src[max(0, state.pos - 6) : state.pos])
    rest = _REST.match(state.src, state.pos, min(state.posMax, state.pos + MAX_ADDRESS))
    if scheme is None or rest is None or rest.end() == state.pos + MAX_ADDRESS:
        return False
    tail = _without_sentence_end(rest[0])
    address = scheme[0] + tail
    href = state.md.normalizeLink(address)
    if not state.md.validateLink(href):
        return False
    state.pending = state.pending.removesuffix(scheme[0])
    state.push("link_open", "a", 1).attrs = {"href": href}
    state.push("text", "", 0).content = address
    state.push("link_close", "a", -1)
    state.pos += len(tail)
    return True


def _without_sentence_end(address: str) -> str:
    """Return the address without the punctuation or bracket that ends its sentence."""
    end, unopened = len(address), address.count(")") - address.count("(")
    while end and (address[end - 1] in _SENTENCE or (address[end - 1] == ")" and unopened > 0)):
        unopened -= address[end - 1] == ")"
        end -= 1
    return address[:end]


def _emphasis(state: StateInline, silent: bool) -> bool:
    """Apply CommonMark's rule, and also end the bold text of `**注意：**这`, where no space ends it."""
    from markdown_it.rules_inline.emphasis import tokenize

    start, before_count = state.pos, len(state.delimiters)
    if not tokenize(state, silent):
        return False
    if state.src[start] == "*":
        before, after = state.src[start - 1 : start], state.src[state.pos : state.posMax][:1]
        for delimiter in state.delimiters[before_count:]:
            delimiter.open |= bool(_UNSPACED.match(before) and after.strip())
            delimiter.close |= bool(_UNSPACED.match(after) and before.strip())
    return True


def _tasks(state: StateCore) -> None:
    """Show the box of `- [x] done` as a character."""
    for item, _, line in zip(state.tokens, state.tokens[1:], state.tokens[2:], strict=False):
        task = _TASK.match(line.content) if item.type == "list_item_open" else None
        if task and line.children and line.children[0].content.startswith(task[0]):
            first = line.children[0]
            first.content = ("☐ " if task[1] == " " else "☑ ") + first.content[task.end() :]
