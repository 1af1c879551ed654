"""After any operations in any order, the requests match a plain list of turns."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass, field, replace
from itertools import count as counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.talks import SONNET, assert_predicted_and_billed_alike, nothing
from wire import Clock, Reply, WireServer, count

from ipycachechat.caching.planner import NOTEBOOK
from ipycachechat.conversation.placement import Placement, Rerun
from ipycachechat.conversation.turns import CellRef
from ipycachechat.engine import persistence
from ipycachechat.engine.client import ModelClient
from ipycachechat.engine.session import ChatSession
from ipycachechat.engine.turn_request import TurnRequest
from ipycachechat.providers.litellm_import import import_in_portions
from ipycachechat.storage.recorder import Recorder

CELLS = "ABCDE"


@dataclass
class Line:
    """A turn as the plain model has it."""

    cell: str
    run: int
    asked: str
    answer: str
    away: bool = False
    pinned: bool = False


@dataclass
class Plain:
    """A conversation as lists of lines: for each branch the versions, and which one counts."""

    branches: dict[str, tuple[list[list[Line]], int]] = field(default_factory=lambda: {"main": ([[]], 0)})
    on: str = "main"
    gone: set[str] = field(default_factory=set)
    """Cells that are away, whatever is undone."""

    def away(self, line: Line) -> bool:
        return line.away or line.cell in self.gone

    @property
    def now(self) -> list[Line]:
        versions, at = self.branches[self.on]
        return versions[at]

    def change(self, lines: list[Line]) -> None:
        if lines != self.now:
            versions, at = self.branches[self.on]
            self.branches[self.on] = ([*versions[: at + 1], lines], at + 1)

    def move(self, by: int) -> None:
        versions, at = self.branches[self.on]
        self.branches[self.on] = (versions, min(max(at + by, 0), len(versions) - 1))

    def ask(self, cell: str, run: int, rerun: Rerun) -> tuple[list[Line], list[Line]]:
        """The lines before the place of a new one, and those after it."""
        now = self.now
        same_run = [n for n, line in enumerate(now) if cell and (line.cell, line.run) == (cell, run)]
        others = [n for n, line in enumerate(now) if cell and line.cell == cell and line.run != run]
        if same_run:
            at = same_run[-1] + 1
            return now[:at], [] if rerun == "rewind" else now[at:]
        if rerun == "append" or not others:
            released = [replace(line, cell="", run=0) if n in others else line for n, line in enumerate(now)]
            return released, []
        at = others[0]
        later = [] if rerun == "rewind" else [line for line in now[at:] if line.cell != cell]
        return now[:at], later


class Notebook(RuleBasedStateMachine):
    """Runs, edits, deletions, undos, branches and restarts, in the engine and in the plain model."""

    server: WireServer
    loop: asyncio.AbstractEventLoop

    @initialize()
    def begin(self) -> None:
        self.server.clear()
        self.server.forget()
        self.folder = tempfile.TemporaryDirectory()
        self.plain, self.numbers = Plain(), counter(1)
        self.start()

    def start(self) -> None:
        """A kernel: nothing is known to it but what is in the store."""
        self.dialogue = ChatSession(
            client=ModelClient(clock=lambda: self.server.clock.now, count=count, pauses=NOTEBOOK)
        )
        self.recorder = Recorder("book.ipynb")
        self.recorder.start(lambda: Path(self.folder.name) / "chats.db", dict)
        persistence.connect(self.dialogue, self.recorder)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()

    def send(self, cell: str, run: int, rerun: Rerun, long: bool) -> None:
        number = next(self.numbers)
        if cell:
            self.there({cell})
        asked, answer = f"question {number}" + " word" * (1500 if long else 0), f"answer {number}"
        before, after = self.plain.ask(cell, run, rerun)
        self.server.script(Reply(answer))
        place = Placement(CellRef(cell, str(run)) if cell else None, rerun)
        done = self.loop.run_until_complete(self.dialogue.send(TurnRequest(asked, SONNET, place), nothing))
        assert done.error is None, done.error
        expected = [
            text for line in before if not self.plain.away(line) for text in (line.asked, line.answer)
        ] + [asked]
        assert said(self.server) == expected
        bill = self.server.requests[-1].bill
        assert bill is not None
        assert_predicted_and_billed_alike(done, bill)
        gone = [line for line in self.plain.now if line.cell == cell and line.run != run] if cell else []
        pinned = rerun != "append" and any(line.pinned for line in gone)
        self.plain.change([*before, Line(cell, run, asked, answer, pinned=pinned), *after])

    @rule(
        cell=st.sampled_from(CELLS),
        rerun=st.sampled_from(["replace"] * 4 + ["append", "rewind"]),
        long=st.booleans(),
    )
    def run_a_cell(self, cell: str, rerun: Rerun, long: bool) -> None:
        self.send(cell, next(self.numbers), rerun, long)

    @precondition(lambda self: any(not self.plain.away(line) for line in self.plain.now))
    @rule(data=st.data())
    def ask_a_turn_again(self, data: st.DataObject) -> None:
        live = [n for n, line in enumerate(self.plain.now) if not self.plain.away(line)]
        number = data.draw(st.integers(1, len(live)))
        at, turn = live[number - 1], self.dialogue.history.current.turns[number - 1]
        line = self.plain.now[at]
        answer = f"answer {next(self.numbers)}"
        self.server.script(Reply(answer))
        place = Placement(turn.cell, replaces=turn)
        done = self.loop.run_until_complete(
            self.dialogue.send(TurnRequest(turn.prompt, SONNET, place), nothing)
        )
        assert done.error is None, done.error
        before = [one for one in self.plain.now[:at] if not self.plain.away(one)]
        assert said(self.server) == [text for one in before for text in (one.asked, one.answer)] + [
            line.asked
        ]
        self.plain.change([*self.plain.now[:at], replace(line, answer=answer), *self.plain.now[at + 1 :]])

    @precondition(lambda self: self.plain.now)
    @rule(cell=st.sampled_from(CELLS), rerun=st.sampled_from(["replace", "rewind"]))
    def run_a_cell_again(self, cell: str, rerun: Rerun) -> None:
        if any(line.cell == cell for line in self.plain.now):
            self.send(cell, next(self.numbers), rerun, False)

    @rule(number=st.integers(1, 5))
    def pin(self, number: int) -> None:
        self.dialogue.versions.pin(min(number, len(self.dialogue.history.current.turns)))
        pins = tuple(turn.pinned for turn in self.dialogue.history.current.all_turns)
        self.plain.change([replace(line, pinned=pin) for line, pin in zip(self.plain.now, pins, strict=True)])

    @rule(cell=st.sampled_from(CELLS), times=st.integers(2, 3))
    def run_a_loop(self, cell: str, times: int) -> None:
        run = next(self.numbers)
        for _ in range(times):
            self.send(cell, run, "replace", False)

    @rule()
    def ask_without_a_cell(self) -> None:
        self.send("", 0, "replace", False)

    @rule(cells=st.sets(st.sampled_from(CELLS), min_size=1, max_size=2))
    def delete_cells(self, cells: set[str]) -> None:
        self.dialogue.versions.detach(cells, self.server.clock.now)
        self.plain.gone |= cells

    @rule(cells=st.sets(st.sampled_from(CELLS), min_size=1, max_size=2))
    def find_cells_in_the_saved_notebook(self, cells: set[str]) -> None:
        self.dialogue.versions.attach(cells)
        self.there(cells)

    def there(self, cells: set[str]) -> None:
        self.plain.gone -= cells
        self.plain.change(
            [replace(line, away=line.away and line.cell not in cells) for line in self.plain.now]
        )

    @rule(order=st.permutations(CELLS), gone=st.sets(st.sampled_from(CELLS), max_size=2))
    def sync(self, order: list[str], gone: set[str]) -> None:
        left = [cell for cell in order if cell not in gone]
        self.server.clock.advance(1)
        now = self.server.clock.now
        self.dialogue.versions.change(lambda _: self.dialogue.history.reordered(left, now, now))
        self.plain.gone -= {*left}
        groups: list[tuple[int, list[Line]]] = [(-1, [])]
        for line in self.plain.now:
            if line.cell in left:
                back = replace(line, away=False)
                groups.append((left.index(line.cell), [back]))
            else:
                away = line.away or (line.cell != "" and line.cell not in self.plain.gone)
                groups[-1][1].append(Line(line.cell, line.run, line.asked, line.answer, away))
        groups.sort(key=lambda group: group[0])
        self.plain.change([line for _, lines in groups for line in lines])

    @rule()
    def undo(self) -> None:
        self.dialogue.versions.undo()
        self.plain.move(-1)

    @rule()
    def redo(self) -> None:
        self.dialogue.versions.redo()
        self.plain.move(1)

    @rule()
    def reset(self) -> None:
        self.dialogue.versions.reset()
        self.plain.change([])

    @rule(name=st.sampled_from(["idea", "other", "third"]))
    def fork_or_switch(self, name: str) -> None:
        history = self.dialogue.history
        if name in self.plain.branches:
            self.dialogue.versions.change(lambda _: history.switch(name))
        else:
            self.dialogue.versions.change(lambda _: history.fork(name))
            versions, at = self.plain.branches[self.plain.on]
            self.plain.branches[name] = (versions[: at + 1], at)
        self.plain.on = name

    @rule(seconds=st.sampled_from([1, 200, 400]))
    def wait(self, seconds: int) -> None:
        self.server.clock.advance(seconds)

    @precondition(lambda self: self.plain.now)
    @rule()
    def restart_and_resume(self) -> None:
        self.start()
        persistence.resume(self.dialogue, self.recorder)

    @invariant()
    def the_turns_are_the_same(self) -> None:
        if hasattr(self, "plain"):
            listed = [
                (t.prompt_text, t.answer_text, t.detached is not None)
                for t in self.dialogue.history.current.all_turns
            ]
            assert listed == [(line.asked, line.answer, self.plain.away(line)) for line in self.plain.now]
            assert not self.recorder.problem


def said(server: WireServer) -> list[str]:
    """The texts of the last request's messages, in order."""
    return [
        message["content"] if isinstance(message["content"], str) else message["content"][0]["text"]
        for message in server.requests[-1].messages
    ]


def test_requests_match_a_plain_list_of_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in import_in_portions():
        pass
    with WireServer(clock=Clock(1_000_000.0)) as server:
        for name, value in server.env().items():
            monkeypatch.setenv(name, value)
        Notebook.server, Notebook.loop = server, asyncio.new_event_loop()
        Notebook.TestCase.settings = settings(
            max_examples=80, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        )
        case = Notebook.TestCase()
        case.runTest()
        Notebook.loop.close()
