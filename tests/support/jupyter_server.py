"""A Jupyter server on the loopback, for a page of JupyterLab or Notebook 7.

Its settings, data and runtime are in a directory of their own, so the developer's do not matter, and neither it
nor its page sends requests to other machines by itself.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

import psutil

PROJECT = Path(__file__).parents[2]

AppName = Literal["lab", "notebook"]


class App(NamedTuple):
    """The differences between the front ends."""

    module: str
    settings: str
    """Name of the class with the application's settings."""
    page: str
    """Path of the page that shows a notebook."""
    ready: str
    """Promise of the page's app that resolves when a notebook can be opened (Notebook 7 is "restored" only later)."""


APPS: Mapping[AppName, App] = {
    "lab": App("jupyterlab", "LabApp", "lab", "restored"),
    "notebook": App("notebook", "JupyterNotebookApp", "notebooks/{}", "started"),
}


class Server:
    """The server, which is ended together with its kernels."""

    app: App
    origin: str
    """Address at which it listens."""
    token: str
    """Token that pages need."""

    def __init__(self, directory: Path, app: AppName, env: Mapping[str, str | None], theme: str) -> None:
        self.directory = directory
        self.app = APPS[app]
        self.token = secrets.token_hex(16)
        self._env = env
        self._theme = theme
        self._home = Path(tempfile.mkdtemp(prefix="lab-"))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait until it answers."""
        settings = self._home / "settings" / "@jupyterlab"
        _write_settings(settings / "apputils-extension" / "themes", theme=f"JupyterLab {self._theme.title()}")
        _write_settings(
            settings / "apputils-extension" / "notification",
            checkForUpdates=False,
            fetchNews="false",
            doNotDisturbMode=True,
        )
        # All cells and outputs are drawn at once, so that tests also see those outside of the window.
        _write_settings(
            settings / "notebook-extension" / "tracker", windowingMode="none", maxNumberOutputs=1000
        )
        # When Notebook 7 itself opens the page's notebook, it always starts a kernel; `open` does it instead.
        opener = "@jupyter-notebook/application-extension:opener"
        _write_json(
            self._home / "config" / "labconfig" / "page_config.json", disabledExtensions={opener: True}
        )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.origin = f"http://127.0.0.1:{port}"
        self._log = self._home / "server.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", self.app.module, "--no-browser", "--allow-root"),
                    "--ServerApp.ip=127.0.0.1",
                    *(f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
                    f"--ServerApp.root_dir={self.directory}",
                    f"--IdentityProvider.token={self.token}",
                    f"--{self.app.settings}.expose_app_in_browser=True",
                    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
                    "--LabApp.news_url=None",
                    # The default one sends requests to PyPI.
                    "--LabApp.extension_manager=readonly",
                ],
                cwd=self.directory,
                env=self._environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        _wait_until_up(f"{self.origin}/api/status?token={self.token}", self._process, self._log)

    def end(self) -> None:
        """End the server and delete its directory."""
        if self._process is not None:
            _end(self._process)
        shutil.rmtree(self._home, ignore_errors=True)

    def _environment(self) -> dict[str, str]:
        env = {
            name: value for name, value in os.environ.items() if not re.match("JUPYTER|IPYTHON|JPY_", name)
        }
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PROJECT), env.get("PYTHONPATH")]))
        env["HOME"] = str(self._home)
        for name, folder in {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
            "IPYTHONDIR": "ipython",
        }.items():
            env[name] = str(self._home / folder)
        for name, value in self._env.items():
            env.pop(name, None)
            if value is not None:
                env[name] = value
        return env


def _write_settings(path: Path, **values: object) -> None:
    _write_json(path.with_suffix(".jupyterlab-settings"), **values)


def _write_json(path: Path, **values: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))


def _wait_until_up(address: str, server: subprocess.Popen[bytes], log: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"Jupyter did not start:\n{log.read_text(errors='replace')[-4000:]}")


def _end(server: subprocess.Popen[bytes]) -> None:
    """Ask the server to end with its kernels; kill them if it takes too long, as it sometimes does."""
    if server.poll() is not None:
        return
    started = psutil.Process(server.pid).children(recursive=True)
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(4)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    # Kernels are in sessions of their own.
    for process in started:
        with suppress(psutil.NoSuchProcess):
            process.kill()
