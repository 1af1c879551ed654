"""`{{ expressions }}`: what they may look at, and what is refused before it is done."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import enum
import os
import sys
import time
import types
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from ipycachechat.errors import PromptError
from ipycachechat.prompts.expressions import parse
from ipycachechat.prompts.safe_values import Refused, Undefined
from ipycachechat.prompts.sandbox import evaluate
from ipycachechat.prompts.template import render_template
from ipycachechat.text.redaction_log import RedactionLog

CALLED: list[str] = []


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


class Listening:
    """An object of the user's that notes what is called."""

    def __eq__(self, other: object) -> bool:
        CALLED.append("==")
        return True

    def __lt__(self, other: object) -> bool:
        CALLED.append("<")
        return True

    def __hash__(self) -> int:
        CALLED.append("hash")
        return 1

    def __deepcopy__(self, memo: object) -> Listening:
        CALLED.append("deepcopy")
        return self


Pair = collections.namedtuple("Pair", "x y")


def generator() -> Any:
    yield 1


def small_values() -> dict[str, Any]:
    table = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", None], "c": [1.0, 2.0, np.nan]})
    frame = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"], "l": [[1], [2], [3]]})
    return {
        **{
            "df": table,
            "ser": table["a"],
            "pdf": pl.DataFrame({"a": [1, 2], "b": ["q", "r"]}),
            "frame": frame,
        },
        **{"x": np.arange(6).reshape(2, 3), "big": np.arange(20_000), "i64": np.int64(7), "np": np, "pl": pl},
        **{"cat": pd.Series(["a", "b"], dtype="category"), "ts": pd.Timestamp("2026-01-01")},
        **{"d": {"k": 1, "n": {"m": [1, 2]}}, "l": [3, 1, 2], "t": "Hello World", "s1": "abc" * 100_000},
        **{"st": {1, 2}, "counter": collections.Counter("aab"), "letters": collections.Counter("aab")},
        **{"n": 2, "f": lambda: 1, "_": 1, "gen": generator(), "y": 1.5, "txt": "hello", "words": ["a", "b"]},
        **{"p": Point(), "dd": {"a": Point()}, "pt": Pair(1, 2), "Color": Color, "bunch": Bunch(data=[1])},
        **{"now": datetime.datetime(2026, 1, 2), "td": datetime.timedelta(1), "DATA": Path("/tmp")},
        **{
            "os": os,
            "sys": sys,
            "err": ValueError("x"),
            "_dh": [Path("/")],
            "get_ipython": len,
            "In": [""],
            "Out": {},
            "_ih": [""],
        },
        **{"ns": {"_ih": [], "In": ["secret"]}, "ivl": pd.cut(pd.Series([1, 2, 3]), 2)},
        **{"mask": pd.Series([True, False, True]), "G": list[int]},
    }


def large_values() -> dict[str, Any]:
    """Return values with which work would take long or much memory, or call what the user has defined."""
    random = np.random.default_rng(0)
    codes = [random.integers(0, 1000, 1000) for _ in range(3)]
    names = [str(number) for number in range(1000)]
    cats = pd.DataFrame(
        {c: pd.Categorical.from_codes(code, names) for c, code in zip("abc", codes, strict=True)}
    )
    noted = pd.DataFrame({"a": [1, 2]})
    noted.attrs["note"] = Listening()
    default: Any = collections.defaultdict(list)
    days = pd.date_range("2000", periods=1_500_000, freq="s")
    return {
        **{
            "s": pd.Series(["x" * 190] * 30_000),
            "cats": cats,
            "two": pd.DataFrame(random.random((5_000_000, 2))),
        },
        **{"tdf": pd.DataFrame({"k": [1, 2] * 15_000, "t": ["x" * 190] * 30_000})},
        **{"bigdf": pd.DataFrame(np.zeros((2_000_000, 20))), "wide": np.zeros((3, 10_000_000), dtype="i1")},
        **{"tall": np.zeros((10_000_000, 3), dtype="i1"), "columns": [0, 1, 2] * 80},
        **{"i20": pd.Series(random.integers(0, 10**9, 6_000_000)), "i8": np.zeros(20_000_000, dtype="i1")},
        **{"pls": pl.Series(random.integers(0, 10**9, 6_000_000)), "a20": np.zeros(20_000_000)},
        **{"shuf": pd.Series(range(3_000_000), index=random.permutation(3_000_000))},
        **{"sidx": pd.DataFrame({"a": range(2_000_000)}, index=[str(n) for n in range(2_000_000)])},
        **{
            "mixed": pd.DataFrame({"d": days, "f": np.zeros(1_500_000)}),
            "tsl": [pd.Timestamp(2020, 1, 1)] * 300_000,
        },
        **{
            "decs": [Decimal(1)] * 1_000_000,
            "dec": Decimal("1e300000"),
            "dec2": Decimal(2),
            "huge": 3**500_000,
        },
        **{"bigs": [10**200_000] * 200_000, "q": ["a" * 3_000_000, "a" * 2_999_999 + "b"] * 2000},
        **{"df2": pd.DataFrame(np.zeros((1_000_000, 2))), "a16": np.zeros((2, 1_000_000))},
        **{"dup": pd.Series(np.zeros(500_000), index=np.zeros(500_000, dtype=int))},
        **{"bc": np.broadcast_to(0.0, (20_000, 20_000)), "z": np.zeros((0, 2 * 10**8))},
        **{"ei": pd.DataFrame(index=range(2 * 10**8)), "mg": np.mgrid, "r_": np.r_, "fl": np.zeros(10).flat},
        **{"pt": pl.DataFrame({name: np.zeros(1_500_000) for name in "abc"}), "lf": pl.LazyFrame({"a": [1]})},
        **{"cm": collections.ChainMap(default), "mp": types.MappingProxyType(default), "adf": noted},
        **{"d1": collections.defaultdict(Listening, a=Listening())},
        **{"d2": collections.defaultdict(Listening, a=Listening())},
        **{
            "us": pd.Series([1, 2], index=[Listening(), "a"]),
            "po": pl.Series([Listening()], dtype=pl.Object),
        },
        **{
            "sp": pd.Series(pd.arrays.SparseArray(np.zeros(1000))),
            "ob": pd.Series(np.arange(60_000), dtype=object),
        },
        **{"strs": pd.Series(["a", "b"] * 300_000)},
    }


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
frame[frame.a > 2]
str(y)
list(frame.columns)
any(words)
', '.join(words)
'-' * 10
txt.replace('l','L')
frame[(frame.a>1) & (frame.b == 'y')]
frame[~(frame.a > 1)]
frame.loc[frame.a > 2]
frame.loc[frame.a > 2, 'a']
frame.loc[mask]
frame.a.isin([1,2])
frame.a == frame.a
'a' in frame.columns
'a' in frame
frame.groupby('b').size()
frame.groupby('b').a.mean()
frame.groupby('b')['a'].mean()
frame.groupby('b').ngroups
frame.head(len(words))
txt.find(words[0])
letters.most_common(2)
frame.a.is_unique
ivl.value_counts()
ivl.isna().sum()
frame.mean(numeric_only=True)
frame.head().to_dict()
frame.sort_values('a')
frame.a.value_counts()
frame.nlargest(2,'a')
frame.columns[0]
frame.shape[0]
frame.a.sum() / len(frame)
round(frame.a.mean(), 2)
max(frame.a)
frame.loc[0]
frame['a'][0]
""".strip().splitlines()
REFUSED = """
_dh[0] / '/etc/passwd'
DATA / 'x'
DATA.parent / 'x'
('a'*300000).strip('b'*999999)
x.reshape(-1, 1) + x
x + x
big.reshape(-1,1) > big
df + df
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
'%d' % n
df.groupby(['a','b']).size()
""".strip().splitlines()
LOOKS_AT_LARGE = """
strs.isna().sum()
i20.head(3)
i20.mean()
shuf.iloc[5]
shuf.head()
a20.sum()
a20[:5]
i8.mean()
bigdf.head()
bigdf.shape
tall[:, [0, 2]]
tall[5, [0, 2]]
tall[[5, 6, 7], 0]
tall[5:90, columns]
""".strip().splitlines()
TOO_LARGE = """
bigdf.corr()
bigdf.describe()
bigdf.sort_values(0)
bigdf + 1
wide[[0,0,0,0,0,0,0,0,0,0]]
tall[:, columns]
tall[0:9000000, columns]
tall[..., columns]
tall[None, :, columns]
s.sum()
tdf.sum()
tdf.groupby('k').sum()
s.cumsum()
cats.value_counts()
cats.groupby(level=[0,1,2],observed=False).sum()
cats.groupby('a',observed=False).sum()
i20.nunique()
i20.value_counts()
pls.n_unique()
pls.value_counts()
shuf.loc[5]
shuf[5]
sidx.sort_index()
sidx.set_index(['a','b'])
mixed.values
mixed.T
two.corr(method='spearman')
two.corr('spearman')
two.quantile(0.5,axis=1)
two.median(axis=1)
sorted(tsl)
sorted(decs)
sum(decs)
a20 == None
a20 == dec2
round(dec)
dec + 1
huge == dec2
dec2 + huge
huge + huge
sum(bigs)
sorted(q)
q == q
df2.iloc[:, [0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]]
dup[[0,0,0,0]]
a16[[[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]]]
bc[True]
bc.imag
bc[bc == 0.0]
z.sum(axis=0)
ei.reset_index()
ei.sum(axis=1)
sp.iloc[::2]
sp.sum()
i8.cumsum(dtype='G')
i8.cumsum(0,'G')
ob.cumprod()
pt.transpose()
mg[0:20000,0:20000]
r_[0:100000000]
cm['x']
mp['y']
fl[7]
G[1]
d1 == d2
adf.head()
us['z']
us.sort_index()
po.value_counts()
lf.columns
ns['In']
""".strip().splitlines()


@pytest.fixture(scope="module")
def small() -> dict[str, Any]:
    return small_values()


@pytest.fixture(scope="module")
def large() -> dict[str, Any]:
    return small_values() | large_values()


@pytest.mark.parametrize("source", LOOKS)
def test_an_expression_may_look_at(source: str, small: dict[str, Any]) -> None:
    evaluate(parse(source), small, RedactionLog())


@pytest.mark.parametrize("source", REFUSED)
def test_an_expression_is_refused(source: str, small: dict[str, Any]) -> None:
    with pytest.raises((Refused, Undefined, SyntaxError, AttributeError)):
        evaluate(parse(source), small, RedactionLog())


def test_large_values_may_be_looked_at(large: dict[str, Any]) -> None:
    for source in LOOKS_AT_LARGE:
        evaluate(parse(source), large, RedactionLog())


def test_work_that_would_take_long_or_call_the_users_code_is_refused_at_once(large: dict[str, Any]) -> None:
    for source in TOO_LARGE:
        with pytest.raises((Refused, Undefined)):
            evaluate(parse(source), large, RedactionLog())
        assert not CALLED, source


def test_a_value_is_the_one_that_python_gives(small: dict[str, Any]) -> None:
    for source in (
        "n ** 10",
        "1 < n < 3",
        "'He' in t and not n > 5",
        "sorted(l)[-1]",
        "-n + 7 // 2 % 2",
        "t[::-1]",
    ):
        assert evaluate(parse(source), small, RedactionLog()) == eval(source, dict(small))


def test_only_a_path_that_the_user_has_named_is_read(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("what it says")
    values = {"notes": file, "_dh": [tmp_path], "_": file, "paths": [file], "box": Bunch(path=file)}

    def fill(text: str) -> Any:
        return render_template(text, values, RedactionLog())

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


def test_only_the_source_of_what_the_user_has_named_is_read() -> None:
    from support import axe

    values = {"module": axe, "violations": axe.violations}
    assert "return" in render_template("{{ violations }}", values, RedactionLog())
    text = render_template("{{ module.violations }}", values, RedactionLog())
    assert "violations(" in text and "return" not in text


def test_an_expression_that_takes_longer_than_a_second_is_an_error() -> None:
    class Slow:
        @property
        def value(self) -> int:
            time.sleep(30)
            return 1

    with pytest.raises(PromptError, match="took longer than 1 s"):
        render_template("{{ slow.value }}", {"slow": Slow()}, RedactionLog())
