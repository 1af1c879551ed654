"""The table of docs/notebook.md: edits of a notebook, the prompts that are then sent, and the badge."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from support.kernels import PROJECT, CellResult, ForkedKernel, Kernel
from wire import WireServer

MODEL = "openai/gpt-5.5"
NO_NOTE = "–"


@dataclass
class Notebook:
    """A notebook as a front end has it: cells with ids, in order, which can be saved and run in a kernel."""

    kernel: Kernel
    wire: WireServer
    path: Path
    cells: dict[str, str] = field(default_factory=dict)
    """Sources by cell id, in order."""
    deleted: list[str] = field(default_factory=list)
    """Ids of deleted cells that the next request reports."""
    result: CellResult = field(default_factory=CellResult)

    def load(self) -> None:
        self.kernel.run("%load_ext ipycachechat")
        self.kernel.run(f"%chat model {MODEL}")

    def chat(self, cell: str, text: str, line: str = "") -> None:
        """Write a chat cell (a new one at the end) and run it."""
        self.cells[cell] = f"%%chat {line}\n{text}"
        self.run(cell)

    def run(self, cell: str) -> None:
        self.result = self.kernel.run(self.cells[cell], cell, deleted=self.deleted)
        self.deleted = []
        assert not self.result.error, self.result.error

    def run_all(self, until: str = "") -> None:
        for cell in self.cells:
            if cell == until:
                return
            self.run(cell)

    def delete(self, cell: str) -> str:
        """Delete or cut a cell; the front end reports both in the same way."""
        self.deleted.append(cell)
        return self.cells.pop(cell)

    def order(self, cells: str) -> None:
        """Drag cells into another order, which the front end does not report."""
        self.cells = {cell: self.cells[cell] for cell in cells}

    def save(self) -> None:
        """Save the notebook as a front end does; pauses since file times have a resolution of some milliseconds."""
        time.sleep(0.02)
        cells = [
            {"cell_type": "code", "id": cell, "source": source, "metadata": {}, "outputs": []}
            for cell, source in self.cells.items()
        ]
        self.path.write_text(json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}))
        time.sleep(0.02)

    def three(self) -> None:
        """Run three chats, one after the other, and save."""
        for cell in "abc":
            self.chat(cell, cell)
        self.save()

    @property
    def prompts(self) -> str:
        """Return the prompts of the last request, in order."""
        messages = self.wire.requests[-1].messages
        return " ".join(message["content"] for message in messages if message["role"] == "user")


@dataclass(frozen=True)
class Row:
    """One row of the table: its three texts, and the checks of them."""

    action: str
    sent: str
    badge: str
    do: Callable[[Notebook], None]
    prompts: str
    """The prompts in the last request."""
    note: str = ""
    """Part of the last badge; "" if it must have no note on replaced, detached or stale turns."""


def again(book: Notebook) -> None:
    book.three()
    book.run("b")


def edited(book: Notebook) -> None:
    book.three()
    book.chat("b", "B")


def edited_then_next(book: Notebook) -> None:
    edited(book)
    book.chat("d", "d")


def dragged(book: Notebook) -> None:
    book.three()
    book.order("acb")
    book.save()
    book.chat("d", "d")


def dragged_and_synced(book: Notebook) -> None:
    book.three()
    book.order("acb")
    book.save()
    book.kernel.run("%chat sync")
    book.chat("d", "d")


def cut_and_pasted(book: Notebook) -> None:
    book.three()
    source = book.delete("a")
    book.cells["a"] = source
    book.chat("d", "d")


def cut_pasted_and_saved(book: Notebook) -> None:
    cut_and_pasted(book)
    book.save()
    book.chat("e", "e")


def cut_pasted_saved_and_next(book: Notebook) -> None:
    book.three()
    source = book.delete("a")
    book.cells["a"] = source
    book.save()
    book.chat("d", "d")


def copied(book: Notebook) -> None:
    book.three()
    book.cells["copy"] = book.cells["a"]
    book.run("copy")


def deleted(book: Notebook) -> None:
    book.three()
    book.delete("b")
    book.chat("d", "d")


def deleted_and_saved(book: Notebook) -> None:
    deleted(book)
    book.save()
    book.chat("e", "e")


def deleted_and_undone(book: Notebook) -> None:
    book.three()
    source = book.delete("b")
    book.cells = {"a": book.cells["a"], "b": source, "c": book.cells["c"]}
    book.chat("d", "d")


def deleted_undone_and_run(book: Notebook) -> None:
    deleted_and_undone(book)
    book.run("b")
    assert book.prompts == "a b"
    book.chat("e", "e")


def deleted_undone_and_saved(book: Notebook) -> None:
    deleted_and_undone(book)
    book.save()
    book.chat("e", "e")


def inserted(book: Notebook) -> None:
    book.three()
    book.cells = {"a": book.cells["a"], "x": "", "b": book.cells["b"], "c": book.cells["c"]}
    book.chat("x", "x")


def inserted_here(book: Notebook) -> None:
    book.three()
    book.cells = {"a": book.cells["a"], "x": "", "b": book.cells["b"], "c": book.cells["c"]}
    book.save()
    book.chat("x", "x", "--here")


def appended(book: Notebook) -> None:
    book.three()
    book.chat("b", "B", "--append")


def rewound(book: Notebook) -> None:
    book.kernel.run("%config ChatMagics.rerun = 'rewind'")
    book.three()
    book.chat("b", "B")
    book.chat("d", "d")


def all_again(book: Notebook) -> None:
    book.three()
    book.run_all()
    book.chat("d", "d")


def all_after_a_restart(book: Notebook) -> None:
    book.three()
    book.kernel.restart()
    book.load()
    book.run_all()
    book.chat("d", "d")


def all_after_resuming(book: Notebook) -> None:
    book.three()
    book.kernel.restart()
    book.load()
    book.kernel.run("%chat resume")
    book.run_all()
    book.chat("d", "d")


def next_after_resuming(book: Notebook) -> None:
    book.three()
    book.kernel.restart()
    book.load()
    book.kernel.run("%chat resume")
    book.chat("d", "d")


def above(book: Notebook) -> None:
    book.three()
    book.run_all(until="c")


def another_notebook(book: Notebook) -> None:
    book.three()
    other = BlockingKernelClient(connection_file=book.kernel.manager.connection_file)  # a separate page
    other.load_connection_file()  # type: ignore[no-untyped-call]
    other.start_channels()
    other.wait_for_ready(timeout=60)
    mine, book.kernel.client = book.kernel.client, other
    book.chat("z", "z")
    book.kernel.client = mine
    other.stop_channels()
    book.cells.pop("z")
    book.order("acb")
    book.save()
    book.kernel.run("%chat sync")
    book.chat("d", "d")


def twice(book: Notebook) -> None:
    """Open the same notebook in a second kernel while the first runs."""
    book.three()
    with ForkedKernel(book.wire.env() | {"JPY_SESSION_NAME": str(book.path)}) as second:
        copy = Notebook(second, book.wire, book.path, dict(book.cells))
        copy.load()
        copy.run("c")
        assert copy.prompts == "c"
    book.chat("d", "d")


def in_a_loop(book: Notebook) -> None:
    book.chat("a", "a")
    book.cells["loop"] = "for n in range(2):\n    get_ipython().run_cell_magic('chat', '', f'n{n}')"
    book.run("loop")
    book.run("loop")
    book.chat("d", "d")


def without_ids(book: Notebook) -> None:
    for _ in range(2):
        book.result = book.kernel.run("%%chat\na")


TABLE = [
    Row("run a cell again, unchanged", "the turns above it, and its prompt", "Replaced turn 2. Turn 3 is out of date, if the answer is another", again, "a b", "Replaced turn 2"),
    Row("edit a cell and run it", "the turns above it, and its prompt", "Replaced turn 2. Turn 3 is out of date", edited, "a B", "Replaced turn 2. Turn 3 is out of date"),
    Row("then ask in the next cell", "all turns, the new one in place of the old", NO_NOTE, edited_then_next, "a B c d"),
    Row("run a cell again with `--append`", "all turns, and its prompt; the earlier turn stays", NO_NOTE, appended, "a b c B"),
    Row("set `rerun` to `rewind`, edit a cell, run it, and ask in the next", "the turns above the edited cell, its new turn, and the prompt", NO_NOTE, rewound, "a B d"),
    Row("drag a cell", "as before, since JupyterLab does not report it", NO_NOTE, dragged, "a b c d"),
    Row("drag a cell, save, `%chat sync`", "the turns in the notebook's order", NO_NOTE, dragged_and_synced, "a c b d"),
    Row("cut a cell and paste it elsewhere", "without its turn, since the cell is reported as deleted", "its turn is no longer sent, and what brings it back", cut_and_pasted, "b c d", "Cell deleted, so “a” is no longer sent"),
    Row("then save", "with its turn, in its old place (`%chat sync` moves it)", NO_NOTE, cut_pasted_and_saved, "a b c d e"),
    Row("cut a cell, paste it elsewhere, and save before another cell runs", "with its turn, in its old place", NO_NOTE, cut_pasted_saved_and_next, "a b c d"),
    Row("copy a cell and run the copy", "all turns, and its prompt: the copy is a new cell", NO_NOTE, copied, "a b c a"),
    Row("delete a cell", "without its turn", "its turn is no longer sent, and what brings it back", deleted, "a c d", "Cell deleted, so “b” is no longer sent"),
    Row("then save", "without its turn", NO_NOTE, deleted_and_saved, "a c d e"),
    Row("delete a cell and undo that", "without its turn, since the cell is reported as deleted", "its turn is no longer sent, and what brings it back", deleted_and_undone, "a c d", "Cell deleted, so “b” is no longer sent"),
    Row("then save", "with its turn, in its place", NO_NOTE, deleted_undone_and_saved, "a b c d e"),
    Row("or run the cell", "with its turn, in its place", NO_NOTE, deleted_undone_and_run, "a b c d e"),
    Row("insert a cell between two and run it", "all turns, and its prompt: it was asked last", NO_NOTE, inserted, "a b c x"),
    Row("insert a cell, save, and run it with `--here`", "the turns above it, and its prompt", "Placed as turn 2. Turns 3–4 are out of date", inserted_here, "a x", "Placed as turn 2. Turns 3–4 are out of date"),
    Row("Run All, twice in a row", "the same conversation, never two copies", NO_NOTE, all_again, "a b c d"),
    Row("Restart Kernel and Run All", "the same conversation, asked again", NO_NOTE, all_after_a_restart, "a b c d"),
    Row("restart the kernel, `%chat resume`, and ask in the next cell", "all turns, the same bytes", NO_NOTE, next_after_resuming, "a b c d"),
    Row("restart the kernel, `%chat resume`, Run All", "the same conversation, each turn replaced", NO_NOTE, all_after_resuming, "a b c d"),
    Row("Run All Above", "for each cell the turns above it; those below stay, out of date", "Replaced turn 2, and what is out of date", above, "a b", "Replaced turn 2"),
    Row("chat in two notebooks on one kernel", "one conversation, in the order asked; `%chat sync` moves the turns of its own notebook, and the others stay after the turns that they follow", NO_NOTE, another_notebook, "a c z b d"),
    Row("open the same notebook in two kernels", "two conversations", NO_NOTE, twice, "a b c d"),
    Row("chat in a loop or with `run_cell_magic`, and run that cell again", "one turn for each call; those of the second run replace those of the first", NO_NOTE, in_a_loop, "a n0 n1 d"),
    Row("chat where cells have no ids (a terminal, nbclient)", "all turns, and the prompt, each time", NO_NOTE, without_ids, "a a"),
]  # fmt: skip
NAMES = [f"{n:02} {row.action}" for n, row in enumerate(TABLE)]


@pytest.fixture(scope="module")
def notebook_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("book") / "book.ipynb"


@pytest.fixture(scope="module")
def kernel(notebook_file: Path) -> Iterator[Kernel]:
    with (
        WireServer() as server,
        ForkedKernel(server.env() | {"JPY_SESSION_NAME": str(notebook_file)}) as kernel,
    ):
        kernel.wire = server  # type: ignore[attr-defined]
        yield kernel


@pytest.mark.parametrize("row", TABLE, ids=NAMES)
def test_a_row_of_the_table(row: Row, kernel: Kernel, notebook_file: Path) -> None:
    notebook_file.unlink(missing_ok=True)
    kernel.run("%reload_ext ipycachechat")
    kernel.run("%config ChatMagics.rerun = 'replace'")
    kernel.run("%chat reset")
    book = Notebook(kernel, kernel.wire, notebook_file)  # type: ignore[attr-defined]
    book.load()
    row.do(book)
    assert book.prompts == row.prompts
    note_on_turns = re.search("Replaced turn|Placed as|no longer sent|out of date", book.result.badge)
    assert (row.note in book.result.badge) if row.note else not note_on_turns, book.result.badge


def test_the_table_is_in_the_documents() -> None:
    lines = (PROJECT / "docs" / "notebook.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ") and not line.startswith("| you ")]
    assert rows == [f"| {row.action} | {row.sent} | {row.badge} |" for row in TABLE]
