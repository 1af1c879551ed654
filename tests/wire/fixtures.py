"""Fixtures for tests that talk to a provider; import them in a conftest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .server import WireServer


@pytest.fixture
def wire() -> Iterator[WireServer]:
    """A running loopback server; its clock moves only when a test advances it."""
    with WireServer() as server:
        yield server
