"""One kernel's chat, and all that lives as long as the extension is loaded: what `%unload_ext` takes away."""

from __future__ import annotations

import atexit
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ipycachechat.notebook import frontend
from ipycachechat.notebook.cell_watcher import CellWatcher
from ipycachechat.notebook.display.live_badges import LiveBadges
from ipycachechat.notebook.idle_tasks import IdleWork
from ipycachechat.notebook.lookups import CellLookups
from ipycachechat.notebook.question_marks import keep_question_marks

if TYPE_CHECKING:
    from ipycachechat.conversation.events import Event
    from ipycachechat.conversation.messages import Part
    from ipycachechat.conversation.turns import CellRef, Turn
    from ipycachechat.engine.events import TurnResult
    from ipycachechat.engine.session import ChatSession
    from ipycachechat.engine.turn_request import TurnRequest
    from ipycachechat.notebook.deleted_cells import DeletedCellTracker
    from ipycachechat.notebook.display.inspector import Inspector
    from ipycachechat.notebook.display.screen import Outputs, Screen
    from ipycachechat.notebook.notebook_file import NotebookFile
    from ipycachechat.runtime.event_loop import BackgroundLoop
    from ipycachechat.storage.recorder import Recorder

# The conversation waits here while the extension is reloaded.
EXTENSION_KEY = "ipycachechat-loaded"
"""The key in `shell.meta` of the loaded magics and of the magics that they replaced."""
SESSION_KEY = "ipycachechat"
T = TypeVar("T")
DRAWN_ANEW = 1000
"""Answers, the latest, that are drawn where they stand when their cell is run again, or when they become stale."""


class NotebookSession:
    """The chat, its background loop, its live badges and its idle work, tied to one shell."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.notebook = frontend.notebook(shell)
        self.name = str(self.notebook or Path.cwd())
        """Under which the conversation is kept."""
        self.where: Callable[[], Path | None] = lambda: None
        """The file in which it is kept, if it is."""
        self.settings: Callable[[], dict[str, Any]] = dict
        """Those that are kept with it."""
        self.limits: Callable[[], tuple[float, float]] = lambda: (0.0, 0.0)
        """Dollars that this kernel may spend, and all kernels in a day; 0: no budget."""
        self.watch: Callable[[], str] = lambda: "off"
        """What of the cells that run goes along with prompts."""
        self._dialogue: ChatSession | None = None
        self._recorder: Recorder | None = None
        self._loop: BackgroundLoop | None = None
        self._outputs: dict[tuple[CellRef | None, float], Outputs] = {}
        """Where each turn's answer stands, by its cell and the time at which it was asked."""
        self._presence: DeletedCellTracker | None = None
        self._started = 0.0
        """When the last cell did."""
        self._badges = LiveBadges()
        self._inspector: Inspector | None = None
        self._warming: Future[None] | None = None
        self._idle = IdleWork(_heavy(), _warm_up)
        self.earlier = CellLookups(shell)
        self.watching = CellWatcher(shell, lambda: self.watch())
        self._told: dict[str, dict[str, int]] = {}
        """Of each cell that has asked, what its values were, as hashes."""
        self._events: list[tuple[str, Callable[..., None]]] = [
            ("pre_run_cell", self._badges.freeze),
            ("pre_run_cell", self._idle.pause),
            ("pre_run_cell", self._notice),
            ("pre_run_cell", self.watching.begins),
            ("post_run_cell", self._idle.arm),
            ("post_run_cell", self.earlier.on_cell_run),
            ("post_run_cell", self.watching.ran),
        ]
        for name, callback in self._events:
            shell.events.register(name, callback)
        shell.input_transformers_cleanup.append(keep_question_marks)
        atexit.register(self._at_exit)

    @property
    def chat(self) -> ChatSession:
        """The conversation, made or taken up again when it is first asked for."""
        if self._dialogue is None:
            from ipycachechat.caching.planner import NOTEBOOK
            from ipycachechat.engine import persistence
            from ipycachechat.engine.session import ChatSession
            from ipycachechat.storage.recorder import Recorder

            dialogue, self._recorder = self.shell.meta.pop(SESSION_KEY, None) or (
                ChatSession(pace=NOTEBOOK),
                Recorder(self.name),
            )
            self._recorder.start(self.where, self.settings)
            if dialogue.observer is None:
                persistence.connect(dialogue, self._recorder)
            dialogue.client.budgets.limits = lambda: self.limits()
            self._dialogue = dialogue
        return self._dialogue

    @property
    def recorder(self) -> Recorder:
        """What writes the conversation down."""
        assert self.chat is not None and self._recorder is not None
        return self._recorder

    @property
    def loop(self) -> BackgroundLoop:
        """That of the network."""
        if self._loop is None:
            from ipycachechat.runtime.event_loop import BackgroundLoop

            self._loop = BackgroundLoop()
        return self._loop

    @property
    def inspector(self) -> Inspector:
        """What `%chat usage` shows, drawn anew after every cell that has changed it."""
        if self._inspector is None:
            from ipycachechat.notebook.display.inspector import Inspector

            self._inspector = Inspector(lambda: self.chat)
            self._events.append(("post_run_cell", self._inspector.redraw))
            self.shell.events.register("post_run_cell", self._inspector.redraw)
        return self._inspector

    @property
    def now(self) -> float:
        """Seconds of the clock by which the cache's lifetimes run."""
        return self.chat.client.clock()

    @property
    def begun(self) -> bool:
        """Whether there is a conversation in this kernel, parked or not."""
        return self._dialogue is not None or SESSION_KEY in self.shell.meta

    @property
    def last_asked(self) -> float:
        """When the last prompt was, in seconds of the clock; 0: never."""
        return (
            max((turn.asked_at for turn in self.chat.history.current.all_turns), default=0.0)
            if self.begun
            else 0.0
        )

    def ask(self, ask: TurnRequest, again: Turn | None = None) -> TurnResult:
        """Send a prompt from the running cell, show what comes, and keep it.

        `again`: the turn whose outputs are to show it, if they are known.
        """
        from ipycachechat.notebook import cell_runner

        outputs = self._outputs.get((again.cell, again.asked_at)) if again is not None else None
        screen = self._screen(outputs)

        def prepare() -> None:
            screen.show_status(self.chat.sending(ask), 0)
            _import_all()

        try:
            done = cell_runner.run(
                lambda tell: self.chat.send(ask, tell),
                self.loop.submit,
                screen,
                prepare,
                last=frontend.is_chat(self.shell),
            )
        finally:
            self.print_problems()
        if done.turn is not None and screen.outputs is not None:
            self._outputs[done.turn.cell, done.turn.asked_at] = screen.outputs
            if len(self._outputs) > DRAWN_ANEW:
                del self._outputs[next(iter(self._outputs))]
        if self._inspector is not None:  # here already, since one cell may ask many times
            self._inspector.redraw()
        return done

    def can_redraw(self, turn: Turn) -> bool:
        """Whether a turn's own outputs can be drawn anew."""
        return (turn.cell, turn.asked_at) in self._outputs

    def print_problems(self) -> None:
        """Say what is wrong with the files in which the conversation and the replies are kept, once."""
        if self._dialogue is None:
            return
        for discovery in (self.recorder, self._dialogue.client.cassette):
            if discovery is not None and (problem := discovery.problem):
                print(problem)  # noqa: T201

    def wait(self, work: Callable[[Callable[[Event], None]], Coroutine[Any, Any, T]]) -> T:
        """Run something that shows no more than how far it is. Raises what it raises; the stop button cancels it."""
        from ipycachechat.notebook import cell_runner

        return cell_runner.wait(work, self.loop.submit, self._screen(), _import_all)

    def _screen(self, outputs: Outputs | None = None) -> Screen:
        from ipycachechat.notebook.display import terminal
        from ipycachechat.notebook.display.screen import NotebookScreen

        if not frontend.can_update_displays(self.shell):
            return terminal.screen()
        live = frontend.stdin_available(self.shell)
        return NotebookScreen(
            lambda done, name: self._badges.show(done, name, live=live),
            outputs,
            alone=frontend.is_only_output(self.shell),
        )

    def keep_warm(self, ask: TurnRequest, seconds: float) -> None:
        """Keep the cache warm in the background, in place of what did so before; 0 seconds: no longer."""
        if self._warming is not None:
            self._warming.cancel()
        self._warming = self.loop.submit(self.chat.keep_warm(ask, seconds).run()) if seconds else None

    def saved(self) -> NotebookFile:
        """The notebook as it was saved. Raises BadInput where nobody says which it is."""
        from ipycachechat.errors import BadInput
        from ipycachechat.notebook import notebook_file

        if self.notebook is None:
            raise BadInput(
                "This kernel is not told which notebook it belongs to",
                "JupyterLab, Notebook and VS Code tell it; a terminal has no notebook.",
            )
        return notebook_file.read(self.notebook)

    def changed_values(self, values: Mapping[str, Part]) -> list[str]:
        """Which values are told otherwise than when the running cell asked before, by their expressions."""
        cell_runner = frontend.cell(self.shell)
        if cell_runner is None:
            return []
        before, now = self._told.pop(cell_runner.id, {}), {one: hash(told) for one, told in values.items()}
        if now:
            self._told[cell_runner.id] = now
        return [one for one, told in now.items() if before.get(one, told) != told]

    def _notice(self, *_: object) -> None:
        """A cell starts, and the front end reports which others have been deleted."""
        since, self._started = self._started, time.time()
        if not self.begun:
            return
        if self._presence is None:
            from ipycachechat.notebook.deleted_cells import DeletedCellTracker

            self._presence = DeletedCellTracker(self.notebook)
        self._presence.on_cell_start(self.chat, frontend.deleted(self.shell), since)

    def resume(self, notebook: str) -> tuple[dict[str, Any], float]:
        """Take up what an earlier kernel left of this notebook, or of another; what this one has said stays a branch.

        The settings that held, and until when something is warm (0: nothing). Raises BadInput.
        """
        from ipycachechat.engine import persistence

        stored = persistence.resume(self.chat, self.recorder, notebook)
        return stored.settings, stored.warm_until

    def found(self) -> str:
        """What an earlier kernel left of this notebook, in one line; "" if nothing."""
        import sqlite3

        from ipycachechat.storage import discovery

        try:
            path = self.where()
            if path is None or self.begun:
                return ""
            found = discovery.find_stored(path, self.name)
        except (sqlite3.Error, OSError, ValueError, RuntimeError) as error:
            return f"what is kept cannot be read ({error})"
        return found.sentence if found else ""

    def close(self) -> None:
        """Leave nothing behind but the conversation, which a reload takes up again."""
        for name, callback in self._events:
            self.shell.events.unregister(name, callback)
        self.shell.input_transformers_cleanup.remove(keep_question_marks)
        self.watching.close()
        atexit.unregister(self._at_exit)
        self._at_exit()
        if self._dialogue is not None:
            self.recorder.stop()
            now = self.limits()  # they go on holding for its forks
            self._dialogue.client.budgets.limits = lambda: now
            self.shell.meta[SESSION_KEY] = self._dialogue, self._recorder

    def _at_exit(self) -> None:
        self._idle.stop()
        self._badges.freeze()
        if self._loop is not None and self._loop.running:
            self._loop.submit(self.chat.stop()).result(timeout=10)
            self._loop.stop()
        if self._dialogue is not None:
            self.recorder.flush(self._dialogue.history)


def _heavy() -> Iterator[str]:
    """Import what `%load_ext` has no time for, in portions: in idle time, else under the placeholder."""
    from ipycachechat.providers import litellm_import
    from ipycachechat.rendering import markdown

    yield from litellm_import.portions()
    markdown.to_html("")
    yield "markdown"
    from ipycachechat.text import redaction  # noqa: F401 # whose patterns take a moment to make

    yield "masking"


def _import_all() -> None:
    for _ in _heavy():
        pass


async def _warm_up() -> None:
    from ipycachechat.providers import litellm_import

    await litellm_import.warm_up()
