"""Why less was read than could have been: the cause that the evidence shows, and the tokens that it cost."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ipycachechat.core.cache import TOLERANCE, CacheState, Outcome
from ipycachechat.core.conversation import Message
from ipycachechat.core.prefix import Chain, Said
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
    THINKING = "thinking or effort changed"
    TOOL_CHOICE = "tool choice changed"
    IMAGE = "an image came or went"
    SETTINGS = "another setting changed"
    MODEL = "model changed"
    KEY = "key or address changed"
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
    Cause.THINKING: "What to do: choose thinking and effort once, at the start.",
    Cause.TOOL_CHOICE: "What to do: choose once, at the start, how tools may be called.",
    Cause.IMAGE: "What to do: send the first image early; once there is one, others change nothing.",
    Cause.SETTINGS: "What to do: choose settings once, at the start.",
    Cause.MODEL: "What to do: stay with one model; going back to the one before is cheap while it is warm.",
    Cause.KEY: "What to do: ask with the same key at the same address, while the cache is warm there.",
    Cause.DROPPED: "Nothing to do: a cache is no promise. If it happens often, %chat doctor looks at the rules.",
    Cause.SILENT: "Nothing to do: nobody can tell what was read.",
}
# Settings by litellm's names: the cause that a change of each is, and what people call it.
SETTINGS = {
    "thinking": (Cause.THINKING, "thinking"),
    "reasoning_effort": (Cause.THINKING, "effort"),
    "tool_choice": (Cause.TOOL_CHOICE, "the tool choice"),
    "parallel_tool_calls": (Cause.TOOL_CHOICE, "whether tools are called in parallel"),
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
    grown: bool = False
    """Whether the prompt has the minimum by now, and only what was sent before had not."""
    model: str = ""
    """The model before."""
    what: str = ""
    """The setting that changed; of a turn, "answer" if its prompt is as it was."""
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
        change = "has another answer" if self.what == "answer" else "was edited"
        least = f"this model's minimum of {self.minimum:,} tokens"
        setting = f"{self.what or 'a setting'} changed, so no message could be read{cost}"
        return {
            Cause.FIRST: "first request: nothing was in the cache yet",
            Cause.SHORT: f"nothing was in the cache yet: until now the prompt was below {least}"
            if self.grown
            else f"not cached: the prompt is below {least}",
            Cause.EXPIRED: f"the cache had expired, {duration(self.seconds)} after its last use{cost}",
            Cause.EDITED: f"{turn} {change}, so what follows it could not be read{cost}",
            Cause.REMOVED: f"{turn} was removed, so what follows it could not be read{cost}",
            Cause.INSERTED: f"{turn} is new, so what follows it could not be read{cost}",
            Cause.SYSTEM: f"the system prompt changed, so nothing after it could be read{cost}",
            Cause.TOOLS: f"the tools changed, so nothing could be read{cost}",
            Cause.THINKING: setting,
            Cause.TOOL_CHOICE: setting,
            Cause.IMAGE: f"the first image came or the last one went, so no message could be read{cost}",
            Cause.SETTINGS: setting,
            Cause.MODEL: f"the model changed from {self.model}, and every model has a cache of its own{cost}",
            Cause.KEY: f"the key or the address changed, and every one has a cache of its own{cost}",
            Cause.DROPPED: f"the provider did not read what should still have been warm{cost}",
            Cause.SILENT: "the provider does not report what it read from the cache",
        }[self.cause]


@dataclass(frozen=True, slots=True)
class Before:
    """An earlier request: its chain and last checkpoint, the state that it left, and who was asked by which rules."""

    chain: Chain = Chain()
    marked: int = -1
    state: CacheState = CacheState()
    by: Rules | None = None
    model: str = ""

    def held(self, chain: Chain, now: float) -> int:
        """The longest prefix of a chain that was sent with this request and should still be warm; -1: none."""
        shared = chain.common(self.chain) - 1
        if self.by is None or not self.by.lifetimes:  # nobody promised for how long
            return shared if self.by is not None and self.by.asked == "automatic" else -1
        live = (n for n in range(shared, -1, -1) if self.state.live(chain.prefixes[n].digest, now))
        return next(live, -1)


def explain(
    chain: Chain,
    expected: Outcome,
    read: int | None,
    before: Before,
    by: Rules,
    minimum: int,
    now: float,
    other: Before | None = None,
    model: str = "",
) -> Reason | None:
    """The reason for what was read, None if nothing was missed.

    `before`: an earlier request to this model, with the state now. `other`: the last one, if to another model
    than `model`, or with another key.
    """
    if read is None:
        return Reason(Cause.SILENT)
    if by.asked == "unknown" or not chain.prefixes:
        return None
    found = {
        cause: lost
        for cause, lost in _lost(chain, expected, read, before, by, minimum, now, other).items()
        if lost > 0
    }
    worst = max(found, key=lambda cause: found[cause], default=None)
    total = before.state.tokens(chain, len(chain.prefixes) - 1)[0]
    lost = min(found[worst], total - read) if worst else 0
    # A step more or less is no miss, nor is what only a guess of sizes makes of it.
    unsure = 0 if expected.exact else TOLERANCE * max(expected.read, read + lost)
    if worst is None or lost <= max(by.step if by.step > 1 else 0, unsure):
        return _nothing_there(chain, read, before, minimum)
    if worst is Cause.MODEL and other is not None:
        return Reason(Cause.KEY if other.model == model else Cause.MODEL, lost, model=other.model)
    if worst is Cause.EXPIRED:
        return Reason(Cause.EXPIRED, lost, seconds=now - _last_use(chain, before, now))
    if worst is Cause.DROPPED:
        return Reason(Cause.DROPPED, lost)
    return _diverged(chain, before.chain, chain.common(before.chain), lost)


def _lost(
    chain: Chain,
    expected: Outcome,
    read: int,
    before: Before,
    by: Rules,
    minimum: int,
    now: float,
    other: Before | None,
) -> dict[Cause, int]:
    """Tokens that each cause kept from being read; EDITED stands for whatever makes two requests differ."""
    state = before.state
    size, sure = state.tokens(chain, expected.hit)
    # Whether so short a prefix was ever written is not known before one has been billed.
    lost = {Cause.DROPPED: expected.read - read if sure or size > 2 * minimum else 0}
    if other is not None:
        lost[Cause.MODEL] = state.tokens(chain, other.held(chain, now))[0] - max(read, expected.read)
    if not before.chain.prefixes:
        return lost
    common = chain.common(before.chain)
    # Of who does not say how long it keeps anything, nobody can say that it kept it too shortly.
    if by.lifetimes:
        gone = state.tokens(chain, _expired(chain, state, common, now))[0]
        lost[Cause.EXPIRED] = gone - max(expected.read, read)
    there = [entry for entry in state.ever(before.chain) if entry.at >= common]
    if there and state.tokens(before.chain, before.marked)[0] >= minimum:
        gone = _sent_before(chain, before.chain, common, state, max(read, expected.read))
        # Had nothing been changed, it would have been read if it was warm.
        if not by.lifetimes or any(now < entry.expires for entry in there):
            lost[Cause.EDITED] = gone
        else:
            lost[Cause.EXPIRED] = gone
    return lost


def _nothing_there(chain: Chain, read: int, before: Before, minimum: int) -> Reason | None:
    """The reason if nothing had been written that could have been read."""
    total = before.state.tokens(chain, len(chain.prefixes) - 1)[0]
    if read:
        return None
    if total < minimum:
        return Reason(Cause.SHORT, minimum=minimum)
    if not before.chain.prefixes:
        return Reason(Cause.FIRST)
    short = before.state.tokens(before.chain, before.marked)[0] < minimum
    return Reason(Cause.SHORT, minimum=minimum, grown=True) if short else None


def _asked_again(chain: Chain) -> int:
    """The last prefix before the newest message: what is not new."""
    return chain.starts[-1] - 1


def _sent_before(chain: Chain, before: Chain, common: int, state: CacheState, read: int) -> int:
    """Tokens beyond what was read of blocks that the request before had too, wherever they stood."""
    old = {said.message for said in before.said}
    upto = [0, *(tokens for tokens, _ in state.sizes(chain))]
    lost, kept = 0, False
    for n in range(_asked_again(chain) + 1):
        number = chain.prefixes[n].message
        message = chain.said[number].message if number >= 0 else None
        tool = message is None and chain.settings.tools[n] in before.settings.tools
        if (tool or n < common or message in old) and upto[n + 1] > read:
            lost += upto[n + 1] - max(upto[n], read)
            # That two answers have the same words does not make a turn the same.
            kept |= n < common or message is None or message.role != "assistant" or bool(message.calls)
    return lost if kept else 0


def _expired(chain: Chain, state: CacheState, common: int, now: float) -> int:
    """The longest prefix that was written, if it has expired; -1: it has not, or there is none."""
    for n in range(common - 1, -1, -1):
        if entry := state.entries.get(chain.prefixes[n].digest):
            return n if entry.expires <= now else -1
    return -1


def _last_use(chain: Chain, before: Before, now: float) -> float:
    """When the longest prefix was used that is not there any more."""
    state, common = before.state, chain.common(before.chain)
    gone = _expired(chain, state, common, now)
    if gone >= 0:
        return state.entries[chain.prefixes[gone].digest].used
    return max(entry.used for entry in state.ever(before.chain))


def _diverged(chain: Chain, before: Chain, common: int, lost: int) -> Reason:
    """What differs at the first block that is not shared."""
    if chain.settings.tools != before.settings.tools:
        return Reason(Cause.TOOLS, lost)
    new = chain.prefixes[common] if common < len(chain.prefixes) else None
    old = before.prefixes[common]
    gone = before.said[old.message] if old.message >= 0 else None
    come = chain.said[new.message] if new and new.message >= 0 else None
    was, now = (one.message.text if one else "" for one in (gone, come))
    if gone and come and gone.message == come.message:  # so it is what comes before the messages
        if chain.settings.changed != before.settings.changed:
            return _setting(chain, before, lost)
        return Reason(Cause.IMAGE, lost)
    if "system" in (old.tier, new.tier if new else ""):
        return Reason(Cause.SYSTEM, lost, was=was, now=now)
    if come is None or gone is None:
        return Reason(Cause.REMOVED, lost, turn=old.turn, was=was)
    edited = Reason(Cause.EDITED, lost, turn=come.turn, what=_what(come), cell=come.cell, was=was, now=now)
    if gone.cell and gone.cell == come.cell:
        return edited
    # With no cells to go by, the messages tell: what comes later in the other request was moved up or down by one.
    cells = bool(gone.cell and come.cell)
    mine = {_name(said, cells) for said in chain.said[new.message if new else 0 :]}
    theirs = {_name(said, cells) for said in before.said[old.message :]}
    if _name(gone, cells) not in mine and (cells or _name(come, cells) in theirs):
        return Reason(Cause.REMOVED, lost, turn=old.turn, cell=gone.cell, was=was)
    if _name(gone, cells) in mine and _name(come, cells) not in theirs:
        return Reason(Cause.INSERTED, lost, turn=come.turn, cell=come.cell, now=now)
    return edited


def _name(said: Said, cells: bool) -> str | Message:
    """By what a message is known again."""
    return said.cell if cells else said.message


def _what(said: Said) -> str:
    """What of its turn a message is."""
    return "answer" if said.message.role == "assistant" else ""


def _setting(chain: Chain, before: Chain, lost: int) -> Reason:
    """Which of the settings changed."""
    mine, theirs = dict(chain.settings.changed), dict(before.settings.changed)
    names = [name for name in sorted({*mine, *theirs}) if mine.get(name) != theirs.get(name)]
    known = [SETTINGS.get(name, (Cause.SETTINGS, name)) for name in names]
    cause = known[0][0] if len({cause for cause, _ in known}) == 1 else Cause.SETTINGS
    told = (", ".join(f"{n}={v}" for n, v in part.items()) or "the model's own" for part in (theirs, mine))
    was, now = told
    return Reason(cause, lost, what=" and ".join(label for _, label in known), was=was, now=now)


def duration(seconds: float) -> str:
    """As in "7 m 12 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} m"
    return f"{minutes} m {rest} s" if minutes else f"{rest} s"
