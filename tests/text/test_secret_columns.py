"""Columns of secrets in tables that are text."""

from __future__ import annotations

import sys

import pandas as pd
import polars as pl
import pytest

from ipycachechat.text.redaction import Redactor
from ipycachechat.text.secret_columns import find_secret_columns

FRAME = pd.DataFrame({"user": ["bob", "alice"], "password": ["hunter", "letmein"], "n": [1, 2]})
TABLES = {
    "CSV": FRAME.to_csv(index=False),
    "CSV with an index": FRAME.to_csv(),
    "CSV with semicolons": FRAME.to_csv(sep=";"),
    "tabs": FRAME.to_csv(sep="\t", index=False),
    "CSV in quotes": '"user","api_key"\n"bob","hunter"\n"alice","letmein"\n',
    "pandas": str(FRAME),
    "pandas with a named index": str(FRAME.set_index("user")),
    "polars": str(pl.DataFrame(FRAME.to_dict("list"))),
    "markdown": "| user | clientSecret |\n|---|---|\n| bob | hunter |\n| alice | letmein |",
    "psql": " user  | password \n-------+----------\n bob   | hunter\n alice | letmein\n(2 rows)",
    "a table in a text": f"The users:\n\n{FRAME}\n\nThat is all, bob.",
}


@pytest.mark.parametrize("kind", TABLES)
def test_what_a_column_of_secrets_holds_is_masked(kind: str) -> None:
    redacted = Redactor()(TABLES[kind])
    assert "hunter" not in redacted.text and "letmein" not in redacted.text
    assert "bob" in redacted.text and redacted.labels == ("secret", "secret")
    assert Redactor()(redacted.text).text == redacted.text


@pytest.mark.parametrize(
    "text",
    [
        "user, password = read()\nlogin(user, password)",
        "from x import (\n    host,\n    password,\n    user,\n)",
        "def login(user,password):\n    return f(user,password)",
        "  a password is\nasked for when it\nis needed",
        "the user and the password\nare both kept in the vault",
        "name,token\nthe,DET\ncat,NOUN",
        "user,password_length\nbob,12",
    ],
)
def test_other_text_stays(text: str) -> None:
    assert list(find_secret_columns(text)) == []


@pytest.mark.parametrize(
    "line",
    [
        "a,password\n",
        "a,password\nx\n",
        "  a  password\n",
        "password\n",
        "| a | password |\n",
        "password,\n|-\n",
    ],
)
def test_the_work_grows_with_the_length(line: str) -> None:
    def calls(times: int) -> int:
        count = 0

        def on_event(frame: object, event: str, argument: object) -> None:
            nonlocal count
            count += event in ("call", "c_call")

        sys.setprofile(on_event)
        try:
            list(find_secret_columns(line * times))
        finally:
            sys.setprofile(None)
        return count

    assert calls(4_000) < 9 * calls(500)
