"""The child process that runs llama.cpp's HTTP server for one GGUF file; it ends with its parent.

    python -P server_process.py PATH

The first line of stdin is the API key, since argv and environment can be read by others. When the model can
answer, one line of JSON goes to stdout: `{"port": 40123, "n_ctx": 8192}`. llama.cpp's errors go to stderr until
then, and nowhere after. Needs nothing but xllamacpp.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
import threading
import time
from urllib.parse import urlsplit

CONTEXT = 8192  # tokens; llama.cpp takes less if the model was trained on less
OTHER_CONVERSATIONS_MIB = 1024  # at most; SmolLM2 needs 23 kB a token
FIT_ABOVE = 2**30  # bytes
LOG_ERRORS = 1  # llama.cpp's verbosity


def main(path: str) -> None:
    """Serve `path` until stdin ends or the parent is gone."""
    parent = os.getppid()  # first of all: it changes when the parent dies
    ready = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what llama.cpp prints must not look like the answer
    key = _first_line()
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    # Windows keeps telling the pid of a dead parent, and has no forks to hold the pipe.
    if os.name == "posix":
        threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
    server, told = serve(path, key)  # what it raises ends the process with status 1, the reason on stderr
    # llama.cpp's own handlers, set while it loads, stop its loop but leave this process alive.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    print(json.dumps(told), file=ready, flush=True)
    ready.close()
    while server:  # held here: the server ends with its object
        time.sleep(3600)


def serve(path: str, key: str) -> tuple[object, dict[str, int]]:
    """A running server on a free loopback port, and what the parent is told: port and context length.

    xllamacpp holds the GIL while it loads, so a parent that dies meanwhile is noticed only afterwards.
    """
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = path
    params.api_keys = [key]
    params.port = 0
    params.ui = False
    params.endpoint_slots = False
    params.verbosity = LOG_ERRORS
    params.n_ctx = CONTEXT
    params.ctx_shift = False  # too long is an error, not a conversation with its beginning cut off
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = thread_count()
    # One slot has all of the context. What another conversation left in it is kept in memory and brought back
    # with that conversation, so forks and several chats do not lose their prefixes to each other.
    params.n_parallel = 1
    params.cache_prompt = True
    params.cache_ram_mib = OTHER_CONVERSATIONS_MIB
    # Fitting layers to the memory of a GPU reads the model's description twice, which doubles a short start.
    params.fit_params = os.path.getsize(path) > FIT_ABOVE
    server = xllamacpp.Server(params)
    address = urlsplit(server.listening_address)
    if address.hostname != "127.0.0.1" or not address.port:
        raise OSError(f"bound to {server.listening_address}, not to 127.0.0.1")
    return server, {"port": address.port, "n_ctx": _context_length(address.port, key)}


def thread_count() -> int:
    """-1 (llama.cpp's own choice: one a physical core), or fewer where this process may not use them all."""
    cores = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if sys.platform == "linux" else cores
    try:  # a container's share: microseconds of CPU in a period, or "max"
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:
            share, period = file.read().split()
        allowed = min(allowed, max(1, round(int(share) / int(period))))
    except (OSError, ValueError):
        pass
    return allowed if allowed < cores else -1


def _context_length(port: int, key: str) -> int:
    """Tokens that fit into the one slot; asking also proves that the server answers, and takes the key."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {key}"})
    meta = json.loads(connection.getresponse().read())["data"][0]["meta"]
    connection.close()
    return min(int(meta["n_ctx"]), int(meta["n_ctx_train"]))


def _first_line() -> str:
    """Read with `os.read`, as a buffered reader would fight with the thread that waits for the end."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            sys.exit(0)
        line += byte
    return line.decode("ascii").strip()


def _end_with_stdin() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)  # at once: threads in the middle of an answer are not waited for


def _end_with_parent(parent: int) -> None:
    """A fork of the parent may hold the pipe open for ever, so its end alone is not enough."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
