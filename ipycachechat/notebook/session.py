"""NotebookSession: one kernel's conversation, recorder, event hooks and loop, from `%load_ext` to `%unload_ext`."""

from __future__ import annotations

import atexit
import os
import sqlite3
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipycachechat import defaults
from ipycachechat.notebook import SESSION_KEY, frontend
from ipycachechat.notebook.cell_watcher import CellWatcher
from ipycachechat.notebook.idle_tasks import IdleWork
from ipycachechat.notebook.lookups import CellLookups
from ipycachechat.notebook.settings import ChatSettings
from ipycachechat.storage import discovery
from ipycachechat.text.sanitize import clean

if TYPE_CHECKING:
    from ipycachechat.conversation.turns import Turn
    from ipycachechat.engine.events import TurnResult
    from ipycachechat.engine.session import ChatSession
    from ipycachechat.engine.turn_request import TurnRequest
    from ipycachechat.notebook.cell_runner import CellRunner
    from ipycachechat.notebook.display.inspector import Inspector
    from ipycachechat.notebook.tool_registry import ToolRegistry
    from ipycachechat.runtime.event_loop import BackgroundLoop
    from ipycachechat.storage.recorder import Recorder


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptSession:
    """The state that outlives a reload of the extension."""

    settings: Mapping[str, Any]
    """The settings that were changed, by name."""
    chat: tuple[ChatSession, Recorder] | None
    tools: ToolRegistry | None
    warm: tuple[TurnRequest, float] | None
    """The request that keeps the cache warm, and until when (`time.time()`)."""


class NotebookSession:
    """One kernel's conversation and everything around it.

    `%load_ext` creates it and must be quick, so whatever needs the engine is imported and created at first use.
    """

    def __init__(self, shell: Any, settings: ChatSettings, kept: KeptSession | None = None) -> None:
        """`kept`: the state from before a reload."""
        self.shell = shell
        self.settings = settings
        self.notebook = frontend.notebook(shell)
        self.name = str(self.notebook or Path.cwd())
        """Name under which the conversation is stored."""
        self.lookups = CellLookups(shell)
        self.watcher = CellWatcher(shell, lambda: str(settings.watch))
        self._chat: ChatSession | None = None
        self._recorder: Recorder | None = None
        self._kept = kept
        self._keepalive: Future[None] | None = None
        self._warm: tuple[TurnRequest, float] | None = None
        self._idle = IdleWork()
        self._events: list[tuple[str, Callable[..., None]]] = []
        self._register("pre_run_cell", self._idle.pause, self.watcher.on_cell_start)
        self._register("post_run_cell", self._idle.arm, self.lookups.on_cell_end, self.watcher.on_cell_end)
        atexit.register(self._at_exit)
        settings.observe(self._on_watch_change, "watch")
        settings.observe(lambda change: self.chat.versions.set_system(change["new"]), "system")
        if kept is not None and kept.chat is not None:
            self._open()  # at once, so that deleted cells are noticed
        elif settings.system:
            self.chat.versions.set_system(settings.system)
        if kept is not None and kept.warm is not None and (seconds := kept.warm[1] - time.time()) > 0:
            self.keep_warm(kept.warm[0], seconds)

    @property
    def has_chat(self) -> bool:
        """True if this kernel has a conversation already; `chat` creates it."""
        return self._chat is not None

    @property
    def chat(self) -> ChatSession:
        """The conversation, created at first use or taken over from before a reload."""
        return self._open()[0]

    @property
    def recorder(self) -> Recorder:
        """The writer of the conversation's store."""
        return self._open()[1]

    def _open(self) -> tuple[ChatSession, Recorder]:
        if self._chat is None or self._recorder is None:
            from ipycachechat.caching.planner import NOTEBOOK
            from ipycachechat.engine import persistence
            from ipycachechat.engine.client import ModelClient
            from ipycachechat.engine.session import ChatSession
            from ipycachechat.notebook.deleted_cells import DeletedCellTracker
            from ipycachechat.storage.recorder import Recorder

            chat, recorder = (self._kept.chat if self._kept is not None else None) or (
                ChatSession(client=ModelClient(pauses=NOTEBOOK)),
                Recorder(self.name),
            )
            recorder.start(self.settings.store_file, self._saved_settings)
            if chat.versions.observer is None:
                persistence.connect(chat, recorder)
            chat.client.budgets.set_limits(self.settings.budgets)
            self._register("pre_run_cell", DeletedCellTracker(self.shell, chat).on_cell_start)
            self._chat, self._recorder = chat, recorder
        return self._chat, self._recorder

    @cached_property
    def loop(self) -> BackgroundLoop:
        """The event loop of the network work."""
        from ipycachechat.runtime.event_loop import BackgroundLoop

        return BackgroundLoop()

    @cached_property
    def tools(self) -> ToolRegistry:
        """The functions that the model may call."""
        from ipycachechat.notebook.tool_registry import ToolRegistry

        kept = self._kept.tools if self._kept is not None else None
        return kept or ToolRegistry(self.shell.user_ns)

    @cached_property
    def runner(self) -> CellRunner:
        """The runner of turn requests in the running cell."""
        from ipycachechat.notebook.cell_runner import CellRunner

        runner = CellRunner(self.shell, self.chat, self.loop)
        self._register("pre_run_cell", runner.badges.freeze)
        return runner

    @cached_property
    def inspector(self) -> Inspector:
        """The output of `%chat usage`, redrawn after every cell that changes it."""
        from ipycachechat.notebook.display.inspector import Inspector

        inspector = Inspector(self.chat)
        self._register("post_run_cell", inspector.redraw)
        return inspector

    def model_in_use(self) -> str:
        """Return the model of the next request: the setting, else by the keys in the environment, else `local`."""
        setting = str(self.settings.model).strip()
        name = setting or defaults.default_model(os.environ)
        if name == defaults.LOCAL and not setting and self._chat is not None:
            # Without a key, as in CI: the model whose recorded replies are replayed.
            cassette = self._chat.client.cassette
            return (cassette.model if cassette is not None else "") or name
        return name

    def ask(self, request: TurnRequest, redraw: Turn | None = None) -> TurnResult:
        """Send a request from the running cell, draw the answer and return the result.

        `redraw`: the turn whose earlier outputs show the answer, if they can still be redrawn.
        """
        try:
            result = self.runner.ask(request, redraw)
        finally:
            self.print_problems()
        if "inspector" in vars(self):  # used before; now, since a cell may send many requests
            self.inspector.redraw()
        return result

    def print_problems(self) -> None:
        """Print problems of the store and of the file of recorded replies; each once."""
        if self._chat is None:
            return
        for file in (self.recorder, self._chat.client.cassette):
            if file is not None and (problem := file.problem):
                print(clean(problem))  # noqa: T201

    def keep_warm(self, request: TurnRequest, seconds: float) -> None:
        """Keep the cache warm in the background for so many seconds (0: stop), instead of an earlier keepalive."""
        if self._keepalive is not None:
            self._keepalive.cancel()
        self._warm = (request, time.time() + seconds) if seconds else None
        self._keepalive = self.loop.submit(self.chat.keep_warm(request, seconds).run()) if seconds else None

    def resume(self, notebook: str) -> tuple[list[str], float]:
        """Continue the conversation that an earlier kernel stored for this notebook ("") or for the named one.

        This kernel's turns become a branch. Return the names of the tools that are not defined here, and the time
        at which the cached part expires (0: nothing was cached). Raises BadInput.
        """
        from ipycachechat.engine import persistence

        stored = persistence.resume(self.chat, self.recorder, notebook)
        saved = stored.settings
        if (model := saved.get("model")) and model != self.model_in_use():
            self.settings.model = model
        self.settings.restore(saved)
        return self.tools.restore(saved), stored.warm_until

    def _saved_settings(self) -> dict[str, Any]:
        """Return the settings that are stored with the conversation."""
        return {"model": self.model_in_use(), **self.settings.to_save(), **self.tools.to_save()}

    def find_stored(self) -> str:
        """Return a line about the stored conversation of this notebook; "" if there is none."""
        try:
            path = self.settings.store_file()
            if path is None or self.has_chat:
                return ""
            stored = discovery.find_stored(path, self.name)
        except (sqlite3.Error, OSError, ValueError, RuntimeError) as error:
            return f"The stored conversations cannot be read ({error})"
        return stored.sentence if stored else ""

    def close(self) -> None:
        """Remove everything but what a reload takes up: the conversation, the settings, the tools, the keepalive."""
        changes = self.settings.changes
        for event, callback in self._events:
            self.shell.events.unregister(event, callback)
        self.settings.unobserve_all()
        self.watcher.close()
        atexit.unregister(self._at_exit)
        self._at_exit()
        if self._chat is not None:
            self.recorder.stop()
            budgets = self.settings.budgets()  # they go on limiting its forks
            self._chat.client.budgets.set_limits(lambda: budgets)
        chat = (self._chat, self._recorder) if self._chat is not None and self._recorder is not None else None
        self.shell.meta[SESSION_KEY] = KeptSession(
            settings=changes,
            chat=chat,
            tools=vars(self).get("tools") or (self._kept.tools if self._kept is not None else None),
            warm=self._warm,
        )

    def _register(self, event: str, *callbacks: Callable[..., None]) -> None:
        for callback in callbacks:
            self.shell.events.register(event, callback)
            self._events.append((event, callback))

    def _on_watch_change(self, change: Any) -> None:
        """Forget the cells that ran before the last prompt: another setting, or none, applied to them."""
        if change["new"] != "off":
            turns = self._chat.history.current.all_turns if self._chat is not None else ()
            self.watcher.forget_until(max((turn.asked_at for turn in turns), default=0.0))

    def _at_exit(self) -> None:
        self._idle.stop()
        if "runner" in vars(self):
            self.runner.badges.freeze()
        if "loop" in vars(self) and self.loop.running:
            self.loop.submit(self.chat.stop()).result(timeout=10)
            self.loop.stop()
        if self._chat is not None:
            self.recorder.flush(self._chat.history)
