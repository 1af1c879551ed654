"""What was said: turns in an order, each with the cell it belongs to. Every change is a new conversation."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Literal

from ipycachechat.core.usage import NOTHING_REPORTED, Usage

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model asks for; `arguments` is the JSON as it came."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class File:
    """What is sent that is no text, an image say: its media type, and its bytes in base64."""

    media: str
    data: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the exchange: files, then text. `call_id` names the call that a tool's message answers."""

    role: Role
    text: str
    calls: tuple[ToolCall, ...] = ()
    call_id: str = ""
    files: tuple[File, ...] = ()

    @property
    def pictured(self) -> bool:
        """Whether there is an image in it."""
        return any(file.media.startswith("image/") for file in self.files)


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

    prompt: str
    replies: tuple[Message, ...]
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

    def __post_init__(self) -> None:
        object.__setattr__(self, "messages", (Message("user", self.prompt), *self.replies))

    @property
    def answer(self) -> str:
        """The text of the last reply."""
        return self.replies[-1].text if self.replies else ""


@dataclass(frozen=True, slots=True)
class Conversation:
    """An ordered list of turns and a system prompt."""

    system: str = ""
    turns: tuple[Turn, ...] = ()

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
