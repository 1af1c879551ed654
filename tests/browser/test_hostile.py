"""Hostile answers are harmless in JupyterLab and Notebook 7, live and trusted as well as reopened and untrusted."""

# ruff: noqa: E501 — hostile text is easier to read in one piece

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from support.hostile_answers import corpus
from support.jupyter_page import Lab, write_notebook
from support.jupyter_server import APPS

pytestmark = pytest.mark.browser

HONEST = "Costs $5 and $10, *not* maths.\n\n$\\alpha<\\beta_1$ and\n\n$$\\sum_{i<n} \\frac{1}{i}$$\n\n```python\nx = 1\n```"

SHORT = 160
"""Longest answer, in characters, of which every prefix is tried as a frame of a stream."""

# Everything that is not allowed in these outputs, each with so many answers; a fault is [output, description].
INSPECT = r"""
expected => {
  const faults = [];
  const own = /^(ipycachechat-answer|mathjax_\w+|tex2jax_\w+|highlight|[a-z][a-z0-9]?|cpf|numbering-entry)$/;
  const outputs = document.querySelectorAll('.jp-Notebook .jp-OutputArea-output');
  expected.forEach((count, number) => {
    const fault = what => faults.push([number, what]);
    const output = outputs[number];
    const answers = output ? [...output.childNodes] : [];
    // Nothing has got out of an answer's box, and none has taken in the next one.
    if (answers.length !== count) fault(`${answers.length} for ${count} answers`);
    if (!answers.every(node => node.matches?.('div.ipycachechat-answer'))) { fault('not answers alone'); return; }
    for (const element of answers.length ? output.querySelectorAll('*') : []) {
      const tag = element.localName, maths = element.closest('mjx-container');
      const allowed = 'div p pre code span a h1 h2 h3 h4 h5 h6 ul ol li table thead tbody tr th td ' +
                      'blockquote em strong s sup hr br style';
      if (!maths && !allowed.split(' ').includes(tag)) fault(`tag ${tag}`);
      if (maths && !/^(mjx-|math$|m[a-z]+$|semantics$|annotation$)/.test(tag)) fault(`maths tag ${tag}`);
      if (tag === 'style' && !answers.includes(element.parentElement)) fault('style');
      for (const { name, value } of element.attributes) {
        if (/^on/i.test(name)) fault(`${name}=${value}`);
        if (/^(src|srcset|srcdoc|action|formaction|data|background|poster|ping|autofocus|xlink:href)$/i.test(name))
          fault(`${name}=${value}`);
        if (name === 'href' && !/^(https?:\/\/|mailto:|#)/.test(value)) fault(`href ${value}`);
        // The server's own address holds the token, and following it does what it asks for.
        if (name === 'href' && value[0] !== '#' && element.href.startsWith(location.origin)) fault(`own ${value}`);
        if (!maths && !/^(class|style|href|rel|target|start|dir)$/.test(name)) fault(`${name}=${value}`);
        if (name === 'style' && /url|expression|position|fixed/i.test(value) && !maths) fault(`style ${value}`);
        if (name === 'class' && !maths)
          for (const one of element.classList) if (!own.test(one)) fault(`class ${one}`);
      }
      if (['fixed', 'sticky'].includes(getComputedStyle(element).position)) fault(`position of ${tag}`);
    }
    // What is wider or higher than the output's box has to be cut off by it.
    const { overflowX, overflowY } = output ? getComputedStyle(output) : {};
    const box = output?.getBoundingClientRect();
    for (const answer of overflowX !== 'visible' && overflowY !== 'visible' ? [] : answers) {
      if (getComputedStyle(answer).contain.includes('paint')) continue;
      for (const element of answer.querySelectorAll('*')) {
        const at = element.getBoundingClientRect();
        if (at.left < box.left - 2 || at.right > box.right + 2 || at.top < box.top - 2 || at.bottom > box.bottom + 2)
          fault(`${element.localName} leaves its box`);
      }
    }
  });
  return faults;
}
"""

PROVOKE = """
() => {
  for (const element of document.querySelectorAll('.ipycachechat-answer *')) {
    if (!element.closest('a, mjx-container')) element.dispatchEvent(new MouseEvent('click', { bubbles: true }));
    for (const kind of ['mouseover', 'mouseenter', 'mousemove', 'pointerover', 'focus', 'toggle', 'load', 'error'])
      element.dispatchEvent(new Event(kind, { bubbles: kind.startsWith('mouse') }));
    element.focus?.();
  }
}
"""


class Hits:
    """A server that records all requests to it."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.address = ""

    @contextmanager
    def listening(self) -> Iterator[None]:
        paths = self.paths

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                paths.append(self.path)
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{server.server_port}/hit"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()


@pytest.fixture(scope="module", params=APPS)
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("hostile"), app=request.param) as lab:
        yield lab


@pytest.fixture(scope="module")
def hits(lab: Lab) -> Iterator[Hits]:
    """One server for each front end, so that the hits of the control do not count for the next."""
    hits = Hits()
    with hits.listening():
        yield hits


@pytest.fixture(autouse=True)
def _from_a_blank_page(lab: Lab, hits: Hits) -> None:
    """Leave what an earlier test did behind: the tests may run in any order."""
    lab.page.goto("about:blank")
    hits.paths.clear()
    lab.requests.clear()


@pytest.fixture(scope="module")
def answers(lab: Lab, hits: Hits) -> list[tuple[str, str]]:
    answers = [("honest", HONEST), *corpus(hits.address), ("honest again", HONEST)]
    (lab.directory / "answers.json").write_text(json.dumps(answers))
    return answers


def _write(path: Path, function: str, numbers: range | list[int]) -> None:
    start = (
        "import json\nfrom IPython.display import Markdown, display\n"
        "from ipycachechat.rendering.markdown import bundle\n"
        "answers = json.load(open('answers.json'))"
    )
    write_notebook(path, [start, *(function.format(number) for number in numbers)])


def _assert_harmless(lab: Lab, hits: Hits, outputs: dict[str, int]) -> None:
    """Assert that no answer has done or could do anything; `outputs`: name and number of answers of each."""
    lab.page.wait_for_timeout(1000)
    lab.page.evaluate(PROVOKE)
    lab.page.wait_for_timeout(500)
    names = list(outputs)
    faults = [
        (names[number], description)
        for number, description in lab.page.evaluate(INSPECT, list(outputs.values()))
    ]
    assert faults == []
    assert lab.page.evaluate("() => typeof window.pwned") == "undefined"
    assert hits.paths == []
    assert lab.foreign_requests() == []


def _assert_maths_is_typeset(lab: Lab, cell: int) -> None:
    answer = lab.outputs(cell)
    assert "Costs $5 and $10, not maths." in answer.inner_text()
    assert answer.locator("mjx-container").count() == 2
    # No earlier answer has redefined \\alpha.
    assert answer.locator("mjx-container").first.locator(".mjx-c1D6FC").count() == 1


def test_answers_are_harmless_live_and_reopened(lab: Lab, hits: Hits, answers: list[tuple[str, str]]) -> None:
    path = lab.directory / "live.ipynb"
    _write(path, "display(bundle(answers[{}][1]), raw=True)", range(len(answers)))
    lab.open(path.name)
    lab.run_all()
    assert lab.trusted()
    _assert_harmless(lab, hits, {name: 1 for name, _ in answers})
    _assert_maths_is_typeset(lab, 1)
    _assert_maths_is_typeset(lab, len(answers))
    lab.save()
    lab.close_kernel()

    # The signature no longer matches, as in a notebook of another user.
    path.write_text(path.read_text().replace("answers = json", "answers  = json"))
    lab.reopen()
    assert not lab.trusted()
    _assert_harmless(lab, hits, {name: 1 for name, _ in answers})
    _assert_maths_is_typeset(lab, 1)
    _assert_maths_is_typeset(lab, len(answers))


def test_short_answers_are_harmless_wherever_their_stream_is_cut(
    lab: Lab, hits: Hits, answers: list[tuple[str, str]]
) -> None:
    path = lab.directory / "cut.ipynb"
    short = {name: text for name, text in answers if len(text) <= SHORT}
    draw = (
        "import json\nfrom IPython.display import HTML, display\n"
        "from ipycachechat.rendering.answer import TextSegment, to_html\n"
        "for name, text in json.load(open('answers.json')):\n"
        f"    if len(text) <= {SHORT}:\n"
        "        frames = (to_html([TextSegment(text[:end])], style=False) for end in range(1, len(text) + 1))\n"
        "        display(HTML(''.join(frames)))"
    )
    write_notebook(path, [draw])
    lab.open(path.name)
    lab.run_all()
    _assert_harmless(lab, hits, {name: len(text) for name, text in short.items()})


def test_the_same_answers_as_plain_markdown_are_not_harmless(
    lab: Lab, hits: Hits, answers: list[tuple[str, str]]
) -> None:
    """Control: without our rendering, the answers do what the tests above look for."""
    # This one replaces the whole page.
    numbers = [number for number, (name, _) in enumerate(answers) if name != "meta refresh"]
    path = lab.directory / "control.ipynb"
    _write(path, "display(Markdown(answers[{}][1]))", numbers)
    lab.open(path.name)
    lab.run_all()
    lab.page.wait_for_timeout(2000)
    assert lab.page.evaluate("() => window.pwned") == 1
    assert len(hits.paths) > 10
