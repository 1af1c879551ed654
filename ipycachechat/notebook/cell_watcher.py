"""Record the cells that ran and their outputs, for `%chat watch`."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from ipycachechat.notebook import cell_outputs
from ipycachechat.notebook.cell_outputs import Bundle
from ipycachechat.notebook.lookups import format_traceback

if TYPE_CHECKING:
    from ipycachechat.conversation.cell_runs import CellRun

CELLS = 1_000
"""Number of cells that are remembered."""
DISPLAYS = 20
"""Of a cell, the last."""
_OWN = re.compile(r"\s*(%chat|%config\s+ChatMagics|%(re|un)?load_ext\s+ipycachechat)\b")
"""A line about the chat."""


@dataclass(frozen=True, slots=True)
class _CellRecord:
    """One run of a cell: what it was, and what it showed, as IPython and its displays have it."""

    cell: str
    number: int
    source: str
    shown: tuple[Bundle, ...]
    error: str
    at: float
    told: dict[str, CellRun] = field(default_factory=dict)
    """Return the cell as a CellRun, by what is watched; built once, since its outputs may be large."""


class CellWatcher:
    """Hears of every cell that runs, and of what it displays."""

    def __init__(self, shell: Any, mode: Callable[[], str]) -> None:
        """`mode`: off, code, code+output, or code+output+images."""
        self._shell, self._mode = shell, mode
        self._cells: dict[str, _CellRecord] = {}
        self._screen = _OutputTracker()
        # Where a kernel publishes displays, IPython's history does not hold them.
        self._publisher = shell.display_pub if hasattr(shell.display_pub, "register_hook") else None
        if self._publisher is not None:
            self._publisher.register_hook(self._published)

    def close(self) -> None:
        """Hear no more."""
        if self._publisher is not None:
            self._publisher.unregister_hook(self._published)

    def begins(self, *_: object) -> None:
        """A cell starts."""
        self._screen = _OutputTracker()

    def ran(self, result: Any) -> None:
        """A cell has come to its end."""
        source = str(getattr(result.info, "raw_cell", ""))
        if not getattr(result.info, "store_history", True) or _is_chat(source):
            return
        number = (
            result.execution_count or self._running
        )  # none is told where IPython could not show the error
        cell = str(getattr(result.info, "cell_id", None) or f"[{number}]")
        shown = self._screen.end(self._outputs(number))
        error = _traced(result.error_in_exec or result.error_before_exec)
        self._cells.pop(cell, None)
        self._cells[cell] = _CellRecord(cell, number, source.strip(), shown, error, time.time())
        while len(self._cells) > CELLS:
            del self._cells[next(iter(self._cells))]

    def since(self, when: float) -> None:
        """Forget what ran before that time."""
        self._cells = {cell: one for cell, one in self._cells.items() if one.at > when}

    @property
    def cells(self) -> list[CellRun]:
        """Each cell as it ran last, in the order in which they did; none if watching is off."""
        mode = self._mode()
        if mode == "off":
            return []
        for one in self._cells.values():
            if mode not in one.told:
                one.told[mode] = _watched(one, mode)
        return [one.told[mode] for one in self._cells.values()]

    def _published(self, message: dict[str, Any]) -> dict[str, Any]:
        mode, kind, content = self._mode(), message["header"]["msg_type"], message["content"]
        if mode in ("off", "code"):
            return message
        if kind == "clear_output":
            self._screen.cleared(self._outputs(self._running), wait=content["wait"])
        else:
            kinds = ("text/markdown", "text/plain", *(["image/png"] if _sees(mode) else []))
            data = {} if cell_outputs.is_ours(content["data"]) else content["data"]
            self._screen.displayed(kind, content, {one: data[one] for one in kinds if one in data})
        return message

    @property
    def _running(self) -> int:
        """The number of the cell that runs; IPython's counter may be at the next one already, by its version."""
        return len(self._shell.history_manager.input_hist_raw) - 1

    def _outputs(self, number: int) -> list[Bundle]:
        return [one.bundle for one in cell_outputs.outputs(self._shell, number)]


class _OutputTracker:
    """The outputs below the running cell: without cleared ones, and displays as last updated."""

    def __init__(self) -> None:
        self._displays: dict[str, Bundle] = {}
        self._count = 0
        self._gone = (0, 0)
        """How much of IPython's outputs was cleared."""
        self._going: tuple[int, int] | None = None
        """How much of them is cleared as soon as anything follows."""

    def displayed(self, kind: str, content: Mapping[str, Any], kept: Bundle) -> None:
        """A display, or an update of one, as it is published; `kept`: what of its data may go along."""
        name = str(content["transient"].get("display_id", ""))
        if kind == "display_data":
            self._clear()
            self._count += 1
            self._displays[name or f"[{self._count}]"] = kept
            while len(self._displays) > DISPLAYS:
                del self._displays[next(iter(self._displays))]
        elif name in self._displays:
            self._displays[name] = kept

    def cleared(self, outputs: Sequence[Bundle], *, wait: bool) -> None:
        """Clear the outputs, now or when the next one comes."""
        self._going = _extent(outputs)
        if not wait:
            self._clear()

    def end(self, outputs: Sequence[Bundle]) -> tuple[Bundle, ...]:
        """All that stands there, given IPython's outputs of the cell."""
        if self._going is not None and _extent(outputs) > self._going:
            self._clear()
        number, letters = self._gone
        last = [{"stream": one["stream"][letters:]} for one in outputs[:number][-1:] if "stream" in one]
        return (*last, *outputs[number:], *self._displays.values())

    def _clear(self) -> None:
        if self._going is not None:
            self._displays.clear()
            self._gone, self._going = self._going, None


def _extent(outputs: Sequence[Bundle]) -> tuple[int, int]:
    """How many outputs there are, and how much was printed in the last of them."""
    return len(outputs), len(outputs[-1].get("stream", "")) if outputs else 0


def _is_chat(source: str) -> bool:
    """Return True if the cell is about the chat, which knows of it already, or empty."""
    lines = [line for line in source.splitlines() if line.strip()]
    return not lines or lines[0].split()[0].rstrip("?") == "%%chat" or all(map(_OWN.match, lines))


def _sees(mode: str) -> bool:
    return mode == "code+output+images"


def _traced(error: BaseException | None) -> str:
    """The error, whatever its own class may do."""
    if error is None:
        return ""
    try:
        return cell_outputs.text({"stream": format_traceback(error)})
    except Exception as failure:
        return f"(an error that cannot be shown: {type(failure).__name__})"


def _watched(ran: _CellRecord, mode: str) -> CellRun:
    from ipycachechat.conversation.cell_runs import CellRun
    from ipycachechat.conversation.messages import Attachment
    from ipycachechat.text.truncate import strip_addresses

    texts: list[str] = []
    pictures: list[Attachment] = []
    if mode != "code":
        shown = [one for one in ran.shown if not cell_outputs.is_ours(one)]
        told = [*map(cell_outputs.text, cell_outputs.joined(shown)), ran.error]
        texts = [strip_addresses(cell_outputs.renamed(one)) for one in told if one]
        if _sees(mode):
            found = filter(None, map(cell_outputs.picture, shown))
            names = (f"cell-{ran.number}-{n}.png" for n in range(1, len(shown) + 1))
            pictures = [Attachment("image/png", data, name) for data, name in zip(found, names, strict=False)]
    digest = blake2b(digest_size=16)
    for part in (ran.source, *texts, *(picture.data for picture in pictures)):
        digest.update(part.encode("utf-8", "surrogatepass") + b"\0")
    return CellRun(
        cell_id=ran.cell,
        number=ran.number,
        source=ran.source,
        outputs=tuple(texts),
        images=tuple(pictures),
        digest=digest.hexdigest(),
    )
