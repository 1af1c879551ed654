"""Badges as live widgets, replaced by static HTML after a while.

A saved widget shows "model not found" without its kernel, so each is replaced after some seconds, when the
next cell runs, or when the kernel ends, whichever comes first.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ipycachechat.engine.events import TurnResult

ALIVE = 10.0  # seconds


class LiveBadges:
    """The badges of this kernel that are still widgets."""

    def __init__(self) -> None:
        self._alive: dict[str, tuple[Any, dict[str, str]]] = {}
        self._timers: list[asyncio.TimerHandle] = []
        self._names: set[str] = set()
        """The ids of all badges that were ever shown."""

    def show(self, done: TurnResult, name: str, *, live: bool) -> None:
        """Display a badge under an id: a widget with its static form beside it, or only that where nobody is there.

        One that stands under this id already is replaced, in its own place.
        """
        from IPython.display import display, update_display

        from ipycachechat.rendering import badge

        static = {"text/html": badge.to_html(done), "text/plain": badge.to_text(done)}
        if name in self._names:
            update_display(static, raw=True, display_id=name)
            return
        self._names.add(name)
        data: dict[str, Any] = dict(static)
        if live:
            from ipywidgets import HTML

            widget = HTML(static["text/html"])
            self._alive[name] = (widget, static)
            data |= widget._repr_mimebundle_() | static
            with suppress(RuntimeError):  # no loop: the next cell or the end will do
                self._timers.append(asyncio.get_running_loop().call_later(ALIVE, self.freeze))
        display(data, raw=True, display_id=name)

    def freeze(self, *_: object) -> None:
        """Replace every live badge by its static form."""
        from IPython.display import update_display

        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        while self._alive:
            name, (widget, static) = self._alive.popitem()
            update_display(static, raw=True, display_id=name)
            for one in (widget, widget.layout, widget.style):  # widgets of their own that would stay
                one.close()
