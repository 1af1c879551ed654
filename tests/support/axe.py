"""Accessibility violations that axe-core finds in a part of the page."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

GRAVE = ("serious", "critical")


def violations(page: Page, selector: str) -> list[str]:
    """Serious and critical violations in the element of the selector, each with the HTML of its node.

    Meanwhile the viewport is high enough for the whole element, since axe skips what is scrolled out of view, and the
    body has a height: JupyterLab's has none, so axe would take everything on the page for hidden.
    """
    element, size = page.locator(selector).first, page.viewport_size
    high = element.evaluate("node => Math.ceil(node.getBoundingClientRect().height)")
    assert size is not None
    page.set_viewport_size({"width": size["width"], "height": high + 400})
    page.evaluate("() => { document.body.style.height = '100vh' }")
    element.evaluate(
        """node => new Promise(done => requestAnimationFrame(() => setTimeout(() => {
          node.scrollIntoView();
          done();
        }, 100)))"""
    )
    try:
        response = Axe().run(page, context=selector).response
    finally:
        page.evaluate("() => { document.body.style.height = '' }")
        page.set_viewport_size(size)
    rules = [rule["id"] for kind in ("violations", "passes", "incomplete") for rule in response[kind]]
    assert "color-contrast" in rules, f"axe found no text in {selector}"
    return [
        f"{rule['id']} ({rule['impact']}): {rule['help']}: {node['html'][:300]}"
        for rule in response["violations"]
        if rule["impact"] in GRAVE
        for node in rule["nodes"]
    ]
