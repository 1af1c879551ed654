"""Draw a streaming answer in a notebook's output; terminal.py draws it as text."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from typing import Any, Protocol
from uuid import uuid4

from ipycachechat.conversation.events import (
    Progress,
    RetryScheduled,
    StreamBroken,
    StreamChunk,
    ToolCallStarted,
)
from ipycachechat.engine.events import TurnResult, Waiting
from ipycachechat.rendering import answer
from ipycachechat.rendering.answer import CallSegment, Segment
from ipycachechat.rendering.streaming_answer import AnswerEvent, Position, StreamingAnswer

# Finished parts share an output until it holds this share of the answer, and there are at most so many outputs:
# JupyterLab collapses all outputs after the 50th.
FULL_OUTPUT, MAX_OUTPUTS = 0.06, 44
# The unfinished part is drawn again after at least a tenth of a second, as soon as a large enough share of it is new:
# a tenth in a short answer, up to all of it in a long one, so that an answer of 100 kB sends no more than 2 MB. It is
# drawn after the longest interval in any case, so that a stalled stream shows all that has arrived.
MIN_INTERVAL, MAX_INTERVAL = 0.1, 0.6
MAX_INTERVAL_SLOW = 0.8
"""Seconds, as those above; for HTML that is slow to draw."""
SLOW_HTML = 4_000
"""Characters of such HTML."""
NEW_SHARE, ALL_NEW = 0.1, 40_000
"""Share of the unfinished part that must be new, and characters of an answer at which all of it must be."""
LONG_REST = 5_000
"""Characters of the unfinished part; above it the longest interval grows in proportion."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """Display ids of an answer and of its badge, which a front end knows while the page is open."""

    answer: str = field(default_factory=lambda: uuid4().hex)
    badge: str = field(default_factory=lambda: uuid4().hex)


class Screen(Protocol):
    """Draws what the user sees of one prompt. The methods are called in this order."""

    @property
    def outputs(self) -> Outputs | None:
        """Ids of the outputs, if they can be redrawn later."""

    def show_status(self, waiting: Waiting, seconds: float) -> None:
        """Show what is being waited for, before anything has arrived or after a tool has returned."""

    def on_event(self, event: AnswerEvent) -> None:
        """Add more of the answer, or a tool call."""

    def tick(self) -> None:
        """Redraw if it is time to; called every moment."""

    def before_other_output(self) -> None:
        """Prepare for other output below, such as a question to the user."""

    def finish(self, result: TurnResult) -> None:
        """Draw the finished answer."""

    def close(self) -> None:
        """Leave the screen as it was found, whatever has happened."""


class NotebookScreen:
    """One output for the answer and one for the badge; while the answer grows, several for its finished parts.

    A finished part is drawn once, so that the amount sent, and the page's work, grow with the new text only. At the
    end all parts are put into one output, for which the cell is cleared; so the answer is only split in a cell that
    displays nothing else, and no longer once tools are called, since those may print.
    """

    def __init__(
        self,
        show_badge: Callable[[TurnResult, str], None],
        outputs: Outputs | None = None,
        *,
        alone: bool = False,
    ) -> None:
        """`show_badge`: displays a badge under an id, or updates it. `outputs`: those of an earlier answer to redraw.

        `alone`: True if the cell displays nothing else.
        """
        self._show_badge = show_badge
        self.outputs: Outputs = outputs or Outputs()
        self._redraws = outputs is not None
        self._displayed = self._redraws
        """True if the output of the unfinished part exists."""
        self._alone = alone and not self._redraws
        self._rest_id = self.outputs.answer
        """Id of the output that holds the unfinished part."""
        self._answer = StreamingAnswer(anywhere=True)
        self._last_finished: tuple[str, Position, int] = "", Position(), 0
        """The output that finished parts are still added to: its id, where it begins, characters."""
        self._output_count = 1
        self._drawn_size, self._html_size, self._drawn_at, self._not_before = 0, 0, 0.0, 0.0

    def show_status(self, waiting: Waiting, seconds: float) -> None:
        text = waiting_text(waiting, seconds)
        bar = ""
        if isinstance(waiting, Progress) and waiting.total:
            share = (waiting.done or 0) / waiting.total
            bar = f'<progress value="{share:.3f}" style="width:12em"></progress> '
        style = 'class="ipycachechat-waiting mathjax_ignore" style="opacity:0.7"'
        html = f"<div {style}>{bar}{escape(text)}</div>"
        if self._answer.segments:
            self._draw({"text/html": answer.streaming_html(self._answer.rest) + html})
        else:
            self._draw({"text/html": html, "text/plain": text})

    def on_event(self, event: AnswerEvent) -> None:
        if isinstance(event, ToolCallStarted | StreamBroken):
            self.before_other_output()
        starts_segment = self._answer.add(event)
        ends = isinstance(event, StreamChunk) and event.last and self._answer.size > self._drawn_size
        if starts_segment or ends:
            self._draw_frame()
        else:
            self.tick()

    def tick(self) -> None:
        new, rest = self._answer.size - self._drawn_size, self._answer.rest_size
        now = time.monotonic()
        passed = now - self._drawn_at if now >= self._not_before else 0.0
        share = min(1.0, NEW_SHARE + self._answer.size / ALL_NEW)
        interval = min(MAX_INTERVAL_SLOW, MAX_INTERVAL * max(1.0, self._html_size / SLOW_HTML))
        interval *= max(1.0, rest / LONG_REST)
        if new and passed >= MIN_INTERVAL and (passed >= interval or new >= share * rest):
            self._draw_frame()

    def before_other_output(self) -> None:
        split = self._rest_id != self.outputs.answer
        self._join_outputs()
        if split:  # the cell is cleared when the next output comes, which must be ours
            self._draw({"text/html": answer.streaming_html(self._answer.rest)})

    def finish(self, result: TurnResult) -> None:
        if result.turn is not None:
            self._join_outputs()
            segments = [*self._answer.discarded, *answer.segments(result.turn.replies)]
            self._draw(answer.bundle(segments, insert_hint=True))
            self._show_badge(result, self.outputs.badge)
        elif self._displayed and not self._redraws:
            self._join_outputs()
            # What arrived stays readable, even if none of it can be part of the conversation.
            segments = self._answer.segments
            self._draw(answer.bundle(segments) if segments else {"text/html": "", "text/plain": ""})

    def close(self) -> None:
        pass

    def _draw_frame(self) -> None:
        started = time.monotonic()
        position = self._answer.rest_start
        if self._alone and (finished := self._answer.take_finished()):
            self._draw_finished(finished, position)
        self._drawn_size = self._answer.size
        html = answer.streaming_html(self._answer.rest)
        self._html_size = len(html)
        self._draw({"text/html": html})
        # If drawing is slow, leave as much time again for receiving.
        ended = time.monotonic()
        self._drawn_at, self._not_before = started, ended + (ended - started)

    def _draw_finished(self, finished: list[Segment], position: Position) -> None:
        """Draw a finished part, which begins at this position, above the rest."""
        from IPython.display import update_display

        name, start, size = self._last_finished
        new = sum(len(segment.text) for segment in finished if not isinstance(segment, CallSegment))
        if name and (size < FULL_OUTPUT * self._answer.size or self._output_count == MAX_OUTPUTS):
            html = answer.streaming_html(self._answer.finished_since(start))
            update_display({"text/html": html}, raw=True, display_id=name)
        else:  # in the output of the rest, which gets a new one below
            name, start, size = self._rest_id, position, 0
            self._draw({"text/html": answer.streaming_html(finished)})
            self._rest_id, self._displayed = uuid4().hex, False
            self._output_count += 1
        self._last_finished = name, start, size + new

    def _join_outputs(self) -> None:
        """Draw all parts in one output from now on."""
        from IPython.display import clear_output

        if self._rest_id != self.outputs.answer:
            clear_output(wait=True)
            self._answer.restart()
            self._last_finished = "", Position(), 0
            self.outputs, self._displayed = Outputs(), False
            self._rest_id = self.outputs.answer
        self._alone = False

    def _draw(self, data: dict[str, Any]) -> None:
        from IPython.display import display, update_display

        if self._displayed:
            update_display(data, raw=True, display_id=self._rest_id)
        else:
            display(data, raw=True, display_id=self._rest_id)
            self._displayed = True


def waiting_text(waiting: Waiting, seconds: float) -> str:
    """Return the placeholder line: what is sent to which model, and for how many seconds."""
    if isinstance(waiting, Progress):
        if waiting.total:
            return f"{waiting.label}: {(waiting.done or 0) / 1e6:.0f} of {waiting.total / 1e6:.0f} MB"
        return f"{waiting.label}…"
    if isinstance(waiting, RetryScheduled):
        left = max(0, math.ceil(waiting.seconds - seconds))
        return f"{waiting.reason}. Retrying in {left} s ({waiting.tries + 1} of {waiting.max_tries})"
    expected = waiting.expected
    share = expected.read / expected.input if expected and expected.input else 0.0
    cached = f", ≈{share:.0%} from the cache" if share else ""
    passed = f" · {seconds:.0f} s" if seconds >= 1 else ""
    warning = f" · {waiting.warning}" if waiting.warning else ""
    turn = f"turn {waiting.turns + 1}, ≈{waiting.tokens:,} tokens"
    return f"Waiting for {waiting.model}: {turn}{cached}{passed}{warning}"
