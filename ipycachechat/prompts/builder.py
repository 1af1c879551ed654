"""Build the prompt: fill in values, redact secrets, fit to `context_tokens`, and add the cell runs that are new."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ipycachechat.caching.prefix import CHARS_PER_TOKEN
from ipycachechat.conversation.cell_runs import CellRun
from ipycachechat.conversation.messages import Content, Part
from ipycachechat.prompts.content import is_part_dict
from ipycachechat.prompts.describe import describe_value, type_name
from ipycachechat.prompts.inputs import to_content
from ipycachechat.prompts.template import render_template
from ipycachechat.text.redaction import describe_redactions
from ipycachechat.text.redaction_log import RedactionLog
from ipycachechat.text.truncate import fair_shares, truncate_middle

if TYPE_CHECKING:
    from ipycachechat.conversation.turns import Turn

MAX_NAMED = 3
"""Shortened values that the note about them lists by name."""
MAX_SOURCE, MAX_OUTPUT, MAX_IMAGES = 6_000, 1_000, 8
"""Cell runs: characters of a source and of each output; images of all runs, of which the latest are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A prompt as it is sent, and the notes that are shown under its answer."""

    content: Content
    redacted: tuple[str, ...] = ()
    """Labels of the secrets that were masked in values and cell runs."""
    notes: tuple[str, ...] = ()
    values: Mapping[str, Part] = field(default_factory=dict)
    """Description of each value before it was shortened, by its expression."""
    cell_runs: tuple[CellRun, ...] = ()

    def merged_with(self, turns: Sequence[Turn]) -> Prompt:
        """Return the prompt that replaces these turns, with their cell runs as well."""
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
        """True if it consists of blank text only."""
        return isinstance(self.content, str) and not self.content.strip()


def build_prompt(
    text: str,
    names: Mapping[str, Any],
    redact: RedactionLog,
    *,
    max_tokens: int = 0,
    raw: bool = False,
    cell_runs: Sequence[CellRun] = (),
) -> Prompt:
    """Return the prompt for a cell's text, with the values of its `{{ expressions }}` unless it is `raw`.

    The text itself is sent as the user typed it; a note warns about secrets in it.
    `max_tokens`: about how many tokens all values and cell runs together may take; 0 for no limit.
    Raises PromptError.
    """
    builder = PromptBuilder(redact, max_tokens, cell_runs)
    content: Content = text
    if not raw and "{{" in text:
        content = render_template(text, names, redact, builder.fit)
    return builder.build(content, text)


def prompt_from_values(
    value: Any, redact: RedactionLog, *, max_tokens: int = 0, cell_runs: Sequence[CellRun] = ()
) -> Prompt:
    """Return the prompt for a Python value or a list of them; texts count as typed. Raises BadInput."""
    builder = PromptBuilder(redact, max_tokens, cell_runs)
    content = to_content(value, builder.parts)
    return builder.build(content, builder.typed)


def new_cell_runs(cell_runs: Iterable[CellRun], turns: Iterable[Turn]) -> list[CellRun]:
    """Return the runs that these turns do not contain; a cell whose code and output are as last sent is not new."""
    last = {run.cell_id: run.digest for turn in turns for run in turn.cell_runs}
    return [run for run in cell_runs if last.get(run.cell_id) != run.digest]


def merge_cell_runs(replaced: Iterable[Turn], new: Iterable[CellRun]) -> tuple[CellRun, ...]:
    """Return the runs for a turn that replaces others: theirs and the new ones, each cell as it ran last."""
    latest: dict[str, CellRun] = {}
    for run in (*(run for turn in replaced for run in turn.cell_runs), *new):
        earlier = latest.get(run.cell_id)
        if earlier is not None and earlier.digest == run.digest:
            continue  # it keeps its position and its number, so that the cached prefix stays the same
        latest.pop(run.cell_id, None)
        latest[run.cell_id] = run
    return tuple(latest.values())


class PromptBuilder:
    """Redact the values and cell runs of one prompt and shorten them to the limit."""

    def __init__(self, redact: RedactionLog, max_tokens: int, cell_runs: Sequence[CellRun]) -> None:
        self._redact, self._max_characters = redact, max_tokens * CHARS_PER_TOKEN
        self._cut_note: tuple[str, ...] = ()
        self._fitted = False
        self.typed = ""
        """The texts among the values from Python, which the user wrote."""
        self._values: dict[str, Part] = {}
        self._cell_runs = [self._shortened(run) for run in _with_latest_images(cell_runs)]

    def parts(self, values: Sequence[Any]) -> list[Part]:
        """Return a message part for each value from Python, fitted to the limit."""
        parts: dict[str, Part] = {}
        typed = set()
        for number, value in enumerate(values, 1):
            name = f"value {number} ({type_name(value)})"
            parts[name] = describe_value(value, self._redact)
            if isinstance(value, str) or is_part_dict(value):
                typed.add(name)
        texts = (part for name, part in parts.items() if name in typed)
        self.typed = "\n\n".join(text for text in texts if isinstance(text, str))
        fitted = self.fit({name: part for name, part in parts.items() if name not in typed})
        return list((parts | fitted).values())

    def fit(self, parts: Mapping[str, Part]) -> dict[str, Part]:
        """Return the descriptions of values, by expression, shortened together with the cell runs if necessary."""
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
        new_sizes = self._sizes(fitted)  # a text that is slightly too long stays whole
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
        outputs = tuple(self._redact.truncate_middle(output, MAX_OUTPUT) for output in run.outputs)
        return replace(run, source=self._redact.truncate_middle(run.source, MAX_SOURCE), outputs=outputs)

    def build(self, content: Content, typed: str) -> Prompt:
        """Return the prompt; `typed` is the text that the user wrote: a note warns about secrets in it."""
        if not self._fitted:  # cell runs have to fit even if there are no values
            self.fit({})
        return Prompt(
            content=content,
            redacted=tuple(self._redact.labels),
            notes=(*self._typed_secrets_note(typed), *self._cut_note),
            values=self._values,
            cell_runs=tuple(self._cell_runs),
        )

    def _typed_secrets_note(self, text: str) -> tuple[str, ...]:
        """Return the warning about secrets in what the user typed."""
        if not (labels := self._redact.labels_in(text)):
            return ()
        secrets = describe_redactions(labels).removeprefix("masked: ")
        return (f"your prompt seems to contain secrets, which were sent as typed: {secrets}",)


def _with_latest_images(cell_runs: Sequence[CellRun]) -> list[CellRun]:
    """Return the runs with only the latest MAX_IMAGES of their images."""
    left, runs = MAX_IMAGES, []
    for run in reversed(cell_runs):
        images = run.images[max(0, len(run.images) - left) :]
        left -= len(images)
        runs.append(replace(run, images=images))
    return runs[::-1]
