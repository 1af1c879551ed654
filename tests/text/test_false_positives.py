"""How often text without secrets is masked: at most one line in 100,000, each of them listed."""

from __future__ import annotations

import base64
import importlib.util
import json
import random
import subprocess
import sysconfig
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipycachechat.text.redaction import Redactor

ROOT = Path(__file__).parents[2]
REAL = ("test_netrc.py", "test_urllib2.py", "test_urllib2net.py", "test_urllib2_localnet.py", "test_sql.py")
"""Files whose passwords are real ones, if only of a test: they are to be masked."""


def sources(package: str) -> Iterator[str]:
    """The Python sources of a package, or of the standard library."""
    spec = None if package == "python" else importlib.util.find_spec(package)
    if spec is None and package != "python":
        pytest.skip(f"{package} is not installed")
    root = Path(sysconfig.get_paths()["stdlib"]) if spec is None else Path(str(spec.origin)).parent
    for path in sorted(root.rglob("*.py")):
        if "site-packages" not in path.relative_to(root).parts and path.name not in REAL:
            yield path.read_text(errors="replace")


def git_log() -> Iterator[str]:
    command = ["git", "-C", str(ROOT), "log", "--stat", "--format=fuller", "-n", "500"]
    yield subprocess.run(command, capture_output=True, text=True, check=True).stdout


def made_up(kind: str) -> Iterator[str]:
    """Identifiers, digests, and a notebook with pictures."""
    generator = random.Random(kind)
    if kind == "uuids":
        yield "\n".join(str(uuid.UUID(bytes=generator.randbytes(16))) for _ in range(100_000))
    elif kind == "digests":
        yield "\n".join(f"{generator.randbytes(32).hex()}  data/{n}.csv" for n in range(100_000))
    else:
        pictures = [base64.encodebytes(generator.randbytes(57 * 2_000)).decode() for _ in range(50)]
        outputs = [
            {"output_type": "display_data", "data": {"image/png": picture.splitlines(True)}}
            for picture in pictures
        ]
        yield json.dumps({"cells": [{"cell_type": "code", "outputs": outputs}]}, indent=1)


CORPORA = {
    "python": lambda: sources("python"),
    "pandas": lambda: sources("pandas"),
    "sklearn": lambda: sources("sklearn"),
    "git log": git_log,
    "uuids": lambda: made_up("uuids"),
    "digests": lambda: made_up("digests"),
    "pictures": lambda: made_up("pictures"),
}


@pytest.mark.parametrize("corpus", CORPORA)
def test_at_most_one_line_in_a_hundred_thousand_is_masked(corpus: str) -> None:
    redactor, lines, masked = Redactor(), 0, list[str]()
    for text in CORPORA[corpus]():
        lines += text.count("\n") + 1
        for start, stop, label in redactor.find_secrets(text):
            masked.append(f"{label}: {text[max(0, start - 40) : stop]!r}")
    print(f"{corpus}: {lines:,} lines, masked: {len(masked)}", *masked, sep="\n  ")
    assert len(masked) <= max(1, lines / 100_000)
