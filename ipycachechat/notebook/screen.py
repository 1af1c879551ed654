"""Where an answer appears: in a notebook's output, or as text in a terminal."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from html import escape
from typing import Any, Protocol
from uuid import uuid4

from ipycachechat.core.events import Done, Progress, Sending
from ipycachechat.notebook import badge, markdown

# Drawn again when a tenth of a second has passed and enough is new, so that a long answer is not sent over
# and over: what is sent in all stays below 1 / NEW times the answer. What waits longest is drawn in any case.
SOONEST, LATEST = 0.1, 1.0  # seconds
NEW = 0.03  # of the text


class Screen(Protocol):
    """What the person sees of one prompt, in this order."""

    def waiting(self, on: Sending | Progress, seconds: float) -> None:
        """Nothing has arrived yet."""

    def text(self, piece: str) -> None:
        """More of the answer has arrived."""

    def tick(self) -> None:
        """A moment has passed."""

    def done(self, done: Done) -> None:
        """It is over."""


class NotebookScreen:
    """One output for the answer, redrawn in place, and one for the badge."""

    def __init__(self, show_badge: Callable[[Done], None]) -> None:
        self._show_badge = show_badge
        self._id = uuid4().hex
        self._shown = False
        self._text = ""
        self._drawn, self._drawn_at = 0, 0.0

    def waiting(self, on: Sending | Progress, seconds: float) -> None:
        told = waiting_text(on, seconds)
        bar = ""
        if isinstance(on, Progress) and on.total:
            share = (on.done or 0) / on.total
            bar = f'<progress value="{share:.3f}" style="width:12em"></progress> '
        html = (
            f'<div class="ipycachechat-waiting mathjax_ignore" style="opacity:0.7">{bar}{escape(told)}</div>'
        )
        self._draw({"text/html": html, "text/plain": told})

    def text(self, piece: str) -> None:
        first = not self._text
        self._text += piece
        if first and self._text.strip():
            self._frame()
        else:
            self.tick()

    def tick(self) -> None:
        new = len(self._text) - self._drawn
        passed = time.monotonic() - self._drawn_at
        if new and passed >= (SOONEST if new >= NEW * len(self._text) else LATEST):
            self._frame()

    def done(self, done: Done) -> None:
        if done.turn is not None:
            self._draw(markdown.bundle(done.turn.answer))
            self._show_badge(done)
        elif self._shown:
            self._draw({"text/html": "", "text/plain": ""})

    def _frame(self) -> None:
        self._drawn, self._drawn_at = len(self._text), time.monotonic()
        self._draw({"text/html": markdown.to_html(self._text, style=False)})

    def _draw(self, data: dict[str, Any]) -> None:
        from IPython.display import display, update_display

        if self._shown:
            update_display(data, raw=True, display_id=self._id)
        else:
            self._shown = True
            display(data, raw=True, display_id=self._id)


class TerminalScreen:
    """The answer as plain text, as it comes, and the badge as a line."""

    def __init__(self) -> None:
        self._told = ""
        self._text = ""
        self._printed = 0

    def waiting(self, on: Sending | Progress, seconds: float) -> None:
        told = on.what if isinstance(on, Progress) else ""
        if told and told != self._told:
            self._told = told
            print(f"[{told}…]", flush=True)  # noqa: T201

    def text(self, piece: str) -> None:
        self._text += piece
        # A control sequence may be cut in two by the stream: what may be the beginning of one waits.
        whole = re.sub(r"(\r|[\x1b\x90-\x9f][^\n]{0,80})\Z", "", self._text)
        self._print(markdown.clean(whole))

    def tick(self) -> None:
        pass

    def done(self, done: Done) -> None:
        self._print(markdown.clean(self._text))
        if self._printed:
            self._write("\n")
        if done.turn is not None:
            self._write(f"[{badge.to_text(done)}]\n")

    def _print(self, clean: str) -> None:
        self._write(clean[self._printed :])
        self._printed = max(self._printed, len(clean))

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def waiting_text(on: Sending | Progress, seconds: float) -> str:
    """The placeholder: what is sent, to whom, for how long already."""
    if isinstance(on, Progress):
        if on.total:
            return f"{on.what}: {(on.done or 0) / 1e6:.0f} of {on.total / 1e6:.0f} MB"
        return f"{on.what}…"
    turns = "the first turn" if not on.turns else f"after {on.turns} turn{'s' * (on.turns > 1)}"
    share = on.expected.read / on.expected.input if on.expected and on.expected.input else 0.0
    cached = f", ≈{share:.0%} of them from the cache" if share else ""
    passed = f" · {seconds:.0f} s" if seconds >= 1 else ""
    warning = f" · {on.warning}" if on.warning else ""
    return f"≈{on.tokens:,} tokens to {on.model}, {turns}{cached}{passed}{warning}"
