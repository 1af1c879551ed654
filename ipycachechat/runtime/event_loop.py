"""The one background event loop on which all network work of this process runs.

There is only one, since litellm keeps one HTTP session per provider and process: a second loop that asks the same
provider would close the connections of the first.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Coroutine
from concurrent.futures import Future, wait
from typing import Any, TypeVar

T = TypeVar("T")
STOP_TIMEOUT = 10.0
"""Seconds that cancelled work may take to end."""
CANCEL_ROUNDS = 4
"""Number of times that all tasks are cancelled: closing a connection starts another task."""


class _LoopThread:
    """An event loop in a daemon thread, and the number of its users."""

    def __init__(self) -> None:
        self.users = 0
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, name="ipycachechat", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()

    def release(self) -> None:
        """Remove a user. The garbage collector may call this on any thread, so the loop itself does the work."""
        if self.thread.is_alive() and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._remove_user)

    def _remove_user(self) -> None:
        global _shared
        with _lock:
            self.users -= 1
            if self.users:
                return
            if _shared is self:
                _shared = None
        self._stopping = self.loop.create_task(self._stop())

    async def _stop(self) -> None:
        """Cancel all tasks (litellm leaves workers waiting), then end the thread."""
        for _ in range(CANCEL_ROUNDS):
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.loop.shutdown_asyncgens()
            await asyncio.sleep(0)
        self.loop.stop()


_lock = threading.Lock()
_shared: _LoopThread | None = None


def _acquire() -> _LoopThread:
    """Return the loop of this process with one more user; it starts with its first user."""
    global _shared
    with _lock:
        if _shared is None or not _shared.thread.is_alive():  # a forked process has no threads
            _shared = _LoopThread()
        _shared.users += 1
        return _shared


class BackgroundLoop:
    """A user of the loop: from the first coroutine until `stop`, or until it is garbage-collected."""

    def __init__(self) -> None:
        self._thread: _LoopThread | None = None
        self._futures: set[Future[Any]] = set()
        self._release: weakref.finalize[[], BackgroundLoop] | None = None

    @property
    def running(self) -> bool:
        """True if the loop is in use here and its thread is alive."""
        return self._thread is not None and self._thread.thread.is_alive()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start the coroutine; cancelling the future cancels its task."""
        if self._thread is None or not self.running:
            self._thread = _acquire()
            self._release = weakref.finalize(self, self._thread.release)
        future = asyncio.run_coroutine_threadsafe(work, self._thread.loop)
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        return future

    def stop(self) -> None:
        """Cancel the coroutines that were submitted here, wait for them, and release the loop."""
        thread, release = self._thread, self._release
        if thread is None or release is None:
            return
        if self.running:
            futures = [*self._futures]
            for future in futures:
                future.cancel()
            wait(futures, timeout=STOP_TIMEOUT)
            # A cancelled future is done at once, but its task only some iterations of the loop later.
            asyncio.run_coroutine_threadsafe(_iterate(3), thread.loop).result(timeout=STOP_TIMEOUT)
        release()
        self._thread = self._release = None
        if thread.users <= 1:
            thread.thread.join(timeout=STOP_TIMEOUT)


async def _iterate(times: int) -> None:
    """Let the loop run its other tasks."""
    for _ in range(times):
        await asyncio.sleep(0)
