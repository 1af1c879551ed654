"""A request as a chain of hashed prefix blocks.

A prefix is identified by a hash of its exact content, chained from block to block, so that a new turn costs only the
hashes of its own blocks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from typing import Literal, NamedTuple

from ipycachechat.caching.rules import Tier
from ipycachechat.conversation.messages import Attachment, Message

Kind = Literal["tool", "file", "text", "thinking", "tool_use", "tool_result"]
# Successive blocks of such a kind share one position of the lookback.
GROUPED = ("tool_use", "tool_result")
CHARS_PER_TOKEN = 4
DIGEST_BYTES = 16
# Of an image of usual size: platform.claude.com/docs/en/build-with-claude/vision has width × height / 750.
FILE_TOKENS = 1500.0


class PromptMessage(NamedTuple):
    """A message with the turn (from 0) and cell that it belongs to; the system prompt belongs to none.

    A tuple, because each request creates one for every message and compares it with the last request's.
    """

    message: Message
    turn: int = -1
    cell: str = ""
    pinned: bool = False
    """True if the user pinned a checkpoint after the turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """All blocks up to and including one; `kind` and the indexes are those of its last block."""

    digest: bytes
    tier: Tier
    kind: Kind
    turn: int
    message: int
    """Index of the block's message in the request; -1: tool definition."""
    position: int
    """Number of the block in the provider's lookback."""
    size: float
    """Tokens of the whole prefix as our tokenizer counts them."""


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """Options that are sent with the messages, and which of them are part of the prefix."""

    tools: tuple[str, ...] = ()
    """Tool definitions as JSON."""
    options: tuple[tuple[str, str], ...] = ()
    """Names and JSON values of thinking, effort, tool choice and the like."""
    system: tuple[tuple[str, str], ...] = ()
    """Options, other than the provider's defaults, that change the prefix from the system prompt on."""
    messages: tuple[tuple[str, str], ...] = ()
    """Options, other than the provider's defaults, that change it from the first message on."""
    images_change_prefix: bool = False
    """True if the first image changes the prefix from the first message on."""

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
    """Number of prefixes before each message."""
    pinned_messages: tuple[int, ...] = ()
    """Indexes of the messages of pinned turns."""
    image_messages: tuple[int, ...] = ()
    """Indexes of the messages with an image."""

    def shared_length(self, other: PrefixChain) -> int:
        """Return how many prefixes two chains share: after the first difference none is equal."""
        own, others = self.prefixes, other.prefixes
        return bisect_left(
            range(min(len(own), len(others))), True, key=lambda n: own[n].digest != others[n].digest
        )

    def has(self, index: int, digest: bytes) -> bool:
        """Return True if the prefix with this index has this digest."""
        return index < len(self.prefixes) and self.prefixes[index].digest == digest

    @property
    def system_end(self) -> int:
        """Index of the last prefix of tools and system prompt; -1: there are none."""
        has_system = bool(self.messages) and self.messages[0].message.role == "system"
        starts = self.message_starts
        return (starts[has_system] if len(starts) > has_system else len(self.prefixes)) - 1


TokenCounter = Callable[[str], float]


def estimate_tokens(text: str) -> float:
    """Return a rough number of tokens."""
    return len(text) / CHARS_PER_TOKEN


def build_chain(
    messages: Sequence[PromptMessage],
    options: RequestOptions = RequestOptions(),
    earlier: PrefixChain = PrefixChain(),
    count: TokenCounter = estimate_tokens,
) -> PrefixChain:
    """Return the chain of a request; hashes that it shares with an earlier chain are reused."""
    messages = tuple(messages)
    kept = _shared_messages(messages, earlier.messages) if options == earlier.options else 0
    new = list(enumerate(islice(messages, kept, None), kept))
    images = [n for n in earlier.image_messages if n < kept] + [
        n for n, item in new if item.message.has_image
    ]
    if options.images_change_prefix and bool(images) != bool(earlier.image_messages):
        kept, new = 0, list(enumerate(messages))
    builder = _ChainBuilder(options, bool(images) and options.images_change_prefix)
    if kept:
        end = earlier.message_starts[kept] if kept < len(earlier.message_starts) else len(earlier.prefixes)
        builder.prefixes = list(earlier.prefixes[:end])
    else:
        for definition in options.tools:
            builder.add(_Block("tool", definition, count(definition)), "tools")
    starts = list(earlier.message_starts[:kept])
    for index, item in new:
        starts.append(len(builder.prefixes))
        tier: Tier = "system" if item.message.role == "system" else "messages"
        for block in _blocks(item.message, count):
            builder.add(block, tier, item.turn, index)
    pinned = [n for n in earlier.pinned_messages if n < kept] + [n for n, item in new if item.pinned]
    return PrefixChain(
        messages, options, tuple(builder.prefixes), tuple(starts), tuple(pinned), tuple(images)
    )


def _shared_messages(own: tuple[PromptMessage, ...], others: tuple[PromptMessage, ...]) -> int:
    """Return how many messages two requests begin with in common; usually all of the earlier ones."""
    if own[: len(others)] == others:
        return len(others)
    pairs = enumerate(zip(own, others, strict=False))
    return next((n for n, (item, other) in pairs if item != other), min(len(own), len(others)))


class _Block(NamedTuple):
    kind: Kind
    content: str
    """Everything that is hashed."""
    tokens: float
    role: str = ""


def _blocks(message: Message, count: TokenCounter) -> Iterator[_Block]:
    """Yield the blocks of a message: thinking, its parts in order, tool calls; or one tool result."""
    if message.role == "tool":
        files = (f"{file.media_type}\0{file.data}" for file in message.files)
        tokens = count(message.text) + FILE_TOKENS * len(message.files)
        yield _Block("tool_result", "\0".join([message.tool_call_id, message.text, *files]), tokens)
        return
    for thought in message.thinking:
        content = f"{thought.text}\0{thought.signature}\0{thought.encrypted}"
        yield _Block("thinking", content, count(thought.text or thought.encrypted))
    for part in message.parts:
        if isinstance(part, Attachment):
            yield _Block("file", f"{part.media_type}\0{part.data}", FILE_TOKENS)
        elif part.strip():
            yield _Block("text", part, count(part), message.role)
    for call in message.tool_calls:
        tokens = count(call.name) + count(call.arguments)
        yield _Block("tool_use", f"{call.id}\0{call.name}\0{call.arguments}", tokens)


class _ChainBuilder:
    """Adds one block after the other to a chain."""

    def __init__(self, options: RequestOptions, has_image: bool) -> None:
        self.prefixes: list[Prefix] = []
        self._hashed_options: dict[Tier, tuple[object, ...]] = {
            "tools": (),
            "system": options.system,
            "messages": (*options.changed, *("image",) * has_image),
        }

    def add(self, block: _Block, tier: Tier, turn: int = -1, message: int = -1) -> None:
        last = self.prefixes[-1] if self.prefixes else None
        digest = blake2b(last.digest if last else b"", digest_size=DIGEST_BYTES)
        if last is None or last.tier != tier:
            digest.update(f"\0{tier}\0{self._hashed_options[tier]}".encode())
        digest.update(
            f"\0{block.role}\0{block.kind}\0".encode() + block.content.encode("utf-8", "surrogatepass")
        )
        grouped = last is not None and block.kind in GROUPED and last.kind == block.kind
        self.prefixes.append(
            Prefix(
                digest=digest.digest(),
                tier=tier,
                kind=block.kind,
                turn=turn,
                message=message,
                position=last.position + (not grouped) if last else 0,
                size=(last.size if last else 0.0) + block.tokens,
            )
        )
