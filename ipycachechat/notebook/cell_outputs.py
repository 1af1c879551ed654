"""IPython's outputs of a cell as text and images."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

Bundle = Mapping[str, Any]
LETTERS = 20_000
"""Of one output that are looked at."""
PICTURE = 4_000_000
"""Letters of a picture in base64; a larger one is left out."""
_OURS = 'class="ipycachechat-'
"""In the HTML of every answer, badge and table."""
_CELL = re.compile(r"[^\s\"'<>]*ipykernel_\d+[/\\]\d+\.py|<ipython-input-[^>\s]*>")
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(\x07|\x1b\\)")


def outputs(shell: Any, number: int) -> list[Any]:
    """Of the cell that ran under this number: each has a `bundle`. IPython keeps them from 9.0 on."""
    found: list[Any] = getattr(shell.history_manager, "outputs", {}).get(number, [])
    return found


def is_ours(bundle: Bundle) -> bool:
    """Return True if it is what a chat shows."""
    return _OURS in str(bundle.get("text/html", ""))


def joined(bundles: Iterable[Bundle]) -> Iterator[Bundle]:
    """With what was printed in a row as one, since each change between stdout and stderr begins another."""
    for printed, row in groupby(bundles, lambda one: "stream" in one):
        if printed:
            yield {"stream": "".join("".join(one["stream"]) for one in row)}
        else:
            yield from row


def renamed(text: str) -> str:
    """A cell is compiled under the name of a file that is another one in every kernel; here it has one name."""
    return _CELL.sub("a cell", text)


def text(bundle: Bundle, most: int = LETTERS) -> str:
    """Return an output as text: the printed text, or a display's own text form."""
    from ipycachechat.text.truncate import truncate_middle

    printed = bundle.get("stream") or bundle.get("text/markdown") or bundle.get("text/plain") or ""
    return truncate_middle(_plain(printed), most).rstrip()


def picture(bundle: Bundle) -> str:
    """In base64; "" if there is none."""
    from base64 import b64encode

    data = bundle.get("image/png") or ""
    found = b64encode(data).decode() if isinstance(data, bytes) else "".join(str(data).split())
    return found if len(found) <= PICTURE else ""


def _plain(printed: str | Iterable[str]) -> str:
    """As it stands on the screen in the end: without colours, and without what was written over."""
    text = _ESCAPE.sub("", "".join(printed)).replace("\r\n", "\n")
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
