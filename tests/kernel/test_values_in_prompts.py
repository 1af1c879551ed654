"""`{{ value }}` in chat cells of a real kernel: how each kind of value is sent."""

from __future__ import annotations

import base64
from typing import NamedTuple

import pytest
from support.kernels import CellResult, Kernel
from wire import WireServer

MB = 1_000_000


class Row(NamedTuple):
    """A kind of value: code that assigns `v`, and texts that the request must contain."""

    what: str
    make: str
    expected: tuple[str, ...]
    ask: str = "{{ v }}"
    needs: str = ""


FRAME = "import pandas as pd\nv = pd.DataFrame({'age': [1.0, 2.0, None], 'name': ['a', 'b|c', None]})"
TABLE = [
    Row("text", "v = 'words {{ x }} {y}'", ("words {{ x }} {y}",)),
    Row("text in lines", "v = 'one\\ntwo'", ("What of one\ntwo?",), "What of {{ v }}?"),
    Row("a whole number", "v = 42", ("is 42",), "is {{ v }}"),
    Row("a fraction", "v = 1.5", ("1.5",)),
    Row("a complex number", "v = 1 + 2j", ("(1+2j)",)),
    Row("truth", "v = True", ("True",)),
    Row("nothing", "v = None", ("None",)),
    Row("a list", "v = [1, 'a', None]", ('[1, "a", null]',)),
    Row("a tuple", "v = (1, 2)", ("[1, 2]",)),
    Row("a dict", "v = {'a': {'b': [1]}}", ('{"a": {"b": [1]}}',)),
    Row("a dict with other keys", "v = {1: 'a', (2, 3): 'b'}", ("{1: 'a', (2, 3): 'b'}",)),
    Row("a set", "v = {3, 1, 2}", ("{1, 2, 3}",)),
    Row("a long list", "v = list(range(10**6))", ("list of 1,000,000, the first 100", "0, 1, 2")),
    Row("a long dict", "v = {n: n for n in range(10**5)}", ("dict of 100,000, the first 100", "0: 0")),
    Row("a deep list", "v = []\nfor _ in range(5000): v = [v]", ("[[[[[[[...]]]]]]]",)),
    Row("a list that holds itself", "v = [1]; v.append(v)", ("[1, [1, [1,",)),
    Row("a range", "v = range(3)", ("range(0, 3)",)),
    Row("a generator", "v = (n for n in [1])", ("<generator object",)),
    Row("bytes that are text", "v = b'plain'", ("plain",)),
    Row("a date", "import datetime\nv = datetime.date(2026, 1, 2)", ("datetime.date(2026, 1, 2)",)),
    Row("a decimal", "import decimal\nv = decimal.Decimal('1.10')", ("Decimal('1.10')",)),
    Row("an enum", "import enum\nclass E(enum.Enum):\n    A = 1\nv = E.A", ("<E.A: 1>",)),
    Row(
        "a dataclass",
        "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\nv = P(3)",
        ('{"x": 3}',),
    ),
    Row("a namedtuple", "from collections import namedtuple\nv = namedtuple('N', 'a b')(1, 2)", ("[1, 2]",)),
    Row("a pandas dataframe", FRAME, ("3 rows and 2 columns", "| age | float64 | 1 | 1 to 2, mean 1.5 |", r"b\|c")),
    Row("a pandas series", f"{FRAME}\nv = v['age']", ("Series, 3 rows", "| age | float64 | 1 |")),
    Row("a column by its name", FRAME, ("| age | float64 | 1 |",), "{{ v.age }}"),
    Row("the head of a dataframe", FRAME, ("1 row and 2 columns",), "{{ v.head(1) }}"),
    Row("what describe says", FRAME, ("| age |", "8 rows"), "{{ v.describe() }}"),
    Row("a groupby", f"{FRAME}\nv = v.groupby('name')", ("DataFrameGroupBy",)),
    Row("a pandas index", f"{FRAME}\nv = v.columns", ("Index(['age', 'name']",)),
    Row("an empty dataframe", "import pandas as pd\nv = pd.DataFrame()", ("0 rows and 0 columns",)),
    Row("a wide dataframe", "import pandas as pd\nv = pd.DataFrame([range(300)])", ("1 row and 300 columns", "250 columns left out")),
    Row(
        "columns of one name",
        "import pandas as pd\nv = pd.DataFrame([[1, 'b']], columns=['a', 'a'])",
        ("| a | int64 | 0 | 1 to 1, mean 1 |", "| a | str | 0 |"),
    ),
    Row(
        "many levels",
        "import pandas as pd\nv = pd.DataFrame({('a', 'x'): [1], ('a', 'y'): [2]})",
        ("1 row and 2 columns", "('a', 'x')"),
    ),
    Row("times", "import pandas as pd\nv = pd.DataFrame({'t': pd.date_range('2026', periods=3)})", ("2026-01-01", "2026-01-03")),
    Row("lists in a column", "import pandas as pd\nv = pd.DataFrame({'l': [[1], [1], [2]]})", ("2 distinct: [1], [2]",)),
    Row(
        "a polars dataframe",
        "import polars as pl\nv = pl.DataFrame({'n': [1, None], 's': ['a', 'b']})",
        ("2 rows and 2 columns", "| n | Int64 | 1 | 1 to 1, mean 1 |"),
        needs="polars",
    ),
    Row("a polars series", "import polars as pl\nv = pl.Series('n', [1, 2])", ("| n | Int64 | 0 |",), needs="polars"),
    Row("a polars plan", "import polars as pl\nv = pl.LazyFrame({'n': [1]})", ("<LazyFrame>",), needs="polars"),
    Row("an Arrow table", "import pyarrow as pa\nv = pa.table({'n': [1, None]})", ("2 rows and 1 column",), needs="pyarrow"),
    Row("an array", "import numpy as np\nv = np.array([[1, 2], [3, 4]])", ("shape (2, 2), int64, 1 to 4, mean 2.5", "[[1 2]")),
    Row("an array with gaps", "import numpy as np\nv = np.array([1.0, np.nan, 3.0])", ("1 to 3, mean 2", "nan")),
    Row("an array of texts", "import numpy as np\nv = np.array(['a', 'b'])", ("shape (2,), <U1", "['a' 'b']")),
    Row("a number of numpy's", "import numpy as np\nv = np.float64(2.5)", ("What is 2.5?",), "What is {{ v }}?"),
    Row("an empty array", "import numpy as np\nv = np.zeros((0, 3))", ("shape (0, 3)",)),
    Row("a function", "def v(a, b=1):\n    'Add.'\n    return a + b", ("def v(a, b=1):", "return a + b")),
    Row("a lambda", "v = lambda a: a + 1", ("lambda a: a + 1",)),
    Row("a class", "class v:\n    'A thing.'\n    def go(self):\n        return 1", ("class v:", "def go(self):")),
    Row("a built-in", "v = len", ("def len(obj, /)", "Return the number of items")),
    Row("a method", "v = 'a'.upper", ("def str.upper()",)),
    Row("a module", "import json as v", ("module json", "def dumps(obj, *,")),
    Row(
        "an exception with its traceback",
        "def f():\n    1 / 0\ntry:\n    f()\nexcept Exception as e:\n    v = e",
        ("Traceback", "in f", "ZeroDivisionError: division by zero"),
    ),
    Row("an exception that was not raised", "v = ValueError('x')", ("ValueError: x",)),
    Row("a pattern", "import re\nv = re.compile('a+')", ("re.compile('a+')",)),
    Row("an object", "class C: pass\nv = C()", ("C object>",)),
    Row("an object with a long repr", "class L:\n    def __repr__(self): return 'r' * 10**7\nv = L()", ("characters left out",)),
    Row("one whose repr raises", "class B:\n    def __repr__(self): raise ValueError('no')\nv = B()", ("of the type B: it cannot be shown: ValueError",)),
    Row("one whose repr takes forever", "class S:\n    def __repr__(self):\n        while True: pass\nv = S()", ("of the type S: it took longer than 1 s",)),
    Row("one whose repr sleeps", "import time\nclass S:\n    def __repr__(self): time.sleep(60)\nv = S()", ("took longer than 1 s",)),
    Row("one that swallows errors", "class S:\n    def __repr__(self):\n        while True:\n            try:\n                while True: pass\n            except Exception: pass\nv = S()", ("took longer",)),
    Row("one whose repr has no end", "class R:\n    def __repr__(self): return repr(self)\nv = R()", ("nested too deep",)),
    Row("one that has every attribute", "from unittest.mock import MagicMock\nv = MagicMock()", ("MagicMock",)),
    Row("one that shows markdown", "class M:\n    def _repr_markdown_(self): return '**bold**'\nv = M()", ("**bold**",)),
    Row("a path of a text", "from pathlib import Path\nv = Path('notes.txt'); v.write_text('some notes')", ("notes.txt:", "some notes")),
    Row("a widget", "import ipywidgets\nv = ipywidgets.IntSlider(3)", ("IntSlider(value=3",)),
]  # fmt: skip


@pytest.fixture
def asked(kernel: Kernel, wire: WireServer) -> Kernel:
    kernel.run("%chat model openai/gpt-5.5")
    return kernel


def text(wire: WireServer) -> str:
    """Return the text of the last prompt."""
    content = wire.requests[-1].messages[-1]["content"]
    if isinstance(content, str):
        return content
    return "\n".join(str(part["text"]) for part in content if part["type"] == "text")


def ask(kernel: Kernel, prompt: str) -> CellResult:
    result = kernel.run(f"%%chat\n{prompt}")
    assert not result.error, result.error
    return result


@pytest.mark.parametrize("row", TABLE, ids=[row.what for row in TABLE])
def test_every_kind_of_value_is_described(asked: Kernel, wire: WireServer, row: Row) -> None:
    if row.needs:
        pytest.importorskip(row.needs)
    code_result = asked.run(row.make)
    assert not code_result.error, code_result.error
    ask(asked, row.ask)
    for expected in row.expected:
        assert expected in text(wire)
    assert len(text(wire)) < 9_000


@pytest.mark.parametrize(
    "make",
    [
        "from matplotlib.figure import Figure\nv = Figure(); v.subplots().plot([1, 2])",
        "from matplotlib.figure import Figure\nv = Figure().subplots(); v.plot([1, 2])",
        "from PIL import Image\nv = Image.new('RGB', (20, 10))",
        "import io\nfrom PIL import Image\nb = io.BytesIO(); Image.new('L', (9, 9)).save(b, 'PNG'); v = b.getvalue()",
        "from pathlib import Path\nfrom PIL import Image\nv = Path('a.png'); Image.new('L', (9, 9)).save(v)",
    ],
    ids=["a figure", "axes", "a PIL image", "bytes", "a path"],
)
def test_pictures_are_sent_as_images(asked: Kernel, wire: WireServer, make: str) -> None:
    assert not asked.run(make).error
    ask(asked, "What is in {{ v }}?")
    parts = wire.requests[-1].messages[-1]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url"]
    assert parts[0]["text"] == "What is in `v`?\n\n`v` is attached as image 1."
    assert base64.b64decode(parts[1]["image_url"]["url"].partition(",")[2]).startswith(b"\x89PNG")


def test_a_picture_for_a_model_without_vision_is_reported_and_nothing_is_sent(
    asked: Kernel, wire: WireServer
) -> None:
    asked.run("from PIL import Image\nv = Image.new('RGB', (20, 10))")
    error = asked.run("%%chat -m deepseek/deepseek-chat\nWhat is in {{ v }}?").error
    assert "takes no image" in error and len(error.splitlines()) == 2
    assert not wire.requests


def test_an_undefined_name_is_reported_before_anything_is_sent(asked: Kernel, wire: WireServer) -> None:
    error = asked.run("%%chat\nWhat of {{ nothing }}?").error
    assert "'nothing' is not defined" in error and len(error.splitlines()) == 2
    assert not wire.requests


def test_braces_can_be_sent_literally(asked: Kernel, wire: WireServer) -> None:
    ask(asked, "In LaTeX: {{n}\\choose{k}}")
    assert text(wire) == "In LaTeX: {{n}\\choose{k}}"
    assert not asked.run("%%chat --raw\nSend {{ nothing }} as it is").error
    assert text(wire) == "Send {{ nothing }} as it is"
    asked.run("%config ChatMagics.interpolate = False")
    ask(asked, "And {{ this }}")
    assert text(wire) == "And {{ this }}"


def test_a_value_is_read_again_when_the_cell_is_run_again(asked: Kernel, wire: WireServer) -> None:
    asked.run("v, w = 1, 'same'")
    first = asked.run("%%chat\nWhat of {{ v }} and {{ w }}?", "a")
    assert not first.error and text(wire) == "What of 1 and same?" and "changed since" not in first.badge
    asked.run("v = 2")
    again = asked.run("%%chat\nWhat of {{ v }} and {{ w }}?", "a")
    assert text(wire) == "What of 2 and same?"
    assert len(wire.requests[-1].messages) == 1  # in place of the first prompt
    assert "changed since this cell last ran: v" in again.badge.split(" · ")
    assert "changed since" not in asked.run("%%chat\nWhat of {{ v }} and {{ w }}?", "a").badge


HUGE = {
    "a dataframe of ten million rows": (
        "import numpy as np, pandas as pd\n"
        "v = pd.DataFrame({'a': np.arange(10**7), 'b': np.random.rand(10**7), 'c': np.random.rand(10**7)})",
        "10,000,000 rows",
    ),
    "one of polars": (
        "import numpy as np, polars as pl\nv = pl.DataFrame({'a': np.arange(10**7), 'b': np.random.rand(10**7)})",
        "10,000,000 rows",
    ),
    "an array of two gigabytes": ("import numpy as np\nv = np.zeros((16_000, 16_000))", "16000, 16000"),
    "a column of texts": ("import pandas as pd\nv = pd.Series(['text'] * 3_000_000)", "3,000,000 rows"),
    "a dict of three million": ("v = {n: n for n in range(3 * 10**6)}", "dict of 3,000,000"),
}
MEASURE = """
import resource, time
from ipycachechat.prompts.describe import describe
from ipycachechat.text.redaction_log import RedactionLog
describe(v, RedactionLog())
before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
described = describe(v, RedactionLog())
took, grown = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
"""


@pytest.mark.parametrize("kind", HUGE)
def test_a_huge_value_is_described_in_a_moment_and_not_copied(kernel: Kernel, kind: str) -> None:
    make, expected = HUGE[kind]
    result = kernel.run(f"{make}\n{MEASURE}")
    assert not result.error, result.error
    assert expected in kernel.value("described") and kernel.value("len(described)") < 9_000
    print(f"{kind}: {1000 * kernel.value('took'):.1f} ms")
    assert kernel.value("grown") * 1_000 < 40 * MB
    kernel.run("del v")
