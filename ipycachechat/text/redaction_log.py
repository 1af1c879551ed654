"""RedactionLog: redact the texts of one prompt or turn, also before they are cut, and remember what was masked."""

from __future__ import annotations

import operator
import re
import reprlib
from collections.abc import Sequence
from itertools import islice
from typing import Any

from ipycachechat.text.redaction import MAX_KEY_LENGTH, Redactor
from ipycachechat.text.secret_names import secret_field
from ipycachechat.text.truncate import gap_note, middle_gap

NAME_NAMES, VALUE_NAMES = frozenset(("name", "Name", "key", "Key", "variable")), frozenset(("value", "Value"))

MAX_END = 200_000
"""Characters at either end of an object's text, of which far fewer are kept."""
_FIELD = re.compile(r"""\b([A-Za-z_]\w{2,80})=(b?'(?:[^'\\]|\\.)++'|b?"(?:[^"\\]|\\.)++"|\d+\b)""")
"""A field in the repr of an object."""


class RedactionLog:
    """Redacts texts, and values by the names of their fields; without a redactor it leaves them as they are."""

    def __init__(self, redactor: Redactor | None = None) -> None:
        self._redactor = redactor
        self.labels: list[str] = []
        """Label of each secret that was masked."""

    def __call__(self, text: str) -> str:
        """Return the text without its secrets."""
        if self._redactor is None:
            return text
        result = self._redactor(text)
        self.labels += result.labels
        return result.text

    def labels_in(self, text: str) -> tuple[str, ...]:
        """Return the labels of the secrets in a text that is sent as it is."""
        return self._redactor(text).labels if self._redactor else ()

    def slice(self, text: str, start: int, stop: int) -> str:
        """Return `text[start:stop]` without its secrets, and with a mask for one that reaches beyond it."""
        before = after = ""
        if self._redactor is not None:
            if start and (secret := self._redactor.secret_across(text, start, MAX_KEY_LENGTH)):
                _, start, label = secret
                before = self._mask(label)
            if stop < len(text) and (secret := self._redactor.secret_across(text, stop)):
                stop, _, label = secret
                after = self._mask(label) if start <= stop else ""  # else it is the same one
        return before + self(text[start:stop]) + after

    def truncate_middle(self, text: str, max_length: int) -> str:
        """Return the text without its secrets; of a longer one than `max_length`, a note takes the middle's place."""
        start, stop = middle_gap(len(text), max_length)
        if start == stop:
            return self(text)
        return self.slice(text, 0, start) + gap_note(stop - start) + self.slice(text, stop, len(text))

    def truncate_end(self, text: str, max_length: int) -> str:
        """Return the text; of a longer one than `max_length` its start without secrets, and "…".

        For the cells of a table and the like: a short text is redacted together with what is around it.
        """
        return self.slice(text, 0, max_length) + "…" if len(text) > max_length else text

    def keep_ends(self, text: str, length: int) -> str:
        """Return the text without its secrets; of a longer one, only `length` characters at either end."""
        if len(text) <= 2 * length:
            return self(text)
        return self.slice(text, 0, length) + "…" + self.slice(text, len(text) - length, len(text))

    def hides(self, name: object) -> bool:
        """Return True if the values of a field or column of this name are secrets: they are to be masked."""
        return self._redactor is not None and bool(secret_field(name))

    def hidden(self, names: Sequence[object], values: Sequence[object]) -> dict[int, object]:
        """Return the positions of the fields that hold secrets, each with the name to mask it by.

        They have such a name themselves, or are the `value` beside a `name`, as in `name=API_KEY, value=…`;
        without `values`, only those with such a name are known.
        """
        hidden = {number: name for number, name in enumerate(names) if self.hides(name)}
        labels = (value for name, value in zip(names, values, strict=False) if name in NAME_NAMES)
        if any(name in VALUE_NAMES for name in names) and (label := next(filter(self.hides, labels), None)):
            hidden |= {number: label for number, name in enumerate(names) if name in VALUE_NAMES}
        return hidden

    def mask_fields(self, data: Any) -> Any:
        """Return dicts, lists and named tuples with masks in place of what fields of secrets hold, or as they are."""
        if self._redactor is None:
            return data
        fields = getattr(type(data), "_fields", ()) if isinstance(data, tuple) else ()
        if any(map(self.hides, fields)):
            data = dict(zip(fields, data, strict=True))
        if isinstance(data, list | tuple):
            items = [self.mask_fields(item) for item in data]
            return data if all(map(operator.is_, items, data)) else items
        if not isinstance(data, dict):
            return data
        hidden = self.hidden(list(data), list(data.values()))
        values = [
            self.mask(hidden[number], value) if number in hidden else self.mask_fields(value)
            for number, value in enumerate(data.values())
        ]
        return data if all(map(operator.is_, values, data.values())) else dict(zip(data, values, strict=True))

    def mask_repr(self, text: str) -> str:
        """Return an object's text with masks in `Class(password='…')`; of a very long one, only towards its ends."""
        if self._redactor is None:
            return text
        ends = [text] if len(text) <= 2 * MAX_END else [text[:MAX_END], text[-MAX_END:]]
        masked = [_FIELD.sub(self._mask_match, end) for end in ends]
        return text[MAX_END:-MAX_END].join(masked)

    def _mask_match(self, match: re.Match[str]) -> str:
        return f"{match[1]}={self.mask(match[1], match[2])}" if self.hides(match[1]) else match[0]

    def mask(self, name: object, value: Any) -> Any:
        """Return a mask in place of the value of a field that `hides`; no value, and truth values, stay as they are."""
        if value is None or value is False or value is True or (isinstance(value, str) and not value):
            return value
        return self._mask(secret_field(name))

    def _mask(self, label: str) -> str:
        self.labels.append(label)
        return f"[masked: {label}]"


class RedactingRepr(reprlib.Repr):
    """An abbreviated repr, in which texts are redacted before they are cut."""

    def __init__(self, redact: RedactionLog) -> None:
        super().__init__()
        self._redact = redact

    def repr_str(self, value: str, level: int) -> str:
        """Return a string, its middle left out if it is long."""
        return super().repr_str(self._redact.keep_ends(str.__str__(value), self.maxstring), level)

    def repr_instance(self, value: Any, level: int) -> str:
        """Return another value, the middle of its repr left out if it is long."""
        if isinstance(value, dict) and any(map(self._redact.hides, islice(value, self.maxdict))):
            return f"{type(value).__name__}({self.repr_dict(value, level)})"
        try:
            text = self._redact.keep_ends(self._redact.mask_repr(repr(value)), self.maxother)
        except Exception as error:  # the user's own objects may raise anything
            return f"<{type(value).__name__}: {type(error).__name__}>"
        start, stop = (self.maxother - 3) // 2, len(text) - (self.maxother - 2) // 2
        return text if len(text) <= self.maxother else f"{text[:start]}{self.fillvalue}{text[stop:]}"

    def repr_dict(self, value: dict[Any, Any], level: int) -> str:
        """Return a dict, without the values of fields that hold secrets."""
        try:
            names = sorted(value)
        except Exception:  # names of different types
            names = list(value)
        first = names[: self.maxdict + 1]  # one more, so that the others are shown to be left out
        return super().repr_dict(
            {
                name: self._redact.mask(name, value[name]) if self._redact.hides(name) else value[name]
                for name in first
            },
            level,
        )
