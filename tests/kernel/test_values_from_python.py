"""`get_chat()([…])` in a cell: values are described as in expressions, and no secret is sent with them."""

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
        ("from pathlib import Path\nPath('note.txt').write_text('read')", "Path('note.txt')"),
    ],
)
def test_a_value_is_described_as_in_an_expression(
    kernel: Kernel, wire: WireServer, setup: str, value: str
) -> None:
    kernel.run(setup)
    assert not kernel.run(f"_ = chat(['look', {value}])").error
    prompt = sent(wire)
    if "Path" not in value:  # an expression may not create it
        kernel.run("%chat reset")
        kernel.run(f"%%chat\nlook\n\n{{{{ {value} }}}}")
        assert prompt == sent(wire)
    assert prompt.startswith("look\n\n") and len(prompt) > 10


def test_secrets_in_values_are_masked_and_the_answer_says_so(kernel: Kernel, wire: WireServer) -> None:
    key = "sk-" + "ant-api03-" + "c9" * 40
    kernel.run(f"import pandas as pd\nframe = pd.DataFrame({{'key': ['{key}']}})\nconfig = {{'k': '{key}'}}")
    result = kernel.run("chat(['look', frame, config])", "q")
    assert not result.error and key not in json.dumps(wire.requests[-1].body)
    for media in ("text/html", "text/markdown", "text/plain"):
        assert "masked: " in result.outputs[-1][media]
    assert "masked: " in kernel.run("%chat why").text and "masked: " in kernel.value("chat.why()")
    stored = Path(kernel.folder.name) / "ipycachechat"
    assert key.encode() not in b"".join(path.read_bytes() for path in stored.iterdir())


def test_typed_text_is_sent_unchanged(kernel: Kernel, wire: WireServer) -> None:
    kernel.run("_ = chat('{{ x }} and $x_{{i}}$')")
    assert sent(wire) == "{{ x }} and $x_{{i}}$"


def test_values_are_cut_to_the_limit_of_a_prompt(kernel: Kernel, wire: WireServer) -> None:
    kernel.run("%config ChatMagics.context_tokens = 50\nlong = list(range(100_000))\nshort = [1]")
    result = kernel.run("chat(['a' * 2_000, long, short])", "q")
    assert "cut to the 50 tokens of context_tokens: value 2 (list)" in result.outputs[-1]["text/plain"]
    assert "a" * 2_000 in sent(wire) and len(sent(wire)) < 2_800 and sent(wire).endswith("[1]")


def test_cut_cells_and_cut_values_are_both_reported(kernel: Kernel, wire: WireServer) -> None:
    kernel.run("%config ChatMagics.context_tokens = 1\nlong = list(range(100_000))\n%chat watch code")
    number = kernel.run(f"text = '{'x' * 500}'", "a").reply["content"]["execution_count"]
    result = kernel.run("chat(['look', long])", "q")
    shown = result.outputs[-1]["text/plain"]
    assert "value 2 (list) (≈" in shown and f"In [{number}] (≈" in shown


def test_secrets_in_texts_and_in_names_of_files(kernel: Kernel, wire: WireServer) -> None:
    key = "sk-" + "ant-api03-" + "d7" * 40
    kernel.run(f"from pathlib import Path\npath = Path('{key}.pdf')\npath.write_bytes(b'%PDF-1.4')")
    result = kernel.run("chat(['look', path])", "q")
    assert not result.error and key not in json.dumps(wire.requests[-1].body)
    assert "masked: Anthropic key" in result.outputs[-1]["text/plain"]
    result = kernel.run(f"chat(['look', '{key}'])", "r")
    assert (
        key in sent(wire)
        and "seems to contain secrets, which were sent as typed" in result.outputs[-1]["text/plain"]
    )


def test_watched_cells_are_sent_with_a_prompt_from_python(kernel: Kernel, wire: WireServer) -> None:
    kernel.run("%chat watch code")
    kernel.run("y = 2", "a")
    result = kernel.run("chat('So?')", "q")
    assert (
        "```python\ny = 2\n```" in sent(wire)
        and "included 2 recently run cells" in result.outputs[-1]["text/plain"]
    )
    assert kernel.value("chat.hist[0]['content'][1]['text']") == "So?"
    kernel.run("chat.hist = chat.hist")
    kernel.run("_ = chat('And?')", "r")
    assert "y = 2" not in sent(wire) and "y = 2" in str(wire.requests[-1].messages[0])


def test_a_value_is_described_in_the_same_way_outside_of_a_kernel(wire: WireServer) -> None:
    import pandas as pd

    frame = pd.DataFrame({"a": [1, 2, None]})
    chat = Chat("openai/gpt-5.5", api_base=wire.openai_url, api_key="k" * 20)
    chat(["look", frame, len])
    assert "3 rows" in sent(wire) and "missing" in sent(wire) and "def len(obj, /)" in sent(wire)
