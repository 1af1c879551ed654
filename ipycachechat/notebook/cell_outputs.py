"""IPython's outputs of a cell as text and images."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

MimeBundle = Mapping[str, Any]
MAX_TEXT = 1_000_000
"""Characters of one output that are read: so many that no secret near either end is cut in two."""
MAX_IMAGE = 4_000_000
"""Characters of an image in base64; a larger one is left out."""
_OUR_CLASS = 'class="ipycachechat-'
"""In the HTML of every answer, badge and table."""
_CELL_FILE = re.compile(r"[^\s\"'<>]*ipykernel_\d+[/\\]\d+\.py|<ipython-input-[^>\s]*>")
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(\x07|\x1b\\)")


def outputs(shell: Any, number: int) -> list[Any]:
    """Return the outputs of the cell with this number, each with a `bundle`; IPython keeps them since 9.0."""
    entries: list[Any] = getattr(shell.history_manager, "outputs", {}).get(number, [])
    return entries


def is_ours(bundle: MimeBundle) -> bool:
    """Return True if this package displayed it."""
    return _OUR_CLASS in str(bundle.get("text/html", ""))


def merge_streams(bundles: Iterable[MimeBundle]) -> Iterator[MimeBundle]:
    """Yield the outputs, with printed text in a row as one: each change of stdout and stderr starts a new one."""
    for printed, group in groupby(bundles, lambda bundle: "stream" in bundle):
        if printed:
            yield {"stream": "".join("".join(bundle["stream"]) for bundle in group)}
        else:
            yield from group


def hide_file_names(text: str) -> str:
    """Replace the file names that IPython gives to cells, since they differ in every kernel."""
    return _CELL_FILE.sub("a cell", text)


def text(bundle: MimeBundle) -> str:
    """Return an output as text: the printed text, or a display's own text form."""
    from ipycachechat.text.truncate import truncate_middle

    printed = bundle.get("stream") or bundle.get("text/markdown") or bundle.get("text/plain") or ""
    return truncate_middle(_as_displayed(printed), MAX_TEXT).rstrip()


def image(bundle: MimeBundle) -> str:
    """Return a PNG image in base64; "" if there is none, or it is too large."""
    from base64 import b64encode

    data = bundle.get("image/png") or ""
    encoded = b64encode(data).decode() if isinstance(data, bytes) else "".join(str(data).split())
    return encoded if len(encoded) <= MAX_IMAGE else ""


def _as_displayed(printed: str | Iterable[str]) -> str:
    """Return printed text as it is displayed in the end: no colours, and no text that `\\r` has overwritten."""
    text = _ESCAPE.sub("", "".join(printed)).replace("\r\n", "\n")
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
