"""Kernels that are forked from a process that has imported ipykernel and litellm, which takes several seconds of CPU.

A test that restarts kernels uses them through `ForkedKernel`: they are processes of their own, with an environment, a
folder and sockets of their own, and start in a tenth of the time. Tests of loading, importing and ending, and all
benchmarks, use `Kernel`, which starts a new Python.

`python forked_kernels.py` is the process from which they are forked. It reads a request as a line of JSON from its
standard input and answers with the process id of a kernel, and it ends with the process that started it.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

NAME = "forked"


def spec_metadata() -> dict[str, Any]:
    """Return the metadata that makes jupyter_client start a kernel by forking."""
    factory = KernelProvisionerFactory.instance()
    entry = EntryPoint(NAME, f"{__name__}:ForkedProvisioner", factory.GROUP_NAME)
    factory.provisioners.setdefault(NAME, entry)
    return {"kernel_provisioner": {"provisioner_name": NAME, "config": {}}}


class ForkedProcess:
    """A forked kernel, with the part of `subprocess.Popen` that a provisioner uses; its exit status stays unknown."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> int | None:
        """Return None while the process runs, else 0."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return 0
        return None

    def wait(self) -> int:
        """Wait until the process has ended."""
        while self.poll() is None:
            time.sleep(0.02)
        return 0

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


class ForkedProvisioner(LocalProvisioner):
    """Starts a kernel by forking the template of this test process."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Fork a kernel; `cmd` is `python -m ipykernel_launcher` and its arguments."""
        self.pid = self.pgid = _template().fork(cmd[2:], kwargs["env"], str(kwargs["cwd"]))
        self.process = ForkedProcess(self.pid)
        self.cwd = kwargs["cwd"]
        return self.connection_info


class _Template:
    """The process from which kernels are forked."""

    def __init__(self) -> None:
        command = [sys.executable, str(Path(__file__))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._lock = threading.Lock()
        atexit.register(self._process.kill)

    def fork(self, argv: list[str], env: dict[str, str], cwd: str) -> int:
        """Return the process id of a new kernel."""
        assert self._process.stdin and self._process.stdout
        with self._lock:
            self._process.stdin.write(json.dumps({"argv": argv, "env": env, "cwd": cwd}) + "\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())


@cache
def _template() -> _Template:
    return _Template()


def main() -> None:
    """Import what takes long, then fork a kernel for each line of standard input."""
    sys.path[0] = str(Path(__file__).parents[2])  # the checkout, in place of this folder
    template = os.environ["JPY_PARENT_PID"] = str(os.getpid())  # read when ipykernel is imported
    import ipykernel.kernelapp

    from ipycachechat.providers.litellm_import import import_in_portions, load_gpt_tokenizer

    for _ in import_in_portions():
        pass
    load_gpt_tokenizer()
    gc.freeze()  # so that the children share the memory
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children need not be waited for
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while line := sys.stdin.readline():
        pid = os.fork()
        if pid:
            print(pid, flush=True)
            continue
        request = json.loads(line)
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(2, 1)  # standard output belongs to the template
        os.environ.clear()
        os.environ.update(request["env"], JPY_PARENT_PID=template)
        os.chdir(request["cwd"])
        sys.argv = request["argv"]
        ipykernel.kernelapp.launch_new_instance()  # type: ignore[no-untyped-call]
        return


if __name__ == "__main__":
    main()
