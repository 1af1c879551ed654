"""Honest answers look as if JupyterLab itself showed their markdown: same text, structure and maths."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from difflib import unified_diff

import pytest
from playwright.sync_api import TimeoutError
from support.honest_answers import DIFFERENT, corpus
from support.jupyter_page import APPS, Lab, write_notebook

pytestmark = pytest.mark.browser

# An answer's outline: a line for each visible element and run of text, indented by nesting.
COMPARISON = r"""
(() => {
  // Who draws the same with another tag: the parsers differ in their names for struck out text.
  const same = { del: 's' };
  const kept = 'h1 h2 h3 h4 h5 h6 ul ol li table tr th td blockquote em strong s a hr br sup img'.split(' ');
  const block = 'p h1 h2 h3 h4 h5 h6 ul ol li table tr th td blockquote hr br'.split(' ');
  // One parser aligns by attribute, the other by style. Where the table says nothing, text stands where its
  // writing begins, which JupyterLab calls "start" and we, for the sanitiser's sake, left or right.
  const side = cell => {
    const align = getComputedStyle(cell).textAlign.replace('-webkit-', '');
    const start = /^\P{L}*[\u0590-\u08ff]/u.test(cell.textContent) ? 'right' : 'left';
    return align === start ? 'start' : align;
  };
  const flat = text => text.replace(/[ \t\n\r]+/g, ' ');

  const outline = root => {
    const lines = [];
    // Beside a block and a line's end, white space is not drawn.
    let text = '', atStart = true;
    const end = (depth, atEnd) => {
      text = flat(text);
      if (atStart) text = text.replace(/^ /, '');
      if (atEnd) text = text.replace(/ $/, '');
      if (text) lines.push('  '.repeat(depth) + JSON.stringify(text));
      atStart = atEnd;
      text = '';
    };
    const line = (words, depth, isBlock) => { end(depth, isBlock); lines.push('  '.repeat(depth) + words); };
    const within = (nodes, depth, isBlock) => {
      for (const node of nodes) visit(node, depth);
      end(depth, isBlock);
    };
    const visit = (node, depth) => {
      if (node.nodeType === Node.TEXT_NODE) { text += node.data; return; }
      if (node.nodeType !== Node.ELEMENT_NODE) return;
      // The sign beside a heading that JupyterLab adds for linking to it; our style sheet.
      if (node.matches('.jp-InternalAnchorLink, style')) return;
      const tag = same[node.localName] ?? node.localName;
      const isBlock = block.includes(tag);
      if (tag === 'mjx-container') {
        // The MathML that MathJax made of the TeX: all of it but how it was written.
        const display = node.hasAttribute('display');
        const maths = node.querySelector('mjx-assistive-mml math').innerHTML;
        line(`maths ${display ? 'display ' : ''}${maths}`, depth, display);
        return;
      }
      if (tag === 'pre') {
        // JupyterLab puts a <code> into it, and each highlighter spans of its own. Lines that end it are not
        // looked at: JupyterLab drops one that is empty.
        line(`pre ${JSON.stringify(node.textContent.replace(/\n+$/, ''))}`, depth, true);
        return;
      }
      if (tag === 'code') { line(`code ${JSON.stringify(flat(node.textContent))}`, depth, false); return; }
      // An answer of ours has no forms: a task's box is a character.
      if (tag === 'input') { text += node.checked ? '☑' : '☐'; return; }
      if (tag === 'p') {
        // Display maths is a block to us, to JupyterLab a part of the paragraph: on the screen it stands on
        // lines of its own in both. So what is before and after it counts as a paragraph each.
        let part = [];
        const paragraph = () => {
          if (part.some(one => one.nodeType !== Node.TEXT_NODE || one.data.trim())) {
            line('p', depth, true);
            within(part, depth + 1, true);
          }
          part = [];
        };
        for (const child of node.childNodes) {
          const container = child.localName === 'span' ? child.firstElementChild ?? child : child;
          if (container.localName === 'mjx-container' && container.hasAttribute('display')) {
            paragraph();
            visit(child, depth);
          } else part.push(child);
        }
        paragraph();
        return;
      }
      if (kept.includes(tag)) {
        let words = tag;
        if (tag === 'ol' && node.start !== 1) words += ` start=${node.start}`;
        // How a link opens (target, rel) is ours to say.
        if (tag === 'a') words += ` ${node.getAttribute('href')}`;
        if (tag === 'th' || tag === 'td') words += ` ${side(node)}`;
        line(words, depth, isBlock);
        within(node.childNodes, depth + 1, isBlock);
        return;
      }
      // What only groups: div, span, thead, tbody.
      for (const child of node.childNodes) visit(child, depth);
      if (tag === 'div') end(depth, true);
    };
    within(root.childNodes, 0, true);
    return lines;
  };

  const words = root => {
    const copy = root.cloneNode(true);
    // MathJax draws with style sheets, not with text: its MathML holds the text.
    for (const drawn of copy.querySelectorAll('style, mjx-math')) drawn.remove();
    const lines = 'p, li, th, td, pre, div, h1, h2, br, mjx-container[display]';
    for (const line of copy.querySelectorAll(lines)) { line.before(' '); line.after(' '); }
    return flat(copy.textContent).trim();
  };

  const pairs = () => [...document.querySelectorAll('.jp-Notebook .jp-Cell')].slice(1).map(cell =>
    [cell.querySelector('.ipycachechat-answer'), cell.querySelector('.jp-RenderedMarkdown')]);

  window.honest = {
    complete: () => pairs().every(([ours, theirs]) => ours && theirs && theirs.childNodes.length)
      && [...document.querySelectorAll('.mathjax_process')].every(maths => maths.querySelector('mjx-container')),
    outlines: () => pairs().map(pair => pair.map(outline)),
    words: () => pairs().map(([ours, _]) => words(ours)),
    alike: () => pairs().map(pair => pair.map(one => outline(one).join('\n'))).map(([a, b]) => a === b),
  };
})()
"""


@pytest.fixture(scope="module", params=APPS)
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("honest"), app=request.param) as lab:
        yield lab


def _show(lab: Lab, pairs: Sequence[tuple[str, str]]) -> None:
    """Run a cell for each pair, which shows the first in our rendering and below it the second in JupyterLab's."""
    (lab.directory / "answers.json").write_text(json.dumps(pairs))
    start = (
        "import json\nfrom IPython.display import display\n"
        "from ipycachechat.rendering.markdown import bundle\n"
        "answers = json.load(open('answers.json'))"
    )
    # Not IPython's Markdown(), which downloads an answer that begins with an address.
    cell = (
        "display(bundle(answers[{0}][0]), raw=True)\ndisplay({{'text/markdown': answers[{0}][1]}}, raw=True)"
    )
    write_notebook(lab.directory / "honest.ipynb", [start, *(cell.format(n) for n in range(len(pairs)))])
    lab.open("honest.ipynb")
    lab.run_all()
    lab.page.evaluate(COMPARISON)
    lab.page.wait_for_function("() => window.honest.complete()")


def _until_alike(lab: Lab, numbers: Sequence[int]) -> None:
    """Wait until these pairs are alike: JupyterLab highlights code and typesets maths some time after the rest.

    If they never are, the caller's own comparison shows which and why.
    """
    with suppress(TimeoutError):
        lab.page.wait_for_function(
            "numbers => { const alike = window.honest.alike(); return numbers.every(n => alike[n]); }",
            arg=list(numbers),
            timeout=20_000,
        )


def test_honest_answers_look_as_jupyterlab_shows_them(lab: Lab) -> None:
    answers = corpus()
    _show(lab, [(text, text) for _, text in answers])
    _until_alike(lab, [number for number, (name, _) in enumerate(answers) if name not in DIFFERENT])

    outlines = lab.page.evaluate("() => window.honest.outlines()")
    words = lab.page.evaluate("() => window.honest.words()")
    faults = []
    for (name, _), (ours, theirs), shown_text in zip(answers, outlines, words, strict=True):
        if name not in DIFFERENT:
            if ours != theirs:
                changes = unified_diff(theirs, ours, "JupyterLab", "ours", lineterm="", n=1)
                faults.append("\n".join((f"{name}:", *changes)))
        elif shown_text != DIFFERENT[name]:
            faults.append(f"{name}: reads {shown_text!r}, not {DIFFERENT[name]!r}")
        elif ours == theirs:
            faults.append(f"{name}: is no different from JupyterLab's any more")
    assert not faults, f"{len(faults)} differ\n\n" + "\n\n".join(faults)


# Pairs of answers with one visible difference each.
UNLIKE = {
    "a word": ("one", "two"),
    "the level of a heading": ("# a", "## a"),
    "a heading": ("# a", "a"),
    "one paragraph or two": ("a\n\nb", "a\nb"),
    "a hard break": ("a  \nb", "a\nb"),
    "a rule": ("a\n\n---\n\nb", "a\n\nb"),
    "the kind of a list": ("- a", "1. a"),
    "the start of a list": ("1. a", "2. a"),
    "the nesting of a list": ("- a\n- b", "- a\n  - b"),
    "a loose list": ("- a\n- b", "- a\n\n- b"),
    "a task that is done": ("- [ ] a", "- [x] a"),
    "a quotation": ("> a", "a"),
    "strong": ("**a**", "*a*"),
    "struck out": ("~~a~~", "a"),
    "code": ("`a`", "a"),
    "a block of code": ("```\na\n```", "`a`"),
    "the indent of code": ("```\n  a\n```", "```\n a\n```"),
    "an empty line in code": ("```\n\na\n```", "```\na\n```"),
    "where a link leads": ("[a](https://example.com/1)", "[a](https://example.com/2)"),
    "a link": ("[a](https://example.com)", "a"),
    "a table": ("| a |\n|---|\n| b |", "a b"),
    "the alignment of a table": ("| a |\n|--:|\n| b |", "| a |\n|---|\n| b |"),
    "a cell": ("| a | b |\n|---|---|\n| c |", "| a |\n|---|\n| c |"),
    "maths": ("$x^2$", "$x_2$"),
    "maths that is text": ("$x$", "\\\\x"),
    "display maths": ("$$x$$", "$x$"),
    "where display maths stands": ("a\n\n$$x$$\n\nb", "a b\n\n$$x$$"),
}


def test_the_comparison_finds_visible_differences(lab: Lab) -> None:
    """Control: the comparison of the test above finds answers that differ."""
    alike = [text for pair in UNLIKE.values() for text in pair]
    _show(lab, [*UNLIKE.values(), *((text, text) for text in alike)])
    # By then the maths of the earlier pairs is typeset, too.
    _until_alike(lab, range(len(UNLIKE), len(UNLIKE) + len(alike)))

    alike_flags = lab.page.evaluate("() => window.honest.alike()")
    assert [name for name, is_alike in zip(UNLIKE, alike_flags) if is_alike] == []
    assert all(alike_flags[len(UNLIKE) :])
