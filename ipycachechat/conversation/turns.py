"""What was said: turns in an order, each with the cell it belongs to. Every change is a new conversation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from hashlib import blake2b
from typing import Literal

from ipycachechat.conversation.cell_runs import Watched
from ipycachechat.conversation.cell_runs import parts as told
from ipycachechat.conversation.usage import NOTHING_REPORTED, Cost, Usage

Role = Literal["system", "user", "assistant", "tool"]
Signer = Literal["", "claude", "gemini", "openai"]
"""Whose form a thought has; "" is nobody's, who wants none back."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model asks for; `arguments` is the JSON as it came."""

    id: str
    name: str
    arguments: str
    signature: str = ""
    """The provider's seal on the thought behind the call, which it wants back."""


@dataclass(frozen=True, slots=True)
class Thought:
    """What the model thought before it answered, sealed by whoever wants it back."""

    by: Signer
    text: str
    signature: str = ""
    hidden: str = ""
    """What the provider has encrypted, in place of the text; OpenAI's item in JSON."""


@dataclass(frozen=True)
class File:
    """What is sent that is no text: its media type, and its bytes in base64, or the address where they are."""

    media: str
    data: str = field(repr=False)
    name: str = ""
    detail: str = ""
    """How closely an image is to be looked at, where the provider gives a choice."""

    @property
    def kind(self) -> str:
        """One word for it: image, audio, video, PDF, or the media type."""
        first = self.media.partition("/")[0]
        return (
            first
            if first in ("image", "audio", "video")
            else {"application/pdf": "PDF"}.get(self.media, self.media)
        )

    @cached_property
    def digest(self) -> bytes:
        """Of its bytes or address; made once, since a picture is long."""
        return blake2b(self.data.encode(), digest_size=16).digest()

    @property
    def is_address(self) -> bool:
        """Whether `data` says where the bytes are."""
        return "://" in self.data[:16]


Part = str | File
Content = str | tuple[Part, ...]
"""A text, or texts and files in an order."""


def text_of(content: Content) -> str:
    """The texts of a content, a paragraph each."""
    return (
        content
        if isinstance(content, str)
        else "\n\n".join(part for part in content if isinstance(part, str))
    )


def files_of(content: Content) -> tuple[File, ...]:
    """The files of a content, in order."""
    return () if isinstance(content, str) else tuple(part for part in content if isinstance(part, File))


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the exchange. `call_id` names the call that a tool's message answers."""

    role: Role
    content: Content
    calls: tuple[ToolCall, ...] = ()
    call_id: str = ""
    thoughts: tuple[Thought, ...] = ()
    tells_of_cells: bool = field(default=False, compare=False)
    """Whether its first part is about cells that ran."""

    @property
    def text(self) -> str:
        """Its texts, a paragraph each."""
        return text_of(self.content)

    @property
    def files(self) -> tuple[File, ...]:
        """Its files, in order."""
        return files_of(self.content)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Its texts and files, in order."""
        return (self.content,) if isinstance(self.content, str) else self.content

    @property
    def pictured(self) -> bool:
        """Whether there is an image in it."""
        return any(file.media.startswith("image/") for file in self.files)

    @property
    def plain(self) -> bool:
        """Whether every model can be shown all of it."""
        signed = self.thoughts or any(call.signature for call in self.calls)
        return isinstance(self.content, str) and not signed


@dataclass(frozen=True, slots=True)
class Cell:
    """Where a turn was asked: the front end's id of the cell, and this one run of it.

    A loop in a cell asks many times in one run: the same cell, the same run.
    """

    id: str
    run: str
    page: str = ""
    """Of which of the kernel's open notebooks, where the front end tells."""


class State(Enum):
    """How a turn ended."""

    COMPLETE = "complete"
    INTERRUPTED = "interrupted"
    CUT_OFF = "cut off"
    """The answer reached the most tokens that it may have."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One prompt and all that followed from it."""

    prompt: Content
    replies: tuple[Message, ...]
    """Answers, calls and the results of tools; none while nobody has answered."""
    model: str = ""
    usage: Usage = NOTHING_REPORTED
    state: State = State.COMPLETE
    cell: Cell | None = None
    system: str | None = None
    """The system prompt of this turn alone, None where the conversation's was sent."""
    pinned: bool = False
    """Whether a checkpoint is to stay after this turn."""
    cost: Cost = Cost()
    at: float = 0.0
    """When it was asked, in seconds of the clock; 0: unknown."""
    past: bytes = b""
    """What was said in the turns that it followed, as `pasts` has it; empty: unknown."""
    detached: float | None = None
    """When its cell was reported as deleted: since then it is in no request."""
    replayed: bool = False
    """Whether the replies come from a file, so that nothing was sent for them."""
    watched: tuple[Watched, ...] = ()
    """Cells that ran before it, of which the model is told in front of the prompt."""
    messages: tuple[Message, ...] = field(init=False, compare=False, repr=False)
    """The prompt and the replies, as they are sent; made once, since every later request sends them again."""

    plain: bool = field(init=False, compare=False, repr=False)
    """Whether every model can be shown all of it."""

    _said: bytes = field(init=False, compare=False, repr=False, default=b"")

    def __post_init__(self) -> None:
        prompt = Message("user", self.prompt)
        cells = told(self.watched)
        asked = Message("user", (*cells, *prompt.parts), tells_of_cells=True) if cells else prompt
        messages = (asked, *self.replies)
        object.__setattr__(self, "messages", messages)
        object.__setattr__(self, "plain", all(message.plain for message in messages))

    @property
    def question(self) -> str:
        """The text of the prompt."""
        return text_of(self.prompt)

    @property
    def answer(self) -> str:
        """The text of the last thing the model said."""
        said = [reply.text for reply in self.replies if reply.role == "assistant"]
        return said[-1] if said else ""

    @property
    def said(self) -> bytes:
        """A digest of the question and of all that the model said; results of tools may be shortened later on."""
        if not self._said:
            digest = blake2b(digest_size=16)
            for message in self.messages:
                if message.role != "tool":
                    for part in message.parts:
                        digest.update(
                            part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part.digest
                        )
                        digest.update(b"\0")
                    for call in message.calls:
                        digest.update(f"{call.name}\0{call.arguments}\0".encode("utf-8", "surrogatepass"))
                    digest.update(b"\1")
            object.__setattr__(self, "_said", digest.digest())
        return self._said

    def same_as(self, other: Turn) -> bool:
        """Whether they are one turn, which may have been pinned or detached since."""
        return self is other or (self.at, self.cell, self.said) == (other.at, other.cell, other.said)


def pasts(turns: Iterable[Turn]) -> Iterator[bytes]:
    """For each turn, and for one that would follow them, a digest of what was said before it."""
    past = bytes(16)
    yield past
    for turn in turns:
        past = blake2b(past + turn.said, digest_size=16).digest()
        yield past


@dataclass(frozen=True, slots=True)
class Conversation:
    """An ordered list of turns, a system prompt, and the tools that the model may call."""

    system: str = ""
    placed: tuple[Turn, ...] = ()
    """Every turn in its place, those that are detached among them."""
    tools: tuple[str, ...] = ()
    """Their definitions, in JSON."""
    _turns: tuple[Turn, ...] | None = field(init=False, compare=False, repr=False, default=None)

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The turns that are sent, in order."""
        if self._turns is None:
            away = any(turn.detached is not None for turn in self.placed)
            live = tuple(turn for turn in self.placed if turn.detached is None) if away else self.placed
            object.__setattr__(self, "_turns", live)
        return self._turns or ()

    @property
    def stale(self) -> frozenset[int]:
        """The turns (from 1) whose answer was given to a past that has since changed."""
        return frozenset(
            number
            for number, (turn, past) in enumerate(zip(self.turns, pasts(self.turns), strict=False), 1)
            if turn.past and turn.past != past
        )
