"""How a dialogue stands, for the inspector to show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipycachechat.rendering import reports
from ipycachechat.rendering.inspector import Standing

if TYPE_CHECKING:
    from ipycachechat.engine.session import Dialogue


def standing(dialogue: Dialogue) -> Standing:
    """Its turns, what was told of each, and what the kernel was billed."""
    now, kept = dialogue.history.now, dialogue.kept
    told = {id(done.turn.replies): done for done in dialogue.answered if done.turn is not None}
    return Standing(
        now.turns,
        tuple(told.get(id(turn.replies)) for turn in now.turns),
        now.stale,
        dialogue.ledger,
        dialogue.answer(),
        dialogue.engine.foretold,
        reports.kept(kept.refreshed, kept.until, kept.ended) if kept else "",
    )
