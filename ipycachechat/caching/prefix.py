"""A request as a chain of hashed prefix blocks.

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

from ipycachechat.caching.rules import Tier
from ipycachechat.conversation.messages import Attachment, Message

Kind = Literal["tool", "file", "text", "thinking", "tool_use", "tool_result"]
TIERS: tuple[Tier, ...] = ("tools", "system", "messages")
# A run of these is one position of the look-back.
RUNS = ("tool_use", "tool_result")
CHARS_PER_TOKEN = 4
DIGEST = 16  # bytes by which a prefix is known
# Of an image of usual size: platform.claude.com/docs/en/build-with-claude/vision has width × height / 750.
FILE_TOKENS = 1500.0


class PromptMessage(NamedTuple):
    """A message, and the turn (from 0) and cell that it belongs to; the system prompt belongs to none.

    A tuple, since every request makes one of each message and compares it with the last request's.
    """

    message: Message
    turn: int = -1
    cell: str = ""
    pinned: bool = False
    """True if a checkpoint is to stay after the turn."""


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
class RequestOptions:
    """Options that are sent with the messages and belong to the prefix; defaults of the provider are left out."""

    tools: tuple[str, ...] = ()
    """Definitions of tools, in JSON."""
    options: tuple[tuple[str, str], ...] = ()
    """Names and JSON values of thinking, effort, tool choice and the like."""
    system: tuple[tuple[str, str], ...] = ()
    """Those of the options that change the prefix from the system prompt on."""
    messages: tuple[tuple[str, str], ...] = ()
    """Those that change it from the first message on."""
    pictures: bool = False
    """True if an image anywhere, or none, changes it from the first message on."""

    @property
    def changed(self) -> tuple[tuple[str, str], ...]:
        """All options that are part of the prefix and not the provider's default."""
        return (*self.system, *self.messages)


@dataclass(frozen=True, slots=True)
class PrefixChain:
    """The prefixes of one request, shortest first."""

    messages: tuple[PromptMessage, ...] = ()
    options: RequestOptions = RequestOptions()
    prefixes: tuple[Prefix, ...] = ()
    message_starts: tuple[int, ...] = field(default=(), repr=False)
    """For each message, the number of prefixes before it."""
    pinned_messages: tuple[int, ...] = ()
    """Messages of pinned turns, by index."""
    image_messages: tuple[int, ...] = ()
    """Messages with an image, by index."""

    def shared_length(self, other: PrefixChain) -> int:
        """How many prefixes the two share: each digest is made of all before it, so that they part once."""
        mine, theirs = self.prefixes, other.prefixes
        return bisect_left(
            range(min(len(mine), len(theirs))), True, key=lambda n: mine[n].digest != theirs[n].digest
        )

    def has(self, at: int, digest: bytes) -> bool:
        """Return True if this is the digest of a prefix of that index."""
        return at < len(self.prefixes) and self.prefixes[at].digest == digest

    @property
    def system_end(self) -> int:
        """The last prefix before the first message of the conversation: tools and system prompt; -1: none."""
        told = bool(self.messages) and self.messages[0].message.role == "system"
        first = self.message_starts[told] if len(self.message_starts) > told else len(self.prefixes)
        return first - 1


TokenCounter = Callable[[str], float]


def estimate_tokens(text: str) -> float:
    """Tokens of a text, roughly."""
    return len(text) / CHARS_PER_TOKEN


def build_chain(
    said: Sequence[PromptMessage],
    settings: RequestOptions = RequestOptions(),
    before: PrefixChain = PrefixChain(),
    count: TokenCounter = estimate_tokens,
) -> PrefixChain:
    """The chain of a request; what it shares with the one `before` is taken over."""
    said = tuple(said)
    same = _same(said, before.messages) if settings == before.options else 0
    new = list(enumerate(islice(said, same, None), same))
    pictured = [n for n in before.image_messages if n < same] + [n for n, one in new if one.message.has_image]
    if settings.pictures and bool(pictured) != bool(before.image_messages):
        same, new = 0, list(enumerate(said))  # every message's prefix is another one
    build = _Build(settings, count, bool(pictured) and settings.pictures)
    if same:
        end = before.message_starts[same] if same < len(before.message_starts) else len(before.prefixes)
        build.found = list(before.prefixes[:end])
    else:
        build.tools()
    starts = list(before.message_starts[:same])
    for number, one in new:
        starts.append(len(build.found))
        build.message(one, number)
    pins = [number for number in before.pinned_messages if number < same] + [
        n for n, one in new if one.pinned
    ]
    return PrefixChain(said, settings, tuple(build.found), tuple(starts), tuple(pins), tuple(pictured))


def _same(mine: tuple[PromptMessage, ...], theirs: tuple[PromptMessage, ...]) -> int:
    """How many messages the two begin with in common; most often all of the earlier ones."""
    if mine[: len(theirs)] == theirs:
        return len(theirs)
    pairs = enumerate(zip(mine, theirs, strict=False))
    return next((n for n, (one, other) in pairs if one != other), min(len(mine), len(theirs)))


class _Build:
    """Adds one block after the other to a chain."""

    def __init__(self, settings: RequestOptions, count: TokenCounter, pictures: bool) -> None:
        """`pictures`: whether there are any, where that is part of the prefix."""
        self.found: list[Prefix] = []
        self._settings, self._count = settings, count
        self._entered: dict[Tier, tuple[object, ...]] = {
            "tools": (),
            "system": settings.system,
            "messages": (*settings.changed, *("image",) * pictures),
        }

    def tools(self) -> None:
        for definition in self._settings.tools:
            self._add("tools", "tool", definition, self._count(definition), -1, -1)

    def message(self, one: PromptMessage, number: int) -> None:
        """The blocks of a message: thoughts, its parts in their order, calls; or a tool's result."""
        message, count = one.message, self._count
        tier: Tier = "system" if message.role == "system" else "messages"
        if message.role == "tool":
            text = "\0".join(
                [message.tool_call_id, message.text, *(f"{f.media_type}\0{f.data}" for f in message.files)]
            )
            size = count(message.text) + FILE_TOKENS * len(message.files)
            self._add(tier, "tool_result", text, size, one.turn, number)
            return
        for thought in message.thinking:
            text = f"{thought.text}\0{thought.signature}\0{thought.encrypted}"
            self._add(tier, "thinking", text, count(thought.text or thought.encrypted), one.turn, number)
        for part in message.parts:
            if isinstance(part, Attachment):
                self._add(tier, "file", f"{part.media_type}\0{part.data}", FILE_TOKENS, one.turn, number)
            elif part.strip():
                self._add(tier, "text", part, count(part), one.turn, number, message.role)
        for call in message.tool_calls:
            text = f"{call.id}\0{call.name}\0{call.arguments}"
            self._add(tier, "tool_use", text, count(call.name) + count(call.arguments), one.turn, number)

    def _add(
        self, tier: Tier, kind: Kind, text: str, tokens: float, turn: int, message: int, role: str = ""
    ) -> None:
        last = self.found[-1] if self.found else None
        digest = blake2b(last.digest if last else b"", digest_size=DIGEST)
        if last is None or last.tier != tier:
            digest.update(f"\0{tier}\0{self._entered[tier]}".encode())
        digest.update(f"\0{role}\0{kind}\0".encode() + text.encode("utf-8", "surrogatepass"))
        joined = last is not None and kind in RUNS and last.kind == kind
        position = (last.position + (not joined)) if last else 0
        size = (last.size if last else 0.0) + tokens
        self.found.append(Prefix(digest.digest(), tier, kind, turn, message, position, size))
