"""Build the prompt: fill in values, redact secrets, fit to `context_tokens`, and add cell runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ipycachechat.caching.prefix import CHARS_PER_TOKEN
from ipycachechat.conversation.cell_runs import CellRun
from ipycachechat.conversation.messages import Content, Part
from ipycachechat.prompts.cell_context import merge_cell_runs
from ipycachechat.prompts.content import is_part_dict
from ipycachechat.prompts.describe import describe, describe_value, type_name
from ipycachechat.prompts.inputs import to_content
from ipycachechat.prompts.template import render_template
from ipycachechat.text.truncate import fair_shares, truncate_middle

if TYPE_CHECKING:
    from ipycachechat.conversation.turns import Turn
    from ipycachechat.text.redaction import Redactor

MAX_NAMED = 3
"""Values that the note about shortened values lists by name."""
MAX_SOURCE, MAX_OUTPUT, MAX_IMAGES = 6_000, 1_000, 8
"""Cell runs: characters of a source and of each output; images of all runs together, the latest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A prompt as it is sent, with the notes that are shown under its answer."""

    content: Content
    redacted: tuple[str, ...] = ()
    """Labels of the secrets that were masked in its values."""
    notes: tuple[str, ...] = ()
    values: Mapping[str, Part] = field(default_factory=dict)
    """Description of each value, by its expression."""
    cell_runs: tuple[CellRun, ...] = ()

    def merged_with(self, turns: Sequence[Turn]) -> Prompt:
        """Return the prompt that replaces these turns, with their cell runs."""
        return replace(self, cell_runs=merge_cell_runs(turns, self.cell_runs))

    @property
    def cell_context_note(self) -> tuple[str, ...]:
        """Note that cells are included and about how many tokens they take; empty if there are none."""
        if not self.cell_runs:
            return ()
        cells = f"{len(self.cell_runs)} recently run cell{'s' * (len(self.cell_runs) != 1)}"
        characters = sum(len(run.text) for run in self.cell_runs)
        images = sum(len(run.images) for run in self.cell_runs)
        more = f" and {images} image{'s' * (images != 1)}" if images else ""
        return (f"included {cells} (≈{characters // CHARS_PER_TOKEN:,} tokens{more})",)

    @property
    def empty(self) -> bool:
        """True if there is nothing to ask."""
        return isinstance(self.content, str) and not self.content.strip()


def build_prompt(
    text: str,
    names: Mapping[str, Any],
    redactor: Redactor | None,
    *,
    max_tokens: int = 0,
    raw: bool = False,
    cell_runs: Sequence[CellRun] = (),
) -> Prompt:
    """Return the prompt for a cell's text, with the values of its `{{ expressions }}` unless it is `raw`.

    The text itself is sent as the user typed it; a note warns about secrets in it.
    `most`: about how many tokens all values and cell runs together may take; 0: no limit.
    `ran`: the cell runs to include. Raises PromptError.
    """
    builder = PromptBuilder(redactor, max_tokens, cell_runs)
    content: Content = text
    if not raw and "{{" in text:
        content = render_template(text, names, lambda value: describe(value, builder.redact), builder.fit)
    return builder.build(content, text)


def prompt_from_values(
    value: Any, redactor: Redactor | None, *, max_tokens: int = 0, cell_runs: Sequence[CellRun] = ()
) -> Prompt:
    """Return the prompt for a Python value or a list of them; texts count as typed. Raises BadInput."""
    builder = PromptBuilder(redactor, max_tokens, cell_runs)
    content = to_content(value, builder.parts)
    return builder.build(content, builder.typed)


class PromptBuilder:
    """Redact the values and cell runs of one prompt and shorten them to the limit."""

    def __init__(self, redactor: Redactor | None, max_tokens: int, ran: Sequence[CellRun]) -> None:
        self._redactor, self._max_characters = redactor, max_tokens * CHARS_PER_TOKEN
        self._redacted: list[str] = []
        self._cut_note: tuple[str, ...] = ()
        self._fitted = False
        self.typed = ""
        """Texts among the values from Python, which the user wrote."""
        self._values: dict[str, Part] = {}
        self._cell_runs = [self._shortened(run) for run in _with_latest_images(ran)]

    def redact(self, text: str) -> str:
        """Return the text without its secrets, and remember their labels."""
        if self._redactor is None:
            return text
        result = self._redactor(text)
        self._redacted.extend(result.labels)
        return result.text

    def parts(self, values: Sequence[Any]) -> list[Part]:
        """Return a message part for each value from Python, fitted to the limit."""
        parts: dict[str, Part] = {}
        typed = set()
        for number, value in enumerate(values, 1):
            name = f"value {number} ({type_name(value)})"
            parts[name] = describe_value(value, self.redact)
            if isinstance(value, str) or is_part_dict(value):
                typed.add(name)
        self.typed = "\n\n".join(
            part for name in parts if name in typed and isinstance(part := parts[name], str)
        )
        return [
            *(parts | self.fit({name: part for name, part in parts.items() if name not in typed})).values()
        ]

    def fit(self, parts: Mapping[str, Part]) -> dict[str, Part]:
        """Return the descriptions of values, by expression, shortened together with the cell runs if need be."""
        self._values.update(parts)
        self._fitted = True
        sizes = self._sizes(parts)
        if not self._max_characters or sum(sizes.values()) <= self._max_characters:
            return dict(parts)
        allowed = fair_shares(sizes, self._max_characters)
        over = {name for name in sizes if allowed[name] < sizes[name]}
        self._cell_runs = [
            run.truncated(allowed[run.name]) if run.name in over else run for run in self._cell_runs
        ]
        fitted = {
            name: truncate_middle(part, allowed[name]) if name in over and isinstance(part, str) else part
            for name, part in parts.items()
        }
        new_sizes = self._sizes(fitted)  # a text that is only a little too long stays whole
        cut = sorted((name for name in over if new_sizes[name] < sizes[name]), key=lambda n: (-sizes[n], n))
        if cut:
            changes = ", ".join(
                f"{name} (≈{sizes[name] // CHARS_PER_TOKEN:,} tokens to ≈{new_sizes[name] // CHARS_PER_TOKEN:,})"
                for name in cut[:MAX_NAMED]
            )
            more = f" and {len(cut) - MAX_NAMED} more" if len(cut) > MAX_NAMED else ""
            limit = self._max_characters // CHARS_PER_TOKEN
            self._cut_note = (f"cut to the {limit:,} tokens of context_tokens: {changes}{more}",)
        return fitted

    def _sizes(self, parts: Mapping[str, Part]) -> dict[str, int]:
        sizes = {name: len(part) for name, part in parts.items() if isinstance(part, str)}
        return sizes | {run.name: len(run.text) for run in self._cell_runs}

    def _shortened(self, run: CellRun) -> CellRun:
        """Return a cell run without secrets, its source and outputs shortened."""
        outputs = tuple(truncate_middle(self.redact(output), MAX_OUTPUT) for output in run.outputs)
        return replace(run, source=truncate_middle(self.redact(run.source), MAX_SOURCE), outputs=outputs)

    def build(self, content: Content, typed: str) -> Prompt:
        """Return the prompt; `typed`: what of it the user wrote, which is not redacted but warned about."""
        if not self._fitted:  # cell runs have to fit even if there are no values
            self.fit({})
        return Prompt(
            content=content,
            redacted=tuple(self._redacted),
            notes=(*_typed_secrets_note(typed, self._redactor), *self._cut_note),
            values=self._values,
            cell_runs=tuple(self._cell_runs),
        )


def _typed_secrets_note(text: str, redactor: Redactor | None) -> tuple[str, ...]:
    """Return the warning about secrets in what the user typed."""
    if redactor is None or not (labels := redactor(text).labels):
        return ()
    from ipycachechat.text.redaction import describe_redactions  # imported late: it compiles its patterns

    secrets = describe_redactions(labels).removeprefix("masked: ")
    return (f"the prompt as you typed it holds what looks secret, and was sent so: {secrets}",)


def _with_latest_images(cell_runs: Sequence[CellRun]) -> list[CellRun]:
    """Return the runs with no more than the latest MAX_IMAGES images."""
    left, runs = MAX_IMAGES, []
    for run in reversed(cell_runs):
        images = run.images[max(0, len(run.images) - left) :]
        left -= len(images)
        runs.append(replace(run, images=images))
    return runs[::-1]
