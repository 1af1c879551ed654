"""Kernels for the tests of chat cells, one per worker: starting one and importing litellm takes four seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.kernels import ForkedKernel, Kernel
from wire import Clock, WireServer
from wire.replies import default_reply

from ipycachechat.notebook import SESSION_KEY

# Recorded once, when the kernel has started; `FORGET` restores it.
REMEMBER = """
import os as _os
import ipycachechat.notebook.settings as _settings
_limits = _settings.DEFAULT_LIMITS
_environment, _folder = dict(_os.environ), _os.getcwd()
"""
# `%reset` collects all garbage, which takes a second once litellm is imported.
FORGET = f"""
get_ipython().meta.pop({SESSION_KEY!r}, None)
get_ipython().config.pop("ChatMagics", None)
_settings.DEFAULT_LIMITS = _limits
_os.chdir(_folder)
_os.environ.clear()
_os.environ.update(_environment)
for _name in set(globals()) - {{"In", "Out", "get_ipython", "exit", "quit", "open"}}:
    if not _name.startswith("_"):
        del globals()[_name]
"""


@pytest.fixture(scope="session")
def clock() -> Clock:
    """The provider's clock, which moves only when a test advances it."""
    return Clock()


@pytest.fixture(scope="session")
def server(clock: Clock) -> Iterator[WireServer]:
    with WireServer(clock=clock) as server:
        yield server


@pytest.fixture(scope="session")
def shared_kernel(server: WireServer) -> Iterator[Kernel]:
    """The kernel of this worker's tests."""
    with ForkedKernel(server.env()) as kernel:
        kernel.run(REMEMBER)
        kernel.run("%load_ext ipycachechat")
        yield kernel


@pytest.fixture
def wire(server: WireServer) -> WireServer:
    """The wire server without requests, caches or scripts."""
    server.clear()
    server.forget()
    server.always, server.context_limit = default_reply, None
    server.clock.stand_still()
    return server


@pytest.fixture
def kernel(shared_kernel: Kernel, wire: WireServer) -> Kernel:
    """A kernel in its first state: no names, files, settings or conversation, no record of cached prefixes."""
    for leftover in Path(shared_kernel.folder.name).glob("*.json"):
        if leftover != Path(shared_kernel.manager.connection_file):
            leftover.unlink()
    shared_kernel.run("%unload_ext ipycachechat")
    shared_kernel.run(FORGET)
    shared_kernel.run("%load_ext ipycachechat")
    return shared_kernel
