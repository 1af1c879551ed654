"""Model markdown to safe HTML.

No text that a model writes (or quotes) may run scripts, load anything from the network, or leave its cell's box, in
any front end, trusted or not. So we make the HTML ourselves from a short list of tags and attributes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from functools import cache
from html import escape
from typing import TYPE_CHECKING

from ipycachechat.rendering.highlight import STYLE, highlight
from ipycachechat.rendering.links import is_safe_address, restrict_links
from ipycachechat.rendering.markdown_escape import MAX_LENGTH, is_tangled, to_markdown
from ipycachechat.rendering.markdown_rules import dialect_plugin
from ipycachechat.rendering.maths import maths_plugin, strip_delimiters
from ipycachechat.rendering.maths_commands import is_typesettable
from ipycachechat.text.sanitize import clean

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.renderer import RendererHTML
    from markdown_it.rules_core import StateCore
    from markdown_it.token import Token
    from markdown_it.utils import EnvType, OptionsDict

__all__ = ["body", "boxed", "bundle", "to_html", "to_markdown"]

# Fifty nested lists. The parser drops anything deeper, so such a source is shown as plain text.
MAX_DEPTH = 100
# Seconds for highlighting code in one frame; ordinary answers need far less.
HIGHLIGHT_SECONDS = 0.5

# MathJax typesets only what our parser recognizes as maths ("$5 and $10" is not), and paint containment keeps it, and
# stacked accents, inside the answer's box. Version 2 (nbconvert) looks for tex2jax_….
_OPEN = '<div class="ipycachechat-answer mathjax_ignore tex2jax_ignore" style="contain:paint">'
# Inline, since an untrusted notebook keeps no <style>.
_BOX = 'style="margin:1em 0"'
_INNER = 'style="background-color:transparent;margin:0;padding:.5em 1em"'
_MATHS = "mathjax_process tex2jax_process"


def bundle(source: str, *, style: bool = True) -> dict[str, str]:
    """Return the mime bundle of an answer: our HTML, the markdown for converters, and the plain text."""
    source = clean(source)
    return {
        "text/html": to_html(source, style=style),
        "text/markdown": to_markdown(source),
        "text/plain": source,
    }


def to_html(source: str, *, style: bool = True) -> str:
    """Return safe HTML of this markdown, in one `<div class="ipycachechat-answer">`.

    `style=False` leaves out the style sheet for front ends without colours, which frames need not repeat.
    """
    return boxed(body(source), style=style)


def boxed(html: str, *, style: bool = True) -> str:
    """Return our HTML in the box that it may not leave."""
    return f"{_OPEN}{html}{STYLE if style else ''}</div>"


def body(source: str) -> str:
    """Return safe HTML of this markdown, without the box."""
    source = clean(source)
    plain = f"<pre>{_pre_content(escape(source))}</pre>"
    if len(source) > MAX_LENGTH or is_tangled(source):
        return plain
    parser = _parser()
    env: dict[str, object] = {"until": time.perf_counter() + HIGHLIGHT_SECONDS}
    try:
        tokens = parser.parse(source, env)
    except RecursionError:
        return plain
    # A list item takes two levels; text that the parser drops would be hidden.
    if any(token.level >= MAX_DEPTH - 2 for token in tokens) or not _is_nested(tokens):
        return plain
    return str(parser.renderer.render(tokens, parser.options, env))


def _is_nested(tokens: Sequence[Token]) -> bool:
    """Return True if every tag is closed in order; a footnote that defines another can break that."""
    open_tags: list[str] = []
    for token in tokens:
        if token.nesting == 1:
            open_tags.append(token.type.removesuffix("_open"))
        elif token.nesting == -1 and (not open_tags or open_tags.pop() != token.type.removesuffix("_close")):
            return False
    return not open_tags


@cache
def _parser() -> MarkdownIt:
    """Return the parser; it is made at the first answer, since the extension has to load fast."""
    from markdown_it import MarkdownIt
    from mdit_py_plugins.footnote import footnote_plugin

    class Markdown(MarkdownIt):
        def validateLink(self, url: str) -> bool:
            """Return True if an address may become a link; other links stay text, with their address."""
            return is_safe_address(url)

    parser = Markdown("commonmark", {"html": False, "maxNesting": MAX_DEPTH})
    parser.enable(["table", "strikethrough"])
    # "x^[2]" is more often maths without dollars than a footnote.
    footnote_plugin(parser, inline=False)
    maths_plugin(parser)
    dialect_plugin(parser)
    parser.core.ruler.before("footnote_tail", "lone_footnotes", _lone_footnotes)
    parser.core.ruler.push("safe_links", restrict_links)
    rules: dict[str, Callable[[Token], str]] = {
        "code_block": lambda token: _code(escape(token.content, quote=False)),
        "maths_inline": _maths_inline,
        "maths_block": _maths_block,
        "footnote_ref": _footnote_ref,
        "footnote_block_open": lambda token: "<hr>\n<ol>\n",
        "footnote_block_close": lambda token: "</ol>\n",
        "footnote_open": lambda token: "<li>",
        "footnote_close": lambda token: "</li>\n",
        "footnote_anchor": lambda token: "",
    }
    for name, html in rules.items():
        parser.add_render_rule(name, _rule(html))
    parser.add_render_rule("fence", _fence)
    return parser


def _lone_footnotes(state: StateCore) -> None:
    """Keep a footnote without references as text in its place: the plugin would hide it."""
    from markdown_it.token import Token

    notes = state.env.get("footnotes", {}).get("list", {})
    referred = {note.get("label") for note in notes.values()}
    kept: list[Token] = []
    lone: list[bool] = []
    for token in state.tokens:
        if token.type == "footnote_reference_open":
            lone.append(token.meta["label"] not in referred)
            if lone[-1]:
                name = Token("text", "", 0, content=f"[^{token.meta['label']}]:")
                line = Token("inline", "", 0, content=name.content, children=[name])
                kept += Token("paragraph_open", "p", 1), line, Token("paragraph_close", "p", -1)
                continue
        elif token.type == "footnote_reference_close" and lone.pop():
            continue
        kept.append(token)
    state.tokens = kept


def _rule(html: Callable[[Token], str]) -> Callable[..., str]:
    """Return a render rule for HTML that depends on the token alone."""

    def render(
        renderer: RendererHTML, tokens: Sequence[Token], number: int, options: OptionsDict, env: EnvType
    ) -> str:
        return html(tokens[number])

    return render


def _footnote_ref(token: Token) -> str:
    """Return the number only: an anchor would need an id, which another answer could take."""
    return f"<sup>[{int(token.meta['id']) + 1}]</sup>"


def _fence(
    renderer: RendererHTML, tokens: Sequence[Token], number: int, options: OptionsDict, env: EnvType
) -> str:
    token = tokens[number]
    words = token.info.split(maxsplit=1)
    # After the time for highlighting, the next frame continues: earlier blocks are cached.
    if not words or time.perf_counter() > env["until"]:
        return _code(escape(token.content, quote=False))
    return _code(highlight(token.content, words[0].strip("{}.")))


def _code(html: str) -> str:
    return f'<div class="highlight" {_BOX}><pre {_INNER}>{_pre_content(html)}</pre></div>\n'


def _pre_content(html: str) -> str:
    """Return the content of a `<pre>`: browsers drop a leading newline."""
    return "\n" + html if html.startswith("\n") else html


def _maths_inline(token: Token) -> str:
    if typeset := _typeset(token.content):
        return f'<span class="{_MATHS}">{typeset}</span>'
    return f'<code dir="ltr">{escape(token.content)}</code>'


def _maths_block(token: Token) -> str:
    if typeset := _typeset(token.content):
        return f'<div class="{_MATHS}">{typeset}</div>\n'
    return _code(escape(token.content, quote=False))


def _typeset(maths: str) -> str:
    """Return escaped maths in delimiters that all front ends know, or "" if it must not be typeset."""
    # A label would become an id, and the same label in a later cell an error.
    inside, display = strip_delimiters(re.sub(r"\\label\s*\{[^{}]*\}", "", maths))
    if not is_typesettable(inside):
        return ""
    if inside.startswith("\\begin{") and not maths.startswith(("$", "\\[", "\\(")):
        return escape(inside, quote=False)
    mark = "$$" if display else "$"
    return f"{mark}{escape(inside.strip(), quote=False)}{mark}"
