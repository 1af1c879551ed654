"""CellRun: a notebook cell that ran, as it is sent in front of a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ipycachechat.text.format import fenced
from ipycachechat.text.truncate import truncate_middle

if TYPE_CHECKING:
    from ipycachechat.conversation.messages import Attachment, Part

HEAD = "Cells of the notebook that have run, each as it ran last:"


@dataclass(frozen=True, slots=True)
class CellRun:
    """A cell that ran, as the model is told of it."""

    cell: str
    """Its id, or what stands for one."""
    number: int
    source: str
    outputs: tuple[str, ...] = ()
    images: tuple[Attachment, ...] = ()
    digest: str = ""
    """Of all of it, before anything was masked."""

    @property
    def name(self) -> str:
        """As it stands above the source."""
        return f"In [{self.number}]"

    @property
    def text(self) -> str:
        """The source and what it showed."""
        told = [f"{self.name}:", fenced(self.source, "python")]
        shown = "\n".join(self.outputs)
        return "\n".join([*told, "Output:", fenced(shown)] if shown else told)

    def truncated(self, most: int) -> CellRun:
        """With about so many characters at most; outputs are cut first."""
        spare = max(0, most - len(self.source))
        outputs = [truncate_middle(one, spare // len(self.outputs)) for one in self.outputs]
        return replace(self, source=truncate_middle(self.source, most), outputs=tuple(outputs))


def cell_run_parts(watched: Sequence[CellRun]) -> tuple[Part, ...]:
    """One text, and the pictures behind it; nothing if nothing ran."""
    if not watched:
        return ()
    pictures = (picture for one in watched for picture in one.images)
    return ("\n\n".join([HEAD, *(one.text for one in watched)]), *pictures)
