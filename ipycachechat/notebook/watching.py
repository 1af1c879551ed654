"""The cells that ran and what they showed, for prompts that tell of them: what `watch` looks at."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from ipycachechat.notebook import bundles
from ipycachechat.notebook.bundles import Bundle
from ipycachechat.notebook.earlier import traced

if TYPE_CHECKING:
    from ipycachechat.core.watched import Watched

CELLS = 1_000
"""That are remembered."""
DISPLAYS = 20
"""Of a cell, the last."""
_OWN = re.compile(r"\s*(%chat|%config\s+ChatMagics|%(re|un)?load_ext\s+ipycachechat)\b")
"""A line about the chat."""


@dataclass(frozen=True, slots=True)
class _Ran:
    """One run of a cell: what it was, and what it showed, as IPython and its displays have it."""

    cell: str
    number: int
    source: str
    outputs: list[Any]
    displays: tuple[Bundle, ...]
    error: str
    at: float


class Watching:
    """Hears of every cell that runs, and of what it displays."""

    def __init__(self, shell: Any, mode: Callable[[], str]) -> None:
        """`mode`: off, code, code+output, or code+output+images."""
        self._shell, self._mode = shell, mode
        self._cells: dict[str, _Ran] = {}
        self._displays: list[Bundle] = []
        # Where a kernel publishes displays, IPython's history does not hold them.
        self._publisher = shell.display_pub if hasattr(shell.display_pub, "register_hook") else None
        if self._publisher is not None:
            self._publisher.register_hook(self._displayed)

    def close(self) -> None:
        """Hear no more."""
        if self._publisher is not None:
            self._publisher.unregister_hook(self._displayed)

    def begins(self, *_: object) -> None:
        """A cell starts."""
        self._displays = []

    def ran(self, result: Any) -> None:
        """A cell has come to its end."""
        source, number = str(getattr(result.info, "raw_cell", "")), result.execution_count
        if number is None or not getattr(result.info, "store_history", True) or _is_chat(source):
            return
        error = result.error_in_exec or result.error_before_exec
        cell = str(getattr(result.info, "cell_id", None) or f"[{number}]")
        outputs = bundles.outputs(self._shell, number)
        told = bundles.text({"stream": traced(error)}) if error is not None else ""
        self._cells.pop(cell, None)
        self._cells[cell] = _Ran(
            cell, number, source.strip(), outputs, tuple(self._displays), told, time.time()
        )
        while len(self._cells) > CELLS:
            del self._cells[next(iter(self._cells))]

    def since(self, when: float) -> None:
        """Forget what ran before that time."""
        self._cells = {cell: one for cell, one in self._cells.items() if one.at > when}

    @property
    def cells(self) -> list[Watched]:
        """Each cell as it ran last, in the order in which they did; none if watching is off."""
        mode = self._mode()
        return [] if mode == "off" else [_watched(one, mode) for one in self._cells.values()]

    def _displayed(self, message: dict[str, Any]) -> dict[str, Any]:
        if message["header"]["msg_type"] == "display_data" and self._mode() not in ("off", "code"):
            data = message["content"]["data"]
            kinds = ("text/markdown", "text/plain", *(["image/png"] if _sees(self._mode()) else []))
            self._displays.append({kind: data[kind] for kind in kinds if kind in data})
            del self._displays[:-DISPLAYS]
        return message


def _is_chat(source: str) -> bool:
    """Whether the cell is about the chat, which knows of it already, or empty."""
    lines = [line for line in source.splitlines() if line.strip()]
    return not lines or lines[0].lstrip().startswith("%%chat") or all(map(_OWN.match, lines))


def _sees(mode: str) -> bool:
    return mode == "code+output+images"


def _watched(ran: _Ran, mode: str) -> Watched:
    from ipycachechat.core.conversation import File
    from ipycachechat.core.watched import Watched

    texts: list[str] = []
    pictures: list[File] = []
    if mode != "code":
        shown = [*(one.bundle for one in ran.outputs), *ran.displays]
        texts = [*filter(None, map(bundles.text, shown)), *filter(None, [ran.error])]
        if _sees(mode):
            found = filter(None, map(bundles.picture, shown))
            names = (f"cell-{ran.number}-{n}.png" for n in range(1, len(shown) + 1))
            pictures = [File("image/png", data, name) for data, name in zip(found, names, strict=False)]
    digest = blake2b(digest_size=16)
    for part in (ran.source, *texts, *(picture.data for picture in pictures)):
        digest.update(part.encode("utf-8", "surrogatepass") + b"\0")
    return Watched(ran.cell, ran.number, ran.source, tuple(texts), tuple(pictures), digest.hexdigest())
