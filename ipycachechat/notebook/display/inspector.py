"""The inspector below a cell: static HTML, redrawn through its display id after every cell that changes it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from ipycachechat.rendering import inspector, reports
from ipycachechat.rendering.inspector import UsageSnapshot

if TYPE_CHECKING:
    from ipycachechat.engine.session import ChatSession


class Inspector:
    """The newest inspector of this kernel; earlier ones are not redrawn."""

    def __init__(self, session: ChatSession) -> None:
        self._session = session
        self._display_id = ""
        """Id of the display to redraw; "": none."""
        self._shown: UsageSnapshot | None = None

    def show(self, *, live: bool) -> None:
        """Display it below the running cell; `live`: redraw it after later cells."""
        from IPython.display import display

        self._shown = usage_snapshot(self._session)
        self._display_id = uuid.uuid4().hex if live else ""
        options = {"display_id": self._display_id} if live else {}
        display(self._bundle(self._shown), raw=True, **options)

    def redraw(self, *_: object) -> None:
        """Redraw it if anything has changed since it was shown."""
        if self._display_id and (snapshot := usage_snapshot(self._session)) != self._shown:
            from IPython.display import update_display

            self._shown = snapshot
            update_display(self._bundle(snapshot), raw=True, display_id=self._display_id)

    def _bundle(self, snapshot: UsageSnapshot) -> dict[str, Any]:
        html = inspector.to_html(snapshot, self._session.client.clock())
        return {"text/html": html, "text/plain": snapshot.text}


def usage_snapshot(session: ChatSession) -> UsageSnapshot:
    """Return the session's turns with their results, and what the kernel was billed."""
    conversation, keepalive = session.history.current, session.keepalive
    results = {id(result.turn.replies): result for result in session.results if result.turn is not None}
    return UsageSnapshot(
        conversation.turns,
        tuple(results.get(id(turn.replies)) for turn in conversation.turns),
        conversation.stale,
        session.client.ledger,
        session.answer(),
        session.client.prediction_totals,
        reports.keepalive_status(keepalive.refreshed, keepalive.until, keepalive.ended) if keepalive else "",
    )
