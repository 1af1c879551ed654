"""The local model's process ends with its kernel, however that ends, and whoever of its children lives on."""

from __future__ import annotations

import http.client
import os
import signal
import time
from collections.abc import Callable

import psutil
import pytest
from support.kernels import Kernel

pytestmark = [pytest.mark.local, pytest.mark.skipif(os.name != "posix", reason="forks and signals")]
DEADLINE = 60.0  # seconds; it takes half of one
FORK = "import os, time\nworker = os.fork()\nif not worker:\n    os.setsid(); time.sleep(600); os._exit(0)"
POOL = "import multiprocessing as m, time\np = m.get_context('fork').Process(target=time.sleep, args=(600,)); p.start()"
WAYS: dict[str, tuple[str, str, Callable[[Kernel], object]]] = {
    "shut down": (FORK, "worker", lambda kernel: kernel.client.shutdown()),
    "SIGTERM": (POOL, "p.pid", lambda kernel: os.kill(kernel.pid, signal.SIGTERM)),
    "os._exit": (FORK, "worker", lambda kernel: kernel.start("os._exit(3)")),
}
OPEN_TO_ALL = {"/health", "/v1/health"}  # they say that it runs, and nothing else


def server_of(kernel: Kernel) -> psutil.Process:
    found = psutil.Process(kernel.pid).children(recursive=True)
    (server,) = (one for one in found if "server_process.py" in " ".join(one.cmdline()))
    return server


def is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def status(port: int, method: str, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, "{}" if method == "POST" else None, {"Content-Type": "application/json"})
    got = connection.getresponse().status
    connection.close()
    return got


@pytest.mark.parametrize("way", WAYS)
def test_it_ends_with_the_kernel_while_a_worker_of_it_lives(way: str) -> None:
    fork, name, end = WAYS[way]
    with Kernel() as kernel:
        kernel.run("%load_ext ipycachechat")
        assert kernel.run("%%chat -m local --max-tokens 3\nhello").answer
        server = server_of(kernel)
        if way == "shut down":  # once is enough
            (port,) = {one.laddr.port for one in server.net_connections("inet") if one.status == "LISTEN"}
            gets = (
                "/",
                "/models",
                "/v1/models",
                "/props",
                "/slots",
                "/metrics",
                "/lora-adapters",
                *OPEN_TO_ALL,
            )
            posts = ("/v1/chat/completions", "/completion", "/tokenize", "/v1/messages", "/apply-template")
            asked = [("GET", path) for path in gets] + [("POST", path) for path in posts]
            answered = {path for method, path in asked if status(port, method, path) < 400}
            assert answered <= OPEN_TO_ALL
        kernel.run(fork)
        worker = psutil.Process(kernel.value(name))
        try:
            end(kernel)
            limit = time.monotonic() + DEADLINE
            while not is_gone(server) and time.monotonic() < limit:
                time.sleep(0.02)
            assert is_gone(server)
            assert fork != FORK or not is_gone(worker)
        finally:
            if not is_gone(worker):
                worker.kill()
