"""What is done to a notebook, what then goes over the wire, what the badge says: the table of docs/notebook.md."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from support.kernels import PROJECT, Kernel, Ran
from wire import WireServer

MODEL = "openai/gpt-5.5"
NOTHING = "nothing of it"


@dataclass
class Notebook:
    """A notebook as a front end has it: cells with ids in an order, saved now and then, run in a kernel."""

    kernel: Kernel
    wire: WireServer
    path: Path
    cells: dict[str, str] = field(default_factory=dict)
    """Id to source, in order."""
    deleted: list[str] = field(default_factory=list)
    """What the next request reports."""
    ran: Ran = field(default_factory=Ran)

    def load(self) -> None:
        self.kernel.run("%load_ext ipycachechat")
        self.kernel.run(f"%chat model {MODEL}")

    def chat(self, cell: str, text: str, line: str = "") -> None:
        """Write a chat cell (at the end, if it is new) and run it."""
        self.cells[cell] = f"%%chat {line}\n{text}"
        self.run(cell)

    def run(self, cell: str) -> None:
        self.ran = self.kernel.run(self.cells[cell], cell, deleted=self.deleted)
        self.deleted = []
        assert not self.ran.error, self.ran.error

    def run_all(self, until: str = "") -> None:
        for cell in self.cells:
            if cell == until:
                return
            self.run(cell)

    def delete(self, cell: str) -> str:
        """Delete a cell, or cut it: the front end reports both alike."""
        self.deleted.append(cell)
        return self.cells.pop(cell)

    def order(self, cells: str) -> None:
        """Drag the cells, which reports nothing."""
        self.cells = {cell: self.cells[cell] for cell in cells}

    def save(self) -> None:
        """As a front end does; a file's time is no finer than some milliseconds."""
        time.sleep(0.02)
        cells = [
            {"cell_type": "code", "id": cell, "source": source, "metadata": {}, "outputs": []}
            for cell, source in self.cells.items()
        ]
        self.path.write_text(json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}))
        time.sleep(0.02)

    def three(self) -> None:
        """Three chats, one after the other, and a save."""
        for cell in "abc":
            self.chat(cell, cell)
        self.save()

    @property
    def said(self) -> str:
        """The prompts of the last request, in order."""
        messages = self.wire.requests[-1].messages
        return " ".join(message["content"] for message in messages if message["role"] == "user")


@dataclass(frozen=True)
class Row:
    """One line of the table; `said` are the prompts that the last request holds."""

    what: str
    over_the_wire: str
    badge: str
    do: Callable[[Notebook], None]
    said: str
    told: str = ""
    """A part of the last badge; "": nothing is said of a turn replaced, left out, or stale."""


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
    assert book.said == "a b"
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
    other = BlockingKernelClient(connection_file=book.kernel.manager.connection_file)  # a page of its own
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
    """The same notebook in a kernel of its own, while the first goes on."""
    book.three()
    with Kernel(book.wire.env() | {"JPY_SESSION_NAME": str(book.path)}) as second:
        copy = Notebook(second, book.wire, book.path, dict(book.cells))
        copy.load()
        copy.run("c")
        assert copy.said == "c"
    book.chat("d", "d")


def in_a_loop(book: Notebook) -> None:
    book.chat("a", "a")
    book.cells["loop"] = "for n in range(2):\n    get_ipython().run_cell_magic('chat', '', f'n{n}')"
    book.run("loop")
    book.run("loop")
    book.chat("d", "d")


def without_ids(book: Notebook) -> None:
    for _ in range(2):
        book.ran = book.kernel.run("%%chat\na")


TABLE = [
    Row("runs a cell again, unchanged", "the turns above it, and its prompt", "replaced turn 2; turn 3 answered an older version, if the answer is another", again, "a b", "replaced turn 2"),
    Row("edits a cell and runs it", "the turns above it, and its prompt", "replaced turn 2; turn 3 answered an older version", edited, "a B", "replaced turn 2; turn 3 answered an older version"),
    Row("then asks in the next cell", "all turns, the new one in the old one's place", NOTHING, edited_then_next, "a B c d"),
    Row("runs a cell again with `--append`", "all turns, and its prompt; the earlier turn stays", NOTHING, appended, "a b c B"),
    Row("has set `rerun` to `rewind`, edits a cell, runs it, and asks in the next", "the turns above the edited cell, its new turn, and the prompt", NOTHING, rewound, "a B d"),
    Row("drags a cell", "as before, since nothing reports it", NOTHING, dragged, "a b c d"),
    Row("drags a cell, saves, `%chat sync`", "the turns in the notebook's order", NOTHING, dragged_and_synced, "a c b d"),
    Row("cuts a cell and pastes it elsewhere", "without its turn, since it is reported as deleted", "left out, and what brings it back", cut_and_pasted, "b c d", "left out, since its cell was deleted: “a”"),
    Row("then saves", "with its turn, in its old place (`%chat sync` moves it)", NOTHING, cut_pasted_and_saved, "a b c d e"),
    Row("cuts a cell, pastes it elsewhere, and saves before another runs", "with its turn, in its old place", NOTHING, cut_pasted_saved_and_next, "a b c d"),
    Row("copies a cell and runs the copy", "all turns, and its prompt: a copy is a cell of its own", NOTHING, copied, "a b c a"),
    Row("deletes a cell", "without its turn", "left out, and what brings it back", deleted, "a c d", "left out, since its cell was deleted: “b”"),
    Row("then saves", "without its turn", NOTHING, deleted_and_saved, "a c d e"),
    Row("deletes a cell and undoes that", "without its turn, since it is reported as deleted", "left out, and what brings it back", deleted_and_undone, "a c d", "left out, since its cell was deleted: “b”"),
    Row("then saves", "with its turn, in its place", NOTHING, deleted_undone_and_saved, "a b c d e"),
    Row("or runs the cell", "with its turn, in its place", NOTHING, deleted_undone_and_run, "a b c d e"),
    Row("inserts a cell between two and runs it", "all turns, and its prompt: it was asked last", NOTHING, inserted, "a b c x"),
    Row("inserts a cell, saves, and runs it with `--here`", "the turns above it, and its prompt", "placed as turn 2; turns 3 to 4 answered an older version", inserted_here, "a x", "placed as turn 2; turns 3 to 4 answered an older version"),
    Row("Run All, twice in a row", "the same conversation, never two copies", NOTHING, all_again, "a b c d"),
    Row("Restart Kernel and Run All", "the same conversation, asked anew", NOTHING, all_after_a_restart, "a b c d"),
    Row("restarts the kernel, `%chat resume`, and asks in the next cell", "all turns, to the byte", NOTHING, next_after_resuming, "a b c d"),
    Row("restarts the kernel, `%chat resume`, Run All", "the same conversation, each turn replaced", NOTHING, all_after_resuming, "a b c d"),
    Row("Run All Above", "of each cell the turns above it; those below stay, stale", "replaced turn 2, and what is stale", above, "a b", "replaced turn 2"),
    Row("chats in two notebooks on one kernel", "one conversation, in the order asked; `%chat sync` moves the turns of its own notebook, and the others stay behind those that they follow", NOTHING, another_notebook, "a c z b d"),
    Row("opens the same notebook in two kernels", "two conversations", NOTHING, twice, "a b c d"),
    Row("chats in a loop, or by `run_cell_magic`, and runs that cell again", "a turn for each time round; the second run's turns replace the first's", NOTHING, in_a_loop, "a n0 n1 d"),
    Row("chats where cells have no ids (a terminal, nbclient)", "all turns, and the prompt, each time", NOTHING, without_ids, "a a"),
]  # fmt: skip
NAMES = [f"{n:02} {row.what}" for n, row in enumerate(TABLE)]


@pytest.fixture(scope="module")
def notebook_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("book") / "book.ipynb"


@pytest.fixture(scope="module")
def kernel(notebook_file: Path) -> Iterator[Kernel]:
    with WireServer() as server, Kernel(server.env() | {"JPY_SESSION_NAME": str(notebook_file)}) as kernel:
        kernel.wire = server  # type: ignore[attr-defined]
        yield kernel


@pytest.mark.parametrize("row", TABLE, ids=NAMES)
def test_the_table(row: Row, kernel: Kernel, notebook_file: Path) -> None:
    notebook_file.unlink(missing_ok=True)
    kernel.run("%reload_ext ipycachechat")
    kernel.run("%config ChatMagics.rerun = 'replace'")
    kernel.run("%chat reset")
    book = Notebook(kernel, kernel.wire, notebook_file)  # type: ignore[attr-defined]
    book.load()
    row.do(book)
    assert book.said == row.said
    said_of_turns = re.search("replaced turn|placed as|left out|older version", book.ran.badge)
    assert (row.told in book.ran.badge) if row.told else not said_of_turns, book.ran.badge


def test_the_table_is_in_the_documents() -> None:
    lines = (PROJECT / "docs" / "notebook.md").read_text().splitlines()
    found = [line for line in lines if line.startswith("| ") and not line.startswith("| The person")]
    assert found == [f"| {row.what} | {row.over_the_wire} | {row.badge} |" for row in TABLE]
