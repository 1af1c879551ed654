"""A real kernel, spoken to as a notebook does.

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

PROJECT = Path(__file__).parents[2]
LONGEST = 90.0  # seconds for one cell
Json = dict[str, Any]


@dataclass
class Ran:
    """What one execute request caused."""

    messages: list[Json] = field(default_factory=list)
    """Everything on IOPub, in order; each with "arrived" (time.monotonic) and "bytes" (of its content)."""
    reply: Json = field(default_factory=dict)

    def of(self, *kinds: str) -> list[Json]:
        """The contents of these kinds of messages."""
        return [m["content"] for m in self.messages if m["header"]["msg_type"] in kinds]

    @property
    def printed(self) -> str:
        return "".join(content["text"] for content in self.of("stream"))

    @property
    def outputs(self) -> list[Json]:
        """The mime bundles of this cell that stand in the end: updates and clearing have replaced what was before."""
        shown: dict[str, Json] = {}
        for number, message in enumerate(self.messages):
            kind, content = message["header"]["msg_type"], message["content"]
            name = content.get("transient", {}).get("display_id") or str(number)
            if kind == "clear_output":
                shown.clear()
            if kind in ("display_data", "execute_result") or (
                kind == "update_display_data" and name in shown
            ):
                shown[name] = content["data"]
        return list(shown.values())

    @property
    def text(self) -> str:
        """All that stands below the cell, as text."""
        return self.printed + "\n".join(data["text/plain"] for data in self.outputs)

    @property
    def answer(self) -> str:
        """The source of the answer, "" if there is none."""
        return next((d["text/plain"] for d in self.outputs if "text/markdown" in d), "")

    @property
    def badge(self) -> str:
        """The badge as text, "" if there is none."""
        found = (d["text/plain"] for d in self.outputs if "ipycachechat-badge" in d.get("text/html", ""))
        return next(found, "")

    @property
    def error(self) -> str:
        """The traceback as the notebook shows it, "" if the cell did not fail."""
        return "\n".join("\n".join(content["traceback"]) for content in self.of("error"))

    @property
    def size(self) -> int:
        """Bytes on IOPub."""
        return sum(m["bytes"] for m in self.messages)

    def numbers(self) -> dict[str, int | str]:
        """The badge's numbers by name."""
        found = re.findall(r"([\d,]+|unknown)(?: \(\d+%\))? (read|written|fresh|input|answered)", self.badge)
        return {name: int(n.replace(",", "")) if n != "unknown" else n for n, name in found}


class Kernel:
    """A kernel process of its own, and a client; a context manager. `env`: None removes a variable."""

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

    def limits(self, **seconds: float) -> None:
        """Set limits of the kernel's requests that are no settings."""
        self.run(
            "import dataclasses, ipycachechat.notebook.settings as settings\n"
            f"settings.DEFAULT_LIMITS = dataclasses.replace(settings.DEFAULT_LIMITS, **{seconds!r})"
        )

    @property
    def pid(self) -> int:
        return int(self.manager.provisioner.pid)  # type: ignore[union-attr]

    def restart(self) -> None:
        """A new process in its place, as the front end's button makes one."""
        self.manager.restart_kernel(now=True)
        self.client.wait_for_ready(timeout=60)

    def start(self, code: str, cell: str = "", *, somebody: bool = True, deleted: Sequence[str] = ()) -> str:
        """Send a cell and come back at once: the request's id.

        `somebody`: whether a person could answer. `deleted`: cells that the front end reports as deleted.
        """
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": somebody,
            "stop_on_error": True,
        }
        message = self.client.session.msg("execute_request", content)
        if cell:
            message["metadata"] = {"cellId": cell, "deletedCells": list(deleted)}
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def finish(self, request: str, until: str = "") -> Ran:
        """What the request causes, to its end, or until a message whose content holds `until`."""
        ran, end = Ran(), time.monotonic() + LONGEST
        while time.monotonic() < end:
            message = self.client.get_iopub_msg(timeout=LONGEST)
            message["arrived"] = time.monotonic()
            if message["parent_header"].get("msg_id") != request:
                continue
            text = json.dumps(message["content"])
            message["bytes"] = len(text.encode())
            ran.messages.append(message)
            if until and until in text:
                return ran
            if message["header"]["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
        while ran.reply.get("parent_header", {}).get("msg_id") != request:
            ran.reply = self.client.get_shell_msg(timeout=LONGEST)
        return ran

    def run(self, code: str, cell: str = "", *, somebody: bool = True, deleted: Sequence[str] = ()) -> Ran:
        """Run a cell to its end."""
        return self.finish(self.start(code, cell, somebody=somebody, deleted=deleted))

    def value(self, expression: str) -> Any:
        """The value of an expression in the kernel, by way of JSON."""
        ran = self.run(f"import json as _json\nprint(_json.dumps({expression}))")
        assert not ran.error, ran.error
        return json.loads(ran.printed)

    def interrupt(self) -> None:
        """Press the stop button."""
        self.manager.interrupt_kernel()

    def also(self, seconds: float) -> list[Json]:
        """What comes on IOPub in this time, whoever caused it."""
        end, got = time.monotonic() + seconds, []
        while (left := end - time.monotonic()) > 0:
            try:
                got.append(self.client.get_iopub_msg(timeout=left))
            except Exception:  # queue.Empty, by whichever name
                break
        return got


def answered(kernel: Kernel, code: str, answer: str) -> tuple[str, str]:
    """Run a cell that asks the person one question: the question, and what was printed."""
    request = kernel.start(code)
    question = kernel.client.get_stdin_msg(timeout=30)["content"]["prompt"]
    kernel.client.input(answer)
    return question, kernel.finish(request).printed
