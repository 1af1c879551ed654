"""What is sent of an error, whatever the frame that failed holds."""

from __future__ import annotations

from typing import Any

import pytest

from ipycachechat.notebook.lookups import CellError
from ipycachechat.prompts.describe import describe
from ipycachechat.text.redaction_log import RedactionLog


class NoShape:
    @property
    def shape(self) -> Any:
        raise ValueError


class NoClass:
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise ValueError


class Exits:
    def __repr__(self) -> str:
        raise SystemExit


@pytest.mark.parametrize("odd", [NoShape, NoClass, Exits])
def test_one_odd_name_hides_neither_the_error_nor_the_other_names(odd: Any) -> None:
    def fail() -> None:
        one, other = odd(), 42
        raise ValueError("this one") from (None if one and other else None)

    with pytest.raises(ValueError, match="this one") as caught:
        fail()
    text = str(describe(CellError(caught.value, "fail()", 1), RedactionLog()))
    assert "ValueError: this one" in text
    assert "- `other` = `42`" in text and "- `one` = `" in text
