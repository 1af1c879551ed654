"""CellRun: a notebook cell that ran, as it is sent in front of a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ipycachechat.text.format import code_fence
from ipycachechat.text.truncate import truncate_middle

if TYPE_CHECKING:
    from ipycachechat.conversation.messages import Attachment, Part

HEADING = "Cells of the notebook that have run, each as it ran last:"


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRun:
    """A cell that ran: its source, and what it printed and displayed."""

    cell_id: str
    """The front end's id of the cell, or a substitute."""
    number: int
    """Execution count."""
    source: str
    outputs: tuple[str, ...] = ()
    images: tuple[Attachment, ...] = ()
    digest: str = ""
    """Digest of source, outputs and images before redaction."""

    @property
    def name(self) -> str:
        """Heading above the source, such as "In [3]"."""
        return f"In [{self.number}]"

    @property
    def text(self) -> str:
        """The source and the outputs, in code fences."""
        lines = [f"{self.name}:", code_fence(self.source, "python")]
        output = "\n".join(self.outputs)
        return "\n".join([*lines, "Output:", code_fence(output)] if output else lines)

    def truncated(self, max_characters: int) -> CellRun:
        """Return the run shortened to about `max_characters`; outputs are cut first."""
        spare = max(0, max_characters - len(self.source))
        outputs = tuple(truncate_middle(output, spare // len(self.outputs)) for output in self.outputs)
        return replace(self, source=truncate_middle(self.source, max_characters), outputs=outputs)


def cell_run_parts(cell_runs: Sequence[CellRun]) -> tuple[Part, ...]:
    """Return one text about all runs, followed by their images; nothing if there are no runs."""
    if not cell_runs:
        return ()
    images = (image for run in cell_runs for image in run.images)
    return ("\n\n".join([HEADING, *(run.text for run in cell_runs)]), *images)
