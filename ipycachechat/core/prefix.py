"""A request as the provider's cache sees it: blocks in an order, and the prefix that ends at each.

A prefix is known by the hash of its exact wire form, chained from block to block, so that a turn more costs one
hash more, and not all of them again.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from typing import Literal, NamedTuple

from ipycachechat.core.conversation import Message
from ipycachechat.core.rules import Tier

Kind = Literal["tool", "text", "tool_use", "tool_result"]
TIERS: tuple[Tier, ...] = ("tools", "system", "messages")
# A run of these is one position of the look-back.
RUNS = ("tool_use", "tool_result")
CHARACTERS_A_TOKEN = 4


class Said(NamedTuple):
    """A message, and the turn (from 0) and cell that it belongs to; the system prompt belongs to none.

    A tuple, since every request makes one of each message and compares it with the last request's.
    """

    message: Message
    turn: int = -1
    cell: str = ""
    pinned: bool = False
    """Whether a checkpoint is to stay after the turn."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """All blocks up to and including one."""

    digest: bytes
    tier: Tier
    kind: Kind
    turn: int
    message: int
    """Index of the block's message among those sent."""
    position: int
    """In the sense of the look-back."""
    size: float
    """Tokens up to here, counted or guessed."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What else is sent with the messages and part of the prefix; nothing where it is the provider's default."""

    tools: tuple[str, ...] = ()
    """Definitions of tools, in JSON."""
    options: tuple[tuple[str, str], ...] = ()
    """Names and JSON values of thinking, effort, tool choice and the like."""
    system: tuple[tuple[str, str], ...] = ()
    """Those of the options that change the prefix from the system prompt on."""
    messages: tuple[tuple[str, str], ...] = ()
    """Those that change it from the first message on."""

    @property
    def changed(self) -> tuple[tuple[str, str], ...]:
        """All options that are part of the prefix and not the provider's default."""
        return (*self.system, *self.messages)


@dataclass(frozen=True, slots=True)
class Chain:
    """The prefixes of one request, shortest first."""

    said: tuple[Said, ...] = ()
    settings: Settings = Settings()
    prefixes: tuple[Prefix, ...] = ()
    starts: tuple[int, ...] = field(default=(), repr=False)
    """For each message, the number of prefixes before it."""
    pins: tuple[int, ...] = ()
    """Messages of pinned turns, by index."""

    def common(self, other: Chain) -> int:
        """How many prefixes the two share: each digest is made of all before it, so that they part once."""
        mine, theirs = self.prefixes, other.prefixes
        return bisect_left(
            range(min(len(mine), len(theirs))), True, key=lambda n: mine[n].digest != theirs[n].digest
        )

    def has(self, at: int, digest: bytes) -> bool:
        """Whether this is the digest of a prefix of that index."""
        return at < len(self.prefixes) and self.prefixes[at].digest == digest

    @property
    def head(self) -> int:
        """The last prefix before the first message of the conversation: tools and system prompt; -1: none."""
        told = bool(self.said) and self.said[0].message.role == "system"
        first = self.starts[told] if len(self.starts) > told else len(self.prefixes)
        return first - 1


Count = Callable[[str], float]


def guess(text: str) -> float:
    """Tokens of a text, roughly."""
    return len(text) / CHARACTERS_A_TOKEN


def chain(
    said: Sequence[Said], settings: Settings = Settings(), before: Chain = Chain(), count: Count = guess
) -> Chain:
    """The chain of a request; what it shares with the one `before` is taken over."""
    said = tuple(said)
    same = _same(said, before.said) if settings == before.settings else 0
    if same:
        end = before.starts[same] if same < len(before.starts) else len(before.prefixes)
        found = list(before.prefixes[:end])
        starts = list(before.starts[:same])
    else:
        found, starts = _tools(settings, count), []
    for number, one in enumerate(islice(said, same, None), same):
        starts.append(len(found))
        _extend(found, one, number, settings, count)
    pins = [number for number in before.pins if number < same]
    pins += [number for number, one in enumerate(islice(said, same, None), same) if one.pinned]
    return Chain(said, settings, tuple(found), tuple(starts), tuple(pins))


def _same(mine: tuple[Said, ...], theirs: tuple[Said, ...]) -> int:
    """How many messages the two begin with in common; most often all of the earlier ones."""
    if mine[: len(theirs)] == theirs:
        return len(theirs)
    pairs = enumerate(zip(mine, theirs, strict=False))
    return next((n for n, (one, other) in pairs if one != other), min(len(mine), len(theirs)))


def _tools(settings: Settings, count: Count) -> list[Prefix]:
    found: list[Prefix] = []
    for definition in settings.tools:
        _block(found, "tools", "tool", definition, -1, -1, settings, count)
    return found


def _extend(found: list[Prefix], one: Said, number: int, settings: Settings, count: Count) -> None:
    """Add the blocks of one message."""
    message = one.message
    tier: Tier = "system" if message.role == "system" else "messages"
    if message.role == "tool":
        _block(
            found,
            tier,
            "tool_result",
            f"{message.call_id}\0{message.text}",
            one.turn,
            number,
            settings,
            count,
        )
        return
    if message.text.strip():
        _block(found, tier, "text", message.text, one.turn, number, settings, count, message.role)
    for call in message.calls:
        text = f"{call.id}\0{call.name}\0{call.arguments}"
        _block(found, tier, "tool_use", text, one.turn, number, settings, count)


def _block(
    found: list[Prefix],
    tier: Tier,
    kind: Kind,
    text: str,
    turn: int,
    message: int,
    settings: Settings,
    count: Count,
    role: str = "",
) -> None:
    last = found[-1] if found else None
    digest = blake2b(last.digest if last else b"", digest_size=16)
    if last is None or last.tier != tier:
        entered = {"tools": (), "system": settings.system, "messages": settings.changed}[tier]
        digest.update(f"\0{tier}\0{entered}".encode())
    digest.update(f"\0{role}\0{kind}\0".encode() + text.encode("utf-8", "surrogatepass"))
    joined = last is not None and kind in RUNS and last.kind == kind
    position = (last.position + (not joined)) if last else 0
    parts = text.split("\0")[1:] if kind in RUNS else [text]  # the id of a call is not counted
    size = (last.size if last else 0.0) + sum(count(part) for part in parts if part)
    found.append(Prefix(digest.digest(), tier, kind, turn, message, position, size))
