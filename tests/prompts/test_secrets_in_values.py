"""No part of a secret is sent with a value, wherever its text is cut and whatever an expression does with it."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from ipycachechat.errors import PromptError
from ipycachechat.notebook.lookups import CellError
from ipycachechat.prompts.content import tool_result_content
from ipycachechat.prompts.describe import describe
from ipycachechat.prompts.template import render_template
from ipycachechat.text.redaction import Redactor
from ipycachechat.text.redaction_log import RedactionLog

KEY = "sk-" + "ant-api03-" + "aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vWxYz1" * 2
KNOWN = "Zq7+correct/horse9battery"
PASSWORD = "hunter" + "twopass"
REDACTOR = Redactor.from_environ({"MY_API_KEY": KNOWN})
PART = 8
"""Characters in a row by which a secret is recognised."""


def log() -> RedactionLog:
    return RedactionLog(REDACTOR)


def left(text: object, *secrets: str) -> list[str]:
    """The parts of secrets that are in a text."""
    parts = (secret[n : n + PART] for secret in secrets for n in range(len(secret) - PART))
    return [part for part in parts if part in str(text)]


def long_text(before: int) -> str:
    return "x " * (before // 2) + KEY + " y" * 500 + " " + KNOWN + " z" * 300


MAKERS: dict[str, Callable[[str], Any]] = {
    "a dict with numbers as keys": lambda text: {1: text, (1, 2): [text]},
    "an array of texts": lambda text: np.array([text] * 40),
    "an array of objects": lambda text: np.array([text, None] * 40, dtype=object),
    "a set": lambda text: {text, 3, b"x"},
    "bytes in a list": lambda text: [text.encode(), {1, 2}],
    "a column": lambda text: pd.Series([text] * 20),
    "a column of polars": lambda text: pl.Series([text] * 20),
    "an object": lambda text: SimpleNamespace(note=text),
    "objects in a list": lambda text: [SimpleNamespace(note=text), {1, 2}],
    "a long text in a dict": lambda text: {1: text * 50},
}


@pytest.mark.parametrize("kind", MAKERS)
def test_a_secret_is_masked_before_the_text_around_it_is_cut(kind: str) -> None:
    for before in range(0, 1400, 37):
        text = describe(MAKERS[kind](long_text(before)), log())
        assert left(text, KEY, KNOWN) == [], before


@pytest.mark.parametrize("cut", [60_000, 80_000])
def test_a_tools_long_result_is_masked_before_it_is_cut(cut: int) -> None:
    """The first 60,000 characters are kept, and the last 40,000."""
    for shift in range(0, len(KEY), 5):
        text = ("a " * (cut // 2))[shift:] + KEY + " b" * 20_000
        assert left(tool_result_content(text, log()), KEY) == []
        assert left(tool_result_content({"lines": [text]}, log()), KEY) == []


@dataclass
class Login:
    user: str
    password: str


Row = namedtuple("Row", "user password")  # noqa: PYI024 # as untyped code has it
FRAME = pd.DataFrame({"user": ["bob", "al"], "password": [PASSWORD, PASSWORD + "x"], "n": [1, 2]})
NAMED: dict[str, Any] = {
    "a dataframe": FRAME,
    "one of polars": pl.DataFrame(FRAME.to_dict("list")),
    "a list of dicts": FRAME.to_dict("records"),
    "turned round": FRAME.T,
    "a row": FRAME.iloc[0],
    "a column": FRAME["password"],
    "an index": FRAME.set_index("password"),
    "one of two indexes": FRAME.set_index(["user", "password"]),
    "an index by itself": pd.Index([PASSWORD], name="password"),
    "counts": FRAME["password"].value_counts(),
    "a description": FRAME.describe(include="all"),
    "groups": FRAME.groupby("password").size(),
    "categories": FRAME.astype({"password": "category"}),
    "two headers": pd.DataFrame({("login", "password"): [PASSWORD]}),
    "many rows": pd.DataFrame({"clientSecret": [PASSWORD] * 5000, "n": range(5000)}),
    "many rows of polars": pl.DataFrame({"client_secret": [PASSWORD] * 5000}),
    "nested": {"a": [{"db": {"password": PASSWORD}}]},
    "numbers as keys": {1: {"password": PASSWORD}, "api_key": [PASSWORD]},
    "a dataclass": Login("bob", PASSWORD),
    "dataclasses": [Login("bob", PASSWORD)],
    "an object": SimpleNamespace(password=PASSWORD),
    "a named tuple": Row("bob", PASSWORD),
    "a default dict": defaultdict(list, {"password": [PASSWORD]}),
    "an ordered dict": {3: OrderedDict(password=PASSWORD)},
    "names and values": [{"name": "DB_PASSWORD", "value": PASSWORD}],
    "columns of names and values": pd.DataFrame({"name": ["DB_PASSWORD", "x"], "value": [PASSWORD, "q"]}),
    "an array with fields": np.array([("bob", PASSWORD)], dtype=[("user", "U9"), ("password", "U30")]),
    "a record array": FRAME.to_records(),
}


@pytest.mark.parametrize("kind", NAMED)
def test_what_a_field_of_a_secrets_name_holds_is_masked(kind: str) -> None:
    redact = log()
    assert left(describe(NAMED[kind], redact), PASSWORD) == []
    assert redact.labels
    assert left(tool_result_content(NAMED[kind], log()), PASSWORD) == []


@pytest.mark.parametrize(
    "name",
    "token key tokens password_length has_password n_secrets key_id passport tokenizer primary_key".split(),
)
def test_other_names_hide_nothing(name: str) -> None:
    for value in ({name: "the"}, [{name: "the"}], pd.DataFrame({name: ["the"]})):
        assert "the" in str(describe(value, log()))


@pytest.mark.parametrize(
    "name",
    "password Password DB_PASSWORD apiKey api-key x-api-key clientSecret aws_secret_access_key accessToken "
    "refresh_token private_key passphrase connectionString password_2 passwords SECRET_KEY pwd".split(),
)
def test_names_of_secrets_are_recognised(name: str) -> None:
    assert left(describe({name: PASSWORD}, log()), PASSWORD) == []


def test_truth_values_and_what_is_missing_stay() -> None:
    assert describe({"password": None, "secret": True, "api_key": ""}, log()) == (
        '{"password": null, "secret": true, "api_key": ""}'
    )


def test_nothing_is_masked_without_a_redactor() -> None:
    assert PASSWORD in str(describe(FRAME, RedactionLog())) and KEY in str(describe({1: KEY}, RedactionLog()))


NAMES = {
    "df": FRAME,
    "key": KEY,
    "data": KEY.encode(),
    "config": {"password": PASSWORD, "k": KEY},
    "password": PASSWORD,
    "passwords": [PASSWORD],
    "known": KNOWN,
    "log": "a line\n" * 1_000_000 + KEY,
}
EXPRESSIONS = """
key[3:]
key[::-1]
key[::2]
key[10]
key[-4:]
key.replace('sk-', '')
key.split('-')
key.strip('sk')
key.lower()
key.upper()
list(key)
sorted(key)
max(key)
[key[4:]]
key[4:] + 'x'
'-'.join(key)
key.removeprefix('sk-')
known[2:]
known.partition('+')
data[3:]
data[5]
data.split(b'-')
config['password']
config.get('password')
config['k'][4:]
config['password'][1:]
password
password[1:]
list(password)
sorted(password)
str(password)
passwords
passwords[0]
df.password[0]
df.password.tolist()
df['password'].iloc[0]
df.head(1)
df.loc[0]
df.to_dict('list')
df.to_dict('records')
log[-20:]
log[7000005:]
""".strip().splitlines()


@pytest.mark.parametrize("source", EXPRESSIONS)
def test_no_expression_takes_a_secret_apart(source: str) -> None:
    try:
        text = str(render_template(f"a {{{{ {source} }}}} b", NAMES, log()))
    except PromptError as error:
        text = str(error)
    secrets = (KEY, KEY[::-1], KEY[::2], KEY.lower(), KEY.upper(), "".join(sorted(KEY)), PASSWORD, KNOWN)
    assert left(text, *secrets) == []


@pytest.mark.parametrize(
    "source", ["key == 'a'", "key < 'n'", "'B3d' in key", "key.find('B3d')", "key.count('B')"]
)
def test_no_question_about_a_secret_is_answered(source: str) -> None:
    """One answer after the other would spell it out."""
    text = render_template(f"{{{{ {source} }}}}", {"key": KEY}, log())
    assert text in ("False", "True", "-1", "0")
    assert text == render_template(f"{{{{ {source} }}}}", {"key": "[masked: Anthropic key]"}, log())


def test_what_is_no_secret_is_read_as_ever() -> None:
    names = {"password": PASSWORD, "text": "one two three", "data": b"abc", "log": "a line\n" * 200_000}
    for source, value in {
        "text[4:7]": "two",
        "text[-5:]": "three",
        "text[0]": "o",
        "text[-1]": "e",
        "text[::-1]": "eerht owt eno",
        "text.split()": '["one", "two", "three"]',
        "data[1:]": "bc",
        "log[:6]": "a line",
        "log[-7:]": "a line\n",
        "log.count('line')": "200000",
        "len(password)": "13",
        "len(log)": "1400000",
    }.items():
        assert render_template(f"{{{{ {source} }}}}", names, log()) == value, source


def test_the_variables_of_a_failed_cell_are_masked() -> None:
    def fail(password: str, text: str, config: dict[str, str], known: str) -> None:
        raise ValueError

    for before in range(0, 130, 3):
        text = "a" * before + " " + KEY + " b" * 100
        try:
            fail(PASSWORD, text, {"api_key": PASSWORD, "k": text}, "c" * before + KNOWN)
        except ValueError as error:
            shown = CellError(error, "fail()", 1).text(log())
        assert left(shown, KEY, KNOWN, PASSWORD) == [] and "`password` = `[masked: password]`" in shown
