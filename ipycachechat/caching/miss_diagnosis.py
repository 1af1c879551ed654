"""Compare two requests and find why less was read from the cache than possible."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ipycachechat.caching.miss_reasons import SETTINGS, MissCause, MissReason
from ipycachechat.caching.prefix import PrefixChain, PromptMessage
from ipycachechat.caching.rules import CacheRules
from ipycachechat.caching.state import TOLERANCE, CacheState, ExpectedUsage, PlanningContext
from ipycachechat.conversation.messages import Message


@dataclass(frozen=True, slots=True)
class EarlierRequest:
    """An earlier request to the same endpoint."""

    chain: PrefixChain = PrefixChain()
    last_checkpoint: int = -1
    """Index of the last prefix that was to be cached."""


@dataclass(frozen=True, slots=True)
class OtherRequest:
    """The user's last request, if it went to another model or used another key: its chain, and that cache's state."""

    chain: PrefixChain
    state: CacheState
    rules: CacheRules
    model: str
    same_model: bool
    """True if only the key or the address differs."""

    def may_hold(self, chain: PrefixChain) -> bool:
        """Return True if part of a chain may be cached there, though the provider does not guarantee it."""
        return not self.rules.lifetimes and chain.shared_length(self.chain) > 0

    def live_prefix(self, chain: PrefixChain, now: float) -> int:
        """Return the index of the longest prefix of a chain that should be cached there; -1: there is none."""
        if not self.rules.lifetimes:
            return -1
        shared = range(chain.shared_length(self.chain) - 1, -1, -1)
        return next((n for n in shared if self.state.live(chain.prefixes[n].digest, now)), -1)


def diagnose_miss(
    context: PlanningContext,
    expected: ExpectedUsage,
    read: int | None,
    earlier: EarlierRequest,
    other: OtherRequest | None = None,
) -> MissReason | None:
    """Return the reason why a request read only so many tokens; None: nothing was missed."""
    if read is None:
        return MissReason(MissCause.SILENT)
    rules, minimum = context.rules, context.minimum
    if rules.mode == "unknown" or not context.chain.prefixes:
        return None
    total = context.tokens(context.last)
    if not read and total < minimum:
        return MissReason(MissCause.SHORT, minimum=minimum)
    lost_by = {c: n for c, n in _lost_tokens(context, expected, read, earlier, other).items() if n > 0}
    cause = max(lost_by, key=lambda cause: lost_by[cause], default=None)
    lost = min(lost_by[cause], total - read) if cause else 0
    # A step more or less is no miss, nor is a difference that estimated sizes may explain.
    uncertain = 0 if expected.exact else TOLERANCE * max(expected.read, read + lost)
    if cause is None or lost <= max(rules.step if rules.step > 1 else 0, uncertain):
        return None if read else _nothing_cached(context, earlier, other)
    if cause is MissCause.MODEL and other is not None:
        return MissReason(MissCause.KEY if other.same_model else MissCause.MODEL, lost, model=other.model)
    if cause is MissCause.EXPIRED:
        return MissReason(cause, lost, seconds=context.now - _last_use(context, earlier))
    if cause is MissCause.DROPPED:
        return MissReason(cause, lost)
    return _first_difference(context.chain, earlier.chain, lost)


def _lost_tokens(
    context: PlanningContext,
    expected: ExpectedUsage,
    read: int,
    earlier: EarlierRequest,
    other: OtherRequest | None,
) -> dict[MissCause, int]:
    """Return the tokens that each cause kept from being read; EDITED stands for any difference of the requests."""
    chain, rules, best = context.chain, context.rules, max(expected.read, read)
    # A size that was never billed may have been overestimated.
    lost = {MissCause.DROPPED: expected.read - read if context.is_exact(expected.hit) else 0}
    if other is not None:
        lost[MissCause.MODEL] = context.tokens(other.live_prefix(chain, context.now)) - best
    if not earlier.chain.prefixes:
        return lost
    shared = chain.shared_length(earlier.chain)
    # Without a documented lifetime, nothing can be said to have expired.
    if rules.lifetimes:
        lost[MissCause.EXPIRED] = context.tokens(_expired_prefix(context, shared)) - best
    after_change = [entry for entry in context.state.entries_of(earlier.chain) if entry.index >= shared]
    cached = context.state.tokens(earlier.chain, earlier.last_checkpoint) >= context.minimum
    if after_change and cached:
        # Without the change it would have been read, unless it had expired anyway.
        live = not rules.lifetimes or any(context.now < entry.expires for entry in after_change)
        cause = MissCause.EDITED if live else MissCause.EXPIRED
        lost[cause] = _resent_tokens(context, earlier.chain, shared, best)
    return lost


def _nothing_cached(
    context: PlanningContext, earlier: EarlierRequest, other: OtherRequest | None
) -> MissReason | None:
    """Return the reason if nothing had been written that could have been read."""
    if not earlier.chain.prefixes:
        if other is not None and other.may_hold(context.chain):
            return MissReason(MissCause.MODEL, model=other.model)
        return MissReason(MissCause.FIRST)
    if context.state.tokens(earlier.chain, earlier.last_checkpoint) < context.minimum:
        return MissReason(MissCause.SHORT, minimum=context.minimum, now_above_minimum=True)
    return None


def _resent_tokens(context: PlanningContext, earlier: PrefixChain, shared: int, read: int) -> int:
    """Return the tokens, beyond those read, of blocks that the earlier request had too, at whatever position."""
    chain = context.chain
    resent = _resent_messages(chain.messages, earlier.messages)
    ends = [0, *context.state.sizes(chain)]
    lost, is_evidence = 0, False
    for n in range(chain.message_starts[-1]):  # the newest message is new
        index = chain.prefixes[n].message
        same_tool = index < 0 and chain.options.tools[n] in earlier.options.tools
        if (same_tool or n < shared or index in resent) and ends[n + 1] > read:
            lost += ends[n + 1] - max(ends[n], read)
            # Two turns may happen to have the same answer.
            message = chain.messages[index].message
            is_answer = message.role == "assistant" and not message.tool_calls
            is_evidence |= same_tool or n < shared or not is_answer
    return lost if is_evidence else 0


def _resent_messages(messages: Sequence[PromptMessage], earlier: Sequence[PromptMessage]) -> set[int]:
    """Return the indexes of the messages that the earlier request had too, in the same order."""
    places: dict[tuple[Message, str], list[int]] = {}
    for index, item in enumerate(earlier):
        places.setdefault((item.message, item.cell), []).append(index)
    resent, start = set(), 0
    for index, item in enumerate(messages):
        indexes = places.get((item.message, item.cell), [])
        place = bisect_left(indexes, start)
        if place < len(indexes):
            resent.add(index)
            start = indexes[place] + 1
    return resent


def _expired_prefix(context: PlanningContext, shared: int) -> int:
    """Return the index of the longest shared prefix that was written, if it has expired; else -1."""
    for n in range(shared - 1, -1, -1):
        if entry := context.state.entries.get(context.chain.prefixes[n].digest):
            return n if entry.expires <= context.now else -1
    return -1


def _last_use(context: PlanningContext, earlier: EarlierRequest) -> float:
    """Return when the longest prefix that has expired was last used."""
    chain, state = context.chain, context.state
    expired = _expired_prefix(context, chain.shared_length(earlier.chain))
    if expired >= 0:
        return state.entries[chain.prefixes[expired].digest].last_used
    return max(entry.last_used for entry in state.entries_of(earlier.chain))


def _first_difference(chain: PrefixChain, earlier: PrefixChain, lost: int) -> MissReason:
    """Return the reason for the first block that differs."""
    if chain.options.tools != earlier.options.tools:
        return MissReason(MissCause.TOOLS, lost)
    shared = chain.shared_length(earlier)
    new = chain.prefixes[shared] if shared < len(chain.prefixes) else None
    old = earlier.prefixes[shared]
    old_item = earlier.messages[old.message] if old.message >= 0 else None
    new_item = chain.messages[new.message] if new and new.message >= 0 else None
    old_text, new_text = (item.message.text if item else "" for item in (old_item, new_item))
    if old_item and new_item and old_item.message == new_item.message:
        # The options before the messages differ.
        if chain.options.changed != earlier.options.changed:
            return _changed_setting(chain, earlier, lost)
        return MissReason(MissCause.IMAGE, lost)
    if "system" in (old.tier, new.tier if new else ""):
        return MissReason(MissCause.SYSTEM, lost, old_text=old_text, new_text=new_text)
    if new_item is None or old_item is None:
        return MissReason(MissCause.REMOVED, lost, turn=old.turn, old_text=old_text)
    if old_item.message.thinking and new_item.message == replace(old_item.message, thinking=()):
        return MissReason(MissCause.FORGOTTEN, lost, turn=old.turn)
    # With no cells to compare, messages are: one that appears later in the other request was moved by an insertion.
    by_cell = bool(old_item.cell and new_item.cell)
    if not old_item.cell or old_item.cell != new_item.cell:
        later_new = {_identity(item, by_cell) for item in chain.messages[new.message if new else 0 :]}
        later_old = {_identity(item, by_cell) for item in earlier.messages[old.message :]}
        old_stays = _identity(old_item, by_cell) in later_new
        new_was_there = _identity(new_item, by_cell) in later_old
        if not old_stays and (by_cell or new_was_there):
            return MissReason(MissCause.REMOVED, lost, turn=old.turn, cell=old_item.cell, old_text=old_text)
        if old_stays and not new_was_there:
            return MissReason(
                MissCause.INSERTED, lost, turn=new_item.turn, cell=new_item.cell, new_text=new_text
            )
    return MissReason(
        MissCause.EDITED,
        lost,
        turn=new_item.turn,
        what="answer" if new_item.message.role == "assistant" else "",
        cell=new_item.cell,
        old_text=old_text,
        new_text=new_text,
    )


def _identity(item: PromptMessage, by_cell: bool) -> str | Message:
    """Return what identifies a message in two requests: its cell, or its content."""
    return item.cell if by_cell else item.message


def _changed_setting(chain: PrefixChain, earlier: PrefixChain, lost: int) -> MissReason:
    """Return the reason for options that differ."""
    old, new = dict(earlier.options.changed), dict(chain.options.changed)
    names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    labels = [SETTINGS.get(name, (MissCause.SETTINGS, name)) for name in names]
    cause = labels[0][0] if len({cause for cause, _ in labels}) == 1 else MissCause.SETTINGS
    old_text, new_text = (
        ", ".join(f"{name}={value}" for name, value in options.items()) or "the model's own"
        for options in (old, new)
    )
    what = " and ".join(dict.fromkeys(label for _, label in labels))
    return MissReason(cause, lost, what=what, old_text=old_text, new_text=new_text)
