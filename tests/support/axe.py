"""axe-core on a part of the page: what keeps people from using it."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

GRAVE = ("serious", "critical")


def violations(page: Page, selector: str) -> list[str]:
    """The serious and critical violations in what the selector matches, each with the element that has it.

    The page is high enough meanwhile to hold all of it, since axe passes over what is scrolled away; and the body has
    a height, since JupyterLab's has none, by which axe takes everything on the page for hidden.
    """
    part, size = page.locator(selector).first, page.viewport_size
    high = part.evaluate("node => Math.ceil(node.getBoundingClientRect().height)")
    assert size is not None
    page.set_viewport_size({"width": size["width"], "height": high + 400})
    page.evaluate("() => { document.body.style.height = '100vh' }")
    part.evaluate(
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
    seen = [one["id"] for kind in ("violations", "passes", "incomplete") for one in response[kind]]
    assert "color-contrast" in seen, f"axe sees no letters in {selector}"
    return [
        f"{one['id']} ({one['impact']}): {one['help']}: {node['html'][:300]}"
        for one in response["violations"]
        if one["impact"] in GRAVE
        for node in one["nodes"]
    ]
