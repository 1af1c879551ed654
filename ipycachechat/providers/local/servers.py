"""Start, find and stop local llama.cpp servers.

`LocalServers` starts one server for each GGUF at its first use and tells where it listens; from there on it is
a provider like any other that speaks OpenAI's protocol.
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
    """Where a local model answers: base URL of its OpenAI protocol, its key, and its context in tokens."""

    api_base: str
    api_key: str = field(repr=False)
    name: str
    n_ctx: int


@dataclass(slots=True)
class _Slot:
    """One GGUF's place: empty, or a child and where it listens."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    child: Process | None = None
    address: ServerAddress | None = None


class LocalServers:
    """The llama.cpp servers of this kernel, one per GGUF, started at first use. For one event loop only."""

    def __init__(self) -> None:
        self._slots: dict[Path | None, _Slot] = {}  # None: the built-in model

    async def address(self, model: str, progress: Callable[[Progress], None]) -> ServerAddress:
        """Where `model` ("local", or "local:PATH.gguf") answers; starts it if it does not run.

        Raises LocalModelError. When cancelled while it starts, no child stays.
        """
        path = gguf_path(model)
        slot = self._slots.setdefault(path, _Slot())
        async with slot.lock:
            if slot.address is None or slot.child is None or slot.child.returncode is not None:
                if importlib.util.find_spec("xllamacpp") is None:
                    raise LocalModelError(
                        "The local model needs xllamacpp (llama.cpp), which is not installed",
                        'Run: pip install "ipycachechat[local]"',
                    )
                name = path.stem if path else MODEL
                slot.address = None
                slot.child, slot.address = await _start(
                    path or await ensure_weights(progress), name, progress
                )
            return slot.address

    async def stop(self) -> None:
        """End all children and wait for them. A start that is under way is waited for, so cancel it first."""
        for slot in list(self._slots.values()):
            async with slot.lock:
                if slot.child is not None:
                    await _end(slot.child)
                slot.child = slot.address = None


def gguf_path(model: str) -> Path | None:
    """The file that "local:PATH.gguf" means, absolute; None for the built-in model. Raises LocalModelError."""
    _, _, named = model.partition(":")
    if not named.strip():
        return None
    path = Path(named.strip()).expanduser().absolute()
    todo = "Give the path of a GGUF file, as in: %chat model local:~/models/NAME.gguf"
    if path.suffix.lower() != ".gguf":
        raise LocalModelError(f"{path.name} is not a GGUF file", todo)
    if not path.is_file():
        raise LocalModelError(f"There is no file {path}", todo)
    return path.resolve()


async def _start(
    path: Path, name: str, progress: Callable[[Progress], None]
) -> tuple[Process, ServerAddress]:
    """A child that has loaded the GGUF and answers."""
    progress(Progress(f"starting {name}"))
    key = secrets.token_urlsafe(32)
    # A session (on Windows, a group) of its own: Ctrl-C in the terminal is meant for the kernel alone.
    own: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        own = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    with tempfile.TemporaryFile() as log:
        # By file and with -P: what lies in the working directory, or how we were imported, makes no difference.
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-P", str(SERVER), str(path), stdin=PIPE, stdout=PIPE, stderr=log, **own
        )
        try:
            told = await _hand_over(child, key)
            if "port" not in told:
                status = await child.wait()
                raise LocalModelError(
                    f"The local model {name} did not start: {_why(status, log)}",
                    "Try another GGUF file (%chat model local:PATH.gguf) or another model.",
                )
        except BaseException:
            await _end(child)
            raise
    return child, ServerAddress(f"http://127.0.0.1:{told['port']}/v1", key, name, int(told["n_ctx"]))


async def _hand_over(child: Process, key: str) -> dict[str, Any]:
    """Tell the child its key, and wait for its one line of JSON; empty if it ended without one."""
    assert child.stdin and child.stdout
    child.stdin.write(f"{key}\n".encode())
    line = await child.stdout.readline()  # a child that is gone shows here, as an empty line
    try:
        told = json.loads(line)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _why(status: int, log: IO[bytes]) -> str:
    """The first error that llama.cpp logged, else the signal, else what Python said last."""
    log.seek(0)
    lines = log.read(2**20).decode("utf-8", "replace").split("\n")
    # As in "0.00.023.817 E llama_model_load: error loading model: …"
    logged = (re.match(r"[\d.]+ E +(?:\S+ )?\S+: +(.+)", line) for line in lines)
    if first := next((found[1] for found in logged if found), ""):
        return first.removeprefix("error loading model: ")[:200]
    if status < 0:
        return f"it was ended by {signal.Signals(-status).name}"
    return next((line for line in reversed(lines) if line.strip()), f"it ended with status {status}")[:200]


async def _end(child: Process) -> None:
    """Kill and wait: the child has nothing to save."""
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):  # it ended in this very moment
            child.kill()
    await child.wait()
