"""`{{ expressions }}`: what they may look at, and what is refused before it is done."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import enum
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from ipycachechat.errors import PromptError
from ipycachechat.prompts.describe import describe
from ipycachechat.prompts.expressions import parse
from ipycachechat.prompts.safe_calls import Refused
from ipycachechat.prompts.safe_reads import Undefined
from ipycachechat.prompts.sandbox import evaluate
from ipycachechat.prompts.template import render_template


class Color(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Point:
    a: int = 1

    @property
    def b(self) -> int:
        return self.a + 1


class Bunch(dict[str, Any]):
    """A dict whose items are attributes, as scikit-learn has it."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


Pair = collections.namedtuple("Pair", "x y")


def generator() -> Any:
    yield 1


def names() -> dict[str, Any]:
    table = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", None], "c": [1.0, 2.0, np.nan]})
    return {
        **{"df": table, "ser": table["a"], "pdf": pl.DataFrame({"a": [1, 2], "b": ["q", "r"]})},
        **{"x": np.arange(6).reshape(2, 3), "big": np.arange(20_000), "i64": np.int64(7), "np": np, "pl": pl},
        **{"cat": pd.Series(["a", "b"], dtype="category"), "ts": pd.Timestamp("2026-01-01")},
        **{"bigdf": pd.DataFrame(np.zeros((2_000_000, 20))), "wide": np.zeros((3, 10_000_000), dtype="i1")},
        **{"d": {"k": 1, "n": {"m": [1, 2]}}, "l": [3, 1, 2], "t": "Hello World", "s1": "abc" * 100_000},
        **{
            "st": {1, 2},
            "counter": collections.Counter("aab"),
            "n": 2,
            "f": lambda: 1,
            "_": 1,
            "gen": generator(),
        },
        **{"p": Point(), "dd": {"a": Point()}, "pt": Pair(1, 2), "Color": Color, "bunch": Bunch(data=[1])},
        **{"now": datetime.datetime(2026, 1, 2), "td": datetime.timedelta(1), "DATA": Path("/tmp")},
        **{
            "os": os,
            "sys": sys,
            "err": ValueError("x"),
            "_dh": [Path("/")],
            "In": [""],
            "Out": {},
            "_ih": [""],
        },
    }


NAMES = names()
LOOKS = """
df.a
df['a']
df[['a','b']]
df.shape
df.head(2)
df.describe()
df.dtypes
df.columns
df.a.mean()
df['b'].value_counts()
df.isna().sum()
df[df.a > 1]
df[df['b'] == 'x']
df.iloc[0]
df.loc[0,'a']
df.iloc[0:2]
df.T
df.groupby('a').mean(numeric_only=True)
df.groupby('b')['a'].sum()
df.sort_values('a', ascending=False).head(1)
df.corr(numeric_only=True)
df.a.sum() + 1
df.index
df.a.max() * 2
x[0]
x[0,1:]
x.mean()
x.T
x[x > 2]
x.shape[0]
x.sum(axis=0)
pdf['a']
pdf.head(1)
pdf['a'].sum()
pdf.shape
d.k
d['n']['m'][0]
d.n.m
d.get('k')
d.keys()
l[0]
l[-1:]
len(l)
max(l)
sorted(l)
sum(l)
sorted(l, reverse=True)
t.upper()
t[:5]
t.split()
t.split(' ')[0]
len(t)
p.a
p.b
pt.x
pt[1]
Color.RED
Color.RED.value
bunch.data
DATA.parent
DATA.name
now.year
now.strftime('%Y')
now + td
now.isoformat()
cat.value_counts()
ts.year
np.pi
np.mean
os.sep
err.args
err
i64 + 1
n ** 10
n / 3
-n
not n
n > 1 and n < 3
1 < n < 3
'a' in d
3 in l
'He' in t
l if n else d
x[[0,1]]
df.iloc[[0,1]]
x[0,[0,1]]
df[["a"]]
_
round(3.14159, 2)
abs(-3)
min(1, 2)
max(ser)
ser > 1
ser[0]
counter['z']
counter.a
2 in st
{'a': n}
[n, n]
t + '!'
true
None
x.tolist()
x.dtype
ser.dtype
df.a.unique()
f
""".strip().splitlines()
REFUSED = """
_dh[0] / '/etc/passwd'
DATA / 'x'
DATA.parent / 'x'
('a'*300000).strip('b'*999999)
t * 3
x.reshape(-1, 1) + x
x + x
big.reshape(-1,1) > big
df + df
df == df
bigdf.corr()
bigdf.describe()
bigdf.sort_values(0)
bigdf + 1
df.to_csv('x')
df.eval('a')
df.query('a')
f()
os.environ
sys.modules
os.getcwd()
df.apply(f)
df.plot
l.append(1)
l.sort()
x.sort()
t.replace('l','x'*100)
t.join(l)
t.center(100000000)
t.ljust(100000000)
t.zfill(100)
l * 3
l + l
n ** 100000
n ** n ** 100000
2 ** 10 ** 9
9 ** 9 ** 9
[f for f in l]
lambda: 1
f'{t}'
x @ x
x | x
(y := 1)
df.a.sample(3)
x.astype('U9999')
t.encode()
t.format(1)
'%9999d' % 1
DATA.read_text()
DATA.exists()
np.zeros(100)
np.load('x')
df.groupby(['a','b']).sum()
df.groupby('a', observed=False, x=f)
df.head(n=10**9)
df.head(1000000)
df.style
ser.value_counts(bins=100)
In
Out
get_ipython
s1.split('a', 999999)
Color('x')
dict(a=1)
gen.gi_frame
gen.gi_frame.f_globals
wide[[0,0,0,0,0,0,0,0,0,0]]
df.a.str.count("(a+)+$")
dd == dd
type(x)
range(9)
*l
**d
__import__('os')
df.a.values.base.x
x.data
df.attrs
df.flags
df.memory_usage()
ser.to_list().append(1)
err.__traceback__
err.with_traceback(None)
df.a.str.repeat(10000)
df['b'].str.pad(10000)
df.a.dt.x
df.a.rolling(2)
pl.read_csv('x')
pdf.map_rows(f)
pdf.write_csv('x')
df.iloc[0].a.__class__
x.ctypes
x.flat
x.base
_ih
""".strip().splitlines()


@pytest.mark.parametrize("source", LOOKS)
def test_an_expression_may_look_at(source: str) -> None:
    evaluate(parse(source), NAMES)


@pytest.mark.parametrize("source", REFUSED)
def test_an_expression_is_refused_at_once(source: str) -> None:
    start = time.process_time()
    with pytest.raises((Refused, Undefined, SyntaxError, AttributeError)):
        evaluate(parse(source), NAMES)
    assert time.process_time() - start < 10  # what it would make takes minutes, or all of the memory


def test_a_value_is_the_one_that_python_gives() -> None:
    for source in (
        "n ** 10",
        "1 < n < 3",
        "'He' in t and not n > 5",
        "sorted(l)[-1]",
        "-n + 7 // 2 % 2",
        "t[::-1]",
    ):
        assert evaluate(parse(source), NAMES) == eval(source, dict(NAMES))


def test_only_a_path_that_the_user_has_named_is_read(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("what it says")
    values = {"notes": file, "_dh": [tmp_path], "_": file, "paths": [file], "box": Bunch(path=file)}

    def fill(text: str) -> Any:
        return render_template(text, values, describe)

    assert "what it says" in fill("{{ notes }}")
    for text in (
        "{{ _ }}",
        "{{ paths[0] }}",
        "{{ paths }}",
        "{{ box.path }}",
        "{{ [notes] }}",
        "{{ notes.absolute }}",
    ):
        assert "what it says" not in fill(text)
    for text in ("{{ _dh[0] / 'notes.txt' }}", "{{ notes.parent / 'notes.txt' }}", "{{ _dh }}"):
        with pytest.raises(PromptError):
            fill(text)


def test_an_expression_that_takes_longer_than_a_second_is_an_error() -> None:
    class Slow:
        @property
        def value(self) -> int:
            time.sleep(30)
            return 1

    with pytest.raises(PromptError, match="took longer than 1 s"):
        render_template("{{ slow.value }}", {"slow": Slow()}, describe)
