"""The wire server with a clock that stands still until a test moves it, and a conversation with it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from support.talks import Talk
from wire import Clock, WireServer

from ipycachechat.providers.litellm_import import import_in_portions


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    for _ in import_in_portions():
        pass
    loop = asyncio.new_event_loop()
    yield loop
    loop.run_until_complete(_end_others())
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


async def _end_others() -> None:
    """Litellm leaves a worker waiting."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


@pytest.fixture(scope="module")
def server() -> Iterator[WireServer]:
    with WireServer(clock=Clock(1_000_000.0)) as server:
        yield server


@pytest.fixture(autouse=True)
def _addresses(server: WireServer, _no_real_keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.env().items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def talk(server: WireServer, loop: asyncio.AbstractEventLoop) -> Talk:
    return Talk(server, loop)
