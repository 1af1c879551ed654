"""The one background event loop on which all network work of this process runs.

One, since litellm keeps one session for a provider in a process: a second loop that asks the same provider closes the
first one's connections.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Coroutine
from concurrent.futures import Future, wait
from typing import Any, TypeVar

T = TypeVar("T")
ENDING = 10.0
"""Seconds that cancelled work may take."""
ROUNDS = 4
"""Of cancelling: what closes a connection makes a task for it."""


class _Running:
    """A loop in a thread of its own, and how many hold it."""

    def __init__(self) -> None:
        self.holders = 0
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, name="ipycachechat", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()

    async def end(self) -> None:
        """Cancel what runs (litellm leaves workers waiting), then end the thread."""
        for _ in range(ROUNDS):
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await self.loop.shutdown_asyncgens()
            await asyncio.sleep(0)
        self.loop.stop()


class _Place:
    """Where the loop of this process is, while anybody holds it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: _Running | None = None

    def hold(self) -> _Running:
        """The loop, started if it was not in use."""
        with self._lock:
            if self._running is None or not self._running.thread.is_alive():  # a fork has no threads
                self._running = _Running()
            self._running.holders += 1
            return self._running

    def let_go(self, running: _Running) -> None:
        """End the loop with the last that held it; soon, and not here: garbage is collected on any thread."""
        if running.thread.is_alive() and not running.loop.is_closed():
            running.loop.call_soon_threadsafe(self._count_down, running)

    def _count_down(self, running: _Running) -> None:
        """On the loop itself."""
        with self._lock:
            running.holders -= 1
            if running.holders:
                return
            if self._running is running:
                self._running = None
        self._ending = running.loop.create_task(running.end())


_PLACE = _Place()


class BackgroundLoop:
    """A hold on the loop of this process: taken at first use, let go with `stop`, or when it is collected."""

    def __init__(self) -> None:
        self._running: _Running | None = None
        self._mine: set[Future[Any]] = set()
        self._release: weakref.finalize[[_Running], BackgroundLoop] | None = None

    @property
    def running(self) -> bool:
        """True if the loop is held and its thread is there."""
        return self._running is not None and self._running.thread.is_alive()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start the coroutine; cancelling the future cancels its task."""
        if self._running is None or not self._running.thread.is_alive():
            self._running = _PLACE.hold()
            self._release = weakref.finalize(self, _PLACE.let_go, self._running)
        future = asyncio.run_coroutine_threadsafe(work, self._running.loop)
        self._mine.add(future)
        future.add_done_callback(self._mine.discard)
        return future

    def stop(self) -> None:
        """Cancel what was started here, wait for it, and let the loop go."""
        if self._running is None or self._release is None:
            return
        if self._running.thread.is_alive():
            mine = [*self._mine]
            for future in mine:
                future.cancel()
            wait(mine, timeout=ENDING)
            # A future is done when it is cancelled, its task not before the loop has come round to it.
            asyncio.run_coroutine_threadsafe(_settle(), self._running.loop).result(timeout=ENDING)
        running = self._running
        self._release()
        self._running = self._release = None
        if running.holders <= 1:
            running.thread.join(timeout=ENDING)


async def _settle() -> None:
    """Let cancelled tasks come to their end."""
    for _ in range(3):
        await asyncio.sleep(0)
