"""Fixtures and checks for all tests."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from wire.fixtures import wire

__all__ = ["wire"]

CHROMIUM = Path("/usr/bin/chromium")
IN_CI = bool(os.environ.get("IPYCACHECHAT_CI"))

# CI tries the same examples every time; local runs try new ones.
settings.register_profile("ci", derandomize=True)
if IN_CI:
    settings.load_profile("ci")


@pytest.fixture(autouse=True, scope="session")
def _no_real_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep tests from the stored conversations of the user who runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(autouse=True)
def _no_real_keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hide the keys and base URLs of the user who runs the tests."""
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_API_BASE", "_BASE_URL", "_AUTH_TOKEN")):
            monkeypatch.delenv(name)
    yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have recorded, a table for each name."""
    tables: dict[str, list[str]] = {}
    for report in [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]:
        for name, line in report.user_properties if report.when == "call" else ():
            tables.setdefault(name, []).append(str(line))
    for name, lines in tables.items():
        terminalreporter.section(name)
        for line in sorted(lines):
            terminalreporter.write_line(line)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests of chromium or xllamacpp if it is not installed; in CI fail them."""
    missing = ""
    if item.get_closest_marker("browser") and not CHROMIUM.exists():
        missing = f"{CHROMIUM} is not there"
    if item.get_closest_marker("local") and importlib.util.find_spec("xllamacpp") is None:
        missing = "xllamacpp is not installed"
    if missing:
        (pytest.fail if IN_CI else pytest.skip)(missing)
