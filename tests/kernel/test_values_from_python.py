"""`get_chat()([…])` in a cell: values are told as expressions are, and nothing secret goes with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.kernels import Kernel
from wire import WireServer

from ipycachechat import Chat


def sent(wire: WireServer) -> str:
    content = wire.requests[-1].messages[-1]["content"]
    return content if isinstance(content, str) else "\n\n".join(part.get("text", "") for part in content)


@pytest.fixture
def kernel(kernel: Kernel) -> Kernel:
    kernel.run("%chat model openai/gpt-5.5\nfrom ipycachechat import get_chat\nchat = get_chat()")
    return kernel


@pytest.mark.parametrize(
    ("setup", "value"),
    [
        ("import pandas as pd\nx = pd.DataFrame({'a': [1, None], 'b': ['u', 'v']})", "x"),
        ("import numpy as np\nx = np.arange(12.0).reshape(3, 4)", "x"),
        ("def x(a: int) -> int:\n    return a + 1", "x"),
        ("import json", "json"),
        ("x = ValueError('no')", "x"),
        ("x = {'a': [1, 2]}", "x"),
        ("x = object", "x"),
        ("class Own:\n    def __repr__(self):\n        return '<mine>'\nx = Own()", "x"),
        ("from pathlib import Path\nPath('told.txt').write_text('read')", "Path('told.txt')"),
    ],
)
def test_a_value_is_told_as_an_expression_tells_it(
    kernel: Kernel, wire: WireServer, setup: str, value: str
) -> None:
    kernel.run(setup)
    assert not kernel.run(f"_ = chat(['look', {value}])").error
    told = sent(wire)
    if "Path" not in value:  # which no expression may make
        kernel.run("%chat reset")
        kernel.run(f"%%chat\nlook\n\n{{{{ {value} }}}}")
        assert told == sent(wire)
    assert told.startswith("look\n\n") and len(told) > 10


def test_nothing_secret_goes_with_values_and_the_answer_says_so(kernel: Kernel, wire: WireServer) -> None:
    key = "sk-" + "ant-api03-" + "c9" * 40
    kernel.run(f"import pandas as pd\nframe = pd.DataFrame({{'key': ['{key}']}})\nconfig = {{'k': '{key}'}}")
    ran = kernel.run("chat(['look', frame, config])", "q")
    assert not ran.error and key not in json.dumps(wire.requests[-1].body)
    for media in ("text/html", "text/markdown", "text/plain"):
        assert "masked: " in ran.outputs[-1][media]
    assert "masked: " in kernel.run("%chat why").text and "masked: " in kernel.value("chat.why()")
    stored = Path(kernel.folder.name) / "ipycachechat"
    assert key.encode() not in b"".join(path.read_bytes() for path in stored.iterdir())


def test_what_is_typed_is_sent_as_it_is(kernel: Kernel, wire: WireServer) -> None:
    kernel.run("_ = chat('{{ x }} and $x_{{i}}$')")
    assert sent(wire) == "{{ x }} and $x_{{i}}$"


def test_values_stay_in_the_budget(kernel: Kernel, wire: WireServer) -> None:
    kernel.run("%config ChatMagics.context_tokens = 50\nlong = list(range(100_000))\nshort = [1]")
    ran = kernel.run("chat(['a' * 2_000, long, short])", "q")
    assert "cut to the 50 tokens of context_tokens: value 2 (list)" in ran.outputs[-1]["text/plain"]
    assert "a" * 2_000 in sent(wire) and len(sent(wire)) < 2_800 and sent(wire).endswith("[1]")


def test_what_cells_and_values_were_cut_to_is_said_of_both(kernel: Kernel, wire: WireServer) -> None:
    kernel.run("%config ChatMagics.context_tokens = 1\nlong = list(range(100_000))\n%chat watch code")
    number = kernel.run(f"text = '{'x' * 500}'", "a").reply["content"]["execution_count"]
    ran = kernel.run("chat(['look', long])", "q")
    shown = ran.outputs[-1]["text/plain"]
    assert "value 2 (list) (≈" in shown and f"In [{number}] (≈" in shown


def test_secrets_in_texts_and_in_names_of_files(kernel: Kernel, wire: WireServer) -> None:
    key = "sk-" + "ant-api03-" + "d7" * 40
    kernel.run(f"from pathlib import Path\npath = Path('{key}.pdf')\npath.write_bytes(b'%PDF-1.4')")
    ran = kernel.run("chat(['look', path])", "q")
    assert not ran.error and key not in json.dumps(wire.requests[-1].body)
    assert "masked: Anthropic key" in ran.outputs[-1]["text/plain"]
    ran = kernel.run(f"chat(['look', '{key}'])", "r")
    assert (
        key in sent(wire)
        and "seems to contain secrets, which were sent as typed" in ran.outputs[-1]["text/plain"]
    )


def test_what_is_watched_goes_along(kernel: Kernel, wire: WireServer) -> None:
    kernel.run("%chat watch code")
    kernel.run("y = 2", "a")
    ran = kernel.run("chat('So?')", "q")
    assert (
        "```python\ny = 2\n```" in sent(wire)
        and "included 2 recently run cells" in ran.outputs[-1]["text/plain"]
    )
    assert kernel.value("chat.hist[0]['content'][1]['text']") == "So?"
    kernel.run("chat.hist = chat.hist")
    kernel.run("_ = chat('And?')", "r")
    assert "y = 2" not in sent(wire) and "y = 2" in str(wire.requests[-1].messages[0])


def test_outside_of_a_kernel_a_value_is_told_likewise(wire: WireServer) -> None:
    import pandas as pd

    frame = pd.DataFrame({"a": [1, 2, None]})
    chat = Chat("openai/gpt-5.5", api_base=wire.openai_url, api_key="k" * 20)
    chat(["look", frame, len])
    assert "3 rows" in sent(wire) and "missing" in sent(wire) and "def len(obj, /)" in sent(wire)
