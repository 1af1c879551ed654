"""Every example in a public docstring, and in the README, does what it says."""

from __future__ import annotations

import asyncio
import doctest
import re
from pathlib import Path
from typing import Any

import pytest
from wire import Call, Reply, WireServer
from wire.replies import default_reply

import ipycachechat
from ipycachechat.api import base_chat, chat

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
def knowing(server: WireServer) -> Any:
    """A model that knows one thing."""

    def reply(call: Call) -> Reply:
        return Reply('{"name": "Paris"}') if "JSON schema" in call.user_text else default_reply(call)

    server.always = reply
    yield server
    server.always = default_reply


EXAMPLES = [
    one
    for module in (chat, base_chat)
    for one in doctest.DocTestFinder(exclude_empty=True).find(module)
    if one.examples
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.name)
def test_the_examples_of_the_docstrings(knowing: WireServer, example: doctest.DocTest) -> None:
    example.globs = {name: getattr(ipycachechat, name) for name in ipycachechat.__all__} | {
        "asyncio": asyncio
    }
    report: list[str] = []
    done = doctest.DocTestRunner().run(example, out=report.append)
    assert not done.failed, "".join(report)


def test_every_public_call_has_a_docstring_with_an_example_or_says_where_there_is_one() -> None:
    names = {one.name.rpartition(".")[2] for one in EXAMPLES}
    public = {name for kind in (chat.AsyncChat, chat.Chat) for name in vars(kind) if not name.startswith("_")}
    assert public - names == set()
    assert {"__call__", "__init__", "hist", "register_model"} <= names


def test_the_examples_of_the_readme(knowing: WireServer) -> None:
    blocks = re.findall(r"<!-- example -->\n```python\n(.*?)```", README.read_text(), re.S)
    assert blocks
    for block in blocks:
        exec(compile(block, "<the README>", "exec"), {})  # no file, whose lines would be taken for its source
