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

LIFETIME = 10.0  # seconds


class LiveBadges:
    """The badges of this kernel that are still widgets."""

    def __init__(self) -> None:
        self._live: dict[str, tuple[Any, dict[str, str]]] = {}
        self._timers: list[asyncio.TimerHandle] = []
        self._shown: set[str] = set()
        """Ids of all badges that were shown."""

    def show(self, result: TurnResult, display_id: str, *, live: bool) -> None:
        """Display a badge, or replace the one with this id; `live`: as a widget with its static form beside it."""
        from IPython.display import display, update_display

        from ipycachechat.rendering import badge

        static = {"text/html": badge.to_html(result), "text/plain": badge.to_text(result)}
        if display_id in self._shown:
            update_display(static, raw=True, display_id=display_id)
            return
        self._shown.add(display_id)
        data: dict[str, Any] = dict(static)
        if live:
            from ipywidgets import HTML

            widget = HTML(static["text/html"])
            self._live[display_id] = (widget, static)
            data |= widget._repr_mimebundle_() | static
            with suppress(RuntimeError):  # without a loop the next cell, or the end, replaces it
                self._timers.append(asyncio.get_running_loop().call_later(LIFETIME, self.freeze))
        display(data, raw=True, display_id=display_id)

    def freeze(self, *_: object) -> None:
        """Replace every live badge by its static form."""
        from IPython.display import update_display

        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        while self._live:
            display_id, (widget, static) = self._live.popitem()
            update_display(static, raw=True, display_id=display_id)
            for model in (widget, widget.layout, widget.style):  # closing the widget leaves the other two
                model.close()
