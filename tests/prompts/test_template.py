"""`{{ expression }}` in a prompt: what is filled in, what stays text, and what no text can do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from types import MethodType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipycachechat.conversation.messages import Attachment
from ipycachechat.errors import PromptError
from ipycachechat.prompts import template
from ipycachechat.text.redaction_log import RedactionLog


class Spy:
    _secret = "secret"
    name = "known"


PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
LONG = {f"name {n}": n for n in range(40)}
NAMES: dict[str, Any] = {
    "x": [1, 2],
    "spy": Spy(),
    "half": "{{ x }}",
    "png": PNG,
    "long": LONG,
    "os": os,
    "text": "a\nb",
    "_": 42,
}


def fill(text: str, names: dict[str, Any] = NAMES) -> Any:
    return template.render_template(text, names, RedactionLog())


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{{ x }}", "[1, 2]"),
        ("{{x}}", "[1, 2]"),
        ("{{ x[0] + 1 }} and {{ len(x) }}", "2 and 2"),
        ("{{ spy.name }}", "known"),
        ("{{ half }}", "{{ x }}"),
        ("{{ text }} and {{ text.upper() }}", "a\nb and A\nB"),
        ('{{ "{{" }} x }}', "{{ x }}"),
        ("{{ {'a': {'b': 1}}['a'] }}", '{"b": 1}'),
        ("{{ '}}' }}", "}}"),
        ("{{ x[::-1] }} {{ len(x) }} {{ max(x) }} {{ _ }}", "[2, 1] 2 2 42"),
        ("{{ 1.5 }} {{ True }} {{ none }}", "1.5 True None"),
        ("{{ 1 }}\n", "1\n"),
        ("{{\n  x\n}}", "[1, 2]"),
    ],
)
def test_expressions_are_filled_in(text: str, filled: str) -> None:
    assert fill(text) == filled


@pytest.mark.parametrize(
    "text",
    [
        '{"a": {"b": 1}} {x} f"{y}"',
        r"\frac{a}{b} $x_{1}$ \mathbf{{\bf x}} {{n}\choose{k}}",
        "{% for x in y %} {# note #}",
        "{{",
        "}}",
        "{{}}",
        "{{{}}}",
        "{{ never closed",
        "{{ 'never closed }}",
        "```python\nf'{{{x}}'\n```",
        '{"a":{"b":{}}}',
        r"\newcommand{\R}{{\mathbb{R}}}",
        "${{{a}}}$",
        r"x_{{x}} x^{{x}} \frac{{x}}{{2}} \mathrm{{x}}",
        "{{a}",
    ],
)
def test_text_that_is_not_an_expression_stays_as_it_is(text: str) -> None:
    assert fill(text) == text


def test_a_value_of_several_lines_is_put_below_the_text_once() -> None:
    filled = fill("What is wrong in {{ long }}? Really, in {{ long }}?")
    assert filled.startswith("What is wrong in `long`? Really, in `long`?\n\n`long`:\n\n{")
    assert filled.count("name 39") == 1


def test_a_value_alone_on_its_line_is_put_there() -> None:
    filled = fill("Here it is:\n{{ long }}\nWhat is wrong?")
    assert filled.startswith('Here it is:\n{"name 0": 0') and filled.endswith("}\nWhat is wrong?")


def test_files_follow_the_text_in_order() -> None:
    text, first = fill("What is in {{ png }}? In {{ x }}?")
    assert text.startswith("What is in `png`? In [1, 2]?\n\n`png` is attached as image 1.")
    assert isinstance(first, Attachment) and first.media_type == "image/png"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ nothing }}", "'nothing' is not defined"),
        ("one\n{{ nothing }}", "in line 2"),
        ("{{nothing}}", "'nothing' is not defined"),
        ("{{ spy.other }}", "other"),
        ("{{ spy._secret }}", "_secret"),
        ("{{ x.__class__.__mro__ }}", "__class__"),
        ("{{ x.append(3) }}", "append"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("one\n{{ 1 + }}", "Line 2"),
        ("{{ }}", "cannot be read"),
        ("{{ x y }}", "cannot be read"),
        ("{{ __builtins__ }}", "__builtins__"),
    ],
)
def test_expressions_that_cannot_be_filled_in_raise_an_error(text: str, expected: str) -> None:
    with pytest.raises(PromptError) as caught:
        fill(text, NAMES | {"__builtins__": __builtins__})
    assert expected in caught.value.message
    assert len(str(caught.value).splitlines()) == 2
    assert NAMES["x"] == [1, 2]


# Random prompts

BITS = [
    r"\frac{a}{b}",
    r"$\mathbf{x}_{i,j}$",
    r"\begin{cases} x & y \end{cases}",
    r"{{n}\choose{k}}",
    r"\textbf{{\large a}}",
    r"\newcommand{\R}{{\mathbb{R}}}",
    '{"a": {"b": [1, {"c": {}}]}}',
    '{"k":{"v":"}"}}',
    "f'{value!r:>{width}}'",
    'f"{{literal"',
    "{% if a %}{% endif %}",
    "{# note #}",
    "{%- raw -%}",
    "```python\nd = {1: {2: {}}}\n```",
    "```\n{{\n```",
    "${a}",
    "%s %(name)s",
    "<b>{</b>",
    "{",
    "}",
    "}}",
    "'",
    '"',
    "\n",
    " ",
    "wörd",
    "{{ '",
    "set([{1}])",
]


@settings(max_examples=500)
@given(st.lists(st.sampled_from(BITS), max_size=30).map("".join))
def test_prompts_of_braces_stay_unchanged_unless_they_contain_an_expression(text: str) -> None:
    try:
        real = any(not isinstance(piece, str) for piece in template.parse_template(text))
    except PromptError:
        real = True
    if not real:
        assert fill(text) == text
    # Whatever stands between braces that close, with no braces in it, and can be read.
    if "{{" not in text or "}}" not in text:
        assert not real


@given(st.text().filter(lambda text: "{{" not in text))
def test_text_without_double_braces_is_left_as_it_is(text: str) -> None:
    assert fill(text, {}) == text


@given(st.text(), st.text())
def test_braces_in_values_are_not_evaluated(value: str, around: str) -> None:
    around = around.replace("{", "").replace("}", "")
    assert fill(f"{around}{{{{ value }}}}", {"value": value}) == around + value


# Hostile texts


class Reached(Exception):
    """A text has called what it must not."""


def reach(*_: object, **__: object) -> str:
    DONE.append("called")
    return "called"


class Doors:
    """What a careless notebook has at hand."""

    def __init__(self) -> None:
        self.run = reach

    def __call__(self, *args: object) -> str:
        return reach(*args)

    def method(self, *args: object) -> str:
        return reach(*args)


class Odd(str):
    """A text that is asked whether it is another."""

    def __hash__(self) -> int:
        reach()
        return 1

    def __gt__(self, other: object) -> bool:
        return bool(reach())


DONE: list[str] = []
HOSTILE = """
reach()
reach('id')
doors()
doors.run()
doors.method()
Doors()
os.system('touch {file}')
os.popen('touch {file}').read()
os.environ
os.environ['HOME']
os.getenv('HOME')
os.path.os.system('touch {file}')
os.path.join('a', 'b')
subprocess.run(['touch', '{file}'])
subprocess.sys.modules
subprocess.os.system('touch {file}')
Path('{file}').write_text('x')
Path.home()
path.write_text('x')
path.touch()
path.unlink()
path.read_text()
open('{file}', 'w')
__import__('os').system('touch {file}')
__builtins__
__builtins__['open']('{file}', 'w')
__builtins__.open('{file}', 'w')
get_ipython().system('touch {file}')
get_ipython().run_cell('open("{file}", "w")')
exec('open("{file}", "w")')
eval('1')
''.__class__
''.__class__.__mro__[1].__subclasses__()
''['__class__']
''|attr('__class__')
x|map('reach')|list
x|map(attribute='__class__')|list
x|select('reach')|list
(x|attr('append'))(3)
x.append(3)
x.clear()
x.sort()
x.pop()
names.update(a=1)
names.pop('a')
names.setdefault('b', 2)
names.clear()
frame.to_csv('{file}')
frame.to_pickle('{file}')
frame.to_json('{file}')
frame.eval('x = 1', inplace=true)
frame.query('@reach()')
frame.apply(reach)
frame.pipe(reach)
frame.agg(reach)
frame.map(reach)
frame.groupby(reach).sum()
frame.sort_values('a', key=reach)
frame.sort_values('a', ascending=false, inplace=true)
frame.drop(columns='a', inplace=true)
frame.fillna(0, inplace=true)
frame.reset_index(inplace=true)
frame.insert(0, 'b', 1)
frame.__setitem__('b', 1)
frame.a.to_csv('{file}')
frame.head.__func__.__globals__
frame.style.to_html('{file}')
frame.plot()
array.tofile('{file}')
array.dump('{file}')
array.fill(0)
array.sort()
array.sum(out=array)
array.cumsum(0, none, array)
array.itemset(0, 7)
array.resize(1)
array.setflags(write=false)
np.save('{file}', array)
np.load('{file}')
np.os.system('touch {file}')
sorted(x, key=reach)
max(x, key=reach)
min(doors, key=reach)
sum(x, start=doors)
reach.__globals__
reach.__code__
reach.__call__()
doors.method.__func__.__globals__['os'].system('touch {file}')
'%1000000000d' % 1
'x' * 1000000000
[0] * 1000000000
9 ** 9 ** 9
'{0.__class__}'.format(x)
'{0.__class__}'.format_map(names)
'{:>1000000000}'.format(1)
cycler('a', reach)
joiner(reach)
lipsum()
lipsum.__globals__['os'].system('touch {file}')
namespace(a=reach)
self.__init__.__globals__
self
config
request
range(1000000000)|list
dict(a=reach)
url_for.__globals__
caller()
loop
super()
error.__traceback__
error.__traceback__.tb_frame.f_globals
error.with_traceback(none)
generator.send(none)
generator.close()
coroutine.send(none)
type(x)
type('X', (), {{}})
x.__reduce__()
pickle.loads(bad)
shelf.sync()
spy._secret
spy['_secret']
spy|attr('_secret')
made['x']
made.x
[made]|map(attribute='x')|list
[made]|sum(attribute='x')
frame.groupby(made).sum()
frame.isin([odd])
max([odd, odd])
generator|list
generator|first
generator|join
sum(generator)
max(generator)
sorted(generator)
len(*generator)
2 in generator
2 is in(generator)
mapped|list
patched.head(1)
nowhere.get('a')
plan.describe()
frame.sample(2)
""".strip().splitlines()


@pytest.mark.parametrize("source", HOSTILE)
def test_no_text_can_call_import_or_change_anything(source: str, tmp_path: Path) -> None:
    import pickle

    import numpy as np
    import pandas as pd
    import polars as pl

    file = tmp_path / "reached"
    own = tmp_path / "own.txt"
    own.write_text("own")
    DONE.clear()
    frame, array, x, known = pd.DataFrame({"a": [2, 1, None]}), np.array([3, 1, 2]), [2, 1], {"a": 1}
    made: defaultdict[str, str] = defaultdict(reach)
    patched = frame.copy()
    object.__setattr__(patched, "head", MethodType(reach, patched))
    nowhere: dict[str, Any] = {"reach": reach}
    exec("class Nowhere:\n    def get(self, key):\n        return reach()", nowhere)  # "of" builtins
    names: dict[str, Any] = {
        **{
            "reach": reach,
            "doors": Doors(),
            "Doors": Doors,
            "os": os,
            "subprocess": subprocess,
            "Path": Path,
        },
        **{"path": own, "x": x, "names": known, "frame": frame, "array": array, "np": np, "pickle": pickle},
        **{"spy": Spy(), "error": ValueError("x"), "generator": (reach() for _ in x), "bad": b"bad"},
        **{
            "made": made,
            "odd": Odd("a"),
            "mapped": map(reach, x),
            "patched": patched,
            "nowhere": nowhere["Nowhere"](),
        },
        "plan": pl.LazyFrame({"a": x}).with_columns(pl.col("a").map_elements(reach, return_dtype=pl.String)),
        **{"open": open, "exec": exec, "eval": eval, "__builtins__": __builtins__, "type": type},
    }
    before, state = (frame.copy(), array.copy()), np.random.get_state()[2]
    text = source.replace("{file}", str(file)).replace("{{}}", "{ }")
    for prompted in (f"{{{{ {text} }}}}", f"{{{{{text}}}}}"):
        try:
            filled = str(fill(prompted, names))
        except PromptError as error:
            assert len(str(error).splitlines()) == 2
        else:
            if filled != prompted:
                assert "secret" not in filled and not filled.startswith("called")
                assert os.environ["HOME"] not in filled
    assert not DONE and not file.exists() and own.read_text() == "own"
    assert frame.equals(before[0]) and (array == before[1]).all() and array.flags.writeable
    assert x == [2, 1] and known == {"a": 1} and not made and np.random.get_state()[2] == state
    # The same in a value is a text.
    assert fill("{{ value }}", {**names, "value": f"{{{{ {text} }}}}"}) == f"{{{{ {text} }}}}"


BOMBS = """
[0] * 1000000 * 1000000
[[0] * 10000] * 10000
(['x' * 100000] * 100000)|join
[0] * (array.max() * 100000000)
texts * 100000000
column * 100000000
third ** 100000000
deque * 100000000
sum([[1]] * 300000, [])
([[1]] * 300000)|sum(start=[])
round(5, -100000000)
5|round(-100000000)
1.5|round(100000000, 'ceil')
1.5|round(precision=100000000, method='floor')
array.astype('U100000000')
array.astype('1000000000i1')
column.sample(100000000, replace=true)
numbers.value_counts(bins=100000000)
numbers.value_counts(false, true, false, 100000000)
""".strip().splitlines()


@pytest.mark.parametrize("source", BOMBS)
def test_no_text_makes_a_value_that_exhausts_memory(source: str) -> None:
    """In a process of its own that may not grow."""
    code = f"""
import resource, sys, collections, fractions
import numpy as np, pandas as pd
names = dict(array=np.array([3]), texts=np.array(["a"], dtype=object), column=pd.Series(["a"]),
    numbers=pd.Series([1, 2]), third=fractions.Fraction(1, 3), deque=collections.deque([1]))
from ipycachechat.errors import PromptError
from ipycachechat.prompts import template
from ipycachechat.text.redaction_log import RedactionLog
template.render_template("{{{{ 1 + 1 }}}} {{{{ numbers.value_counts() }}}}", names, RedactionLog())
resource.setrlimit(resource.RLIMIT_CPU, (int(sum(resource.getrusage(0)[:2])) + 3,) * 2)
try:
    template.render_template({f"{{{{ {source} }}}}"!r}, names, RedactionLog())
except PromptError as error:
    print("MemoryError" not in str(error))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "True\n", done.stderr


def test_read_only_calls_are_allowed() -> None:
    names = {"x": [2, 1, 2], "d": {"a": "<"}, "made": defaultdict(list, a=1)}
    assert fill("{{ sorted(x) }} {{ sum(x) }} {{ round(1.25, 1) }}", names) == "[1, 2, 2] 5 1.2"
    assert fill("{{ d }} {{ made.a }} {{ made['a'] }} {{ 'a' in d }}", names) == '{"a": "<"} 1 1 True'


@pytest.mark.parametrize("source", ["a." * 240 + "a", "(" * 240 + "a" + ")" * 240, "-" * 400 + "1"])
def test_an_expression_as_deep_as_can_be_is_evaluated_or_refused(source: str) -> None:
    try:
        assert fill(f"{{{{ {source} }}}}", {}) == "1"
    except PromptError as error:
        assert len(str(error).splitlines()) == 2


@pytest.mark.parametrize("braces", ["{{a}}", "{{ a }}", "{{ a }}\n", "{{ ", "{{}}", "{{x y}}", "{"])
def test_a_megabyte_of_braces_is_parsed_quickly(braces: str) -> None:
    begin = time.process_time()
    template.parse_template(braces * (1_000_000 // len(braces)))
    assert time.process_time() - begin < 20  # a second, if it does not grow with the square
