"""The child process that runs llama.cpp's HTTP server for one GGUF file; it ends with its parent.

    python -P server_process.py PATH

It reads its API key from the first line of stdin, since other users can read arguments and environment. When the
model is ready, it writes one line of JSON to stdout: `{"port": 40123, "n_ctx": 8192}`. Until then llama.cpp's errors go
to stderr. It imports only the standard library and xllamacpp.
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

CONTEXT = 8192  # tokens; llama.cpp takes fewer if the model was trained on fewer
OTHER_CONVERSATIONS_MIB = 1024  # maximum; SmolLM2 needs 23 kB per token
MIN_SIZE_TO_FIT = 2**30  # bytes
LOG_ERRORS = 1  # llama.cpp's verbosity


def main(path: str) -> None:
    """Serve the GGUF at `path` until stdin ends or the parent process has ended."""
    parent = os.getppid()  # first, since it changes when the parent ends
    stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # llama.cpp's prints go to stderr
    key = _read_first_line()
    threading.Thread(target=_exit_with_stdin, daemon=True).start()
    # Windows still reports the pid of a parent that has ended, and has no forks that hold the pipe open.
    if os.name == "posix":
        threading.Thread(target=_exit_with_parent, args=(parent,), daemon=True).start()
    server, address = serve(path, key)  # an exception ends the process, with the reason on stderr
    # llama.cpp's own handlers, set while it loads, stop its loop but leave this process alive.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    print(json.dumps(address), file=stdout, flush=True)
    stdout.close()
    while server:  # the server ends when its object is deleted
        time.sleep(3600)


def serve(path: str, key: str) -> tuple[object, dict[str, int]]:
    """Start the server on a free loopback port. Return it, and its port and context length in tokens.

    xllamacpp holds the GIL while it loads, so the end of the parent is noticed only afterwards.
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
    params.ctx_shift = False  # too long a conversation is an error instead of being cut at its beginning
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = thread_count()
    # One slot has the whole context. The prefixes of other conversations are kept in memory and restored with their
    # conversation, so that forks and several chats do not evict each other's.
    params.n_parallel = 1
    params.cache_prompt = True
    params.cache_ram_mib = OTHER_CONVERSATIONS_MIB
    # Fitting layers to a GPU's memory reads the model's metadata twice, which would double the start of a small model.
    params.fit_params = os.path.getsize(path) > MIN_SIZE_TO_FIT
    server = xllamacpp.Server(params)
    address = urlsplit(server.listening_address)
    if address.hostname != "127.0.0.1" or not address.port:
        raise OSError(f"bound to {server.listening_address}, not to 127.0.0.1")
    return server, {"port": address.port, "n_ctx": _context_length(address.port, key)}


def thread_count() -> int:
    """Return -1 for llama.cpp's own choice (one per physical core), or fewer if this process may use fewer cores."""
    cores = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if sys.platform == "linux" else cores
    try:  # a container's limit: microseconds of CPU per period, or "max"
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:
            share, period = file.read().split()
        allowed = min(allowed, max(1, round(int(share) / int(period))))
    except (OSError, ValueError):
        pass
    return allowed if allowed < cores else -1


def _context_length(port: int, key: str) -> int:
    """Return the context length in tokens; the request also proves that the server answers and accepts the key."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {key}"})
    meta = json.loads(connection.getresponse().read())["data"][0]["meta"]
    connection.close()
    return min(int(meta["n_ctx"]), int(meta["n_ctx_train"]))


def _read_first_line() -> str:
    """Return a line of stdin, unbuffered, since `_exit_with_stdin` reads the rest on another thread."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            sys.exit(0)
        line += byte
    return line.decode("ascii").strip()


def _exit_with_stdin() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)  # without waiting for threads that are generating an answer


def _exit_with_parent(parent: int) -> None:
    """Exit when the parent has ended, which stdin may not show: a fork of the parent may hold the pipe open."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
