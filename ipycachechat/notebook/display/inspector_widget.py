"""The inspector while it lives: first a widget, in which a turn is picked, then static HTML that every chat redraws.

A widget that is saved shows "model not found" without its kernel, whatever else its output holds, and a notebook is
saved and closed at any moment. So the widget is there only where somebody is about to use it: it is replaced by the
static inspector, in which each turn unfolds by itself, with the pick open, once the next cell starts, a minute after
the last pick, and when the kernel ends or the extension goes. From then on the output is HTML, still the newest state
after every chat. What can be left behind is a notebook that was saved in that minute and never again, since the page
was closed or the kernel killed (-9); and a page that was loaded anew in it, which no longer knows the output.

Of several inspectors the newest is redrawn; an earlier one stays as it is.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ipycachechat.notebook.display.live_badges import closed
from ipycachechat.rendering import reports
from ipycachechat.rendering.inspector import UsageSnapshot

if TYPE_CHECKING:
    from ipycachechat.engine.session import ChatSession

ALIVE = 60.0  # seconds after the last pick


class Inspector:
    """The newest inspector of this kernel."""

    def __init__(self, look: Callable[[], UsageSnapshot], clock: Callable[[], float] = time.time) -> None:
        self._look = look
        self._clock = clock
        self._name = ""
        """Of its display; empty where nothing is to be redrawn."""
        self._shown: UsageSnapshot | None = None
        self._picked = 0
        self._widgets: list[Any] = []
        self._timer: asyncio.TimerHandle | None = None

    def show(self, *, live: bool) -> None:
        """Display it: as a widget, or, where nobody is there to pick and to see it change, as static HTML for good."""
        from IPython.display import display

        self.freeze()
        self._shown, self._picked = self._look(), 0
        self._name = uuid.uuid4().hex if live else ""
        data = self._static(self._shown)
        if not live:
            display(data, raw=True)
            return
        if self._shown.turns:
            box = self._widget(self._shown)
            data = box._repr_mimebundle_() | data
            self._wait()
        display(data, raw=True, display_id=self._name)

    def redraw(self, *_: object) -> None:
        """Show what has changed since it was shown."""
        if self._name and (now := self._look()) != self._shown:
            self._shown = now
            self._replace()

    def freeze(self, *_: object) -> None:
        """Replace the widget, if it is one, by static HTML."""
        if self._widgets:
            self._replace()

    def _replace(self) -> None:
        from IPython.display import update_display

        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._shown is not None:
            update_display(self._static(self._shown), raw=True, display_id=self._name)
        while self._widgets:
            closed(self._widgets.pop())

    def _static(self, standing: UsageSnapshot) -> dict[str, Any]:
        from ipycachechat.rendering import inspector

        html = inspector.to_html(standing, self._clock(), self._picked)
        return {"text/html": html, "text/plain": standing.text}

    def _widget(self, standing: UsageSnapshot) -> Any:
        from ipywidgets import HTML, BoundedIntText, Layout, VBox

        from ipycachechat.rendering import html as grid
        from ipycachechat.rendering import inspector

        turns = inspector.pickable(standing)
        self._picked = turns[-1]
        body = HTML(grid.panel("inspector", inspector.body(standing, self._clock())))
        picked = HTML(self._inside(standing))
        # A field of numbers, since JupyterLab keeps the arrow keys of a list, and letters, for its cells.
        picker = BoundedIntText(
            value=self._picked, min=turns[0], max=turns[-1], description="Turn", layout=Layout(width="11em")
        )

        def pick(change: dict[str, Any]) -> None:
            self._picked = change["new"]
            picked.value = self._inside(standing)
            self._wait()

        picker.observe(pick, "value")
        box = VBox([body, picker, picked])
        self._widgets = [box, body, picker, picked]
        return box

    def _inside(self, standing: UsageSnapshot) -> str:
        from ipycachechat.rendering import html as grid
        from ipycachechat.rendering import inspector

        title = grid.title(inspector.name(standing, self._picked))
        return grid.panel("turn", title, inspector.inside(standing, self._picked))

    def _wait(self) -> None:
        """Begin the minute anew."""
        if self._timer is not None:
            self._timer.cancel()
        with suppress(RuntimeError):  # no loop: the next cell or the end will do
            self._timer = asyncio.get_running_loop().call_later(ALIVE, self.freeze)


def standing(dialogue: ChatSession) -> UsageSnapshot:
    """Its turns, what was told of each, and what the kernel was billed."""
    now, kept = dialogue.history.current, dialogue.keepalive
    told = {id(done.turn.replies): done for done in dialogue.results if done.turn is not None}
    return UsageSnapshot(
        now.turns,
        tuple(told.get(id(turn.replies)) for turn in now.turns),
        now.stale,
        dialogue.ledger,
        dialogue.answer(),
        dialogue.client.prediction_totals,
        reports.keepalive_status(kept.refreshed, kept.until, kept.ended) if kept else "",
    )
