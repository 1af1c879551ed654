"""Why less was read than could have been: the cause that the evidence shows, and the tokens that it cost."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ipycachechat.caching.miss_reasons import SETTINGS, Cause, Reason
from ipycachechat.caching.planner import Prepared
from ipycachechat.caching.prefix import Chain, Said
from ipycachechat.caching.rules import Rules
from ipycachechat.caching.state import TOLERANCE, CacheState, Outcome
from ipycachechat.conversation.messages import Message


@dataclass(frozen=True, slots=True)
class Before:
    """An earlier request: its chain and last checkpoint, the state now, and who was asked by which rules."""

    chain: Chain = Chain()
    marked: int = -1
    state: CacheState = CacheState()
    by: Rules | None = None
    model: str = ""

    def shared(self, chain: Chain) -> int:
        """The longest prefix of a chain that was sent with this request; -1: none."""
        return chain.common(self.chain) - 1

    def may_hold(self, chain: Chain) -> bool:
        """Whether some of a chain may have been warm there, though nobody promised it."""
        return self.by is not None and not self.by.lifetimes and self.shared(chain) >= 0

    def held(self, chain: Chain, now: float) -> int:
        """The longest prefix of a chain that was sent with this request and should still be warm; -1: none."""
        shared = self.shared(chain)
        if self.by is None or not self.by.lifetimes:  # nobody promised for how long
            return -1
        live = (n for n in range(shared, -1, -1) if self.state.live(chain.prefixes[n].digest, now))
        return next(live, -1)


def explain(
    prepared: Prepared,
    expected: Outcome,
    read: int | None,
    before: Before,
    by: Rules,
    other: Before | None = None,
    model: str = "",
) -> Reason | None:
    """The reason for what was read, None if nothing was missed.

    `before`: an earlier request to this model, with the state now. `other`: the last one, if to another model
    than `model`, or with another key.
    """
    if read is None:
        return Reason(Cause.SILENT)
    chain, minimum = prepared.chain, prepared.minimum
    if by.asked == "unknown" or not chain.prefixes:
        return None
    total = before.state.tokens(chain, len(chain.prefixes) - 1)[0]
    if not read and total < minimum:
        return Reason(Cause.SHORT, minimum=minimum)
    found = {
        cause: lost for cause, lost in _lost(prepared, expected, read, before, by, other).items() if lost > 0
    }
    worst = max(found, key=lambda cause: found[cause], default=None)
    lost = min(found[worst], total - read) if worst else 0
    # A step more or less is no miss, nor is what only a guess of sizes makes of it.
    unsure = 0 if expected.exact else TOLERANCE * max(expected.read, read + lost)
    if worst is None or lost <= max(by.step if by.step > 1 else 0, unsure):
        return None if read else _nothing_there(chain, before, minimum, other)
    if worst is Cause.MODEL and other is not None:
        return Reason(Cause.KEY if other.model == model else Cause.MODEL, lost, model=other.model)
    if worst is Cause.EXPIRED:
        return Reason(Cause.EXPIRED, lost, seconds=prepared.at - _last_use(chain, before, prepared.at))
    if worst is Cause.DROPPED:
        return Reason(Cause.DROPPED, lost)
    return _diverged(chain, before.chain, chain.common(before.chain), lost)


def _lost(
    prepared: Prepared, expected: Outcome, read: int, before: Before, by: Rules, other: Before | None
) -> dict[Cause, int]:
    """Tokens that each cause kept from being read; EDITED stands for whatever makes two requests differ."""
    chain, now, state = prepared.chain, prepared.at, before.state
    # What has never been billed may be shorter than it was guessed to be.
    lost = {Cause.DROPPED: expected.read - read if state.tokens(chain, expected.hit)[1] else 0}
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
    if there and state.tokens(before.chain, before.marked)[0] >= prepared.minimum:
        gone = _sent_before(chain, before.chain, common, state, max(read, expected.read))
        # Had nothing been changed, it would have been read if it was warm.
        if not by.lifetimes or any(now < entry.expires for entry in there):
            lost[Cause.EDITED] = gone
        else:
            lost[Cause.EXPIRED] = gone
    return lost


def _nothing_there(chain: Chain, before: Before, minimum: int, other: Before | None) -> Reason | None:
    """The reason if nothing had been written that could have been read."""
    if not before.chain.prefixes:
        if other is not None and other.may_hold(chain):
            return Reason(Cause.MODEL, model=other.model)
        return Reason(Cause.FIRST)
    short = before.state.tokens(before.chain, before.marked)[0] < minimum
    return Reason(Cause.SHORT, minimum=minimum, grown=True) if short else None


def _asked_again(chain: Chain) -> int:
    """The last prefix before the newest message: what is not new."""
    return chain.starts[-1] - 1


def _sent_before(chain: Chain, before: Chain, common: int, state: CacheState, read: int) -> int:
    """Tokens beyond what was read of blocks that the request before had too, wherever they stood."""
    again = _again(chain.said, before.said)
    upto = [0, *(tokens for tokens, _ in state.sizes(chain))]
    lost, kept = 0, False
    for n in range(_asked_again(chain) + 1):
        number = chain.prefixes[n].message
        tool = number < 0 and chain.settings.tools[n] in before.settings.tools
        if (tool or n < common or number in again) and upto[n + 1] > read:
            lost += upto[n + 1] - max(upto[n], read)
            # That two answers have the same words does not make a turn the same.
            said = chain.said[number].message
            kept |= tool or n < common or said.role != "assistant" or bool(said.tool_calls)
    return lost if kept else 0


def _again(mine: Sequence[Said], theirs: Sequence[Said]) -> set[int]:
    """The messages, by index, that are among theirs too, in the same order."""
    places: dict[tuple[Message, str], list[int]] = {}
    for n, one in enumerate(theirs):
        places.setdefault((one.message, one.cell), []).append(n)
    found, after = set(), 0
    for n, one in enumerate(mine):
        where = places.get((one.message, one.cell), [])
        next_one = bisect_left(where, after)
        if next_one < len(where):
            found.add(n)
            after = where[next_one] + 1
    return found


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
    if gone.message.thinking and come.message == replace(gone.message, thinking=()):
        return Reason(Cause.FORGOTTEN, lost, turn=old.turn)
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
