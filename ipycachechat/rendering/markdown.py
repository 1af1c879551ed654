"""Model markdown to safe HTML.

No text that a model writes (or quotes) may run script, load anything from the network, or leave its cell's
box, in any front end, trusted or not. So we make the HTML ourselves, out of a short list of tags and
attributes, rather than hand markdown to the front end.
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

# Fifty lists in each other. The parser drops what is nested any deeper, so such a source is shown as it is.
MAX_DEPTH = 100
# Seconds of a frame for colouring code, most of which an honest answer does not need.
HIGHLIGHT_SECONDS = 0.5

# MathJax typesets only what our parser knows to be maths ("$5 and $10" is not), and paint containment keeps
# it, and piled-up accents, inside of the answer's box. Version 2 (nbconvert) looks for tex2jax_….
_OPEN = '<div class="ipycachechat-answer mathjax_ignore tex2jax_ignore" style="contain:paint">'
# Inline, since an untrusted notebook keeps no <style>.
_BOX = 'style="margin:1em 0"'
_INNER = 'style="background-color:transparent;margin:0;padding:.5em 1em"'
_MATHS = "mathjax_process tex2jax_process"


def bundle(source: str, *, style: bool = True) -> dict[str, str]:
    """The mime bundle of an answer: our HTML, the markdown for converters, and the text as it came."""
    source = clean(source)
    return {
        "text/html": to_html(source, style=style),
        "text/markdown": to_markdown(source),
        "text/plain": source,
    }


def to_html(source: str, *, style: bool = True) -> str:
    """Safe HTML of this markdown, in one `<div class="ipycachechat-answer">`.

    `style=False` leaves out the colours for front ends that have none, which a frame need not repeat.
    """
    return boxed(body(source), style=style)


def boxed(html: str, *, style: bool = True) -> str:
    """HTML of ours in the box that it may not leave."""
    return f"{_OPEN}{html}{STYLE if style else ''}</div>"


def body(source: str) -> str:
    """Safe HTML of this markdown, to be put in the box."""
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
    # The last two levels: a list's item is two deep, and dropped text would be hidden text.
    if any(token.level >= MAX_DEPTH - 2 for token in tokens) or not _is_nested(tokens):
        return plain
    return str(parser.renderer.render(tokens, parser.options, env))


def _is_nested(tokens: Sequence[Token]) -> bool:
    """Return True if every tag is closed where it has to be, which a footnote that defines another can undo."""
    within: list[str] = []
    for token in tokens:
        if token.nesting == 1:
            within.append(token.type.removesuffix("_open"))
        elif token.nesting == -1 and (not within or within.pop() != token.type.removesuffix("_close")):
            return False
    return not within


@cache
def _parser() -> MarkdownIt:
    """Made at the first answer, since the extension has to load fast."""
    from markdown_it import MarkdownIt
    from mdit_py_plugins.footnote import footnote_plugin

    class Markdown(MarkdownIt):
        def validateLink(self, url: str) -> bool:
            """A link that is not accepted stays text, with its address to be seen."""
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
    """A footnote to which nothing refers stays where it is: the plugin would leave it out, and hide its text."""
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
    """markdown-it's kind of render rule, for HTML that depends on the token alone."""

    def render(
        renderer: RendererHTML, tokens: Sequence[Token], number: int, options: OptionsDict, env: EnvType
    ) -> str:
        return html(tokens[number])

    return render


def _footnote_ref(token: Token) -> str:
    """A number only: an anchor would need an id, which the text of another answer could take."""
    return f"<sup>[{int(token.meta['id']) + 1}]</sup>"


def _fence(
    renderer: RendererHTML, tokens: Sequence[Token], number: int, options: OptionsDict, env: EnvType
) -> str:
    token = tokens[number]
    words = token.info.split(maxsplit=1)
    # When the time for colours is over, the next frame has more: it finds these in the cache.
    if not words or time.perf_counter() > env["until"]:
        return _code(escape(token.content, quote=False))
    return _code(highlight(token.content, words[0].strip("{}.")))


def _code(html: str) -> str:
    return f'<div class="highlight" {_BOX}><pre {_INNER}>{_pre_content(html)}</pre></div>\n'


def _pre_content(html: str) -> str:
    """The inside of a `<pre>`: a browser drops a newline that comes first."""
    return "\n" + html if html.startswith("\n") else html


def _maths_inline(token: Token) -> str:
    typeset = _typeset(token.content)
    return (
        f'<span class="{_MATHS}">{typeset}</span>'
        if typeset
        else f'<code dir="ltr">{escape(token.content)}</code>'
    )


def _maths_block(token: Token) -> str:
    typeset = _typeset(token.content)
    return (
        f'<div class="{_MATHS}">{typeset}</div>\n' if typeset else _code(escape(token.content, quote=False))
    )


def _typeset(maths: str) -> str:
    """Escaped maths with the delimiters that all front ends know, or nothing if it may not be typeset."""
    # A label would become an id, and a second of the same name an error in a later cell.
    inside, display = strip_delimiters(re.sub(r"\\label\s*\{[^{}]*\}", "", maths))
    if not is_typesettable(inside):
        return ""
    if inside.startswith("\\begin{") and not maths.startswith(("$", "\\[", "\\(")):
        return escape(inside, quote=False)
    mark = "$$" if display else "$"
    return f"{mark}{escape(inside.strip(), quote=False)}{mark}"
