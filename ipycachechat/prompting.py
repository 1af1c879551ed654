"""A cell's text as a prompt: the values of its expressions put in, and no secret of the kernel's with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ipycachechat.core.budget import shares
from ipycachechat.core.conversation import Content, Part
from ipycachechat.core.masking import Mask, note
from ipycachechat.core.prefix import CHARACTERS_A_TOKEN
from ipycachechat.core.shorten import middle_cut

NAMED = 3
"""Values that were cut, by name."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is sent, the labels of what was masked in its values, and what is to be said of it under the answer."""

    content: Content
    masked: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    values: Mapping[str, Part] = field(default_factory=dict)
    """What is told of each value, by its expression."""

    @property
    def empty(self) -> bool:
        """Whether nothing would be sent."""
        return isinstance(self.content, str) and not self.content.strip()


def prompt(
    text: str, names: Mapping[str, Any], mask: Mask | None, *, most: int = 0, raw: bool = False
) -> Prompt:
    """Fill in a text, if it is not to be sent `raw`. What the person typed is sent as it is, and warned about.

    `most`: tokens, about, that all values together may take; 0: as many as they do. Raises PromptError.
    """
    notes: tuple[str, ...] = ()
    if mask is not None and (typed := mask(text).found):
        told = note(typed).removeprefix("masked: ")
        notes = (f"the prompt as you typed it holds what looks secret, and was sent so: {told}",)
    if raw or "{{" not in text:
        return Prompt(text, notes=notes)
    from ipycachechat.model.described import described
    from ipycachechat.notebook.prompt import fill

    found: list[str] = []

    def masked(told: str) -> str:
        made = mask(told) if mask is not None else None
        found.extend(made.found if made else ())
        return made.text if made else told

    def fitted(told: Mapping[str, Part]) -> dict[str, Part]:
        nonlocal notes
        sizes = {source: len(part) for source, part in told.items() if isinstance(part, str)}
        allowed = shares(sizes, most * CHARACTERS_A_TOKEN) if most else sizes
        cut = sorted((one for one in sizes if allowed[one] < sizes[one]), key=sizes.__getitem__, reverse=True)
        if cut:
            notes = (*notes, _cut(cut, sizes, allowed, most))
        values.update(told)
        return {
            source: middle_cut(part, allowed[source]) if source in cut and isinstance(part, str) else part
            for source, part in told.items()
        }

    values: dict[str, Part] = {}
    content = fill(text, names, lambda value: described(value, masked), fitted)
    return Prompt(content, tuple(found), notes, values)


def _cut(cut: Sequence[str], sizes: Mapping[str, int], allowed: Mapping[str, int], most: int) -> str:
    """What was cut, and to what."""
    told = [
        f"{source} (≈{sizes[source] // CHARACTERS_A_TOKEN:,} tokens to ≈{allowed[source] // CHARACTERS_A_TOKEN:,})"
        for source in cut[:NAMED]
    ]
    more = f" and {len(cut) - NAMED} more" if len(cut) > NAMED else ""
    return f"cut to the {most:,} tokens of context_tokens: {', '.join(told)}{more}"
