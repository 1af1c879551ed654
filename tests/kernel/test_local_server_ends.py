"""The local model's process ends with its kernel, in whatever way that ends, even if the kernel's children live on."""

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
DEADLINE = 60.0  # seconds; it usually takes half a second
FORK = "import os, time\nworker = os.fork()\nif not worker:\n    os.setsid(); time.sleep(600); os._exit(0)"
POOL = "import multiprocessing as m, time\np = m.get_context('fork').Process(target=time.sleep, args=(600,)); p.start()"
WAYS: dict[str, tuple[str, str, Callable[[Kernel], object]]] = {
    "shut down": (FORK, "worker", lambda kernel: kernel.client.shutdown()),
    "SIGTERM": (POOL, "p.pid", lambda kernel: os.kill(kernel.pid, signal.SIGTERM)),
    "os._exit": (FORK, "worker", lambda kernel: kernel.start("os._exit(3)")),
}
OPEN_TO_ALL = {"/health", "/v1/health"}  # paths that only say that the server runs


def server_of(kernel: Kernel) -> psutil.Process:
    servers = psutil.Process(kernel.pid).children(recursive=True)
    (server,) = (process for process in servers if "server_process.py" in " ".join(process.cmdline()))
    return server


def is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def status(port: int, method: str, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, "{}" if method == "POST" else None, {"Content-Type": "application/json"})
    response = connection.getresponse().status
    connection.close()
    return response


@pytest.mark.parametrize("way", WAYS)
def test_the_server_ends_with_its_kernel_while_a_worker_lives_on(way: str) -> None:
    fork, name, end = WAYS[way]
    with Kernel() as kernel:
        kernel.run("%load_ext ipycachechat")
        assert kernel.run("%%chat -m local --max-tokens 3\nhello").answer
        server = server_of(kernel)
        if way == "shut down":  # checking once is enough
            (port,) = {
                request_spec.laddr.port
                for request_spec in server.net_connections("inet")
                if request_spec.status == "LISTEN"
            }
            get_paths = (
                "/",
                "/models",
                "/v1/models",
                "/props",
                "/slots",
                "/metrics",
                "/lora-adapters",
                *OPEN_TO_ALL,
            )
            post_paths = (
                "/v1/chat/completions",
                "/completion",
                "/tokenize",
                "/v1/messages",
                "/apply-template",
            )
            requests = [("GET", path) for path in get_paths] + [("POST", path) for path in post_paths]
            statuses = {path for method, path in requests if status(port, method, path) < 400}
            assert statuses <= OPEN_TO_ALL
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
