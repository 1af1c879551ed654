"""What a person asks, as a prompt: with values put in, with the cells that ran, and no secret of the kernel's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ipycachechat.caching.prefix import CHARS_PER_TOKEN
from ipycachechat.conversation.cell_runs import CellRun
from ipycachechat.conversation.messages import Content, Part
from ipycachechat.prompts.cell_context import merge_cell_runs
from ipycachechat.text.truncate import fair_shares, truncate_middle

if TYPE_CHECKING:
    from ipycachechat.conversation.turns import Turn
    from ipycachechat.text.redaction import Redactor

NAMED = 3
"""Values that were cut, by name."""
SOURCE, OUTPUT, PICTURES = 6_000, 1_000, 8
"""Of a cell that ran: letters of its source, and of each output; pictures of them all, the last."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is sent, the labels of what was masked in its values, and what is to be said of it under the answer."""

    content: Content
    redacted: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    values: Mapping[str, Part] = field(default_factory=dict)
    """What is told of each value, by its expression."""
    cell_runs: tuple[CellRun, ...] = ()
    """What is told of cells that ran."""

    def merged_with(self, turns: Sequence[Turn]) -> Prompt:
        """In the place of these turns, of whose cells it tells, too."""
        return replace(self, cell_runs=merge_cell_runs(turns, self.cell_runs))

    @property
    def cell_context_note(self) -> tuple[str, ...]:
        """That cells go along, and about how much that is; nothing if none do."""
        if not self.cell_runs:
            return ()
        cells = f"{len(self.cell_runs)} cell{'s' * (len(self.cell_runs) != 1)}"
        letters = sum(len(one.text) for one in self.cell_runs)
        pictures = sum(len(one.images) for one in self.cell_runs)
        more = f" and {pictures} picture{'s' * (pictures != 1)}" if pictures else ""
        return (f"{cells} that ran went along (≈{letters // CHARS_PER_TOKEN:,} tokens{more})",)

    @property
    def empty(self) -> bool:
        """Whether nothing would be asked."""
        return isinstance(self.content, str) and not self.content.strip()


def build_prompt(
    text: str,
    names: Mapping[str, Any],
    mask: Redactor | None,
    *,
    most: int = 0,
    raw: bool = False,
    ran: Sequence[CellRun] = (),
) -> Prompt:
    """Fill in a text, if it is not to be sent `raw`. What the person typed is sent as it is, and warned about.

    `most`: tokens, about, that all values together, and the cells that `ran`, may take; 0: as many as they do.
    Raises PromptError.
    """
    making = PromptBuilder(mask, most, ran)
    content: Content = text
    if not raw and "{{" in text:
        from ipycachechat.prompts.describe import describe
        from ipycachechat.prompts.template import render_template

        content = render_template(text, names, lambda value: describe(value, making.masked), making.fitted)
    return making.prompt(content, _typed(text, mask))


def prompt_from_values(
    value: Any, mask: Redactor | None, *, most: int = 0, ran: Sequence[CellRun] = ()
) -> Prompt:
    """The same of what was given in Python: a value, or a list of them; texts count as typed. Raises BadInput."""
    from ipycachechat.prompts.inputs import to_content

    making = PromptBuilder(mask, most, ran)
    content = to_content(value, making.told)
    return making.prompt(content, _typed(making.typed, mask))


def _typed(text: str, mask: Redactor | None) -> tuple[str, ...]:
    """The warning about secrets in what the person typed."""
    if mask is None or not (typed := mask(text).found):
        return ()
    from ipycachechat.text.redaction import describe_redactions  # whose patterns take a moment to make

    told = describe_redactions(typed).removeprefix("masked: ")
    return (f"the prompt as you typed it holds what looks secret, and was sent so: {told}",)


class PromptBuilder:
    """What becomes of values and cells on their way into a prompt: nothing secret, and no more than may be."""

    def __init__(self, mask: Redactor | None, most: int, ran: Sequence[CellRun]) -> None:
        self._mask, self._most = mask, most * CHARS_PER_TOKEN
        self._found: list[str] = []
        self._cut: tuple[str, ...] = ()
        self._fits = False
        self.typed = ""
        """What among values from Python is a text of the person's."""
        self._values: dict[str, Part] = {}
        self._ran = [self._told(one) for one in _pictured(ran)]

    def masked(self, told: str) -> str:
        """A text without what is secret in it."""
        made = self._mask(told) if self._mask is not None else None
        self._found.extend(made.found if made else ())
        return made.text if made else told

    def told(self, values: Sequence[Any]) -> list[Part]:
        """What is told of values that were given in Python."""
        from ipycachechat.prompts.content import is_written
        from ipycachechat.prompts.describe import describe_value

        made = {_named(one, n): describe_value(one, self.masked) for n, one in enumerate(values, 1)}
        pairs = zip(made.items(), values, strict=True)
        typed = {name: part for (name, part), one in pairs if isinstance(one, str) or is_written(one)}
        self.typed = "\n\n".join(part for part in typed.values() if isinstance(part, str))
        made |= self.fitted({name: part for name, part in made.items() if name not in typed})
        return [*made.values()]

    def fitted(self, told: Mapping[str, Part]) -> dict[str, Part]:
        """What is told of values, by their expressions, made shorter if need be; and the cells with it."""
        self._values.update(told)
        self._fits = True
        sizes = {source: len(part) for source, part in told.items() if isinstance(part, str)}
        sizes |= {one.name: len(one.text) for one in self._ran}
        if not self._most or sum(sizes.values()) <= self._most:
            return dict(told)
        allowed = fair_shares(sizes, self._most)
        over = {one for one in sizes if allowed[one] < sizes[one]}
        self._ran = [one.truncated(allowed[one.name]) if one.name in over else one for one in self._ran]
        made = {
            source: truncate_middle(part, allowed[source])
            if source in over and isinstance(part, str)
            else part
            for source, part in told.items()
        }
        # What is a little too long is left whole.
        now = {source: len(part) for source, part in made.items() if isinstance(part, str)}
        now |= {one.name: len(one.text) for one in self._ran}
        cut = sorted((one for one in over if now[one] < sizes[one]), key=lambda one: (-sizes[one], one))
        self._cut = (_cut(cut, sizes, now, self._most // CHARS_PER_TOKEN),) if cut else ()
        return made

    def _told(self, one: CellRun) -> CellRun:
        """A cell that ran without what is secret in it, its outputs shortened."""
        outputs = [truncate_middle(self.masked(output), OUTPUT) for output in one.outputs]
        return replace(one, source=truncate_middle(self.masked(one.source), SOURCE), outputs=tuple(outputs))

    def prompt(self, content: Content, notes: tuple[str, ...]) -> Prompt:
        """The whole of it."""
        if not self._fits:  # where there are no values, cells have to all the same
            self.fitted({})
        return Prompt(content, tuple(self._found), (*notes, *self._cut), self._values, tuple(self._ran))


def _pictured(ran: Sequence[CellRun]) -> list[CellRun]:
    """With the last pictures alone."""
    left, found = PICTURES, []
    for one in reversed(ran):
        kept = one.images[max(0, len(one.images) - left) :]
        left -= len(kept)
        found.append(replace(one, images=kept))
    return found[::-1]


def _named(value: Any, number: int) -> str:
    from ipycachechat.prompts.describe import type_name

    return f"value {number} ({type_name(value)})"


def _cut(cut: Sequence[str], sizes: Mapping[str, int], now: Mapping[str, int], most: int) -> str:
    """What was cut, and to what."""
    told = [
        f"{source} (≈{sizes[source] // CHARS_PER_TOKEN:,} tokens to ≈{now[source] // CHARS_PER_TOKEN:,})"
        for source in cut[:NAMED]
    ]
    more = f" and {len(cut) - NAMED} more" if len(cut) > NAMED else ""
    return f"cut to the {most:,} tokens of context_tokens: {', '.join(told)}{more}"
