"""Record the cells that ran and their outputs, for `%chat watch`."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from ipycachechat.notebook import cell_outputs
from ipycachechat.notebook.cell_outputs import MimeBundle
from ipycachechat.notebook.lookups import format_traceback

if TYPE_CHECKING:
    from ipycachechat.conversation.cell_runs import CellRun

MAX_CELLS = 1_000
"""Number of cells that are remembered."""
MAX_DISPLAYS = 20
"""Number of a cell's displays that are remembered: the last ones."""
WITH_IMAGES = "code+output+images"
_CHAT_LINE = re.compile(r"\s*(%chat|%config\s+ChatMagics|%(re|un)?load_ext\s+ipycachechat)\b")


@dataclass(frozen=True, slots=True)
class _CellRecord:
    """One run of a cell: its source, and the outputs that remained below it."""

    cell: str
    number: int
    source: str
    outputs: tuple[MimeBundle, ...]
    error: str
    ended_at: float
    runs: dict[str, CellRun] = field(default_factory=dict)
    """The record as a CellRun, by watch mode; built once, since outputs may be large."""


class CellWatcher:
    """Records every cell that runs, with its outputs."""

    def __init__(self, shell: Any, mode: Callable[[], str]) -> None:
        """`mode`: returns off, code, code+output, or code+output+images."""
        self._shell, self._mode = shell, mode
        self._records: dict[str, _CellRecord] = {}
        self._tracker = _OutputTracker()
        # IPython's history lacks displays if a kernel publishes them itself.
        self._publisher = shell.display_pub if hasattr(shell.display_pub, "register_hook") else None
        if self._publisher is not None:
            self._publisher.register_hook(self._on_publish)

    def close(self) -> None:
        """Stop recording."""
        if self._publisher is not None:
            self._publisher.unregister_hook(self._on_publish)

    def on_cell_start(self, *_: object) -> None:
        """Start with no outputs."""
        self._tracker = _OutputTracker()

    def on_cell_end(self, result: Any) -> None:
        """Record a cell that has ended, unless it is about the chat or not part of the history."""
        source = str(getattr(result.info, "raw_cell", ""))
        if not getattr(result.info, "store_history", True) or _is_about_chat(source):
            return
        number = result.execution_count or self._running_number  # none if IPython failed to show the error
        cell = str(getattr(result.info, "cell_id", None) or f"[{number}]")
        outputs = self._tracker.remaining(self._history_outputs(number))
        error = _error_text(result.error_in_exec or result.error_before_exec)
        self._records.pop(cell, None)
        self._records[cell] = _CellRecord(cell, number, source.strip(), outputs, error, time.time())
        while len(self._records) > MAX_CELLS:
            del self._records[next(iter(self._records))]

    def forget_until(self, when: float) -> None:
        """Forget what ran before that time."""
        self._records = {cell: record for cell, record in self._records.items() if record.ended_at > when}

    @property
    def cell_runs(self) -> list[CellRun]:
        """The last run of each cell, in the order in which they ran; empty if watching is off."""
        mode = self._mode()
        if mode == "off":
            return []
        for record in self._records.values():
            if mode not in record.runs:
                record.runs[mode] = _to_cell_run(record, mode)
        return [record.runs[mode] for record in self._records.values()]

    def _on_publish(self, message: dict[str, Any]) -> dict[str, Any]:
        mode, kind, content = self._mode(), message["header"]["msg_type"], message["content"]
        if mode in ("off", "code"):
            return message
        if kind == "clear_output":
            self._tracker.on_clear(self._history_outputs(self._running_number), wait=content["wait"])
        else:
            kinds = ("text/markdown", "text/plain", *(["image/png"] if mode == WITH_IMAGES else []))
            data = {} if cell_outputs.is_ours(content["data"]) else content["data"]
            self._tracker.on_display(kind, content, {name: data[name] for name in kinds if name in data})
        return message

    @property
    def _running_number(self) -> int:
        """The number of the running cell; in some versions of IPython its counter is one ahead."""
        return len(self._shell.history_manager.input_hist_raw) - 1

    def _history_outputs(self, number: int) -> list[MimeBundle]:
        return [output.bundle for output in cell_outputs.outputs(self._shell, number)]


class _OutputTracker:
    """The outputs below the running cell: without cleared ones, and displays as last updated."""

    def __init__(self) -> None:
        self._displays: dict[str, MimeBundle] = {}
        self._count = 0
        self._cleared = (0, 0)
        """Extent of IPython's outputs that was cleared."""
        self._to_clear: tuple[int, int] | None = None
        """Extent of them to clear when the next output comes."""

    def on_display(self, kind: str, content: Mapping[str, Any], kept: MimeBundle) -> None:
        """Add a published display, or update it; `kept`: the part of its data that may be sent."""
        name = str(content["transient"].get("display_id", ""))
        if kind == "display_data":
            self._clear()
            self._count += 1
            self._displays[name or f"[{self._count}]"] = kept
            while len(self._displays) > MAX_DISPLAYS:
                del self._displays[next(iter(self._displays))]
        elif name in self._displays:
            self._displays[name] = kept

    def on_clear(self, outputs: Sequence[MimeBundle], *, wait: bool) -> None:
        """Clear the outputs, now or when the next one comes."""
        self._to_clear = _extent(outputs)
        if not wait:
            self._clear()

    def remaining(self, outputs: Sequence[MimeBundle]) -> tuple[MimeBundle, ...]:
        """Return all outputs that are left, given IPython's outputs of the cell."""
        if self._to_clear is not None and _extent(outputs) > self._to_clear:
            self._clear()
        number, length = self._cleared
        last = [
            {"stream": output["stream"][length:]} for output in outputs[:number][-1:] if "stream" in output
        ]
        return (*last, *outputs[number:], *self._displays.values())

    def _clear(self) -> None:
        if self._to_clear is not None:
            self._displays.clear()
            self._cleared, self._to_clear = self._to_clear, None


def _extent(outputs: Sequence[MimeBundle]) -> tuple[int, int]:
    """Return the number of outputs, and the length of the text that was printed in the last one."""
    return len(outputs), len(outputs[-1].get("stream", "")) if outputs else 0


def _is_about_chat(source: str) -> bool:
    """Return True if the cell is a chat cell, holds only lines about the chat, or is empty."""
    lines = [line for line in source.splitlines() if line.strip()]
    return not lines or lines[0].split()[0].rstrip("?") == "%%chat" or all(map(_CHAT_LINE.match, lines))


def _error_text(error: BaseException | None) -> str:
    """Return the error with its traceback, even if its own methods fail; "" for None."""
    if error is None:
        return ""
    try:
        return cell_outputs.text({"stream": format_traceback(error)})
    except Exception as failure:
        return f"(an error that cannot be shown: {type(failure).__name__})"


def _to_cell_run(record: _CellRecord, mode: str) -> CellRun:
    from ipycachechat.conversation.cell_runs import CellRun
    from ipycachechat.conversation.messages import Attachment
    from ipycachechat.text.truncate import strip_addresses

    texts: list[str] = []
    images: list[Attachment] = []
    if mode != "code":
        outputs = [output for output in record.outputs if not cell_outputs.is_ours(output)]
        outputs_and_error = [*map(cell_outputs.text, cell_outputs.merge_streams(outputs)), record.error]
        texts = [strip_addresses(cell_outputs.hide_file_names(text)) for text in outputs_and_error if text]
        if mode == WITH_IMAGES:
            pngs = filter(None, map(cell_outputs.image, outputs))
            images = [
                Attachment("image/png", png, f"cell-{record.number}-{n}.png") for n, png in enumerate(pngs, 1)
            ]
    digest = blake2b(digest_size=16)
    for part in (record.source, *texts, *(image.data for image in images)):
        digest.update(part.encode("utf-8", "surrogatepass") + b"\0")
    return CellRun(
        cell_id=record.cell,
        number=record.number,
        source=record.source,
        outputs=tuple(texts),
        images=tuple(images),
        digest=digest.hexdigest(),
    )
