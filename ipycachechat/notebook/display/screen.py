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

# Finished parts share an output until they are so long: JupyterLab folds up all outputs after the 50th.
FULL, MOST = 0.06, 44  # of the answer; outputs
# What is not finished is drawn again when a tenth of a second has passed and enough of it is new: a tenth, and more
# as the answer grows, up to all of it, so that 100 kB take no more than 2 MB. What waits longest is drawn in any
# case, so that a stalled stream shows all that has come.
SOONEST, LATEST, LATEST_OF_ALL = 0.1, 0.6, 0.8  # seconds; the last for what is dear to draw
DEAR = 4_000  # characters of HTML
NEW, MORE = 0.1, 40_000  # of what is not finished; characters of the answer for all of it
LONG = 5_000  # characters of what is not finished, above which it is drawn the less often the longer it is


@dataclass(frozen=True, slots=True)
class Outputs:
    """An answer's output and its badge's, by the ids under which a front end knows them while its page is open."""

    answer: str = field(default_factory=lambda: uuid4().hex)
    badge: str = field(default_factory=lambda: uuid4().hex)


class Screen(Protocol):
    """Draws what the user sees of one prompt, in this order."""

    @property
    def outputs(self) -> Outputs | None:
        """Where it stands, if that can be redrawn later on."""

    def show_status(self, on: Waiting, seconds: float) -> None:
        """Nothing has arrived yet, or nothing since the tools have returned."""

    def on_event(self, event: AnswerEvent) -> None:
        """More of the answer has arrived, or of what leads to it."""

    def tick(self) -> None:
        """A moment has passed."""

    def before_other_output(self) -> None:
        """Something else is about to be shown, or asked."""

    def done(self, done: TurnResult) -> None:
        """It is over."""

    def close(self) -> None:
        """Leave the screen as it was found, whatever has happened."""


class NotebookScreen:
    """One output for the answer and one for the badge; while the answer grows, several for its finished parts.

    What is finished is drawn once, so that what is sent, and what the page has to do, grows with what is new. In the
    end all of it is put into one output, for which the cell is cleared; so this is only done in a cell in which
    nothing else is shown, and no longer when tools are called, since those may print.
    """

    def __init__(
        self,
        show_badge: Callable[[TurnResult, str], None],
        outputs: Outputs | None = None,
        *,
        alone: bool = False,
    ) -> None:
        """`show_badge`: displays it, or updates the one of that id. `outputs`: those of an earlier answer.

        `alone`: whether nothing else is shown in the cell.
        """
        self._show_badge = show_badge
        self.outputs: Outputs = outputs or Outputs()
        self._again = outputs is not None
        self._shown = self._again
        self._alone = alone and not self._again
        self._rest = self.outputs.answer
        """The id of the output that holds what is not finished."""
        self._answer = StreamingAnswer(anywhere=True)
        self._finished: tuple[str, Position, int] = "", Position(), 0
        """The output before it, to which finished parts are still added: its id, where it begins, characters."""
        self._outputs = 1
        self._drawn, self._cost, self._drawn_at, self._not_before = 0, 0, 0.0, 0.0

    def show_status(self, on: Waiting, seconds: float) -> None:
        told = waiting_text(on, seconds)
        bar = ""
        if isinstance(on, Progress) and on.total:
            share = (on.done or 0) / on.total
            bar = f'<progress value="{share:.3f}" style="width:12em"></progress> '
        html = (
            f'<div class="ipycachechat-waiting mathjax_ignore" style="opacity:0.7">{bar}{escape(told)}</div>'
        )
        if self._answer.segments:
            self._draw({"text/html": answer.streaming_html(self._answer.rest) + html})
        else:
            self._draw({"text/html": html, "text/plain": told})

    def on_event(self, event: AnswerEvent) -> None:
        if isinstance(event, ToolCallStarted | StreamBroken):
            self.before_other_output()
        begins = self._answer.add(event)
        ends = isinstance(event, StreamChunk) and event.last and self._answer.size > self._drawn
        if begins or ends:
            self._frame()
        else:
            self.tick()

    def tick(self) -> None:
        new, rest = self._answer.size - self._drawn, self._answer.rest_size
        now = time.monotonic()
        passed = now - self._drawn_at if now >= self._not_before else 0.0
        share = min(1.0, NEW + self._answer.size / MORE)
        dear = min(LATEST_OF_ALL, LATEST * max(1.0, self._cost / DEAR))
        latest = dear * max(1.0, rest / LONG)
        if new and passed >= SOONEST and (passed >= latest or new >= share * rest):
            self._frame()

    def before_other_output(self) -> None:
        split = self._rest != self.outputs.answer
        self._together()
        if split:  # a cell is only cleared by what comes next, which is to be ours
            self._draw({"text/html": answer.streaming_html(self._answer.rest)})

    def done(self, done: TurnResult) -> None:
        if done.turn is not None:
            self._together()
            shown = [*self._answer.discarded, *answer.segments(done.turn.replies)]
            self._draw(answer.bundle(shown, insert_hint=True))
            self._show_badge(done, self.outputs.badge)
        elif self._shown and not self._again:
            self._together()
            # What arrived stays to be read, also where none of it can go on in the conversation.
            arrived = self._answer.segments
            self._draw(answer.bundle(arrived) if arrived else {"text/html": "", "text/plain": ""})

    def close(self) -> None:
        pass

    def _frame(self) -> None:
        begun = time.monotonic()
        begins = self._answer.rest_start
        if self._alone and (finished := self._answer.take_finished()):
            self._put_by(finished, begins)
        self._drawn = self._answer.size
        html = answer.streaming_html(self._answer.rest)
        self._cost = len(html)
        self._draw({"text/html": html})
        # Where drawing takes long, as much time is left for what arrives.
        ended = time.monotonic()
        self._drawn_at, self._not_before = begun, ended + (ended - begun)

    def _put_by(self, finished: list[Segment], begins: Position) -> None:
        """Draw what is finished above the rest."""
        from IPython.display import update_display

        name, since, size = self._finished
        new = sum(len(one.text) for one in finished if not isinstance(one, CallSegment))
        if name and (size < FULL * self._answer.size or self._outputs == MOST):
            shown = {"text/html": answer.streaming_html(self._answer.finished_since(since))}
            update_display(shown, raw=True, display_id=name)
        else:  # where the rest stood, which gets a new output below
            name, since, size = self._rest, begins, 0
            self._draw({"text/html": answer.streaming_html(finished)})
            self._rest, self._shown = uuid4().hex, False
            self._outputs += 1
        self._finished = name, since, size + new

    def _together(self) -> None:
        """All in one output again, from now on."""
        from IPython.display import clear_output

        if self._rest != self.outputs.answer:
            clear_output(wait=True)
            self._answer.restart()
            self._finished = "", Position(), 0
            self.outputs, self._shown = Outputs(), False
            self._rest = self.outputs.answer
        self._alone = False

    def _draw(self, data: dict[str, Any]) -> None:
        from IPython.display import display, update_display

        if self._shown:
            update_display(data, raw=True, display_id=self._rest)
        else:
            display(data, raw=True, display_id=self._rest)
            self._shown = True


def waiting_text(on: Waiting, seconds: float) -> str:
    """The placeholder: what is sent, to whom, for how long already."""
    if isinstance(on, Progress):
        if on.total:
            return f"{on.label}: {(on.done or 0) / 1e6:.0f} of {on.total / 1e6:.0f} MB"
        return f"{on.label}…"
    if isinstance(on, RetryScheduled):
        left = max(0, math.ceil(on.seconds - seconds))
        return f"{on.reason}. Retrying in {left} s ({on.tries + 1} of {on.max_tries})"
    turns = "the first turn" if not on.turns else f"after {on.turns} turn{'s' * (on.turns > 1)}"
    share = on.expected.read / on.expected.input if on.expected and on.expected.input else 0.0
    cached = f", ≈{share:.0%} of them from the cache" if share else ""
    passed = f" · {seconds:.0f} s" if seconds >= 1 else ""
    warning = f" · {on.warning}" if on.warning else ""
    return f"≈{on.tokens:,} tokens to {on.model}, {turns}{cached}{passed}{warning}"
