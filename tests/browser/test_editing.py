"""Edits of a notebook in JupyterLab: after each, the next request has the right conversation."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from itertools import count

import pytest
from support.jupyter_page import Lab, write_notebook
from wire import Call, Reply, Request, WireServer, words

pytestmark = pytest.mark.browser
LOAD = "%load_ext ipycachechat"
LONG = words(1500)
Open = Callable[..., None]


@pytest.fixture(scope="module")
def wire() -> Iterator[WireServer]:
    """One server for all tests of this module."""
    with WireServer() as server:
        yield server


@pytest.fixture(scope="module")
def lab(wire: WireServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One JupyterLab for all tests of this module."""
    keys: dict[str, str | None] = {
        name: None
        for name in os.environ
        if name.endswith(("_API_KEY", "_API_BASE", "_BASE_URL", "_AUTH_TOKEN"))
    }
    data_folder = str(tmp_path_factory.mktemp("kept"))
    with Lab(tmp_path_factory.mktemp("lab"), env=keys | wire.env() | {"XDG_DATA_HOME": data_folder}) as lab:
        yield lab


@pytest.fixture
def numbered_answers(wire: WireServer, lab: Lab) -> Iterator[None]:
    """Empty the server's log, and let each answer of a test be different."""
    wire.clear()
    numbers = count(1)

    def answer(call: Call) -> Reply:
        return Reply(f"Answer {next(numbers)} to {call.user_text}")

    wire.always = answer
    yield
    assert lab.errors == []


@pytest.fixture
def notebook(request: pytest.FixtureRequest, lab: Lab, numbered_answers: None) -> Open:
    """Return a function that opens a notebook with a cell that loads the extension, and these cells."""

    def opened(*cells: str) -> None:
        name = f"{request.node.name}.ipynb"
        write_notebook(lab.directory / name, [LOAD, *cells])
        lab.open(name)

    return opened


@pytest.fixture
def cells(lab: Lab, numbered_answers: None) -> Open:
    """Return a function that puts these cells, after one that resets the chat, into a notebook of a shared kernel."""

    def filled(*cells: str) -> None:
        path = lab.directory / "shared.ipynb"
        if not path.exists():
            lab.open(write_notebook(path, [""]).name)
        lab.fill([f"{LOAD}\n%chat reset", *cells])

    return filled


def message_texts(request: Request) -> list[str]:
    """The texts of a request's messages, in order."""
    return ["".join(part["text"] for part in message["content"]) for message in request.messages]


def new_requests(wire: WireServer) -> list[list[str]]:
    """Return the message texts of all requests since the last call, or since the notebook was opened."""
    requests = [message_texts(request) for request in wire.requests]
    wire.requests.clear()
    return requests


def run(lab: Lab, *cells: int) -> None:
    for cell in cells:
        lab.run_cell(cell)


def badge(lab: Lab, cell: int) -> str:
    return lab.outputs(cell).locator(".ipycachechat-badge").inner_text()


def answers(lab: Lab, cell: int) -> list[str]:
    return [text.strip() for text in lab.outputs(cell).locator(".ipycachechat-answer").all_inner_texts()]


def prompts(lab: Lab) -> list[str]:
    """Return the prompts of the chat cells, in order."""
    split_sources = [source.partition("\n") for source in lab.cells().values()]
    return [prompt for line, _, prompt in split_sources if line.startswith("%%chat")]


def test_a_cell_run_again_replaces_its_turn_and_replay_draws_the_stale_ones_in_their_own_cells(
    wire: WireServer, lab: Lab, notebook: Open
) -> None:
    notebook("%%chat\nOne", "%%chat\nTwo", "%%chat\nThree", "%chat replay")
    run(lab, 0, 1, 2, 3)
    assert new_requests(wire)[-1] == ["One", "Answer 1 to One", "Two", "Answer 2 to Two", "Three"]

    lab.type_cell(1, "%%chat\nUno")
    run(lab, 1)
    assert new_requests(wire) == [["Uno"]]
    assert answers(lab, 1) == ["Answer 4 to Uno"]
    assert "Replaced turn 1. Turns 2–3 are out of date" in badge(lab, 1)
    assert answers(lab, 2) == ["Answer 2 to Two"]

    run(lab, 4)
    assert new_requests(wire) == [
        ["Uno", "Answer 4 to Uno", "Two"],
        ["Uno", "Answer 4 to Uno", "Two", "Answer 5 to Two", "Three"],
    ]
    assert [answers(lab, cell) for cell in (2, 3, 4)] == [["Answer 5 to Two"], ["Answer 6 to Three"], []]
    assert [lab.outputs(cell).locator(".ipycachechat-badge").count() for cell in (2, 3, 4)] == [1, 1, 0]
    assert "Replaced turn 3" in badge(lab, 3)
    assert "Reran 2 turns" in lab.outputs(4).inner_text()


def test_a_deleted_cell_is_left_out_and_comes_back_when_the_deletion_is_undone(
    wire: WireServer, lab: Lab, cells: Open
) -> None:
    cells("%%chat\nOne", "%%chat\nTwo", "%%chat\nThree", "%%chat\nFour")
    run(lab, 0, 1, 2)
    lab.press(2, "d", "d")
    assert prompts(lab) == ["One", "Three", "Four"]
    run(lab, 2)
    assert new_requests(wire)[-1] == ["One", "Answer 1 to One", "Three"]
    assert "Cell deleted, so “Two” is no longer sent" in badge(lab, 2)

    lab.press(1, "z")
    assert prompts(lab) == ["One", "Two", "Three", "Four"]
    lab.press(1, "Control+s")
    run(lab, 4)
    past = ["One", "Answer 1 to One", "Two", "Answer 2 to Two", "Three", "Answer 3 to Three"]
    assert new_requests(wire) == [[*past, "Four"]]
    assert "no longer sent" not in badge(lab, 4)


def test_a_cell_cut_and_pasted_comes_back_once_saved_and_sync_moves_its_turn(
    wire: WireServer, lab: Lab, cells: Open
) -> None:
    cells("%%chat\nOne", "%%chat\nTwo", "%%chat\nThree", "%%chat\nFour", "%chat sync", "%%chat\nFive")
    run(lab, 0, 1, 2)
    lab.press(1, "x")
    lab.press(1, "v")
    assert prompts(lab) == ["Two", "One", "Three", "Four", "Five"]
    run(lab, 3)
    assert new_requests(wire)[-1] == ["Two", "Answer 2 to Two", "Three"]
    assert "Cell deleted, so “One” is no longer sent" in badge(lab, 3)

    lab.press(1, "Control+s")
    run(lab, 4)
    past = ["One", "Answer 1 to One", "Two", "Answer 2 to Two", "Three", "Answer 3 to Three"]
    assert new_requests(wire) == [[*past, "Four"]]
    assert "no longer sent" not in badge(lab, 4)

    run(lab, 5, 6)
    assert "turn 1 becomes turn 2: One" in lab.outputs(5).inner_text()
    past = ["Two", "Answer 2 to Two", "One", "Answer 1 to One", "Three", "Answer 3 to Three"]
    assert new_requests(wire) == [[*past, "Four", "Answer 4 to Four", "Five"]]


def test_a_cell_cut_pasted_elsewhere_and_saved_is_still_sent(wire: WireServer, lab: Lab, cells: Open) -> None:
    cells("%%chat\nOne", "%%chat\nTwo", "%%chat\nThree")
    run(lab, 0, 1, 2)
    lab.press(1, "x")
    lab.press(1, "v")
    lab.press(1, "Control+s")
    run(lab, 3)
    assert new_requests(wire)[-1] == ["One", "Answer 1 to One", "Two", "Answer 2 to Two", "Three"]


def test_a_cell_moved_up_stays_in_its_place_until_sync(wire: WireServer, lab: Lab, cells: Open) -> None:
    cells("%%chat\nOne", "%%chat\nTwo", "%%chat\nThree", "%chat sync", "%%chat\nFour")
    run(lab, 0, 1, 2)
    lab.press(2, "Control+Shift+ArrowUp")
    assert prompts(lab) == ["Two", "One", "Three", "Four"]
    lab.press(1, "Control+s")
    run(lab, 3)
    assert new_requests(wire)[-1] == ["One", "Answer 1 to One", "Two", "Answer 2 to Two", "Three"]
    assert "no longer sent" not in badge(lab, 3) and "out of date" not in badge(lab, 3)

    run(lab, 4, 5)
    assert "turn 2 becomes turn 1: Two" in lab.outputs(4).inner_text()
    past = ["Two", "Answer 2 to Two", "One", "Answer 1 to One", "Three", "Answer 3 to Three"]
    assert new_requests(wire) == [[*past, "Four"]]


def test_an_inserted_cell_asks_at_its_place_once_the_notebook_is_saved(
    wire: WireServer, lab: Lab, cells: Open
) -> None:
    cells("%%chat\nOne", "%%chat\nTwo", "%%chat\nThree")
    run(lab, 0, 1, 2)
    lab.press(1, "b")
    lab.type_cell(2, "%%chat --here\nBetween")
    run(lab, 2)
    assert "The saved notebook does not contain this cell yet" in lab.outputs(2).inner_text()
    lab.press(2, "Control+s")
    new_requests(wire)

    run(lab, 2)
    assert new_requests(wire) == [["One", "Answer 1 to One", "Between"]]
    assert "Placed as turn 2. Turn 3 is out of date" in badge(lab, 2)
    run(lab, 4)
    past = ["One", "Answer 1 to One", "Between", "Answer 3 to Between", "Two", "Answer 2 to Two"]
    assert new_requests(wire) == [[*past, "Three"]]


def test_a_copied_cell_has_its_own_turn(wire: WireServer, lab: Lab, cells: Open) -> None:
    cells("%%chat\nOne", "%%chat\nTwo")
    run(lab, 0, 1, 2)
    names = [*lab.cells()]
    lab.press(1, "c")
    lab.press(2, "v")
    assert prompts(lab) == ["One", "Two", "One"] and [*lab.cells()][:3] == names
    run(lab, 3)
    assert new_requests(wire)[-1] == ["One", "Answer 1 to One", "Two", "Answer 2 to Two", "One"]
    assert "replaced" not in badge(lab, 3)
    run(lab, 3)
    assert new_requests(wire) == [["One", "Answer 1 to One", "Two", "Answer 2 to Two", "One"]]
    assert "Replaced turn 3" in badge(lab, 3)


def test_run_all_gives_the_same_conversation_without_duplicates(
    wire: WireServer, lab: Lab, notebook: Open
) -> None:
    def expected(first: int) -> list[list[str]]:
        answer_one, answer_two = f"Answer {first} to One", f"Answer {first + 1} to Two"
        return [["One"], ["One", answer_one, "Two"], ["One", answer_one, "Two", answer_two, "Three"]]

    notebook("%%chat\nOne", "%%chat\nTwo", "%%chat\nThree")
    for first in (1, 4):
        lab.menu("Run", "Run All Cells")
        assert new_requests(wire) == expected(first)
    for first in (7, 10):
        lab.menu("Kernel", "Restart Kernel and Run All Cells…", confirm=True)
        assert "An earlier conversation was found (3 turns, " in lab.outputs(0).inner_text()
        assert new_requests(wire) == expected(first)
        assert answers(lab, 3) == [f"Answer {first + 2} to Three"]


def test_the_conversation_equals_the_notebook_after_edit_deletion_run_all_and_restart(
    wire: WireServer, lab: Lab, notebook: Open
) -> None:
    notebook("%%chat\nOne", "%%chat\nTwo", "%%chat\nThree")
    lab.menu("Run", "Run All Cells")
    assert new_requests(wire)[-1] == ["One", "Answer 1 to One", "Two", "Answer 2 to Two", "Three"]

    lab.type_cell(1, "%%chat\nUno")
    run(lab, 1)
    assert new_requests(wire) == [["Uno"]]

    lab.press(2, "d", "d")
    assert prompts(lab) == ["Uno", "Three"]
    lab.menu("Run", "Run All Cells")
    assert new_requests(wire) == [["Uno"], ["Uno", "Answer 5 to Uno", "Three"]]

    lab.save()
    lab.menu("Kernel", "Restart Kernel…", confirm=True)
    lab.type_cell(0, f"{LOAD}\n%chat resume")
    run(lab, 0)
    assert "Resumed 2 turns" in lab.outputs(0).inner_text()
    run(lab, 2)
    assert new_requests(wire) == [["Uno", "Answer 5 to Uno", "Three"]]
    assert answers(lab, 2) == ["Answer 7 to Three"]


def test_a_row_of_the_history_unfolds_even_without_kernel_and_trust(
    wire: WireServer, lab: Lab, notebook: Open
) -> None:
    def unfold() -> None:
        row = lab.outputs(3).locator(".ipycachechat-history details").nth(1)
        shown = row.get_by_text("A second", exact=False).last
        assert "Two" in row.locator("summary").inner_text()
        assert not shown.is_visible()
        row.locator("summary").click()
        assert shown.is_visible() and row.locator("strong").inner_text() == "second"
        row.locator("summary").click()
        assert not shown.is_visible()

    notebook("%%chat\nOne", "%%chat\nTwo\n\nin two paragraphs", "%chat history")
    wire.script(Reply("First"), Reply("A **second** answer"))
    run(lab, 0, 1, 2, 3)
    unfold()
    lab.save()
    lab.close_kernel()
    lab.reopen(kernel=False)
    assert lab.trusted()
    unfold()

    saved = next(lab.directory.glob("test_a_row*.ipynb"))
    saved_json = json.loads(saved.read_text())
    saved_json["cells"][3]["outputs"][0]["data"]["text/html"] += " "  # no longer what the server has signed
    saved.with_name("untrusted.ipynb").write_text(json.dumps(saved_json))
    lab.open("untrusted.ipynb", kernel=False)
    assert not lab.trusted()
    unfold()


def test_after_a_restart_the_conversation_continues_byte_for_byte_from_the_cache(
    wire: WireServer, lab: Lab, notebook: Open
) -> None:
    notebook(f"%chat system {LONG}", "%%chat\nOne", "%%chat\nTwo", "%chat resume", "%%chat\nThree")
    run(lab, 0, 1, 2, 3)
    before = wire.requests[-1]
    lab.menu("Kernel", "Restart Kernel…", confirm=True)
    run(lab, 0)
    hello, resume_hint = lab.outputs(0).inner_text().strip().splitlines()
    assert re.match(r"ipycachechat \S+: model anthropic/claude-sonnet-5\.", hello)
    assert resume_hint.startswith("An earlier conversation was found (2 turns, ")

    run(lab, 4, 5)
    assert "Resumed 2 turns, model anthropic/claude-sonnet-5, cached until " in lab.outputs(4).inner_text()
    after = wire.requests[-1]
    assert message_texts(after) == ["One", "Answer 1 to One", "Two", "Answer 2 to Two", "Three"]
    assert before.call and after.call and before.bill and after.bill
    sent_before = [block.wire for block in before.call.blocks]
    assert [block.wire for block in after.call.blocks][: len(sent_before)] == sent_before
    assert after.bill.read == before.bill.read + before.bill.written > 1500
    assert f"{after.bill.read:,}" in badge(lab, 5)
