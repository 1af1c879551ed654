"""`demo.ipynb` runs with the local model, and its third turn comes mostly from the cache."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from support.kernels import PROJECT

pytestmark = pytest.mark.local
WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def python3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a kernel spec python3 that runs this interpreter."""
    folder = tmp_path / "data" / "kernels" / "python3"
    folder.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (folder / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "3", "language": "python"}))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))


@pytest.mark.usefixtures("python3")
def test_demo_runs_and_the_third_turn_comes_mostly_from_the_cache(tmp_path: Path) -> None:
    notebook = nbformat.read(PROJECT / "demo.ipynb", as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "the demo is kept without outputs"
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()

    shares = []
    for cell in notebook.cells:
        if not cell.source.startswith("%%chat"):
            continue
        answer, badge = (output.data for output in cell.outputs if output.output_type == "display_data")
        assert {"text/html", "text/markdown", "text/plain"} <= set(answer)
        assert "ipycachechat-badge" in badge["text/html"]
        assert WIDGET not in {**answer, **badge}
        shares.append(share_read(badge))
    print("read from the cache:", shares)
    assert len(shares) == 3
    assert shares[2] > 70

    page, _ = HTMLExporter().from_notebook_node(notebook)
    assert page.count('class="ipycachechat-badge ') == 3
    assert "Traceback" not in page


def share_read(badge: dict[str, Any]) -> int:
    match = re.search(r"\((\d+)%\) cached", badge["text/plain"])
    assert match, badge["text/plain"]
    return int(match[1])
