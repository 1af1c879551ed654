"""Written files: only the user can read them, they are whole or absent, and a full disk is reported once."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.kernels import ForkedKernel, Kernel
from wire import WireServer

FULL = """
import resource
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
def full(most): resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
recorder = get_ipython().magics_manager.registry["ChatMagics"].session.recorder
"""
SAVED = ("s.json", "s.md", "s.html")


@pytest.fixture(scope="module")
def wire() -> Iterator[WireServer]:
    with WireServer() as server:
        yield server


@pytest.fixture(scope="module")
def shared_kernel(wire: WireServer) -> Iterator[Kernel]:
    with ForkedKernel(wire.env()) as kernel:
        kernel.run("%load_ext ipycachechat")
        assert kernel.run("%%chat\nhello").answer
        kernel.run(FULL)
        yield kernel


@pytest.fixture
def kernel(shared_kernel: Kernel) -> Kernel:
    return shared_kernel


@pytest.fixture
def folder(kernel: Kernel) -> Path:
    return Path(kernel.folder.name)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_only_the_user_can_read_any_file_with_any_umask(kernel: Kernel, folder: Path, umask: int) -> None:
    kernel.run(
        f"%config ChatMagics.store = '{folder}/{umask}.db'\n%chat replies {umask}.json\n"
        f"import os; old = os.umask({umask})"
    )
    result = kernel.run(f"%%chat\n{umask}")
    saved = [kernel.run(f"%chat save {name}") for name in SAVED]
    kernel.run("os.umask(old)\n%chat replies off")
    assert not result.error and not result.printed and not any(line.error for line in saved)
    files = [
        folder / name
        for name in (*SAVED, f"{umask}.json", *(f"{umask}.db{end}" for end in ("", "-wal", "-shm")))
    ]
    assert {path.name: oct(mode(path)) for path in files} == {path.name: "0o600" for path in files}


def test_an_existing_file_is_replaced_whole_also_if_open_linked_or_read_only(
    kernel: Kernel, folder: Path
) -> None:
    for name, was in (("open.json", 0o644), ("reading.json", 0o444), ("target.json", 0o644)):
        (folder / name).write_text("was")
        (folder / name).chmod(was)
    (folder / "link.json").symlink_to("target.json")
    os.link(folder / "open.json", folder / "same.json")
    for name in ("open.json", "reading.json", "link.json"):
        assert not kernel.run(f"%chat save {name}").error
        assert json.loads((folder / name).read_text()) and mode(folder / name) == 0o600
    assert (folder / "link.json").is_symlink()
    assert (folder / "same.json").read_text() == "was"  # a process that had it open does not see half a file


@pytest.mark.parametrize("name", ["nowhere/s.json", "s.md/s.json", "dangling.json"])
def test_a_missing_folder_is_reported_and_nothing_is_left(kernel: Kernel, folder: Path, name: str) -> None:
    if not (folder / "dangling.json").is_symlink():
        (folder / "dangling.json").symlink_to("nowhere/at/all.json")
    (folder / "s.md").touch()
    before = sorted(folder.iterdir())
    error = kernel.run(f"%chat save {name}").error
    assert "cannot be written" in error and len(error.splitlines()) == 2
    assert sorted(folder.iterdir()) == before


def test_a_full_disk_is_reported_once_and_missing_data_is_written_later(kernel: Kernel, folder: Path) -> None:
    kernel.run(f"%config ChatMagics.store = '{folder}/full.db'\n%chat replies full.json")
    assert not kernel.run("%%chat\nbefore").printed
    original = (folder / "full.json").read_bytes()
    (folder / "s.json").write_text("was")
    printed = []
    kernel.run("full(1 << 16)")
    try:
        for n in range(4):
            result = kernel.run(f"%%chat\n{n} {'word ' * 30_000}")
            assert result.answer and not result.error
            printed.append(result.printed)
        error = kernel.run("%chat save s.json").error
    finally:
        kernel.run("full(resource.RLIM_INFINITY)\nrecorder._connection.retry_now(report=False)")
    assert sum("is not saved (" in text for text in printed) == 1
    assert sum("the reply was not recorded (" in text for text in printed) == 1
    assert "cannot be written: File too large" in error
    assert (folder / "s.json").read_text() == "was" and (folder / "full.json").read_bytes() == original
    result = kernel.run("%%chat\nafter")
    assert result.answer and not result.printed
    assert len(json.loads((folder / "full.json").read_text())["replies"]) == 6
    kernel.run("%chat replies off\nfull(1 << 16)")
    assert "is not saved (" in kernel.run(f"%%chat\nat last {'word ' * 30_000}").printed  # reported again
    kernel.run("full(resource.RLIM_INFINITY)")  # written without another chat
    kernel.run("%unload_ext ipycachechat\nget_ipython().meta.clear()")
    kernel.run(
        f"get_ipython().config.ChatMagics.store = '{folder}/full.db'\n%load_ext ipycachechat\n%chat resume"
    )
    shown = kernel.run("%chat show and now?").text
    assert "before" in shown and "after" in shown and "at last" in shown and shown.count("word word") >= 4
    assert not [path.name for path in folder.iterdir() if path.name.startswith((".s.json", ".full"))]
