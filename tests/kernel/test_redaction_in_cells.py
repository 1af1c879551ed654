"""No secret of the kernel is sent, shown or stored: neither in values, nor in what tools return."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.kernels import Kernel
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
    with Kernel(server.env() | ENVIRONMENT) as kernel:
        kernel.run("%load_ext ipycachechat")
        yield kernel


def found(planted: list[tuple[str, str]], text: str) -> list[str]:
    """The secrets that are in a text, or a line of them; what a private key's first lines say is none."""
    lines = [line for _, secret in planted for line in secret.splitlines()]
    return [
        line for line in lines if len(line) > 12 and line in text and not line.startswith(("-----", *HEADERS))
    ]


def kept(kernel: Kernel) -> str:
    """All that is in the store."""
    folder = Path(kernel.folder.name)
    return "".join(
        path.read_bytes().decode("latin-1") for path in folder.rglob("chats.db*") if path.is_file()
    )


@pytest.mark.parametrize("way", WAYS)
def test_no_form_of_a_secret_arrives_however_it_is_held(wire: WireServer, kernel: Kernel, way: str) -> None:
    assert len(FORMS) >= 60
    for start in range(0, len(FORMS), AT_ONCE):
        planted = FORMS[start : start + AT_ONCE]
        kernel.run(f"s = {[text for text, _ in planted]!r}\ns")
        fake = kernel.run(WAYS[way])
        assert not fake.error, fake.error
        ran = kernel.run("%%chat\nWhat is in {{ v }}?", f"cell {start}")
        assert not ran.error, ran.error
        sent = json.dumps(wire.requests[-1].body)
        shown = json.dumps(ran.contents("display_data", "update_display_data"))
        assert "[masked: " in sent and "masked: " in ran.badge
        assert found(planted, sent) == found(planted, shown) == []
    stored = kept(kernel)
    assert stored and found(FORMS, stored) == []


def test_what_the_environment_holds_is_known_wherever_it_stands(wire: WireServer, kernel: Kernel) -> None:
    for expression in (
        "dict(os.environ)",
        "str(dict(os.environ)).encode()",
        "['https://api.example.org/?key=' + os.environ['WEATHER_API_KEY']]",
        "ValueError('connecting to ' + os.environ['DATABASE_URL'])",
        "__import__('base64').b64encode(('me:' + os.environ['SMTP_PASSWORD']).encode()).decode()",
    ):
        kernel.run(f"import os\nv = {expression}")
        ran = kernel.run("%%chat\nWhat of {{ v }}?")
        assert not ran.error and "masked: " in ran.badge
        sent = json.dumps(wire.requests[-1].body)
        assert not any(secret in sent for secret in HIDDEN)


def test_what_tools_return_is_masked_too(wire: WireServer, kernel: Kernel) -> None:
    kernel.run(
        "import os\ndef settings() -> dict:\n    'The settings.'\n    return dict(os.environ)\n\n"
        "def fails() -> str:\n    'Fail.'\n    raise OSError(os.environ['WEATHER_API_KEY'])\n\n"
        "%chat tools settings fails"
    )
    wire.script(Reply(tool_calls=(ToolCall("settings", {}), ToolCall("fails", {}))), Reply("done"))
    ran = kernel.run("%%chat\nLook.")
    assert not ran.error and "WEATHER_API_KEY" in ran.badge
    everything = json.dumps([request.body for request in wire.requests]) + json.dumps(
        ran.contents("display_data", "update_display_data")
    )
    assert not any(secret in everything for secret in HIDDEN)
    assert "[masked: WEATHER_API_KEY]" in everything


def test_what_was_typed_is_sent_and_warned_about(wire: WireServer, kernel: Kernel) -> None:
    token, _ = FORMS[0]
    ran = kernel.run(f"%%chat\nWhat is {token}?")
    assert token in json.dumps(wire.requests[-1].body)
    assert "your prompt seems to contain secrets, which were sent as typed: Anthropic key" in ran.badge


def test_masking_can_be_switched_off(wire: WireServer, kernel: Kernel) -> None:
    kernel.run("%config ChatMagics.redact = False")
    kernel.run(f"v = {FORMS[0][0]!r}")
    ran = kernel.run("%%chat\nWhat is {{ v }}?")
    assert FORMS[0][0] in json.dumps(wire.requests[-1].body) and "masked" not in ran.badge


def test_what_is_masked_is_the_same_bytes_every_time(wire: WireServer, kernel: Kernel) -> None:
    kernel.run(f"v = {[text for text, _ in FORMS[:10]]!r}")
    bodies = []
    for _ in range(2):
        kernel.run("%%chat\nWhat is in {{ v }}?", "a")
        bodies.append(wire.requests[-1].body["messages"])
    assert bodies[0] == bodies[1]
