"""Answers as HTML and as markdown: honest text keeps its meaning, and no text gets out of the allowed tags."""

# ruff: noqa: E501 — hostile text is easier to read in one piece

from __future__ import annotations

import re
import subprocess
import sys
import time
from functools import cache
from html import unescape
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from ipycachechat.rendering.markdown import bundle, to_html, to_markdown
from ipycachechat.rendering.maths_commands import is_typesettable

TAGS = frozenset(
    "div p pre code span a h1 h2 h3 h4 h5 h6 ul ol li table thead tbody tr th td blockquote em strong s sup hr br".split()
)
ATTRIBUTES = {
    "class": r"ipycachechat-answer mathjax_ignore tex2jax_ignore|mathjax_process tex2jax_process|highlight|[a-z][a-z0-9]{0,2}",
    "style": r"contain:paint|text-align:(left|right|center)|margin:1em 0|background-color:transparent;margin:0;padding:\.5em 1em",
    "href": r"(?si)(https?://[^/?#]|mailto:[^/]|#).*",
    "rel": "noopener noreferrer",
    "target": "_blank",
    "start": r"\d+",
    "dir": "auto|ltr",
}


class Reader(HTMLParser):
    """The tags, attributes and text of HTML, with all that is not allowed and whether the tags are balanced."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.begun = False
        self.feed(html)
        self.close()
        self.faults += [f"{tag} left open" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.begun = False
        if tag not in TAGS:
            self.faults.append(tag)
        for name, value in attrs:
            if name not in ATTRIBUTES or not re.fullmatch(ATTRIBUTES[name], value or ""):
                self.faults.append(f"{name}={value!r}")
        if tag not in ("br", "hr"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> out of place")

    def handle_data(self, data: str) -> None:
        # As a browser does: a newline that comes first in a <pre> is none of its text.
        first = (self.get_starttag_text() or "").startswith("<pre") and self.open[-1:] == ["pre"]
        self.text += data.removeprefix("\n") if first and not self.begun else data
        self.begun = True

    def handle_comment(self, data: str) -> None:
        self.faults.append("comment")

    def handle_decl(self, decl: str) -> None:
        self.faults.append("declaration")

    def handle_pi(self, data: str) -> None:
        self.faults.append("processing instruction")

    def unknown_decl(self, data: str) -> None:
        self.faults.append("declaration")


def body(source: str) -> str:
    """The HTML inside of the answer's box."""
    html = to_html(source, style=False)
    assert not Reader(html).faults
    assert html.startswith('<div class="ipycachechat-answer') and html.endswith("</div>")
    return html[html.index(">") + 1 : -len("</div>")].strip()


def text(source: str) -> str:
    return Reader(to_html(source, style=False)).text.strip()


def maths(source: str) -> list[str]:
    """What of this MathJax gets to typeset, still escaped."""
    return re.findall(
        r'<(?:span|div) class="mathjax_process tex2jax_process">(.*?)</(?:span|div)>', body(source), re.S
    )


# Honest text


def test_the_usual_blocks_are_rendered() -> None:
    html = body("# T\n\n- a\n  - b\n    1. c\n\n> q\n\n**b** *i* ~~s~~ `c`\n\n---")
    for tag in ("h1", "ul", "ol", "li", "blockquote", "strong", "em", "s", "code", "hr"):
        assert f"<{tag}" in html


def test_tables_keep_their_alignment() -> None:
    assert '<td style="text-align:right">1</td>' in body("| a |\n|--:|\n| 1 |")


def test_text_in_a_table_stands_where_its_writing_begins() -> None:
    html = body("| a | b |\n|---|---|\n| 1 | שלום |")
    assert '<th style="text-align:center">a</th>' in html
    assert '<td style="text-align:left">1</td>' in html
    assert '<td dir="auto" style="text-align:right">שלום</td>' in html


def test_tasks_have_boxes_of_characters() -> None:
    assert text("- [ ] a\n- [x] `b`\n1. [X] c").split() == ["☐", "a", "☑", "b", "☑", "c"]
    assert text("[x] a\n- [x]\n- [y] b").split() == ["[x]", "a", "[x]", "[y]", "b"]


@pytest.mark.parametrize(
    ("source", "bold"),
    [
        ("**注意：**这里", "注意："),
        ("は**「引用」**を", "「引用」"),
        ("**굵은(bold)**입니다", "굵은(bold)"),
        ("它**(a)**的", "(a)"),
        ("a**(b)**c", None),
        ("2 ** 3 ** 4 和 ** 五 **", None),
    ],
)
def test_bold_needs_no_space_where_a_script_has_none(source: str, bold: str | None) -> None:
    assert re.findall("<strong>(.*)</strong>", body(source)) == ([] if bold is None else [bold])


def test_code_keeps_the_empty_line_that_it_begins_with() -> None:
    assert Reader(body("```\n\nx\n```")).text == "\nx\n"


def test_html_in_text_and_code_is_shown_as_written() -> None:
    assert text("a <b>c</b> `<i>` &amp; &lt;") == "a <b>c</b> <i> & <"
    assert text("```html\n<p class='x'>&amp;</p>\n```") == "<p class='x'>&amp;</p>"
    assert text("```nonesuch\n<p>\n```") == "<p>"


def test_code_is_coloured_by_language_and_plain_without_one() -> None:
    assert '<span class="k">def</span> <span class="nf">f</span>' in body("```python\ndef f(): pass\n```")
    assert '<span class="k">def</span>' in body("```{.python}\ndef f(): pass\n```")
    assert '<span class="k">' not in body("```\ndef f(): pass\n```")
    assert '<span class="k">' not in body("```nonesuch\ndef f(): pass\n```")


def test_very_long_code_is_not_coloured() -> None:
    assert "<span" not in body("```python\n" + "def f(): pass\n" * 5000 + "```")


@pytest.mark.parametrize(
    ("source", "typeset"),
    [
        ("$a<b_1$", ["$a&lt;b_1$"]),
        ("so \\(x\\), and \\(y_1*z_2*\\)", ["$x$", "$y_1*z_2*$"]),
        ("$$x$$", ["$$x$$"]),
        ("text:\n$$\nx\n= y\n- z\n$$\nmore", ["$$x\n= y\n- z$$"]),
        ("\\[\nx\n\\]", ["$$x$$"]),
        ("- a\n\n  \\[ x \\]\n- b", ["$$x$$"]),
        ("> $$\n> a\n> $$", ["$$a$$"]),
        ("so \\[ x \\] is", ["$$x$$"]),
        ("\\begin{align}\na &= b \\\\[4pt]\n&< c\n\\end{align}", ["\\begin{align}\na &amp;= b \\\\[4pt]\n&amp;&lt; c\n\\end{align}"]),
        ("| $x$ | `$|y|$` |\n|--|--|--|\n| $z$ | b |", ["$x$", "$z$"]),
        ("| $|x|$ | $\\|v\\|$ | \\(P(A|B)\\) |\n|--|--|--|\n| $\\{x | x>0\\}$ | b | $f\\left(a|b\\right)$ |",
         ["$|x|$", "$\\|v\\|$", "$P(A|B)$", "$\\{x | x&gt;0\\}$", "$f\\left(a|b\\right)$"]),
        ("so $ x = 1 $ and $ \\alpha $", ["$x = 1$", "$\\alpha$"]),
        ("\\begin{bmatrix} 1 & 2 \\end{bmatrix}", ["\\begin{bmatrix} 1 &amp; 2 \\end{bmatrix}"]),
        ("$\\textcolor{red}{x} \\hspace{1em} \\ce{H2O} \\tag{1}$", ["$\\textcolor{red}{x} \\hspace{1em} \\ce{H2O} \\tag{1}$"]),
        ("$$x \\label{eq:1}$$", ["$$x$$"]),
    ],
)  # fmt: skip
def test_maths_is_typeset(source: str, typeset: list[str]) -> None:
    assert maths(source) == typeset


@pytest.mark.parametrize(
    "source",
    [
        "costs $5 and $10",
        "$5, or 10$ for both",
        "US$5–US$10",
        "between $1,000 and $2,000 (US$)",
        "`$x$` and `\\(x\\)`",
        "```\n$x$\n$$\ny\n$$\n```",
        "\\$x\\$",
        "array\\[0\\]",
        "$ x $",
        "$ export A=1 and $ echo",
        "| $HOME | US$ |\n|---|---|\n|$a|$b|",
        "an open $x",
        "$$\nopen",
        "echo $HOME and then $PATH",
    ],
)
def test_text_is_not_typeset(source: str) -> None:
    assert maths(source) == []


@pytest.mark.parametrize(
    "command",
    "href url require style class cssId def gdef let newcommand renewcommand newenvironment DeclareMathOperator "
    "unicode bbox mmlToken includegraphics data html csname char enclose ref eqref toggle mathtip texttip kern raise "
    "lower moveleft llap rlap smash rule Rule Space Huge definecolor nonesuch".split(),
)
def test_maths_that_reaches_further_is_shown_as_code(command: str) -> None:
    source = f"\\{command}{{x}}{{y}}"
    assert not is_typesettable(source)
    assert maths(f"$\\text{{\\{command}{{x}}}}$") == []
    assert f"\\{command}" in text(f"$\\text{{\\{command}{{x}}}}$")


@pytest.mark.parametrize(
    "source",
    [
        r"\color{url(http://h/)}",
        r"\colorbox[rgb]{1,1,1}{x}",
        r"\hspace{-9em}x",
        r"\hspace{999em}x",
        r"a\\[-99em]b",
        r"\cancel[href=x]{y}",
        r"\begin{Verbatim}x\end{Verbatim}",
        r"\!" * 20,
        "{" * 100 + "}" * 100,
        "x" * 6000,
        "\\\\label{}href{x}",
    ],
)
def test_maths_that_draws_elsewhere_is_shown_as_code(source: str) -> None:
    assert maths(f"$y {source}$") == []


def test_footnotes_have_numbers_and_no_ids() -> None:
    html = body("a[^x] b[^y] c[^x]\n\n[^x]: one\n[^y]: two\n")
    assert html.count("<sup>[1]</sup>") == 2 and html.count("<sup>[2]</sup>") == 1
    assert "<ol>\n<li><p>one</p>" in html
    assert "x^[2]" in text("x^[2]")


@pytest.mark.parametrize(
    "source",
    ["[^1]: a *note*", "Text.\n\n[^1]: a *note*\n    - more", "See[^2].\n\n[^2]: that\n[^1]: a *note*"],
)
def test_a_footnote_to_which_nothing_refers_is_not_hidden(source: str) -> None:
    html = to_html(source, style=False)
    assert "<p>[^1]:</p>" in html and "a <em>note</em>" in html
    assert ("<ol>\n<li><p>that" in html) == ("that" in source) and "id=" not in html


def test_a_footnote_that_defines_another_is_shown_as_it_is() -> None:
    source = "See[^1].\n\n[^1]: > [^1]: x"
    assert body(source) == f"<pre>{source.replace('>', '&gt;')}</pre>"


def test_right_to_left_text_says_so() -> None:
    assert body("שלום עולם") == '<p dir="auto">שלום עולם</p>'
    assert body("שלום `x`") == '<p dir="auto">שלום <code dir="ltr">x</code></p>'
    assert body("emoji 👩‍👩‍👧 and 日本語") == "<p>emoji 👩‍👩‍👧 and 日本語</p>"


# Links and images


@pytest.mark.parametrize(
    "address",
    ["http://h/a?b=c&d", "https://h", "mailto:a@b.c", "HTTPS://h", "#there",
     "http://h:8080/", "http://1.2.3.4?x", "http://[::1]:80/", "https://b\u00fccher.de/\u00e4", "http://a_b.c-d.e./"],
)  # fmt: skip
def test_links_that_lead_out_are_links(address: str) -> None:
    assert "<a href=" in body(f"[x]({address})")


@pytest.mark.parametrize(
    "address",
    ["javascript:x", "JavaScript:x", "java&#x73;cript:x", "data:text/html,x", "vbscript:x", "file:///x", "a/b", "/a", "//h/a",
     "?q", "blob:x", "view-source:x", "http:/x", "http:x", "https:///x", "mailto://h", "", "#", "\\\\h\\a",
     "http://[h/", "http://h:99999/", "http://h:x/", "http://1.2.3.999/", "http://0x/", "https://@/../x", "http://:80/",
     "http://%5Bh/", "http://[::x]/", "http://u:p@h/", "http://xn--0/"],
)  # fmt: skip
def test_other_links_are_text_with_the_address(address: str) -> None:
    html = body(f"[label]({address}) ![label]({address}) <{address}>")
    assert "<a " not in html
    assert "label" in html
    assert address.split("&")[0] in text(f"[label]({address})") or "\\" in address


def test_a_bare_address_ends_before_what_cannot_be_in_one() -> None:
    html = body("[label](http://h^/) ![label](http://h^/) <http://h^/>")
    assert re.findall(r'href="([^"]*)"', html) == ["http://h"] * 3
    assert "[label](" in html


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("See https://h.org/a_b_c?x=1&y=*2*.", "https://h.org/a_b_c?x=1&y=*2"),
        ("(http://h/x_(y)), and", "http://h/x_(y)"),
        ("**https://h/a**", "https://h/a"),
        ("见https://h/页。谢谢", "https://h/%E9%A1%B5"),
        ('"HTTPS://h/"', "HTTPS://h/"),
        ("![https://a.b](x) [see https://a.b](x] https://h", "https://h"),
        ("[see https://a.b/x](https://c.d)", "https://c.d"),
    ],
)
def test_an_address_in_text_is_a_link(source: str, address: str) -> None:
    assert unescape(re.findall('<a href="(.*?)"', body(source))[-1]) == address
    assert body(source).count("<a ") == body(source).count("</a>")


@pytest.mark.parametrize(
    "source",
    ["`https://h/`", "$https://h$", "xhttps://h/", "https://", "https:///x", "http:h", "javascript://h/%0aalert(1)",
     "ftp://h/", "www.h.org", "a@b.org", "lodash@4.17.21", "https://" + "x" * 3000],
)  # fmt: skip
def test_other_text_is_no_link(source: str) -> None:
    assert "<a " not in body(source)
    assert text(source).strip() == source.strip("`$") or "$" in source


def test_images_are_links_that_say_where_they_lead() -> None:
    assert ">[image: a plot]</a> (h/p.png?…)" in body('![a *plot*](http://h/p.png?secret=1 "t")')
    assert body("![x](http://h/y)").startswith(
        '<p><a href="http://h/y" rel="noopener noreferrer" target="_blank">'
    )
    assert body("[![x](http://h/y)](http://z/)").count("<a ") == 1


# What goes beside it


def test_bundle_holds_three_forms_without_terminal_controls() -> None:
    forms = bundle("a\x1b[31mred\x1b[0m\x1b]0;title\x07 \x9b1m\u202eb\u2066\x00\x08\r\nc\td \ud800")
    assert forms["text/plain"] == "ared b\nc\td "
    assert list(forms) == ["text/html", "text/markdown", "text/plain"]
    assert "ared b\nc\td" in forms["text/html"] and forms["text/markdown"] == forms["text/plain"]
    "".join(forms.values()).encode()


def test_style_is_small_and_can_be_left_out() -> None:
    with_style, without = to_html("x"), to_html("x", style=False)
    assert "<style>" in with_style and "<style>" not in without
    assert len(with_style) - len(without) < 800


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b and `<b>` and $a<b$", "a < b and `<b>` and $a< b$"),
        ("<b>x</b> <!-- y --> <?z?>", "&lt;b>x&lt;/b> &lt;!-- y --> &lt;?z?>"),
        ("```html\n<p>\n```\n\n<p>", "```html\n<p>\n```\n\n&lt;p>"),
        ("    <p>", "    <p>"),
        ("$$\na<b\n$$", "$$\na< b\n$$"),
        ("![a](http://b) `![a](b)` \\![c](d)", "[a](http://b) `![a](b)` \\![c](d)"),
        ("wow!![a](b) and what![1]", "wow!\\![a](b) and what\\![1]"),
        ("<https://h/x> <mailto:a@b.c>", "<https://h/x> <mailto:a@b.c>"),
        ("\\<b>", "\\<b>"),
        ("| `a | <b>` |\n|--|--|\n| c | <d> |", "| `a | &lt;b>` |\n|--|--|\n| c | &lt;d> |"),
        ("$x ` y$ `<img>`", "$x ` y$ `&lt;img>`"),
    ],
)
def test_markdown_escapes_html_in_text_only(source: str, expected: str) -> None:
    assert to_markdown(source) == expected


# Any text at all

FRAGMENTS = st.sampled_from(
    """<script>window.pwned=1</script>|<img src=x onerror=1>|<b|</div>|<!--|-->|<![CDATA[|]]>|<?|?>|<a href="|'|"|>|`|``|```
|~~~|```html"onclick=1
|$|$$|\\(|\\)|\\[|\\]|\\begin{align}|\\end{align}|\\href{javascript:1}{x}|{|}|[|]|](|)|![|![x](http://h/i.png)|[x](javascript:1)
|[x]: |http://h/|<http://h/|<javascript:1>|javascript:|data:|[^1]|[^1]: |*|**|_|~~|# |- |> |1. |    |\t|
|

||\\|\\<|\\!|!|&lt;|&#60;|&|=|onload=1|style="position:fixed"|a|x y|:--|\x1b[|\x00|\u202e|\ud800|\U000f0000|\u0661|<""".split(
        "|"
    )
    + ["|", "|--|--|\n", "| a | b |\n"]
    + ["| $|", "|$ |", "(|)", "https://h/x", "://", "- [x] ", "\ufdd0", "**、", "中"]
)
HOSTILE = st.lists(FRAGMENTS | st.text(max_size=3), max_size=40).map("".join)


@settings(max_examples=400, deadline=None)
@given(HOSTILE)
def test_any_html_is_made_of_allowed_tags_and_attributes(source: str) -> None:
    assert Reader(to_html(source, style=False)).faults == []


def flat(tokens: list[Token]) -> list[Token]:
    return [inner for token in tokens for inner in (token, *flat(token.children or []))]


@settings(max_examples=400, deadline=None)
@given(HOSTILE)
def test_any_markdown_has_no_html_and_no_image_for_any_parser(source: str) -> None:
    result = to_markdown(source)
    for parser in (MarkdownIt("commonmark"), MarkdownIt("gfm-like", {"linkify": False, "html": True})):
        kinds = {token.type for token in flat(parser.parse(result))}
        assert not kinds & {"html_block", "html_inline", "image"}
    if "<" not in source and "![" not in source:
        assert result == source


@settings(max_examples=200, deadline=None)
@given(HOSTILE)
def test_any_growing_answer_is_harmless_at_every_frame(source: str) -> None:
    for end in range(0, len(source), max(1, len(source) // 8)):
        assert Reader(to_html(source[:end], style=False)).faults == []


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Co", "Cs"])))
def test_any_text_in_code_comes_back(source: str) -> None:
    fence = "`" * (max(map(len, re.findall("`+", source)), default=0) + 3)
    assert Reader(to_html(f"{fence}\n{source}\n{fence}", style=False)).text == f"{source}\n\n"


@pytest.mark.parametrize(
    "source",
    [">" * 100_000, "- " * 50_000, "[" * 100_000, "![" * 50_000, "[" * 50_000 + "](x)" * 12_500, "*a **a " * 14_000,
     "\\(" * 50_000, "\\[\n" * 33_000, "$$\na\n" * 20_000, "`" * 100_000, "<" * 100_000, "<!--" * 25_000, "a" * 1_000_000,
     "|a" * 50_000 + "\n" + "|-" * 50_000, "[^1]: " * 16_000, "$" + "{" * 100_000 + "$", "\x1b]" * 50_000,
     "|$" + "\\(" * 100_000, "|$" + "`a``b" * 40_000, "|$" + "$ |a" * 50_000, "http://" * 50_000, "http://h/" + ")" * 100_000,
     "```python\n" + "(" * 40_000, "```yaml\n" + "- a:\n  " * 7_000,
     "```matlab\n" + "\n" * 40_000, ("```csharp\n" + "a " * 800 + "\n```\n") * 60],
)  # fmt: skip
def test_what_is_made_to_be_slow_is_not(source: str) -> None:
    assert Reader(to_html(source, style=False)).faults == []
    # None takes twice as long as an honest text; what takes time by the square of its length takes hundreds of times.
    assert work(source) < 10 * honest_work()


@cache
def honest_work() -> float:
    """That of an honest text as long as the longest of them."""
    return work(("## A heading\n\nSome *words* and `code`, $a<b$.\n\n" * 3_000)[:100_000])


def work(source: str) -> float:
    """Seconds of the processor that drawing a text takes, whatever else it has to do."""
    start = time.process_time()
    to_html(source, style=False)
    to_markdown(source)
    return time.process_time() - start


def test_importing_it_imports_no_parser() -> None:
    code = "import sys, ipycachechat.rendering.markdown; print([m for m in ('markdown_it', 'pygments') if m in sys.modules])"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )
