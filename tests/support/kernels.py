"""A real kernel, run as a notebook runs it.

with Kernel(env=wire.env()) as kernel:
    kernel.run("%load_ext ipycachechat")
    cell = kernel.run("%%chat\\nHello", cell="a")
    assert "Hello" in cell.answer
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager
from support import forked_kernels

PROJECT = Path(__file__).parents[2]
CELL_TIMEOUT = 90.0  # seconds for one cell
Json = dict[str, Any]


@dataclass
class CellResult:
    """The messages that one execute request caused."""

    messages: list[Json] = field(default_factory=list)
    """Everything on IOPub, in order; each with "arrived" (time.monotonic) and "bytes" (of its content)."""
    reply: Json = field(default_factory=dict)

    def contents(self, *kinds: str) -> list[Json]:
        """The contents of the messages of these kinds."""
        return [m["content"] for m in self.messages if m["header"]["msg_type"] in kinds]

    @property
    def printed(self) -> str:
        return "".join(content["text"] for content in self.contents("stream"))

    @property
    def outputs(self) -> list[Json]:
        """The final mime bundles of this cell, after all updates and clearing of outputs."""
        bundles: dict[str, Json] = {}
        for number, message in enumerate(self.messages):
            kind, content = message["header"]["msg_type"], message["content"]
            name = content.get("transient", {}).get("display_id") or str(number)
            if kind == "clear_output":
                bundles.clear()
            if kind in ("display_data", "execute_result") or (
                kind == "update_display_data" and name in bundles
            ):
                bundles[name] = content["data"]
        return list(bundles.values())

    @property
    def text(self) -> str:
        """All output below the cell, as text."""
        return self.printed + "\n".join(data["text/plain"] for data in self.outputs)

    @property
    def answer(self) -> str:
        """The source of the answer, "" if there is none."""
        return next((d["text/plain"] for d in self.outputs if "text/markdown" in d), "")

    @property
    def badge(self) -> str:
        """The badge as text, "" if there is none."""
        badges = (d["text/plain"] for d in self.outputs if "ipycachechat-badge" in d.get("text/html", ""))
        return next(badges, "")

    @property
    def error(self) -> str:
        """The traceback as the notebook shows it, "" if the cell did not fail."""
        return "\n".join("\n".join(content["traceback"]) for content in self.contents("error"))

    @property
    def size(self) -> int:
        """Bytes on IOPub."""
        return sum(m["bytes"] for m in self.messages)

    def numbers(self) -> dict[str, int | str]:
        """The badge's numbers by name."""
        names = {
            "cached": "read",
            "newly cached": "written",
            "uncached": "fresh",
            "in": "input",
            "out": "output",
        }
        words = "|".join(names)
        numbers = re.findall(rf"([\d,]+)(?: \(\d+%\))? ({words})(?= ·)", self.badge)
        unknown = re.findall(rf"({words}) unknown", self.badge)
        known = {names[name]: int(number.replace(",", "")) for number, name in numbers}
        return known | {names[name]: "unknown" for name in unknown}


class Kernel:
    """A kernel process and its client; a context manager. `env`: a value of None removes a variable."""

    client: BlockingKernelClient

    def __init__(
        self, env: Mapping[str, str | None] | None = None, *, connection_file: str = "", config: str = ""
    ) -> None:
        self._env = env or {}
        self._file = connection_file
        self._config = config

    def __enter__(self) -> Self:
        self.folder = tempfile.TemporaryDirectory()
        env = {k: v for k, v in os.environ.items() if not k.endswith(("_API_KEY", "_API_BASE", "_BASE_URL"))}
        env |= {
            "IPYTHONDIR": self.folder.name,
            "PYTHONPATH": str(PROJECT),
            "JPY_PARENT_PID": str(os.getpid()),
            "XDG_DATA_HOME": self.folder.name,
        }
        for name, value in self._env.items():
            env.pop(name, None)
            if value is not None:
                env[name] = value
        name = self._file or "7b7a3c7e-5b9a-4f5e-9d1c-000000000000.json"
        self.manager = KernelManager(connection_file=str(Path(self.folder.name) / name))
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        assert self.manager.kernel_spec
        self.manager.kernel_spec.argv = command + self._config.split()
        self.manager.kernel_spec.metadata = self._spec_metadata()
        self.manager.start_kernel(env=env, cwd=self.folder.name)
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.folder.cleanup()

    def _spec_metadata(self) -> Json:
        """Return what jupyter_client should know about starting the kernel."""
        return {}

    def limits(self, **seconds: float) -> None:
        """Set those limits of the kernel's requests that are not settings."""
        self.run(
            "import dataclasses, ipycachechat.notebook.settings as settings\n"
            f"settings.DEFAULT_LIMITS = dataclasses.replace(settings.DEFAULT_LIMITS, **{seconds!r})"
        )

    @property
    def pid(self) -> int:
        return int(self.manager.provisioner.pid)  # type: ignore[union-attr]

    def restart(self) -> None:
        """Restart the kernel, as the front end's button does."""
        self.manager.restart_kernel(now=True)
        self.client.wait_for_ready(timeout=60)

    def start(self, code: str, cell: str = "", *, stdin: bool = True, deleted: Sequence[str] = ()) -> str:
        """Send a cell and return the request's id without waiting.

        `stdin`: True if the user can be asked. `deleted`: cells that the front end reports as deleted.
        """
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": stdin,
            "stop_on_error": True,
        }
        message = self.client.session.msg("execute_request", content)
        if cell:
            message["metadata"] = {"cellId": cell, "deletedCells": list(deleted)}
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def finish(self, request: str, until: str = "") -> CellResult:
        """Collect a request's messages until its end, or until a message whose content contains `until`."""
        result, end = CellResult(), time.monotonic() + CELL_TIMEOUT
        while time.monotonic() < end:
            message = self.client.get_iopub_msg(timeout=CELL_TIMEOUT)
            message["arrived"] = time.monotonic()
            if message["parent_header"].get("msg_id") != request:
                continue
            text = json.dumps(message["content"])
            message["bytes"] = len(text.encode())
            result.messages.append(message)
            if until and until in text:
                return result
            if message["header"]["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
        while result.reply.get("parent_header", {}).get("msg_id") != request:
            result.reply = self.client.get_shell_msg(timeout=CELL_TIMEOUT)
        return result

    def run(
        self, code: str, cell: str = "", *, stdin: bool = True, deleted: Sequence[str] = ()
    ) -> CellResult:
        """Run a cell to its end."""
        return self.finish(self.start(code, cell, stdin=stdin, deleted=deleted))

    def value(self, expression: str) -> Any:
        """The value of an expression in the kernel, passed as JSON."""
        result = self.run(f"import json as _json\nprint(_json.dumps({expression}))")
        assert not result.error, result.error
        return json.loads(result.printed)

    def interrupt(self) -> None:
        """Press the stop button."""
        self.manager.interrupt_kernel()

    def iopub_messages(self, seconds: float) -> list[Json]:
        """All messages on IOPub in this time, of any request."""
        end, messages = time.monotonic() + seconds, []
        while (remaining := end - time.monotonic()) > 0:
            try:
                messages.append(self.client.get_iopub_msg(timeout=remaining))
            except Exception:  # queue.Empty
                break
        return messages


def run_and_answer(kernel: Kernel, code: str, answer: str) -> tuple[str, str]:
    """Run a cell that asks the user one question, and answer; return the question and the printed text."""
    request = kernel.start(code)
    question = kernel.client.get_stdin_msg(timeout=30)["content"]["prompt"]
    kernel.client.input(answer)
    return question, kernel.finish(request).printed


class ForkedKernel(Kernel):
    """A kernel that is forked with litellm imported, for tests that are not about loading, importing or ending."""

    def _spec_metadata(self) -> Json:
        return forked_kernels.spec_metadata()
