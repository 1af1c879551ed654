"""Code as HTML with Pygments' classes, which JupyterLab and nbconvert have colours for."""

from __future__ import annotations

import re
import time
from functools import cache, lru_cache
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pygments.lexer import Lexer
    from pygments.token import _TokenType

# Longer code is not highlighted: some lexers take a second for 100 kB, at every frame.
MAX_LENGTH = 50_000
# Longer lines are slow: a lexer tries its patterns at every character.
MAX_LINE = 2_000

# A single pattern of some lexers (MATLAB's) takes seconds over a long gap.
_GAP = re.compile(r"\s{300}")
# Crafted code makes many lexers take quadratic time; after this time the rest stays plain.
MAX_SECONDS = 0.2

# Pygments' names of the languages that models write. Not all of Pygments, since the model chooses the name, and some
# other lexers are slow at single characters.
_LANGUAGES = frozenset(
    """
    python python3 py pycon ipython bash sh shell zsh console shell-session powershell ps1 batch
    json json5 yaml yml toml ini cfg xml html css scss less javascript js jsx typescript ts tsx sql
    sqlite3 postgresql r rout julia jl c cpp c++ cuda csharp c# cs java kotlin scala go golang rust
    rs swift ruby rb php perl lua haskell hs ocaml elixir erlang clojure lisp scheme fortran matlab
    octave latex tex markdown md rst diff docker dockerfile make makefile cmake http graphql
    protobuf nginx terraform hcl stan dart zig nix vim cython
    """.split()
)

# Classes with a colour in JupyterLab or in our style; others are left out.
_COLOURED = ("c", "k", "s", "m", "o", "nf", "nc", "nb", "nd", "nt", "na", "gd", "gi", "gh", "gp", "ge", "gs")


@lru_cache(maxsize=256)
def highlight(code: str, language: str) -> str:
    """Return the content of a `<pre>`: escaped code, in spans if the language is known."""
    language = language.lower()
    longest = max(map(len, code.split("\n")))
    if language not in _LANGUAGES or len(code) > MAX_LENGTH or longest > MAX_LINE or _GAP.search(code):
        return escape(code, quote=False)
    parts: list[str] = []
    last, run, end = "", "", 0
    stop = time.perf_counter() + MAX_SECONDS
    try:
        for start, kind, text in _lexer(language).get_tokens_unprocessed(code):
            if start != end or time.perf_counter() > stop:
                break
            end += len(text)
            css = _css_class(kind)
            if css != last:
                parts.append(_span(last, run))
                last, run = css, ""
            run += text
    except Exception:  # a third-party parser of untrusted text: plain code is always right
        return escape(code, quote=False)
    parts += _span(last, run), escape(code[end:], quote=False)
    return "".join(parts)


def _span(css: str, text: str) -> str:
    safe = escape(text, quote=False)
    return f'<span class="{css}">{safe}</span>' if css and not text.isspace() and text else safe


@cache
def _lexer(language: str) -> Lexer:
    from pygments.lexers import get_lexer_by_name

    return get_lexer_by_name(language)


@cache
def _css_class(kind: _TokenType) -> str:
    from pygments.token import STANDARD_TYPES

    while kind not in STANDARD_TYPES and kind.parent is not None:
        kind = kind.parent
    css = STANDARD_TYPES.get(kind, "")
    return css if css.startswith(_COLOURED) else ""


# For front ends without colours of their own; legible on white and on black. JupyterLab's variables come first, so that
# its theme is kept. In print, where nothing can be unfolded, everything is unfolded.
STYLE = (
    "<style>.ipycachechat-answer{overflow-wrap:anywhere}"
    ".ipycachechat-answer .highlight{background:var(--jp-cell-editor-background,#8881)}"
    ".ipycachechat-answer .highlight pre{overflow-x:auto;font-family:var(--jp-code-font-family,monospace)}"
    + "".join(
        f".ipycachechat-answer pre {css}{{color:var(--jp-mirror-editor-{name}-color,#{color})}}"
        for css, name, color in (
            (":is([class^=k],.gi)", "keyword", "1a8a3a"),
            (":is([class^=s],.gd)", "string", "c8503c"),
            ("[class^=m]", "number", "178a7a"),
            ("[class^=c]", "comment", "7d7d7d"),
            ("[class^=n]", "def", "3b7ddd"),
        )
    )
    + "@media print{[class^=ipycachechat-] ::details-content{content-visibility:visible}}"
    "</style>"
)
