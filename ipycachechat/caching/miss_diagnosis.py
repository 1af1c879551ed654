"""Compare two requests and find why less was read from the cache than possible."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ipycachechat.caching.miss_reasons import SETTINGS, MissCause, MissReason
from ipycachechat.caching.planner import PlannedRequest
from ipycachechat.caching.prefix import PrefixChain, PromptMessage
from ipycachechat.caching.rules import CacheRules
from ipycachechat.caching.state import TOLERANCE, CacheState, ExpectedUsage
from ipycachechat.conversation.messages import Message


@dataclass(frozen=True, slots=True)
class EarlierRequest:
    """An earlier request: its chain and last checkpoint, the state now, and who was asked by which rules."""

    chain: PrefixChain = PrefixChain()
    marked: int = -1
    state: CacheState = CacheState()
    by: CacheRules | None = None
    model: str = ""

    def shared(self, chain: PrefixChain) -> int:
        """The longest prefix of a chain that was sent with this request; -1: none."""
        return chain.shared_length(self.chain) - 1

    def may_hold(self, chain: PrefixChain) -> bool:
        """Return True if some of a chain may have been warm there, though that is not promised."""
        return self.by is not None and not self.by.lifetimes and self.shared(chain) >= 0

    def held(self, chain: PrefixChain, now: float) -> int:
        """The longest prefix of a chain that was sent with this request and should still be warm; -1: none."""
        shared = self.shared(chain)
        if self.by is None or not self.by.lifetimes:  # nobody promised for how long
            return -1
        live = (n for n in range(shared, -1, -1) if self.state.live(chain.prefixes[n].digest, now))
        return next(live, -1)


def diagnose_miss(
    prepared: PlannedRequest,
    expected: ExpectedUsage,
    read: int | None,
    before: EarlierRequest,
    by: CacheRules,
    other: EarlierRequest | None = None,
    model: str = "",
) -> MissReason | None:
    """The reason for what was read, None if nothing was missed.

    `before`: an earlier request to this model, with the state now. `other`: the last one, if to another model
    than `model`, or with another key.
    """
    if read is None:
        return MissReason(MissCause.SILENT)
    chain, minimum = prepared.chain, prepared.minimum
    if by.mode == "unknown" or not chain.prefixes:
        return None
    total = before.state.tokens(chain, len(chain.prefixes) - 1)[0]
    if not read and total < minimum:
        return MissReason(MissCause.SHORT, minimum=minimum)
    found = {
        cause: lost for cause, lost in _lost(prepared, expected, read, before, by, other).items() if lost > 0
    }
    worst = max(found, key=lambda cause: found[cause], default=None)
    lost = min(found[worst], total - read) if worst else 0
    # A step more or less is no miss, nor is what only a guess of sizes makes of it.
    unsure = 0 if expected.exact else TOLERANCE * max(expected.read, read + lost)
    if worst is None or lost <= max(by.step if by.step > 1 else 0, unsure):
        return None if read else _nothing_there(chain, before, minimum, other)
    if worst is MissCause.MODEL and other is not None:
        return MissReason(MissCause.KEY if other.model == model else MissCause.MODEL, lost, model=other.model)
    if worst is MissCause.EXPIRED:
        return MissReason(
            MissCause.EXPIRED, lost, seconds=prepared.at - _last_use(chain, before, prepared.at)
        )
    if worst is MissCause.DROPPED:
        return MissReason(MissCause.DROPPED, lost)
    return _first_difference(chain, before.chain, chain.shared_length(before.chain), lost)


def _lost(
    prepared: PlannedRequest,
    expected: ExpectedUsage,
    read: int,
    before: EarlierRequest,
    by: CacheRules,
    other: EarlierRequest | None,
) -> dict[MissCause, int]:
    """Tokens that each cause kept from being read; EDITED stands for whatever makes two requests differ."""
    chain, now, state = prepared.chain, prepared.at, before.state
    # What has never been billed may be shorter than it was guessed to be.
    lost = {MissCause.DROPPED: expected.read - read if state.tokens(chain, expected.hit)[1] else 0}
    if other is not None:
        lost[MissCause.MODEL] = state.tokens(chain, other.held(chain, now))[0] - max(read, expected.read)
    if not before.chain.prefixes:
        return lost
    common = chain.shared_length(before.chain)
    # Of who does not say how long it keeps anything, nobody can say that it kept it too shortly.
    if by.lifetimes:
        gone = state.tokens(chain, _expired(chain, state, common, now))[0]
        lost[MissCause.EXPIRED] = gone - max(expected.read, read)
    there = [entry for entry in state.ever(before.chain) if entry.at >= common]
    if there and state.tokens(before.chain, before.marked)[0] >= prepared.minimum:
        gone = _sent_before(chain, before.chain, common, state, max(read, expected.read))
        # Had nothing been changed, it would have been read if it was warm.
        if not by.lifetimes or any(now < entry.expires for entry in there):
            lost[MissCause.EDITED] = gone
        else:
            lost[MissCause.EXPIRED] = gone
    return lost


def _nothing_there(
    chain: PrefixChain, before: EarlierRequest, minimum: int, other: EarlierRequest | None
) -> MissReason | None:
    """The reason if nothing had been written that could have been read."""
    if not before.chain.prefixes:
        if other is not None and other.may_hold(chain):
            return MissReason(MissCause.MODEL, model=other.model)
        return MissReason(MissCause.FIRST)
    short = before.state.tokens(before.chain, before.marked)[0] < minimum
    return MissReason(MissCause.SHORT, minimum=minimum, now_above_minimum=True) if short else None


def _asked_again(chain: PrefixChain) -> int:
    """The last prefix before the newest message: what is not new."""
    return chain.message_starts[-1] - 1


def _sent_before(chain: PrefixChain, before: PrefixChain, common: int, state: CacheState, read: int) -> int:
    """Tokens beyond what was read of blocks that the request before had too, wherever they stood."""
    again = _resent_messages(chain.messages, before.messages)
    upto = [0, *(tokens for tokens, _ in state.sizes(chain))]
    lost, kept = 0, False
    for n in range(_asked_again(chain) + 1):
        number = chain.prefixes[n].message
        tool = number < 0 and chain.options.tools[n] in before.options.tools
        if (tool or n < common or number in again) and upto[n + 1] > read:
            lost += upto[n + 1] - max(upto[n], read)
            # That two answers have the same words does not make a turn the same.
            said = chain.messages[number].message
            kept |= tool or n < common or said.role != "assistant" or bool(said.tool_calls)
    return lost if kept else 0


def _resent_messages(mine: Sequence[PromptMessage], theirs: Sequence[PromptMessage]) -> set[int]:
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


def _expired(chain: PrefixChain, state: CacheState, common: int, now: float) -> int:
    """The longest prefix that was written, if it has expired; -1: it has not, or there is none."""
    for n in range(common - 1, -1, -1):
        if entry := state.entries.get(chain.prefixes[n].digest):
            return n if entry.expires <= now else -1
    return -1


def _last_use(chain: PrefixChain, before: EarlierRequest, now: float) -> float:
    """When the longest prefix was used that is not there any more."""
    state, common = before.state, chain.shared_length(before.chain)
    gone = _expired(chain, state, common, now)
    if gone >= 0:
        return state.entries[chain.prefixes[gone].digest].last_used
    return max(entry.last_used for entry in state.ever(before.chain))


def _first_difference(chain: PrefixChain, before: PrefixChain, common: int, lost: int) -> MissReason:
    """Return the reason: the difference at the first block that is not shared."""
    if chain.options.tools != before.options.tools:
        return MissReason(MissCause.TOOLS, lost)
    new = chain.prefixes[common] if common < len(chain.prefixes) else None
    old = before.prefixes[common]
    gone = before.messages[old.message] if old.message >= 0 else None
    come = chain.messages[new.message] if new and new.message >= 0 else None
    was, now = (one.message.text if one else "" for one in (gone, come))
    if gone and come and gone.message == come.message:  # so it is what comes before the messages
        if chain.options.changed != before.options.changed:
            return _setting(chain, before, lost)
        return MissReason(MissCause.IMAGE, lost)
    if "system" in (old.tier, new.tier if new else ""):
        return MissReason(MissCause.SYSTEM, lost, old_text=was, new_text=now)
    if come is None or gone is None:
        return MissReason(MissCause.REMOVED, lost, turn=old.turn, old_text=was)
    if gone.message.thinking and come.message == replace(gone.message, thinking=()):
        return MissReason(MissCause.FORGOTTEN, lost, turn=old.turn)
    edited = MissReason(
        MissCause.EDITED, lost, turn=come.turn, what=_what(come), cell=come.cell, old_text=was, new_text=now
    )
    if gone.cell and gone.cell == come.cell:
        return edited
    # With no cells to go by, the messages tell: what comes later in the other request was moved up or down by one.
    cells = bool(gone.cell and come.cell)
    mine = {_name(said, cells) for said in chain.messages[new.message if new else 0 :]}
    theirs = {_name(said, cells) for said in before.messages[old.message :]}
    if _name(gone, cells) not in mine and (cells or _name(come, cells) in theirs):
        return MissReason(MissCause.REMOVED, lost, turn=old.turn, cell=gone.cell, old_text=was)
    if _name(gone, cells) in mine and _name(come, cells) not in theirs:
        return MissReason(MissCause.INSERTED, lost, turn=come.turn, cell=come.cell, new_text=now)
    return edited


def _name(said: PromptMessage, cells: bool) -> str | Message:
    """By what a message is known again."""
    return said.cell if cells else said.message


def _what(said: PromptMessage) -> str:
    """Return which part of its turn a message is."""
    return "answer" if said.message.role == "assistant" else ""


def _setting(chain: PrefixChain, before: PrefixChain, lost: int) -> MissReason:
    """Which of the settings changed."""
    mine, theirs = dict(chain.options.changed), dict(before.options.changed)
    names = [name for name in sorted({*mine, *theirs}) if mine.get(name) != theirs.get(name)]
    known = [SETTINGS.get(name, (MissCause.SETTINGS, name)) for name in names]
    cause = known[0][0] if len({cause for cause, _ in known}) == 1 else MissCause.SETTINGS
    told = (", ".join(f"{n}={v}" for n, v in part.items()) or "the model's own" for part in (theirs, mine))
    was, now = told
    return MissReason(cause, lost, what=" and ".join(label for _, label in known), old_text=was, new_text=now)
