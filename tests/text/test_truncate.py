"""Where a text that broke off is cut."""

from __future__ import annotations

import pytest

from ipycachechat.text.truncate import drop_partial_word


@pytest.mark.parametrize(
    ("arrived", "kept"),
    [
        ("one two ", "one two "),
        ("one tw", "one "),
        ("on", ""),
        ("It is done.", "It is done."),
        ("pi is 3.1", "pi is "),
        ("see https://example.com/pa", "see "),
        ("line\nfo", "line\n"),
        ("这是一个", "这是一个"),
        ("这是 wor", "这是 "),
        ("x" * 500, "x" * 500),
        ("see " + "x" * 500, "see " + "x" * 500),
        ("", ""),
    ],
)
def test_a_text_that_broke_off_loses_its_partial_last_word(arrived: str, kept: str) -> None:
    assert drop_partial_word(arrived) == kept
