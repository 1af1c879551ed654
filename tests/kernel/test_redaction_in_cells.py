"""Redaction: no secret of the kernel is sent, shown or stored, in values or in tool results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.kernels import ForkedKernel, Kernel
from support.planted_secrets import PLANTED, fake
from wire import Reply, ToolCall, WireServer

ENVIRONMENT = {
    "WEATHER_API_KEY": fake(32, seed=7),
    "DATABASE_URL": f"postgresql://me:{fake(20, seed=8)}@db.example.org/x",
    "AWS_SECRET_ACCESS_KEY": fake(40, seed=9),
    "SMTP_PASSWORD": fake(16, seed=10),
}
HIDDEN = [*(ENVIRONMENT[name] for name in ENVIRONMENT if name != "DATABASE_URL"), fake(20, seed=8)]
FORMS = [(before + secret + after, secret) for _, before, secret, after in PLANTED]
SENT = "sk-" + "ant-api03-" + fake(95, seed=99)
"""A secret that is sent and stored; none of those that are not to be found in the store."""
AT_ONCE = 8
HEADERS = ("Proc-Type", "DEK-Info", "Version")

WAYS = {
    "a text": "v = '\\n'.join(s)",
    "a list": "v = s",
    "a dict": "v = dict(enumerate(s))",
    "a dataframe": "import pandas as pd\nv = pd.DataFrame({'s': s})",
    "a series": "import pandas as pd\nv = pd.Series(s)",
    "an array": "import numpy as np\nv = np.array(s)",
    "a repr": "class C:\n    def __repr__(self): return repr(self.__dict__)\nv = C(); v.s = s",
    "a dataclass": "from dataclasses import dataclass\n@dataclass\nclass D:\n    s: list\nv = D(s)",
    "an exception": "try:\n    raise ValueError(s)\nexcept ValueError as e:\n    v = e",
    "a file": "from pathlib import Path\nv = Path('notes.txt'); v.write_text('\\n'.join(s))",
    "an output": "v = Out[max(Out)]",
}


@pytest.fixture(scope="module")
def shared_kernel(server: WireServer) -> Iterator[Kernel]:
    with ForkedKernel(server.env() | ENVIRONMENT) as kernel:
        kernel.run("%load_ext ipycachechat")
        yield kernel


def found_secrets(planted: list[tuple[str, str]], text: str) -> list[str]:
    """Return the secrets of which a text contains a line; the first lines of a private key are not secret."""
    lines = [line for _, secret in planted for line in secret.splitlines()]
    return [
        line for line in lines if len(line) > 12 and line in text and not line.startswith(("-----", *HEADERS))
    ]


def store_text(kernel: Kernel) -> str:
    """Return everything in the store."""
    folder = Path(kernel.folder.name)
    return "".join(
        path.read_bytes().decode("latin-1") for path in folder.rglob("chats.db*") if path.is_file()
    )


@pytest.mark.parametrize("way", WAYS)
def test_no_secret_is_sent_in_any_kind_of_value(wire: WireServer, kernel: Kernel, way: str) -> None:
    assert len(FORMS) >= 60
    for start in range(0, len(FORMS), AT_ONCE):
        planted = FORMS[start : start + AT_ONCE]
        kernel.run(f"s = {[text for text, _ in planted]!r}\ns")
        fake = kernel.run(WAYS[way])
        assert not fake.error, fake.error
        result = kernel.run("%%chat\nWhat is in {{ v }}?", f"cell {start}")
        assert not result.error, result.error
        sent = json.dumps(wire.requests[-1].body)
        shown = json.dumps(result.contents("display_data", "update_display_data"))
        assert "[masked: " in sent and "masked: " in result.badge
        assert found_secrets(planted, sent) == found_secrets(planted, shown) == []
    stored = store_text(kernel)
    assert stored and found_secrets(FORMS, stored) == []


def test_secrets_of_the_environment_are_masked_everywhere(wire: WireServer, kernel: Kernel) -> None:
    for expression in (
        "dict(os.environ)",
        "str(dict(os.environ)).encode()",
        "['https://api.example.org/?key=' + os.environ['WEATHER_API_KEY']]",
        "ValueError('connecting to ' + os.environ['DATABASE_URL'])",
        "__import__('base64').b64encode(('me:' + os.environ['SMTP_PASSWORD']).encode()).decode()",
    ):
        kernel.run(f"import os\nv = {expression}")
        result = kernel.run("%%chat\nWhat of {{ v }}?")
        assert not result.error and "masked: " in result.badge
        sent = json.dumps(wire.requests[-1].body)
        assert not any(secret in sent for secret in HIDDEN)


def test_tool_results_are_masked(wire: WireServer, kernel: Kernel) -> None:
    kernel.run(
        "import os\ndef settings() -> dict:\n    'The settings.'\n    return dict(os.environ)\n\n"
        "def fails() -> str:\n    'Fail.'\n    raise OSError(os.environ['WEATHER_API_KEY'])\n\n"
        "%chat tools settings fails"
    )
    wire.script(Reply(tool_calls=(ToolCall("settings", {}), ToolCall("fails", {}))), Reply("done"))
    result = kernel.run("%%chat\nLook.")
    assert not result.error and "WEATHER_API_KEY" in result.badge
    everything = json.dumps([request.body for request in wire.requests]) + json.dumps(
        result.contents("display_data", "update_display_data")
    )
    assert not any(secret in everything for secret in HIDDEN)
    assert "[masked: WEATHER_API_KEY]" in everything


def test_a_typed_secret_is_sent_with_a_warning(wire: WireServer, kernel: Kernel) -> None:
    result = kernel.run(f"%%chat\nWhat is {SENT}?")
    assert SENT in json.dumps(wire.requests[-1].body)
    assert "your prompt seems to contain secrets, which were sent as typed: Anthropic key" in result.badge


def test_masking_can_be_switched_off(wire: WireServer, kernel: Kernel) -> None:
    kernel.run("%config ChatMagics.redact = False")
    kernel.run(f"v = {SENT!r}")
    result = kernel.run("%%chat\nWhat is {{ v }}?")
    assert SENT in json.dumps(wire.requests[-1].body) and "masked" not in result.badge


def test_masked_text_is_the_same_in_every_request(wire: WireServer, kernel: Kernel) -> None:
    kernel.run(f"v = {[text for text, _ in FORMS[:10]]!r}")
    bodies = []
    for _ in range(2):
        kernel.run("%%chat\nWhat is in {{ v }}?", "a")
        bodies.append(wire.requests[-1].body["messages"])
    assert bodies[0] == bodies[1]


@pytest.mark.parametrize("shift", [10, 40, 70])
def test_what_a_cell_printed_is_masked_before_it_is_cut(wire: WireServer, kernel: Kernel, shift: int) -> None:
    """The cuts fall into a token: of 20,000 characters for `out(n)`, and of 1,000 for `%chat watch`."""
    token = FORMS[0][0]
    pieces = [(token, token[n : n + 16]) for n in range(len(token) - 16)]

    def printed(kept: int) -> str:
        """Code that prints a token where the first 60 % end, and another where the last 40 % begin."""
        head, tail = kept * 6 // 10 - shift, kept * 4 // 10 - len(token) + shift
        return f"print('x ' * {head // 2} + {token!r} + ' y' * {kept} + ' ' + {token!r} + ' z' * {tail // 2})"

    kernel.run(printed(20_000))
    number = kernel.value("len(In) - 2")
    kernel.run("%config ChatMagics.watch = 'code+output'")
    kernel.run(printed(1_000))
    result = kernel.run(f"%%chat\nWhat is in {{{{ out({number}) }}}}?")
    kernel.run("%config ChatMagics.watch = 'off'")
    assert not result.error, result.error
    sent = json.dumps(wire.requests[-1].body)
    assert sent.count("characters left out") == 3  # out(n), and both cells as watched
    assert found_secrets(pieces, sent) == []
