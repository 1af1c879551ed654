"""JupyterLab or Notebook 7 on the loopback, operated through Chromium as a user would.

    with Lab(tmp_path) as lab:
        write_notebook(tmp_path / "a.ipynb", ["1 + 1", "print('two')"])
        lab.open("a.ipynb")
        lab.run_all()
        assert lab.outputs(0).inner_text() == "2"

jupyter_server.py starts the server, whose settings are not the developer's.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote

from playwright.sync_api import Locator, Page, Playwright, sync_playwright
from support.jupyter_server import APPS, AppName, Server

CHROMIUM = "/usr/bin/chromium"
CHROMIUM_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    # Requests to other hosts are recorded, but never leave the machine.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


def write_notebook(path: Path, cells: Sequence[str | tuple[str, Sequence[Mapping[str, Any]]]]) -> Path:
    """Write a notebook of code cells, each a source or (source, outputs); the outputs are not trusted.

    An output is a mime bundle. The cells' ids are cell-0, cell-1, …
    """
    json_cells = []
    for number, cell in enumerate(cells):
        source, bundles = (cell, ()) if isinstance(cell, str) else cell
        outputs = [{"output_type": "display_data", "metadata": {}, "data": bundle} for bundle in bundles]
        fields: dict[str, object] = {"cell_type": "code", "metadata": {}, "execution_count": None}
        json_cells.append({**fields, "id": f"cell-{number}", "source": source, "outputs": outputs})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"cells": json_cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(notebook))
    return path


class Lab:
    """One server of JupyterLab (or of Notebook 7) and one page of Chromium that shows it; a context manager.

    `directory` holds the notebooks. `env` reaches the kernels: a value of None removes a variable.
    """

    page: Page
    requests: list[str]
    """URLs of all requests of the page, in order."""
    errors: list[str]
    """Uncaught errors of the page's scripts."""

    def __init__(
        self,
        directory: Path,
        *,
        app: AppName = "lab",
        env: Mapping[str, str | None] | None = None,
        theme: Literal["light", "dark"] = "light",
        size: tuple[int, int] = (1200, 900),
    ) -> None:
        self.directory = directory
        self.requests = []
        self.errors = []
        self._server = Server(directory, app, env or {}, theme)
        self._kernel_closed = False
        self._size = size
        self._playwright: Playwright | None = None

    def __enter__(self) -> Self:
        try:
            self._server.start()
            self._start_browser()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._playwright is not None:
            self._browser.close()
            self._playwright.stop()
        self._server.end()

    # Actions of a user

    def open(self, notebook: str | Path, *, kernel: bool = True) -> None:
        """Load the page and show this notebook (a path in `directory`), with or without a kernel.

        If the notebook already has a kernel, it keeps running and is used again.
        """
        page = self._server.app.page.format(quote(str(notebook)))
        self.page.goto(f"{self._server.origin}/{page}?reset&token={self._server.token}")
        self.page.wait_for_function("window.jupyterapp !== undefined")
        self.page.evaluate("promise => window.jupyterapp[promise]", self._server.app.ready)
        self._until_splash_is_gone()
        start = {} if kernel else {"kernelPreference": {"shouldStart": False, "shouldReuse": False}}
        # Without this, Notebook 7 opens a new tab of the browser.
        options = {"ref": "_noref"}
        self.command("docmanager:open", path=str(notebook), factory="Notebook", options=options, **start)
        self.page.locator(".jp-Notebook .jp-Cell").first.wait_for()
        self.page.evaluate(
            """async () => {
              const panel = window.jupyterapp.shell.currentWidget;
              await panel.revealed;
              await panel.context.ready;
            }"""
        )
        if self._server.app is APPS["lab"]:
            self.command("application:toggle-left-area")
        if kernel:
            self._until_kernel("idle")

    def run_all(self, timeout: float = 120) -> None:
        """Run every cell and wait until all are done, or one has failed."""
        self.command("notebook:run-all-cells", timeout)
        self.wait_idle(timeout)

    def run_cell(self, number: int, *, wait: bool = True) -> None:
        """Run one cell; `wait=False` returns while it runs."""
        self.select(number)
        if wait:
            self.command("notebook:run-cell")
            self.wait_idle()
        else:
            self.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-cell') }")

    def select(self, number: int) -> None:
        """Make this cell the active one."""
        self.page.evaluate(
            "n => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = n }", number
        )

    def type_cell(self, number: int, source: str) -> None:
        """Replace the source of a cell."""
        self.page.evaluate(
            """([number, source]) => {
              const cell = window.jupyterapp.shell.currentWidget.content.widgets[number];
              cell.model.sharedModel.setSource(source);
            }""",
            [number, source],
        )

    def fill(self, sources: Sequence[str]) -> None:
        """Replace all cells by new code cells and save the notebook; its kernel keeps running."""
        self.page.evaluate(
            """cells => {
              const shared = window.jupyterapp.shell.currentWidget.content.model.sharedModel;
              shared.transact(() => {
                shared.deleteCellRange(0, shared.cells.length);
                shared.insertCells(0, cells);
              });
            }""",
            [{"cell_type": "code", "id": secrets.token_hex(8), "source": source} for source in sources],
        )
        self.page.wait_for_function(
            "n => document.querySelectorAll('.jp-Notebook .jp-InputPrompt').length === n", arg=len(sources)
        )
        self.save()

    def press(self, number: int, *keys: str) -> None:
        """Select a cell in command mode by a click on its prompt, press keys, and wait until they took effect."""
        with self._commands_ended():
            self.cell(number).locator(".jp-InputPrompt").first.click()
            for key in keys:
                self.page.keyboard.press(key)

    def menu(self, *names: str, confirm: bool = False, timeout: float = 120) -> None:
        """Choose an entry of the menu bar, confirm its dialog if asked to, and wait until it took effect."""
        with self._commands_ended(timeout):
            self.page.locator(".lm-MenuBar-itemLabel").get_by_text(names[0], exact=True).click()
            for name in names[1:]:
                self.page.locator(".lm-Menu-itemLabel").get_by_text(name, exact=True).click()
            if confirm:
                self.page.locator(".jp-Dialog .jp-mod-accept").click()
        self.wait_idle(timeout)

    def cells(self) -> dict[str, str]:
        """The sources of all cells by their ids, in order."""
        sources = self.page.evaluate(
            """() => window.jupyterapp.shell.currentWidget.content.widgets.map(
              cell => [cell.model.id, cell.model.sharedModel.getSource()])"""
        )
        return {str(name): str(source) for name, source in sources}

    def cell(self, number: int) -> Locator:
        """The whole of one cell: input and outputs."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(number)

    def outputs(self, number: int) -> Locator:
        """The output area of one cell; empty until the cell has output."""
        return self.cell(number).locator(".jp-Cell-outputArea")

    def save(self) -> None:
        """Save the notebook; the server signs its outputs as trusted."""
        self.command("docmanager:save")

    def interrupt(self) -> None:
        """Press the stop button."""
        self.command("notebook:interrupt-kernel")

    def close_kernel(self) -> None:
        """Shut the notebook's kernel down; its outputs stay."""
        self._kernel_closed = True
        self.command("notebook:shutdown-kernel")

    def reopen(self, *, kernel: bool = False) -> None:
        """Load the page again with the saved notebook, by default without a kernel."""
        path = self.page.evaluate("() => window.jupyterapp.shell.currentWidget.context.path")
        self.open(path, kernel=kernel)

    def theme(self, theme: Literal["light", "dark"]) -> None:
        """Change between the light and the dark theme."""
        self.command("apputils:change-theme", theme=f"JupyterLab {theme.title()}")
        light = "true" if theme == "light" else "false"
        self.page.wait_for_selector(f"body[data-jp-theme-light={light}]", state="attached")
        self._until_splash_is_gone()

    def screenshot(self, path: Path | str, cell: int | None = None) -> None:
        """Save a picture of the page or of one whole cell."""
        if cell is None:
            self.page.screenshot(path=path)
        else:
            self.cell(cell).screenshot(path=path)

    # Helpers of the tests

    def command(self, name: str, timeout: float = 120, /, **args: object) -> None:
        """Run one of JupyterLab's commands and wait until it has ended."""
        ended = self.page.evaluate(
            """async ([name, args, timeout]) => await Promise.race([
              window.jupyterapp.commands.execute(name, args).then(() => true),
              new Promise(late => setTimeout(() => late(false), timeout * 1000)),
            ])""",
            [name, args, timeout],
        )
        if not ended:
            raise TimeoutError(f"{name} did not end in {timeout} s")

    def wait_idle(self, timeout: float = 120) -> None:
        """Wait until no cell is running or waiting to run and the page has drawn all outputs."""
        self.page.wait_for_function(
            """() => {
              const cells = [...document.querySelectorAll('.jp-Notebook .jp-InputPrompt')];
              return !cells.some(cell => cell.textContent.includes('*'));
            }""",
            timeout=timeout * 1000,
        )
        self._until_kernel("idle", timeout)
        self.page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done, 100)))")

    def trusted(self) -> bool:
        """Return True if the page treats the outputs of all cells as trusted."""
        return bool(
            self.page.evaluate(
                "() => window.jupyterapp.shell.currentWidget.content.widgets.every(c => c.model.trusted)"
            )
        )

    def foreign_requests(self) -> list[str]:
        """URLs of requests to other servers than the page's own."""
        own_addresses = (
            self._server.origin,
            self._server.origin.replace("http", "ws", 1),
            "data:",
            "blob:",
            "about:",
        )
        return [address for address in self.requests if not address.startswith(own_addresses)]

    @contextmanager
    def _commands_ended(self, timeout: float = 120) -> Iterator[None]:
        """Wait for all of JupyterLab's commands that are started in this block to end."""
        self.page.evaluate(
            """() => {
              const { commands } = window.jupyterapp;
              const results = [];
              const note = (_, { result }) => results.push(result);
              commands.commandExecuted.connect(note);
              window.labEnd = async () => {
                await Promise.all(results);
                commands.commandExecuted.disconnect(note);
                return true;
              };
            }"""
        )
        yield
        ended = self.page.evaluate(
            """async timeout => await Promise.race([
              window.labEnd(), new Promise(late => setTimeout(() => late(false), timeout * 1000)),
            ])""",
            timeout,
        )
        if not ended:
            raise TimeoutError(f"the started commands did not end in {timeout} s")

    def _until_splash_is_gone(self) -> None:
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")

    def _until_kernel(self, status: str, timeout: float = 60) -> None:
        self.page.wait_for_function(
            """status => {
              const kernel = window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel;
              return kernel?.status === status && kernel?.connectionStatus === 'connected';
            }""",
            arg=status,
            timeout=timeout * 1000,
        )

    def _start_browser(self) -> None:
        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        width, height = self._size
        context = self._browser.new_context(viewport={"width": width, "height": height})
        self.page = context.new_page()
        context.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self._note(str(error)))

    def _note(self, error: str) -> None:
        """Record an error, except two of the front ends: after a kernel's shutdown, and for shortcuts loaded early."""
        closed = self._kernel_closed and error.endswith("of null (reading 'kernel')")
        early = self._server.app is APPS["notebook"] and error.endswith("of undefined (reading 'schema')")
        if not (closed or early):
            self.errors.append(error)
