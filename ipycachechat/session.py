"""One kernel's chat, and all that lives as long as the extension is loaded: what `%unload_ext` takes away."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

from ipycachechat.core.events import Done, Event
from ipycachechat.core.plan import NOTEBOOK
from ipycachechat.dialogue import Dialogue
from ipycachechat.model import litellm_import
from ipycachechat.model.loop import BackgroundLoop
from ipycachechat.notebook import cell, front, markdown
from ipycachechat.notebook.idle import IdleWork
from ipycachechat.notebook.live import LiveBadges
from ipycachechat.notebook.questions import keep_question_marks
from ipycachechat.notebook.screen import NotebookScreen, Screen, TerminalScreen
from ipycachechat.rounds import Ask

# The conversation waits here while the extension is reloaded.
PARKED = "ipycachechat"
T = TypeVar("T")


class Session:
    """The chat, its background loop, its live badges and its idle work, tied to one shell."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.dialogue = shell.meta.pop(PARKED, None) or Dialogue(pace=NOTEBOOK)
        self.loop = BackgroundLoop()
        self._badges = LiveBadges()
        self._warming: Future[None] | None = None
        self._idle = IdleWork(_heavy(), litellm_import.warm_up)
        self._events: list[tuple[str, Callable[..., None]]] = [
            ("pre_run_cell", self._badges.freeze),
            ("pre_run_cell", self._idle.pause),
            ("post_run_cell", self._idle.arm),
        ]
        for name, callback in self._events:
            shell.events.register(name, callback)
        shell.input_transformers_cleanup.append(keep_question_marks)
        atexit.register(self._at_exit)

    @property
    def now(self) -> float:
        """Seconds of the clock by which the cache's lifetimes run."""
        return self.dialogue.engine.clock()

    def ask(self, ask: Ask) -> Done:
        """Send a prompt from the running cell, show what comes, and keep it."""
        screen = self._screen()

        def start(tell: Callable[[Event], None]) -> Future[Done]:
            sending = self.dialogue.sending(ask)
            screen.waiting(sending, 0)
            for _ in _heavy():
                pass
            return self.loop.submit(self.dialogue.send(ask, tell))

        return cell.run(start, screen)

    def wait(self, work: Callable[[Callable[[Event], None]], Coroutine[Any, Any, T]]) -> T:
        """Run something that shows no more than how far it is. Raises what it raises; the stop button cancels it."""

        def start(tell: Callable[[Event], None]) -> Future[T]:
            for _ in _heavy():
                pass
            return self.loop.submit(work(tell))

        return cell.wait(start, self._screen())

    def _screen(self) -> Screen:
        if not front.draws(self.shell):
            return TerminalScreen()
        live = front.somebody_is_there(self.shell)
        return NotebookScreen(lambda done: self._badges.show(done, live=live))

    def keep_warm(self, ask: Ask, seconds: float) -> None:
        """Keep the cache warm in the background, in place of what did so before; 0 seconds: no longer."""
        if self._warming is not None:
            self._warming.cancel()
        self._warming = self.loop.submit(self.dialogue.keep_warm(ask, seconds)) if seconds else None

    def close(self) -> None:
        """Leave nothing behind but the conversation, which a reload takes up again."""
        for name, callback in self._events:
            self.shell.events.unregister(name, callback)
        self.shell.input_transformers_cleanup.remove(keep_question_marks)
        atexit.unregister(self._at_exit)
        self._at_exit()
        self.shell.meta[PARKED] = self.dialogue

    def _at_exit(self) -> None:
        self._idle.stop()
        self._badges.freeze()
        if self.loop.running:
            self.loop.submit(self.dialogue.stop()).result(timeout=10)
            self.loop.stop()


def _heavy() -> Iterator[str]:
    """Import what `%load_ext` has no time for, in portions: in idle time, else under the placeholder."""
    yield from litellm_import.portions()
    markdown.to_html("")
    yield "markdown"


def read_dotenv() -> None:
    """Take over what `.env` (here or above) sets and the environment does not."""
    from dotenv import dotenv_values, find_dotenv

    for name, value in dotenv_values(find_dotenv(usecwd=True)).items():
        if value is not None:
            os.environ.setdefault(name, value)
