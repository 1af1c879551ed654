"""`{{ expression }}` in a prompt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipycachechat.core.errors import PromptError
from ipycachechat.notebook.prompt import fill


class Spy:
    _secret = "secret"
    name = "known"


NAMES = {"x": [1, 2], "spy": Spy(), "half": "{{ x }}"}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{{ x }}", "[1, 2]"),
        ("{{ x[0] + 1 }} and {{ x|length }}", "2 and 2"),
        ("{{ spy.name }}", "known"),
        ("{{ half }}", "{{ x }}"),
        ('{{ "{{" }} x }}', "{{ x }}"),
        ('{"a": {"b": 1}} {x} f"{y}"', '{"a": {"b": 1}} {x} f"{y}"'),
        (r"\frac{a}{b} $x_{1}$ {{ 1 }}", r"\frac{a}{b} $x_{1}$ 1"),
        ("{% for %} {# note #} {{ 1 }}", "{% for %} {# note #} 1"),
        ("{{ 1 }}\n", "1\n"),
    ],
)
def test_what_is_filled_in_and_what_is_left_alone(text: str, filled: str) -> None:
    assert fill(text, NAMES) == filled


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{{ nothing }}", "'nothing' is undefined"),
        ("{{ spy.other }}", "other"),
        ("{{ spy._secret }}", "_secret"),
        ("{{ x.__class__.__mro__ }}", "__class__"),
        ("{{ x.append(3) }}", "append"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("one\n{{ 1 +", "Line 2"),
        ("{{ }}", "cannot be read"),
    ],
)
def test_what_cannot_be_filled_in_is_told_in_two_lines(text: str, told: str) -> None:
    with pytest.raises(PromptError) as caught:
        fill(text, NAMES)
    assert told in caught.value.what
    assert len(str(caught.value).splitlines()) == 2
    assert NAMES["x"] == [1, 2]


@given(st.text().filter(lambda text: "{{" not in text))
def test_text_without_double_braces_is_left_as_it_is(text: str) -> None:
    assert fill(text, {}) == text
