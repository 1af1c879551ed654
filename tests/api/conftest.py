"""A provider on a clock that stands still, for chats from Python."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from wire import Clock, WireServer
from wire.replies import default_reply


@pytest.fixture(scope="module")
def _server() -> Iterator[WireServer]:
    with WireServer(clock=Clock(1_000_000.0)) as server:
        yield server


@pytest.fixture
def server(_server: WireServer, _no_real_keys: None, monkeypatch: pytest.MonkeyPatch) -> WireServer:
    _server.clear()
    _server.forget()
    _server.always = default_reply
    for name, value in _server.env().items():
        monkeypatch.setenv(name, value)
    return _server
