"""What was said: turns in an order, each with the cell it belongs to. Every change is a new conversation."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Literal

from ipycachechat.core.usage import NOTHING_REPORTED, Usage

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


@dataclass(frozen=True, slots=True)
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
    stale: bool = False
    """Whether the past that this turn answered has since changed."""
    pinned: bool = False
    """Whether a checkpoint is to stay after this turn."""
    messages: tuple[Message, ...] = field(init=False, compare=False, repr=False)
    """The prompt and the replies, as they are sent; made once, since every later request sends them again."""

    plain: bool = field(init=False, compare=False, repr=False)
    """Whether every model can be shown all of it."""

    def __post_init__(self) -> None:
        messages = (Message("user", self.prompt), *self.replies)
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


@dataclass(frozen=True, slots=True)
class Conversation:
    """An ordered list of turns, a system prompt, and the tools that the model may call."""

    system: str = ""
    turns: tuple[Turn, ...] = ()
    tools: tuple[str, ...] = ()
    """Their definitions, in JSON."""

    def before(self, cell: Cell | None) -> Conversation:
        """The conversation that a prompt from this cell continues: the turns before the cell's place."""
        return replace(self, turns=self.turns[: self._place(cell)])

    def add(self, turn: Turn) -> Conversation:
        """With the turn in its cell's place, which replaces what an earlier run of the cell had there.

        Later turns stay, marked stale, since they answered another past.
        """
        place = self._place(turn.cell)
        if any(t.pinned and _same_cell(t, turn.cell) for t in self.turns[place:]):
            turn = replace(turn, pinned=True)
        later = [replace(t, stale=True) for t in self.turns[place:] if not _same_cell(t, turn.cell)]
        return replace(self, turns=(*self.turns[:place], turn, *later))

    def _place(self, cell: Cell | None) -> int:
        """Where a turn of this cell goes: after the same run's turns, else where the cell's first one is."""
        same_run = [n for n, turn in enumerate(self.turns) if _same_run(turn, cell)]
        if same_run:
            return same_run[-1] + 1
        same_cell = [n for n, turn in enumerate(self.turns) if _same_cell(turn, cell)]
        return same_cell[0] if same_cell else len(self.turns)


def _same_cell(turn: Turn, cell: Cell | None) -> bool:
    return turn.cell is not None and cell is not None and turn.cell.id == cell.id


def _same_run(turn: Turn, cell: Cell | None) -> bool:
    return turn.cell is not None and turn.cell == cell


@dataclass(frozen=True, slots=True)
class History:
    """The versions of a conversation; the last is the one that counts."""

    versions: tuple[Conversation, ...] = field(default=(Conversation(),))

    @property
    def now(self) -> Conversation:
        """The current version."""
        return self.versions[-1]

    def change(self, to: Conversation) -> History:
        """With a new version, unless nothing changed."""
        return self if to == self.now else History((*self.versions, to))

    def undo(self) -> History:
        """Without the last version; the same where there is none before it."""
        return History(self.versions[:-1]) if len(self.versions) > 1 else self
