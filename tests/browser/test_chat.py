"""Chat cells in JupyterLab and Notebook 7: the badge on the page, live and when reopened without a kernel."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.axe import violations
from support.jupyter_page import Lab, write_notebook
from support.jupyter_server import APPS, AppName
from wire import Reply, WireServer

pytestmark = pytest.mark.browser
CELLS = [
    "%load_ext ipycachechat",
    "%%chat\n" + "a long document, line by line\n" * 400,
    "%%chat\nAnd?",
    "1 + 1",
]


def numbers(text: str) -> dict[str, int]:
    matches = re.findall(r"([\d,]+)(?: \(\d+%\))? (cached|newly cached|uncached|out)\b", text)
    return {name: int(number.replace(",", "")) for number, name in matches}


@pytest.mark.parametrize("app", APPS)
def test_chat_and_badge_live_then_reopened_without_a_kernel(
    wire: WireServer, tmp_path: Path, app: AppName
) -> None:
    wire.script(Reply("The **first** answer"), Reply("The *second* answer, with `code`"))
    write_notebook(tmp_path / "a.ipynb", CELLS)
    with Lab(tmp_path, app=app, env=wire.env()) as lab:
        lab.open("a.ipynb")
        for cell in (0, 1, 2):
            lab.run_cell(cell)
        badge = lab.outputs(2).locator(".ipycachechat-badge")
        assert lab.outputs(2).locator(".jupyter-widgets .ipycachechat-badge").count() == 1
        first, second = wire.requests
        assert first.bill.written > 1024
        assert (
            numbers(lab.outputs(1).locator(".ipycachechat-badge").inner_text())["newly cached"]
            == first.bill.written
        )
        shown = numbers(badge.inner_text())
        assert shown["cached"] == second.bill.read == first.bill.written
        assert sum(shown[name] for name in ("cached", "newly cached", "uncached")) == second.bill.prompt
        assert lab.outputs(2).locator(".ipycachechat-answer em").inner_text() == "second"
        lab.screenshot(tmp_path / "live.png")

        lab.run_cell(3)
        assert lab.outputs(2).locator(".jupyter-widgets").count() == 0
        assert numbers(badge.inner_text()) == shown
        assert lab.page.locator("mjx-container").count() == 0  # dollar amounts are not maths
        badge.locator("summary").click()
        assert "first token" in badge.locator("table").last.inner_text()
        lab.screenshot(tmp_path / "static.png")
        lab.theme("dark")
        lab.screenshot(tmp_path / "dark.png")

        lab.save()
        lab.close_kernel()
        lab.reopen(kernel=False)
        assert "model not found" not in lab.page.inner_text(".jp-Notebook")
        assert numbers(badge.inner_text()) == shown
        assert lab.outputs(2).locator(".ipycachechat-answer em").inner_text() == "second"
        assert lab.foreign_requests() == []
        assert lab.errors == []


def test_badge_of_the_last_cell_stays_when_the_kernel_ends_at_once(wire: WireServer, tmp_path: Path) -> None:
    write_notebook(tmp_path / "a.ipynb", ["%load_ext ipycachechat", "%%chat\nHello"])
    with Lab(tmp_path, env=wire.env()) as lab:
        lab.open("a.ipynb")
        lab.run_all()
        assert lab.outputs(1).locator(".jupyter-widgets").count() == 1
        lab.close_kernel()
        lab.outputs(1).locator(".jupyter-widgets").wait_for(state="detached")
        lab.save()
        lab.reopen(kernel=False)
        assert "model not found" not in lab.page.inner_text(".jp-Notebook")
        assert "anthropic/claude-sonnet-5" in lab.outputs(1).locator(".ipycachechat-badge").inner_text()


def test_axe_finds_no_violations_in_the_badge(wire: WireServer, tmp_path: Path) -> None:
    wire.script(Reply("Read it."), Reply("Look:\n\n```python\nx = 1\n```", thinking="Hm."))
    write_notebook(tmp_path / "a.ipynb", [*CELLS[:2], "%%chat --think low\nAnd?", "1 + 1"])
    with Lab(tmp_path, env=wire.env()) as lab:
        lab.open("a.ipynb")
        for cell in range(3):
            lab.run_cell(cell)
        badges, badge = ".ipycachechat-badge", lab.outputs(2).locator(".ipycachechat-badge")
        for static in (False, True):
            if static:
                lab.run_cell(3)
            badge.locator("summary").focus()
            lab.page.keyboard.press("Enter")
            assert badge.get_by_text("checkpoint").is_visible()
            for theme in ("light", "dark"):
                lab.theme(theme)  # type: ignore[arg-type]
                assert violations(lab.page, badges) == []
                assert violations(lab.page, f".jp-Cell:nth-of-type(3) {badges}") == []
            lab.page.set_viewport_size({"width": 560, "height": 900})
            assert violations(lab.page, badges) == []
            assert badge.evaluate("node => node.scrollWidth <= node.clientWidth + 1")
            lab.page.set_viewport_size({"width": 1200, "height": 900})
            lab.theme("light")
            lab.screenshot(tmp_path / f"badge-{static}.png", 2)
