"""Why less was read than could have been: the cause that the evidence shows, and the tokens that it cost."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ipycachechat.core.cache import TOLERANCE, CacheState, Outcome
from ipycachechat.core.prefix import Chain
from ipycachechat.core.rules import Rules


class Cause(Enum):
    """What kept a prefix from being read."""

    FIRST = "first request"
    SHORT = "below the minimum"
    EXPIRED = "expired"
    EDITED = "turn edited"
    REMOVED = "turn removed"
    INSERTED = "turn inserted"
    SYSTEM = "system prompt changed"
    TOOLS = "tools changed"
    SETTINGS = "thinking, effort or tool choice changed"
    MODEL = "model changed"
    DROPPED = "dropped by the provider"
    SILENT = "not reported"


ADVICE = {
    Cause.FIRST: "Nothing to do: from the next turn on the conversation is read.",
    Cause.SHORT: "Nothing to do: below that size nobody caches, and little is paid.",
    Cause.EXPIRED: "What to do: %chat ttl 1h before long pauses, or %chat warm 30m.",
    Cause.EDITED: "What to do: edit late turns rather than early ones, or ask anew at the end.",
    Cause.REMOVED: "What to do: %chat undo brings it back; what is before it is still read.",
    Cause.INSERTED: "What to do: ask at the end, where nothing comes after.",
    Cause.SYSTEM: "What to do: say it in a prompt; the system prompt comes before everything else.",
    Cause.TOOLS: "What to do: keep the same tools, in the same order, for the whole conversation.",
    Cause.SETTINGS: "What to do: choose thinking, effort and tool choice once, at the start.",
    Cause.MODEL: "What to do: stay with one model; going back to the one before is cheap while it is warm.",
    Cause.DROPPED: "Nothing to do: a cache is no promise. If it happens often, %chat doctor looks at the rules.",
    Cause.SILENT: "Nothing to do: nobody can tell what was read.",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """A cause, the tokens that were paid again because of it (None: unknown), and what else is known of it."""

    cause: Cause
    tokens: int | None = None
    turn: int = -1
    """The turn (from 0) with the first block that differs."""
    seconds: float = 0.0
    """How long the prefix had not been used."""
    minimum: int = 0
    model: str = ""
    """The model before."""
    cell: str = ""
    """The cell of that block."""
    was: str = ""
    now: str = ""
    """The block's text, before and in this request."""

    @property
    def sentence(self) -> str:
        """The reason in one sentence, for the line under an answer."""
        cost = f": {self.tokens:,} tokens were paid again" if self.tokens else ""
        turn = f"turn {self.turn + 1}" if self.turn >= 0 else "a turn"
        return {
            Cause.FIRST: "first request: nothing was in the cache yet",
            Cause.SHORT: f"not cached: the prompt is below this model's minimum of {self.minimum:,} tokens",
            Cause.EXPIRED: f"the cache had expired, {duration(self.seconds)} after its last use{cost}",
            Cause.EDITED: f"{turn} was edited, so what follows it could not be read{cost}",
            Cause.REMOVED: f"{turn} was removed, so what follows it could not be read{cost}",
            Cause.INSERTED: f"{turn} is new, so what follows it could not be read{cost}",
            Cause.SYSTEM: f"the system prompt changed, so nothing after it could be read{cost}",
            Cause.TOOLS: f"the tools changed, so nothing could be read{cost}",
            Cause.SETTINGS: f"thinking, effort or tool choice changed, so no message could be read{cost}",
            Cause.MODEL: f"the model changed from {self.model}, and every model has a cache of its own{cost}",
            Cause.DROPPED: f"the provider did not read what should still have been warm{cost}",
            Cause.SILENT: "the provider does not report what it read from the cache",
        }[self.cause]


@dataclass(frozen=True, slots=True)
class Before:
    """The request before: its chain, its last checkpoint, and the state that it left."""

    chain: Chain = Chain()
    marked: int = -1
    state: CacheState = CacheState()


def explain(
    chain: Chain,
    expected: Outcome,
    read: int | None,
    before: Before,
    by: Rules,
    minimum: int,
    now: float,
    other: str = "",
) -> Reason | None:
    """The reason for what was read, None if nothing was missed. `other`: the model that answered last, if another."""
    if read is None:
        return Reason(Cause.SILENT)
    if by.asked == "unknown" or not chain.prefixes:
        return None
    state = before.state
    total = state.tokens(chain, len(chain.prefixes) - 1)[0]
    again = state.tokens(chain, _asked_again(chain))[0]
    if not before.chain.prefixes:
        if other and again - read > TOLERANCE * again:
            return Reason(Cause.MODEL, again - read, model=other)
        if total < minimum:
            return Reason(Cause.SHORT, minimum=minimum)
        return None if read else Reason(Cause.FIRST)
    common = chain.common(before.chain)
    ever = _ever(chain, state, common)
    written = state.tokens(chain, ever)[0]
    parts = {
        "dropped": expected.read - read,
        # Of who does not say how long it keeps anything, nobody can say that it kept it too shortly.
        "expired": written - max(expected.read, read) if by.lifetimes else 0,
        "diverged": _sent_before(chain, before.chain, common, state, read) if common <= before.marked else 0,
    }
    worst = max(parts, key=lambda name: parts[name])
    lost = parts[worst]
    if lost <= max(
        by.step if by.step > 1 else 0, 0 if expected.exact else TOLERANCE * max(expected.read, written)
    ):
        short = read == 0 and state.tokens(before.chain, before.marked)[0] < minimum
        return Reason(Cause.SHORT, minimum=minimum) if short else None
    if worst == "dropped":
        return Reason(Cause.DROPPED, lost)
    if worst == "expired":
        entry = state.entries[chain.prefixes[ever].digest]
        return Reason(Cause.EXPIRED, lost, seconds=now - entry.used)
    return _diverged(chain, before.chain, common, lost)


def _asked_again(chain: Chain) -> int:
    """The last prefix before the newest message: what is not new."""
    return chain.starts[-1] - 1


def _sent_before(chain: Chain, before: Chain, common: int, state: CacheState, read: int) -> int:
    """Tokens beyond what was read of messages that the request before had too, behind what differs."""
    old = {said.message for said in before.said}
    sizes = [tokens for tokens, _ in state.sizes(chain)]
    lost = 0
    for n in range(common, _asked_again(chain) + 1):
        message = chain.prefixes[n].message
        same = message < 0 or chain.said[message].message in old
        if sizes[n] > read and same:
            lost += sizes[n] - (sizes[n - 1] if n else 0)
    return lost


def _ever(chain: Chain, state: CacheState, common: int) -> int:
    """The longest prefix that was ever written, expired or not."""
    return next((n for n in range(common - 1, -1, -1) if chain.prefixes[n].digest in state.entries), -1)


def _diverged(chain: Chain, before: Chain, common: int, lost: int) -> Reason:
    """What differs at the first block that is not shared."""
    if chain.settings.tools != before.settings.tools:
        return Reason(Cause.TOOLS, lost)
    new = chain.prefixes[common] if common < len(chain.prefixes) else None
    old = before.prefixes[common]
    gone = before.said[old.message] if old.message >= 0 else None
    come = chain.said[new.message] if new and new.message >= 0 else None
    was, now = (one.message.text if one else "" for one in (gone, come))
    if "system" in (old.tier, new.tier if new else ""):
        same = was == now or chain.settings.system != before.settings.system
        return Reason(Cause.SETTINGS if same else Cause.SYSTEM, lost, was=was, now=now)
    if chain.settings != before.settings and was == now:
        return Reason(Cause.SETTINGS, lost, was=_told(before), now=_told(chain))
    if come is None or gone is None:
        return Reason(Cause.REMOVED, lost, turn=old.turn, was=was)
    if gone.cell and gone.cell == come.cell:
        return Reason(Cause.EDITED, lost, turn=come.turn, cell=come.cell, was=was, now=now)
    if come.message in (said.message for said in before.said[old.message :]):
        return Reason(Cause.REMOVED, lost, turn=old.turn, cell=gone.cell, was=was)
    if gone.message in (said.message for said in chain.said[new.message if new else 0 :]):
        return Reason(Cause.INSERTED, lost, turn=come.turn, cell=come.cell, now=now)
    return Reason(Cause.EDITED, lost, turn=come.turn, cell=come.cell, was=was, now=now)


def _told(chain: Chain) -> str:
    """The settings as a person would write them."""
    return ", ".join(f"{name}={value}" for name, value in chain.settings.options) or "the model's own"


def duration(seconds: float) -> str:
    """As in "7 m 12 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} m"
    return f"{minutes} m {rest} s" if minutes else f"{rest} s"
