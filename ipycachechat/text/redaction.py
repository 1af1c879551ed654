"""Replace secrets in text by `[masked: NAME]`: known values, and values that look secret.

Two ways lead to a secret: its value is known, as the environment's are and the keys in use, or it has the
form of one. Mask before a text is cut: half a key has no form.
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

from ipycachechat.text.secret_patterns import KINDS

HEAD = 12
"""So much of a known value is enough to know it where a table or a repr has cut it with dots."""
LONGEST = 500
"""Letters by which a secret is known at the latest."""
PIECE = 8
"""Letters and digits in a row by which a piece of a known secret is known, where nothing of it may be told."""
_CUT = re.compile(r"\.\.\.|…")
_LETTER = re.compile(r"<[^<>]{0,200}>|([A-Za-z0-9])")  # or what is marked up
_LABELS = frozenset(kind.label for kind in KINDS) | {"provider key"}


class SecretStr(str):
    """A key that no repr tells, so that no locals, settings or logs of ours hold it readable."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'…'"


@dataclass(frozen=True, slots=True)
class RedactedText:
    """A text without its secrets, and the label of each that was there, one for every different secret."""

    text: str
    found: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Redactor:
    """Masks what is known to be secret and what looks it. The same text becomes the same bytes, always."""

    known: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Every way to write each known secret, the longest first, with its label."""

    @classmethod
    def of(cls, environ: Mapping[str, str], keys: Iterable[str] = ()) -> Redactor:
        """One that knows the secrets of an environment and the providers' `keys` in use."""
        labels = {value: "provider key" for value in keys if _long_enough(value, 8)}
        for name in sorted(environ, reverse=True):  # of two names for one secret the first is told
            labels |= {
                value: name if name.isidentifier() else "secret" for value in _secrets(name, environ[name])
            }
        forms = {form: label for value, label in sorted(labels.items()) for form in _forms(value)}
        forms |= labels  # a value is not told as another's base64
        return cls(tuple(sorted(forms.items(), key=lambda known: (-len(known[0]), known[0]))))

    def __call__(self, text: str) -> RedactedText:
        """The text with its secrets masked. What is masked already stays as it is."""
        seen: dict[tuple[str, str], None] = {}
        # A mask can end the word that a secret after it was part of: look until there is none.
        while places := _without_overlaps(self._places(self._blank(text))):
            parts, end = [], 0
            for start, stop, label in places:
                seen[label, text[start:stop]] = None
                parts += [text[end:start], f"[masked: {label}]"]
                end = stop
            text = "".join([*parts, text[end:]])
        return RedactedText(text, tuple(label for label, _ in seen))

    def _blank(self, text: str) -> str:
        """The text with NULs, which no secret has, in the place of its masks."""
        if "[masked: " not in text:
            return text
        labels = sorted(_LABELS.union(label for _, label in self.known))
        masks = re.compile(rf"\[masked: (?:{'|'.join(labels)})\]")
        return masks.sub(lambda made: "\0" * len(made[0]), text)

    def _places(self, text: str) -> Iterator[tuple[int, int, str]]:
        for form, label in self.known:
            at = text.find(form[:HEAD])
            while at >= 0:
                stop = _stop(text, at, form)
                if stop:
                    yield at, stop, label
                at = text.find(form[:HEAD], stop or at + 1)
        lower = text.replace("İ", "I").lower()  # the one letter that would become two
        for kind in KINDS:
            yield from ((start, stop, kind.label) for start, stop in kind.places(text, lower))


def strip_known_secrets(text: str, environ: Mapping[str, str], keys: Iterable[str] = ()) -> str:
    """The text with dots for every piece of a secret that is known, however it is written, cut or spread over lines.

    For what others say of a request: what it loses too much is no loss, as it would be in what a model is to read.
    """
    known = [form for form, _ in Redactor.of(environ, keys).known]
    plain = ["".join(_LETTER.findall(form)).lower() for form in known]
    pieces = {form[at : at + PIECE] for form in plain for at in range(len(form) - PIECE + 1)}
    letters = [(found.start(), found[1].lower()) for found in _LETTER.finditer(text) if found[1]]
    row = "".join(letter for _, letter in letters)
    places = [
        (letters[at][0], letters[at + PIECE - 1][0] + 1, "")
        for at in range(len(row) - PIECE + 1)
        if row[at : at + PIECE] in pieces
    ]
    for start, stop, _ in reversed(_without_overlaps(places)):
        text = f"{text[:start]}…{text[stop:]}"
    for form in known:  # those that are shorter than a piece
        text = text.replace(form, "…")
    return text


def describe_redactions(found: Iterable[str]) -> str:
    """In words, for under the answer: "masked: OPENAI_API_KEY, 2 GitHub tokens"; nothing for nothing."""
    told = [
        f"{count} {label}s" if count > 1 and label in _LABELS else label
        for label, count in Counter(found).items()
    ]
    return f"masked: {', '.join(told)}" if told else ""


def _without_overlaps(places: Iterable[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Those that overlap as one, by the label of the first; of those that begin together, by what is known."""
    apart: list[tuple[int, int, str]] = []
    for start, stop, label in sorted(places, key=lambda place: place[0]):  # stable: as they were found
        if apart and start < apart[-1][1]:
            first, end, name = apart[-1]
            apart[-1] = (first, max(end, stop), name)
        else:
            apart.append((start, stop, label))
    return apart


def _stop(text: str, at: int, form: str) -> int:
    """Where the form that begins at `at` ends, also if its middle or end was cut out; 0 if it is not there."""
    if text.startswith(form, at):
        return at + len(form)
    same = next(i for i, letter in enumerate(form) if text[at + i : at + i + 1] != letter)
    cut = _CUT.match(text, at + same)
    if not cut:
        return 0
    tails = (form[-length:] for length in range(min(len(form) - same, 64), 0, -1))
    return cut.end() + next((len(tail) for tail in tails if text.startswith(tail, cut.end())), 0)


# Names of variables that hold secrets; not what is said about one, nor MAX_TOKENS or TOKENIZERS_PARALLELISM.
_SECRET_NAME = re.compile(
    r"(?:^|[^A-Z])(?:KEY|AUTH|PASS|PWD|PAT|DSN|CREDS?|COOKIE)(?![A-Z])|PASSW(?:OR)?D|PASSPHRASE|SECRET"
    r"|API_?KEY|CREDENTIAL|TOKEN(?!IZ|S(?![A-Z]))|CONN(?:ECTION)?_?STR"
)
_ABOUT = re.compile(
    r"_(?:URL|URI|PATH|FILE|DIR|NAME|TYPE|METHOD|MODE|PROVIDER|ENDPOINT|HOST|PORT|USER|USERNAME|EMAIL|SOCK|TTL"
    r"|EXPIRY|ALGORITHM|LENGTH|SIZE|REGION|VERSION)$"
)
_PATH = re.compile(r"(?:~|\.{1,2}|[A-Za-z]:)?[/\\](?![A-Za-z0-9/+]{39}$)")  # AWS's secrets may begin with /
_WORDS = re.compile(r"(?:[a-z]+|[A-Z]+|[A-Z][a-z]+)(?:[-_. ](?:[a-z]+|[A-Z]+|[A-Z][a-z]+))*")
# The secret part of a URL or a connection string, whatever its variable is called.
_INSIDE = re.compile(
    r"://[^\s/?#:]*:([^\s/?#]+)@|(?:password|pwd|accountkey|sharedaccesskey)=([^;\s]+)", re.I
)


def _secrets(name: str, value: str) -> list[str]:
    """Return the secret values in an environment variable."""
    least = 6 if re.search("PASS|PWD", name.upper()) else 8
    parts = {way for found in _INSIDE.findall(value) for part in found for way in (part, unquote(part))}
    inside = sorted(part for part in parts if _long_enough(part, 6))
    named = _SECRET_NAME.search(name.upper()) and not _ABOUT.search(name.upper())
    if not named or "://" in value or not _long_enough(value, least) or (least == 8 and _number(value)):
        return inside
    lines = [line for line in value.split() if re.fullmatch(r"[A-Za-z0-9+/=]{24,}", line)]  # of a private key
    return [value, *lines, *inside]


def _long_enough(value: str, least: int) -> bool:
    """Return True if it could be a secret: `true`, `postgres`, `not-needed` and paths are none."""
    plain = len(value) < 20 and _WORDS.fullmatch(value)
    return len(value) >= least and not plain and not _PATH.match(value) and "\0" not in value


def _number(value: str) -> bool:
    return not value.strip("0123456789.,:+-_eE ")


def _forms(value: str) -> set[str]:
    """The ways in which text formats write a value: escaped once or twice, in URLs, HTML, hex, base64."""
    forms = {value, escape(value), escape(value, quote=False)}
    for _ in range(2):
        forms |= {write(form) for form in forms for write in _WRITERS}
    raw = value.encode(errors="replace")
    urls = {quote(raw, safe=""), quote(raw), quote_plus(raw)}
    forms |= urls | {re.sub(r"%..", lambda code: code[0].lower(), url) for url in urls} | {raw.hex()}
    for shift in range(3):  # by what stands before it in the same base64, as "user:" does; letters of its own
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
