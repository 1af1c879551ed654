"""A cell's text as a prompt: the values of its expressions put in, and no secret of the kernel's with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ipycachechat.core.conversation import Content
from ipycachechat.core.masking import Mask, note


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is sent, the labels of what was masked in its values, and what is to be said of it under the answer."""

    content: Content
    masked: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing would be sent."""
        return isinstance(self.content, str) and not self.content.strip()


def prompt(text: str, names: Mapping[str, Any], mask: Mask | None, *, raw: bool = False) -> Prompt:
    """Fill in a text, if it is not to be sent `raw`. What the person typed is sent as it is, and warned about.

    Raises PromptError.
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

    return Prompt(fill(text, names, lambda value: described(value, masked)), tuple(found), notes)
