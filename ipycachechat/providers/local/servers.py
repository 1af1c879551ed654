"""Start, find and stop local llama.cpp servers.

`LocalServers` starts a server for each GGUF at its first use and returns its address; from then on it is a provider
like any other with OpenAI's protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import re
import secrets
import signal
import subprocess
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from ipycachechat.conversation.events import Progress
from ipycachechat.errors import LocalModelError
from ipycachechat.providers.local.weights import MODEL, ensure_weights

SERVER = Path(__file__).with_name("server_process.py")


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Base URL, key and name of a local model, and its context length in tokens."""

    api_base: str
    api_key: str = field(repr=False)
    name: str
    n_ctx: int


@dataclass(slots=True)
class _Server:
    """The server process of one GGUF, if it runs, and its address."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    process: Process | None = None
    address: ServerAddress | None = None

    @property
    def running_address(self) -> ServerAddress | None:
        """Address of the server; None if it does not run."""
        return self.address if self.process is not None and self.process.returncode is None else None

    async def start(self, path: Path, name: str, progress: Callable[[Progress], None]) -> ServerAddress:
        """Start the process, and return its address once it has loaded the GGUF and answers."""
        progress(Progress(f"starting {name}"))
        self.address, key = None, secrets.token_urlsafe(32)
        # A session (on Windows, a process group) of its own, so that Ctrl-C in the terminal interrupts only the kernel.
        session: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            session = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
        with tempfile.TemporaryFile() as log:
            # Run by path and with -P, so that no file in the working directory is imported.
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", str(SERVER), str(path), stdin=PIPE, stdout=PIPE, stderr=log, **session
            )
            try:
                ready = await _send_key(self.process, key)
                if "port" not in ready:
                    status = await self.process.wait()
                    raise LocalModelError(
                        f"The local model {name} did not start: {_failure_reason(status, log)}",
                        "Try another GGUF file (%chat model local:PATH.gguf) or another model.",
                    )
            except BaseException:
                await self.stop()
                raise
        self.address = ServerAddress(f"http://127.0.0.1:{ready['port']}/v1", key, name, int(ready["n_ctx"]))
        return self.address

    async def stop(self) -> None:
        """Kill the process, if any, which has nothing to save, and wait for its end."""
        if self.process is not None:
            if self.process.returncode is None:
                with contextlib.suppress(ProcessLookupError):  # it has just ended
                    self.process.kill()
            await self.process.wait()
        self.process = self.address = None


class LocalServers:
    """The llama.cpp servers of this kernel, one per GGUF, started at first use. For one event loop only."""

    def __init__(self) -> None:
        self._servers: dict[Path | None, _Server] = {}  # None: the built-in model

    async def address(self, model: str, progress: Callable[[Progress], None]) -> ServerAddress:
        """Return the address of `model` ("local", or "local:PATH.gguf"), started if it does not run.

        Raises LocalModelError. If this is cancelled during the start, no process is left.
        """
        path = gguf_path(model)
        server = self._servers.setdefault(path, _Server())
        async with server.lock:
            if address := server.running_address:
                return address
            if importlib.util.find_spec("xllamacpp") is None:
                raise LocalModelError(
                    "The local model needs xllamacpp (llama.cpp), which is not installed",
                    'Run: pip install "ipycachechat[local]"',
                )
            name = path.stem if path else MODEL
            return await server.start(path or await ensure_weights(progress), name, progress)

    async def stop(self) -> None:
        """Stop all servers. A start in progress is waited for, so cancel it first."""
        for server in list(self._servers.values()):
            async with server.lock:
                await server.stop()


def gguf_path(model: str) -> Path | None:
    """Return the absolute path in "local:PATH.gguf"; None for the built-in model. Raises LocalModelError."""
    name = model.partition(":")[2].strip()
    if not name:
        return None
    path = Path(name).expanduser().absolute()
    hint = "Give the path of a GGUF file, as in: %chat model local:~/models/NAME.gguf"
    if path.suffix.lower() != ".gguf":
        raise LocalModelError(f"{path.name} is not a GGUF file", hint)
    if not path.is_file():
        raise LocalModelError(f"There is no file {path}", hint)
    return path.resolve()


async def _send_key(process: Process, key: str) -> dict[str, Any]:
    """Send the server its key and return its line of JSON; empty if it ended without one."""
    assert process.stdin and process.stdout
    process.stdin.write(f"{key}\n".encode())
    line = await process.stdout.readline()  # empty if the process has ended
    try:
        ready = json.loads(line)
    except ValueError:
        return {}
    return ready if isinstance(ready, dict) else {}


def _failure_reason(status: int, log: IO[bytes]) -> str:
    """Return the first error that llama.cpp logged, else the signal, else the last line of Python's traceback."""
    log.seek(0)
    lines = log.read(2**20).decode("utf-8", "replace").split("\n")
    # As in "0.00.023.817 E llama_model_load: error loading model: …"
    logged = (re.match(r"[\d.]+ E +(?:\S+ )?\S+: +(.+)", line) for line in lines)
    if error := next((match[1] for match in logged if match), ""):
        return error.removeprefix("error loading model: ")[:200]
    if status < 0:
        return f"it was ended by {signal.Signals(-status).name}"
    return next((line for line in reversed(lines) if line.strip()), f"it ended with status {status}")[:200]
