"""The inspector in JupyterLab: unfolded by keyboard, redrawn after chats, and usable without a kernel."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.axe import violations
from support.html_tables import Html
from support.jupyter_page import Lab, write_notebook
from wire import Reply, WireServer, words

pytestmark = pytest.mark.browser
CELLS = [
    "%load_ext ipycachechat",
    f"%%chat\n{words(3000)}",
    "%%chat\nAnd?",
    "%%chat\nWhy?",
    "%chat usage",
    "%%chat\nHow?",
    "%chat plan",
    "%chat why",
]
INSPECTOR = ".ipycachechat-inspector"


def rows(lab: Lab, cell: int = 4) -> list[dict[str, str]]:
    """Return the texts of the rows of turns on the page."""
    return Html(lab.outputs(cell).locator(INSPECTOR).inner_html()).table("turn", "read", "cost so far")


def grave_violations(lab: Lab, *selectors: str) -> list[str]:
    return [violation for selector in selectors for violation in violations(lab.page, selector)]


def test_the_inspector_unfolds_is_redrawn_and_works_without_a_kernel(
    wire: WireServer, tmp_path: Path
) -> None:
    wire.always = Reply("Yes.")
    write_notebook(tmp_path / "a.ipynb", CELLS)
    with Lab(tmp_path, env=wire.env()) as lab:
        lab.open("a.ipynb")
        for cell in range(5):
            lab.run_cell(cell)
        output = lab.outputs(4)
        assert [row["turn"] for row in rows(lab)] == ["1", "2", "3", "all"]
        assert output.locator(".jupyter-widgets").count() == 0
        assert grave_violations(lab, INSPECTOR) == []
        lab.screenshot(tmp_path / "light.png", 4)
        lab.theme("dark")
        assert grave_violations(lab, INSPECTOR) == []
        lab.screenshot(tmp_path / "dark.png", 4)

        lab.run_cell(5)
        output.get_by_text("turn 4: How?").wait_for()
        shown = rows(lab)
        assert [row["turn"] for row in shown] == ["1", "2", "3", "4", "all"]
        bill = wire.requests[-1].bill
        assert bill is not None and shown[3]["read"] == f"{bill.read:,}"
        opened = output.locator(f"{INSPECTOR} > details[open] > summary")
        assert opened.all_inner_texts() == []
        for turn in ("turn 2: And?", "turn 4: How?"):
            output.get_by_text(turn).focus()
            lab.page.keyboard.press("Enter")
        assert opened.all_inner_texts() == ["turn 2: And?", "turn 4: How?"]
        unfolded = output.locator(f"{INSPECTOR} > details[open]").first.inner_html()
        prefix = Html(unfolded).table("block", "checkpoint")
        assert {"turn 2: prompt", "cell-2"} <= {text for row in prefix for text in row.values()}
        for cell in (6, 7):
            lab.run_cell(cell)
        displays = (INSPECTOR, ".ipycachechat-plan", ".ipycachechat-why")
        assert grave_violations(lab, *displays) == []
        lab.theme("light")
        assert grave_violations(lab, *displays) == []
        lab.page.set_viewport_size({"width": 600, "height": 900})
        assert grave_violations(lab, *displays) == []
        assert output.locator(INSPECTOR).evaluate("node => node.scrollWidth <= node.clientWidth")
        lab.screenshot(tmp_path / "narrow.png", 4)
        lab.page.set_viewport_size({"width": 1200, "height": 900})

        lab.close_kernel()
        lab.save()
        lab.reopen(kernel=False)
        assert "model not found" not in lab.page.inner_text(".jp-Notebook")
        assert rows(lab) == shown
        assert lab.page.locator("mjx-container").count() == 0  # dollar amounts are not maths
        assert lab.errors == []


@pytest.mark.parametrize("above", [0, 60])
def test_axe_finds_real_violations(tmp_path: Path, above: int) -> None:
    """Control: axe finds unreadable text, even far down the page, and a part that only a mouse can scroll."""
    wide = f'<div style="width:5em;overflow-x:auto"><pre style="width:50em">{"wide " * 20}</pre></div>'
    bad = f'<div class="bad"><p style="color:#eee;background:#fff">pale letters</p>{wide}</div>'
    html = f"<div>{'<p>good</p>' * above}</div>{bad}"
    write_notebook(tmp_path / "a.ipynb", [("1", [{"text/html": html, "text/plain": ""}])])
    with Lab(tmp_path) as lab:
        lab.open("a.ipynb", kernel=False)
        violation_texts = " ".join(violations(lab.page, ".bad"))
        assert (
            "color-contrast (serious)" in violation_texts
            and "scrollable-region-focusable (serious)" in violation_texts
        )
