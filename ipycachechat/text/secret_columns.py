"""Find the columns of secrets in tables that are text: CSV, markdown, and what pandas, polars and psql print."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

from ipycachechat.text.secret_names import secret_field

Span = tuple[int, int]
MAX_LINE = 2_000
"""Characters of a line that can belong to a table."""
_NAME = re.compile(r"[\"']?[A-Za-z_][\w .-]{0,80}[\"']?")
_FRAMED_NAME = re.compile(r" *[\"']?[\w .-]{0,80}[\"']? *")  # empty at the edges of the frame
_SEPARATORS = {",": _NAME, "\t": _NAME, ";": _NAME, "[|│┆]": _FRAMED_NAME}
"""Separators of columns, and the form of the names between them."""
_WORD, _PLAIN = re.compile(r"\S+"), re.compile(r"[A-Za-z_]\w*")
_ANCHOR = re.compile(r"pass|pwd|secret|credential|token|key|conn", re.I)
_RULE = re.compile(r"[\s\-+|=:─═╞╪╡┼├┤│┌┐└┘┬┴]*|\w+ *")  # or the name of the index
MAX_RULES = 3
"""Lines between the header and the first row."""
_NO_VALUE = re.compile(r"\W*|str(?:ing)?|object|text|varchar|nan|none|null|true|false|\[masked: .*", re.I)


def find_secret_columns(text: str) -> Iterator[Span]:
    """Yield start and end of each value below a header such as `user,password`."""
    if "\n" not in text or not _ANCHOR.search(text):
        return
    lines = list(_lines(text))
    number = 1
    while number < len(lines):
        spans = _below(lines[number - 1][1], lines, number)
        yield from (span for row in spans for span in row)
        number += max(1, len(spans))


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the start of each line, and the line; an empty one for one that is too long."""
    start = 0
    for line in text.split("\n"):
        yield start, line if len(line) <= MAX_LINE else ""
        start += len(line) + 1


def _below(header: str, lines: list[tuple[int, str]], number: int) -> list[list[Span]]:
    """Return the secrets in each line below a header, as far as the table goes; nothing if it is no header."""
    if not _ANCHOR.search(header):
        return []
    for names, cells_of in _readings(header):
        secret = [place for place, name in enumerate(names) if secret_field(name.strip().strip("\"'"))]
        rows: list[list[Span]] = []
        for below in range(number, len(lines) if secret else 0):
            start, line = lines[below]
            cells = cells_of(line)
            if len(cells) != len(names):
                if _RULE.fullmatch(line) and len(rows) < MAX_RULES:
                    rows.append([])
                    continue
                break
            spans = [cells[place] for place in secret]
            rows.append([(start + a, start + b) for a, b in spans if not _NO_VALUE.fullmatch(line[a:b])])
        if any(rows):
            return rows
    return []


def _readings(header: str) -> Iterator[tuple[list[str], Callable[[str], list[Span]]]]:
    """Yield the names in a line, for each way in which it can be a header, and the function that splits a row."""
    for separator, name in _SEPARATORS.items():
        names = re.split(separator, header)
        if len(names) > 1 and all(map(name.fullmatch, names[not names[0] :])):  # pandas' index has no name
            yield names, partial(_separated, re.compile(separator))
    words = list(_WORD.finditer(header))
    if len(words) > 1 and header.startswith(" ") and all(_PLAIN.fullmatch(word[0]) for word in words):
        yield [word[0] for word in words], partial(_aligned, [word.end() for word in words])


def _separated(separator: re.Pattern[str], line: str) -> list[Span]:
    """Return the extent of each cell between separators, without blanks and quotes around it."""
    edges = [-1, *(match.start() for match in separator.finditer(line)), len(line)]
    cells = []
    for left, right in pairwise(edges):
        inner = line[left + 1 : right].strip().strip("\"'")
        first = line.find(inner, left + 1)
        cells.append((first, first + len(inner)))
    return cells


def _aligned(ends: list[int], line: str) -> list[Span]:
    """Return the extent of each cell of a row whose words end where the header's do; nothing if they do not."""
    words = {match.end(): match.start() for match in _WORD.finditer(line)}
    fits = not line.startswith(" ") and all(words.get(end) for end in ends)  # at 0 is the index
    return [(words[end], end) for end in ends] if fits else []
