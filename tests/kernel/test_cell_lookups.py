"""`{{ cell(3) }}`, `{{ out(3) }}` and `{{ err }}` in chat cells, and `%chat fix`."""

from __future__ import annotations

import pytest
from support.kernels import CellResult, Kernel
from wire import Reply, WireServer

FAILS = "def ratio(a, b):\n    total = a + b\n    return a / b\n\nrows = [1, 0]\nratio(*rows)"


@pytest.fixture
def kernel(kernel: Kernel) -> Kernel:
    kernel.run("%chat model openai/gpt-5.5")
    return kernel


def sent(wire: WireServer) -> str:
    return str(wire.requests[-1].messages[-1]["content"])


def number(result: CellResult) -> int:
    return int(result.reply["content"]["execution_count"])


def test_a_cell_and_its_value_by_number(kernel: Kernel, wire: WireServer) -> None:
    n = number(kernel.run("x = 40\nx + 2"))
    assert not kernel.run(f"%%chat\nWhat does {{{{ cell({n}) }}}} do? It gave {{{{ out({n}) }}}}.").error
    assert sent(wire) == (
        f"What does `cell({n})` do? It gave 42.\n\n`cell({n})`:\n\n```python\nx = 40\nx + 2\n```"
    )


def test_err_has_the_last_error_its_cell_and_the_locals_of_its_frames(
    kernel: Kernel, wire: WireServer
) -> None:
    n = number(kernel.run(FAILS))
    assert not kernel.run("%%chat\nWhat is wrong in {{ err }}?").error
    prompt = sent(wire)
    assert prompt.startswith(f"What is wrong in `err`?\n\n`err`:\n\nCell [{n}] failed:")
    assert "ZeroDivisionError: division by zero" in prompt and f"```python\n{FAILS}\n```" in prompt
    assert "In `ratio()`:\n\n- `a` = `1`\n- `b` = `0`\n- `total` = `1`" in prompt
    assert "IPython" not in prompt and "ipykernel" not in prompt  # IPython's frames and a path that changes


def test_err_has_the_names_that_a_failed_cell_used(kernel: Kernel, wire: WireServer) -> None:
    kernel.run("import pandas as pd\nframe = pd.DataFrame({'a': [1, 2]})\nother = 'unused'\nkey = 'b'")
    kernel.run("frame[key]")
    assert not kernel.run("%%chat\n{{ err }}").error
    prompt = sent(wire)
    assert "In `the cell`:\n\n- `frame` = `DataFrame of shape (2, 1)`\n- `key` = `'b'`" in prompt
    assert "unused" not in prompt and "KeyError: 'b'" in prompt


def test_an_error_of_a_chat_is_not_the_last_error(kernel: Kernel, wire: WireServer) -> None:
    kernel.run("1 / 0")
    assert kernel.run("%%chat\n{{ nothing }}").error
    assert not kernel.run("%%chat\n{{ err }}").error
    assert "ZeroDivisionError" in sent(wire)


def test_a_syntax_error_is_an_error_too(kernel: Kernel, wire: WireServer) -> None:
    kernel.run("def f(:\n    pass")
    assert not kernel.run("%%chat\n{{ err }}").error
    assert "SyntaxError" in sent(wire) and "def f(:" in sent(wire)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("{{ err }}", "'err' is not defined"),
        ("{{ cell(99999) }}", "no cell [99999] has run"),
        ("{{ out(99999) }}", "cell [99999] has no value"),
        ("{{ cell('a') }}", "line 1"),
    ],
)
def test_a_missing_cell_output_or_error_is_reported_and_nothing_is_sent(
    kernel: Kernel, wire: WireServer, prompt: str, expected: str
) -> None:
    error = kernel.run(f"%%chat\n{prompt}").error
    assert expected in error and len(error.splitlines()) == 2 and not wire.requests


def test_names_of_the_user_come_first(kernel: Kernel, wire: WireServer) -> None:
    kernel.run("err = 'mine'")
    kernel.run("1 / 0")
    assert not kernel.run("%%chat\n{{ err }}").error
    assert sent(wire) == "mine"


def test_secrets_in_locals_and_messages_are_masked(kernel: Kernel, wire: WireServer) -> None:
    key = "sk-" + "ant-api03-" + "a7" * 40
    kernel.run(
        f"def connect(key):\n    raise OSError('refused ' + key)\n\nconnect('{key[:20]}' + '{key[20:]}')"
    )
    result = kernel.run("%%chat\n{{ err }}")
    assert key not in sent(wire) and "[masked: Anthropic key]" in sent(wire)
    assert "masked: " in result.badge


def test_fix_asks_and_inserts_the_corrected_cell_below(kernel: Kernel, wire: WireServer) -> None:
    assert "no cell has failed yet" in kernel.run("%chat fix").error
    kernel.run(FAILS)
    wire.script(Reply("It divides by nought.\n\n```python\nratio(1, 2)\n```\n\nThat is all."))
    result = kernel.run("%chat fix", "a")
    assert not result.error and result.badge
    assert "ZeroDivisionError" in sent(wire) and "as one block of Python" in sent(wire)
    assert result.reply["content"]["payload"] == [
        {"source": "set_next_input", "text": "ratio(1, 2)", "replace": False}
    ]
    assert not kernel.run("%chat fix and keep the name").error
    assert sent(wire).endswith("and keep the name")


def test_fix_inserts_no_cell_if_the_answer_has_no_code(kernel: Kernel, wire: WireServer) -> None:
    kernel.run("1 / 0")
    wire.script(Reply("Nothing can be done."))
    assert not kernel.run("%chat fix").reply["content"]["payload"]


def test_out_is_the_printed_text_of_a_cell_without_a_value(kernel: Kernel, wire: WireServer) -> None:
    n = number(kernel.run("for word in ('one', 'two'):\n    print(word)"))
    assert not kernel.run(f"%%chat\nIt said {{{{ out({n}) }}}}").error
    assert sent(wire) == "It said one\ntwo"
    n = number(kernel.run("print('printed')\n'the value'"))
    kernel.run(f"%%chat\n{{{{ out({n}) }}}}")
    assert sent(wire) == "the value"


def test_a_value_that_takes_long_to_inspect_does_not_hide_the_error(kernel: Kernel, wire: WireServer) -> None:
    kernel.run(
        "import time\nclass Slow:\n    def __repr__(self):\n        time.sleep(60)\n"
        "def fails(first, slow):\n    return first / 0\n"
    )
    kernel.run("fails(1, Slow())")
    assert not kernel.run("%%chat\n{{ err }}").error
    assert "ZeroDivisionError" in sent(wire) and "- `first` = `1`" in sent(wire)
    assert "(Slow: it took too long to look at" in sent(wire)


def test_the_same_error_is_described_with_the_same_text(kernel: Kernel, wire: WireServer) -> None:
    descriptions = []
    for _ in range(2):
        kernel.run("class Own:\n    pass\ndef fails(one):\n    return one.x\n", "a")
        kernel.run("fails(Own())", "b")
        kernel.run("%%chat\n{{ err }}", "q")
        descriptions.append(sent(wire).partition("failed:")[2])
    assert descriptions[0] == descriptions[1] and "Own object" in descriptions[0]
