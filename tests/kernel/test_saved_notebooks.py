"""Saved notebooks: the file and its exports contain every number of every badge, and little more."""

from __future__ import annotations

import io
import json
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pypandoc
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter, LatexExporter, MarkdownExporter
from playwright.sync_api import sync_playwright
from pypdf import PdfReader
from support.jupyter_page import CHROMIUM, CHROMIUM_FLAGS
from wire import Reply, ToolCall, WireServer

MAX_EXTRA_BYTES = 4_000  # bytes of a chat cell's outputs in addition to the three forms of the answer
ANSWER = (
    "Some **words**, $a<b$ and:\n\n```python\nprint('code')\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n" * 5
)


@pytest.fixture(scope="module")
def wire() -> Iterator[WireServer]:
    with WireServer() as server:
        yield server


@pytest.fixture(scope="module")
def notebook(wire: WireServer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A saved notebook of three chats, one with tools and one cut off, run without a user who can be asked."""
    tmp_path = tmp_path_factory.mktemp("notebook")
    wire.script(
        Reply(ANSWER),
        Reply("Let me see.", tool_calls=(ToolCall("look", {}),)),
        Reply("It is " + "blue. " * 50),
        Reply("Once upon a time " * 20, finish="length"),
    )
    cells = [
        "%load_ext ipycachechat\ndef look():\n    'Look.'\n    return 'blue'\n\n%chat tools look",
        "%%chat\n" + "a long document, line by line\n" * 400,
        "%%chat\nWhich colour?",
        "%%chat\nTell me a story",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in wire.env().items():
            patch.setenv(name, value) if value is not None else patch.delenv(name, raising=False)
        patch.setenv("XDG_DATA_HOME", str(tmp_path))
        NotebookClient(book, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    return nbformat.reads(nbformat.writes(book), as_version=4)


def numbers(wire: WireServer) -> list[list[str]]:
    """The numbers that each badge must show, from the bills of its turn's requests."""
    bills = [request.bill for request in wire.requests]
    assert len(bills) == 4
    turns = [bills[:1], bills[1:3], bills[3:]]
    return [
        [
            f"{sum(getattr(bill, name) for bill in turn):,}"
            for name in ("read", "written", "fresh", "prompt", "output")
        ]
        for turn in turns
    ]


def badges(book: Any) -> list[Any]:
    """The outputs that contain a badge."""
    return [
        output["data"]
        for cell in book.cells
        for output in cell.get("outputs", [])
        if "ipycachechat-badge" in output.get("data", {}).get("text/html", "")
    ]


def text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def letters(text: str) -> str:
    """Return the text without spaces and ligatures, which depend on the page."""
    return "".join(unicodedata.normalize("NFKC", text).split())


def test_html_markdown_and_text_contain_every_number(wire: WireServer, notebook: Any) -> None:
    shown = badges(notebook)
    assert len(shown) == 3
    page = text(HTMLExporter().from_notebook_node(notebook)[0])
    plain = MarkdownExporter().from_notebook_node(notebook)[0]
    for data, expected in zip(shown, numbers(wire), strict=True):
        assert data["text/plain"] in plain or text(data["text/html"]).strip() in text(plain)
        assert text(data["text/html"]).strip() in page
        for number in expected:
            assert number in text(data["text/html"]) and number in data["text/plain"]
    assert "cut off" in page and "model not found" not in page


@pytest.mark.browser
def test_a_pdf_of_the_page_contains_every_number(wire: WireServer, notebook: Any, tmp_path: Path) -> None:
    """Convert the notebook like `jupyter nbconvert --to webpdf`, with the installed chromium."""
    page = tmp_path / "page.html"
    page.write_text(HTMLExporter().from_notebook_node(notebook)[0])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(CHROMIUM_FLAGS))
        tab = browser.new_page()
        tab.goto(page.as_uri(), wait_until="domcontentloaded")
        printed = tab.pdf(format="A4", print_background=True)
        browser.close()
    (tmp_path / "page.pdf").write_bytes(printed)
    read = "".join(pdf_page.extract_text() for pdf_page in PdfReader(io.BytesIO(printed)).pages)
    shown = letters(read)
    for data, expected in zip(badges(notebook), numbers(wire), strict=True):
        badge_text = letters(text(data["text/html"]))  # the folded details, too
        assert badge_text in shown
        for number in expected:
            assert number in badge_text
    assert "Answercutoffat" in shown


def test_a_pdf_by_latex_contains_every_number(
    wire: WireServer, notebook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check the source that `jupyter nbconvert --to pdf` gives to LaTeX, which breaks lines that are too long."""
    folder = str(Path(pypandoc.get_pandoc_path()).parent)
    monkeypatch.setenv("PATH", folder, prepend=":")
    latex = LatexExporter().from_notebook_node(notebook)[0]
    for data, expected in zip(badges(notebook), numbers(wire), strict=True):
        assert data["text/plain"].replace("%", r"\%").replace("$", r"\$") in latex
        for number in expected:
            assert number in data["text/plain"]
    assert r"\textbf{words}" in latex and r"\(a< b\)" in latex and r"\begin{longtable}" in latex


def test_nothing_in_the_file_needs_a_kernel(notebook: Any) -> None:
    assert "application/vnd.jupyter.widget-view+json" not in nbformat.writes(notebook)
    assert "widgets" not in notebook.metadata


def test_a_chat_cell_adds_little_beside_its_answer(notebook: Any) -> None:
    for cell in notebook.cells[1:]:
        assert len(cell.outputs) == 2
        forms = {"text/html", "text/markdown", "text/plain"}
        answer = next(output for output in cell.outputs if set(output["data"]) == forms)
        answer_bytes = sum(len(json.dumps(answer["data"][form])) for form in forms)
        assert len(json.dumps(cell.outputs)) - answer_bytes <= MAX_EXTRA_BYTES
