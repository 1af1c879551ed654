"""Replace secrets in text by `[masked: NAME]`: known values, and values that look secret.

A secret is recognised by its value (those of the environment and the API keys in use) or by its format. Redact a
text before it is cut: half a key has no format.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from urllib.parse import quote, quote_plus, unquote

from ipycachechat.text.secret_columns import find_secret_columns
from ipycachechat.text.secret_names import is_secret_variable
from ipycachechat.text.secret_patterns import SECRET_PATTERNS

START_LENGTH = 12
"""Characters by which a known value is recognised where a table or a repr has cut it with dots."""
MAX_SECRET_LENGTH = 500
"""Characters from its start within which every secret is recognised."""
MAX_KEY_LENGTH = 20_000
"""Characters of the longest secret, a private key."""
PIECE_LENGTH = 8
"""Letters and digits in a row by which a piece of a known secret is recognised in `strip_known_secrets`."""
_DOTS = re.compile(r"\.\.\.|…")
_LETTER = re.compile(r"<[^<>]{0,200}>|([A-Za-z0-9])")  # or markup
_LABELS = frozenset(pattern.label for pattern in SECRET_PATTERNS) | {"provider key"}


class SecretStr(str):
    """A key whose repr hides it, so that tracebacks, settings and logs do not show it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'…'"


@dataclass(frozen=True, slots=True)
class RedactedText:
    """A text without its secrets, and the label of each different secret that was in it."""

    text: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Redactor:
    """Mask known secrets and what looks like one. The same text always becomes the same bytes."""

    known_forms: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Every form of each known secret, the longest first, with its label."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], keys: Iterable[str] = ()) -> Redactor:
        """Return a redactor for the secrets of an environment and the providers' `keys` in use."""
        labels = {value: "provider key" for value in keys if _may_be_secret(value, 8)}
        for name in sorted(environ, reverse=True):  # of two names for one secret, the first is its label
            labels |= {
                value: name if name.isidentifier() else "secret"
                for value in _secret_values(name, environ[name])
            }
        forms = {form: label for value, label in sorted(labels.items()) for form in _forms(value)}
        forms |= labels  # a value keeps its own label, even if it is the base64 of another
        return cls(tuple(sorted(forms.items(), key=lambda item: (-len(item[0]), item[0]))))

    def __call__(self, text: str) -> RedactedText:
        """Return the text with its secrets masked. Existing masks stay as they are."""
        seen: dict[tuple[str, str], None] = {}
        # A mask can reveal a secret behind it that was part of a longer word: repeat until there is none.
        while secrets := _without_overlaps(self.find_secrets(self._blank_masks(text))):
            parts, end = [], 0
            for start, stop, label in secrets:
                seen[label, text[start:stop]] = None
                parts += [text[end:start], f"[masked: {label}]"]
                end = stop
            text = "".join([*parts, text[end:]])
        return RedactedText(text, tuple(label for label, _ in seen))

    def secret_across(self, text: str, position: int, reach: int = 0) -> tuple[int, int, str] | None:
        """Return start, end and label of a secret that a cut at this position would divide, or None.

        `reach`: characters before the position within which it begins; 0: those of any but a private key.
        """
        longest = max(MAX_SECRET_LENGTH, len(self.known_forms[0][0]) if self.known_forms else 0)
        first = max(0, position - (reach or longest))
        for start, stop, label in _without_overlaps(self.find_secrets(text[first : position + longest])):
            if first + start < position < first + stop:
                return first + start, first + stop, label
        return None

    def _blank_masks(self, text: str) -> str:
        """Replace masks by NULs, which no secret contains."""
        if "[masked: " not in text:
            return text
        labels = sorted(_LABELS.union(label for _, label in self.known_forms))
        masks = re.compile(rf"\[masked: (?:{'|'.join(labels)})\]")
        return masks.sub(lambda mask: "\0" * len(mask[0]), text)

    def find_secrets(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Yield start, end and label of each secret, in no particular order; they may overlap."""
        for form, label in self.known_forms:
            start = text.find(form[:START_LENGTH])
            while start >= 0:
                stop = _form_end(text, start, form)
                if stop:
                    yield start, stop, label
                start = text.find(form[:START_LENGTH], stop or start + 1)
        lower = text.replace("İ", "I").lower()  # the only letter whose lower case is two characters
        yield from ((start, stop, "secret") for start, stop in find_secret_columns(text))
        for pattern in SECRET_PATTERNS:
            yield from ((start, stop, pattern.label) for start, stop in pattern.find_spans(text, lower))


def strip_known_secrets(text: str, environ: Mapping[str, str], keys: Iterable[str] = ()) -> str:
    """Replace every piece of a known secret by dots, however it is written, cut or spread over lines.

    For providers' error messages: unlike in a prompt, it does no harm to remove too much.
    """
    forms = [form for form, _ in Redactor.from_environ(environ, keys).known_forms]
    plain = ["".join(_LETTER.findall(form)).lower() for form in forms]
    pieces = {form[n : n + PIECE_LENGTH] for form in plain for n in range(len(form) - PIECE_LENGTH + 1)}
    letters = [(match.start(), match[1].lower()) for match in _LETTER.finditer(text) if match[1]]
    row = "".join(letter for _, letter in letters)
    spans = [
        (letters[n][0], letters[n + PIECE_LENGTH - 1][0] + 1, "")
        for n in range(len(row) - PIECE_LENGTH + 1)
        if row[n : n + PIECE_LENGTH] in pieces
    ]
    for start, stop, _ in reversed(_without_overlaps(spans)):
        text = f"{text[:start]}…{text[stop:]}"
    for form in forms:  # those that are shorter than a piece
        text = text.replace(form, "…")
    return text


def describe_redactions(labels: Iterable[str]) -> str:
    """Return the note under an answer: "masked: OPENAI_API_KEY, 2 GitHub tokens"; "" without labels."""
    names = [
        f"{count} {label}s" if count > 1 and label in _LABELS else label
        for label, count in Counter(labels).items()
    ]
    return f"masked: {', '.join(names)}" if names else ""


def _without_overlaps(spans: Iterable[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Merge spans that overlap, under the label of the first; with the same start, a known value comes first."""
    merged: list[tuple[int, int, str]] = []
    for start, stop, label in sorted(spans, key=lambda span: span[0]):  # stable: known values come first
        if merged and start < merged[-1][1]:
            first, end, name = merged[-1]
            merged[-1] = (first, max(end, stop), name)
        else:
            merged.append((start, stop, label))
    return merged


def _form_end(text: str, start: int, form: str) -> int:
    """Return where the form that begins at `start` ends, even if part of it was cut out; 0 if it is not there."""
    if text.startswith(form, start):
        return start + len(form)
    same = next(i for i, letter in enumerate(form) if text[start + i : start + i + 1] != letter)
    dots = _DOTS.match(text, start + same)
    if not dots:
        return 0
    tails = (form[-length:] for length in range(min(len(form) - same, 64), 0, -1))
    return dots.end() + next((len(tail) for tail in tails if text.startswith(tail, dots.end())), 0)


_PATH = re.compile(r"(?:~|\.{1,2}|[A-Za-z]:)?[/\\](?![A-Za-z0-9/+]{39}$)")  # AWS's secrets may begin with /
_WORDS = re.compile(r"(?:[a-z]+|[A-Z]+|[A-Z][a-z]+)(?:[-_. ](?:[a-z]+|[A-Z]+|[A-Z][a-z]+))*")
# The secret part of a URL or a connection string, whatever its variable is called.
_INSIDE = re.compile(
    r"://[^\s/?#:]*:([^\s/?#]+)@|(?:password|pwd|accountkey|sharedaccesskey)=([^;\s]+)", re.I
)


def _secret_values(name: str, value: str) -> list[str]:
    """Return the secret values in an environment variable."""
    min_length = 6 if re.search("PASS|PWD", name.upper()) else 8
    parts = {way for match in _INSIDE.findall(value) for part in match for way in (part, unquote(part))}
    inside = sorted(part for part in parts if _may_be_secret(part, 6))
    is_number = min_length == 8 and not value.strip("0123456789.,:+-_eE ")
    if not is_secret_variable(name) or "://" in value or not _may_be_secret(value, min_length) or is_number:
        return inside
    lines = [line for line in value.split() if re.fullmatch(r"[A-Za-z0-9+/=]{24,}", line)]  # of a private key
    return [value, *lines, *inside]


def _may_be_secret(value: str, min_length: int) -> bool:
    """Return True if it could be a secret, unlike `true`, `postgres`, `not-needed` and paths."""
    plain = len(value) < 20 and _WORDS.fullmatch(value)
    return len(value) >= min_length and not plain and not _PATH.match(value) and "\0" not in value


def _forms(value: str) -> set[str]:
    """Return the forms in which formats write a value: escaped once or twice, in URLs, HTML, hex, base64."""
    forms = {value, escape(value), escape(value, quote=False)}
    for _ in range(2):
        forms |= {write(form) for form in forms for write in _WRITERS}
    raw = value.encode(errors="replace")
    urls = {quote(raw, safe=""), quote(raw), quote_plus(raw)}
    forms |= urls | {re.sub(r"%..", lambda code: code[0].lower(), url) for url in urls} | {raw.hex()}
    for shift in range(3):  # by the number of bytes before it in the same base64, such as "user:"
        coded = b64encode(bytes(shift) + raw).decode()
        core = coded[-(-shift * 8 // 6) : (shift + len(raw)) * 8 // 6]
        whole = {coded, coded.rstrip("=")} if not shift else set()
        forms |= {form.translate(alphabet) for form in {core, *whole} for alphabet in ({}, _URL_SAFE)}
    return forms


_URL_SAFE = str.maketrans("+/", "-_")
_WRITERS: tuple[Callable[[str], str], ...] = (
    lambda form: repr('"' + form)[2:-1],  # with a double quote in it, single ones get a backslash
    lambda form: ascii('"' + form)[2:-1],
    lambda form: repr(form)[1:-1],
    lambda form: ascii(form)[1:-1],
    lambda form: json.dumps(form)[1:-1],
    lambda form: json.dumps(form, ensure_ascii=False)[1:-1],
)
