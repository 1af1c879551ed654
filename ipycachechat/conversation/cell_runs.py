"""Cells that ran in the notebook, as a prompt tells of them: in one block in front of it, and no run of one twice."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ipycachechat.text.truncate import middle_cut

if TYPE_CHECKING:
    from ipycachechat.conversation.turns import File, Part, Turn

HEAD = "Cells of the notebook that have run, each as it ran last:"


@dataclass(frozen=True, slots=True)
class Watched:
    """A cell that ran, as the model is told of it."""

    cell: str
    """Its id, or what stands for one."""
    number: int
    source: str
    outputs: tuple[str, ...] = ()
    pictures: tuple[File, ...] = ()
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

    def cut(self, most: int) -> Watched:
        """With about so many characters at most; outputs are cut first."""
        spare = max(0, most - len(self.source))
        outputs = [middle_cut(one, spare // len(self.outputs)) for one in self.outputs]
        return replace(self, source=middle_cut(self.source, most), outputs=tuple(outputs))


def parts(watched: Sequence[Watched]) -> tuple[Part, ...]:
    """One text, and the pictures behind it; nothing if nothing ran."""
    if not watched:
        return ()
    pictures = (picture for one in watched for picture in one.pictures)
    return ("\n\n".join([HEAD, *(one.text for one in watched)]), *pictures)


def news(ran: Iterable[Watched], turns: Iterable[Turn]) -> list[Watched]:
    """The runs that these turns do not tell of: a cell that gave the same as when they last told of it is none."""
    last = {one.cell: one.digest for turn in turns for one in turn.watched}
    return [one for one in ran if last.get(one.cell) != one.digest]


def together(before: Iterable[Turn], new: Iterable[Watched]) -> tuple[Watched, ...]:
    """What the turn tells that stands in for others: what they told, and each cell as it ran last."""
    found: dict[str, Watched] = {}
    for one in (*(one for turn in before for one in turn.watched), *new):
        old = found.get(one.cell)
        if old is not None and old.digest == one.digest:
            continue  # it keeps its place and its number, so that the cache knows all of it
        found.pop(one.cell, None)
        found[one.cell] = one
    return tuple(found.values())


def fenced(text: str, language: str = "") -> str:
    """In a fence that nothing in the text ends."""
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
