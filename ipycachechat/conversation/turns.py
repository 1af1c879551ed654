"""Turn and Conversation: immutable; every change is a new value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from hashlib import blake2b

from ipycachechat.conversation.cell_runs import CellRun, cell_run_parts
from ipycachechat.conversation.messages import Content, Message, text_of
from ipycachechat.conversation.usage import NOTHING_REPORTED, Cost, Usage


@dataclass(frozen=True, slots=True)
class CellRef:
    """Where a turn was asked: the front end's id of the cell, and this one run of it.

    A loop in a cell asks many times in one run: the same cell, the same run.
    """

    id: str
    run: str
    client_session: str = ""
    """Of which of the kernel's open notebooks, where the front end tells."""


class TurnStatus(Enum):
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
    """Answers, calls and the results of tools; none before the answer."""
    model: str = ""
    usage: Usage = NOTHING_REPORTED
    status: TurnStatus = TurnStatus.COMPLETE
    cell: CellRef | None = None
    system: str | None = None
    """The system prompt of this turn alone, None where the conversation's was sent."""
    pinned: bool = False
    """True if a checkpoint is to stay after this turn."""
    cost: Cost = Cost()
    asked_at: float = 0.0
    """When it was asked, in seconds of the clock; 0: unknown."""
    past_digest: bytes = b""
    """Digest of the turns that it followed, as by `past_digests`; empty: unknown."""
    detached: float | None = None
    """When its cell was reported as deleted: since then it is in no request."""
    replayed: bool = False
    """True if the replies come from a file, so that nothing was sent for them."""
    cell_runs: tuple[CellRun, ...] = ()
    """Cells that ran before it, of which the model is told in front of the prompt."""
    messages: tuple[Message, ...] = field(init=False, compare=False, repr=False)
    """The prompt and the replies, as they are sent; made once, since every later request sends them again."""

    is_portable: bool = field(init=False, compare=False, repr=False)
    """True if every model can be shown all of it."""

    _digest: bytes = field(init=False, compare=False, repr=False, default=b"")

    def __post_init__(self) -> None:
        prompt = Message("user", self.prompt)
        cells = cell_run_parts(self.cell_runs)
        asked = Message("user", (*cells, *prompt.parts), has_cell_context=True) if cells else prompt
        messages = (asked, *self.replies)
        object.__setattr__(self, "messages", messages)
        object.__setattr__(self, "is_portable", all(message.is_portable for message in messages))

    @property
    def prompt_text(self) -> str:
        """The text of the prompt."""
        return text_of(self.prompt)

    @property
    def answer_text(self) -> str:
        """The text of the last thing the model said."""
        said = [reply.text for reply in self.replies if reply.role == "assistant"]
        return said[-1] if said else ""

    @property
    def digest(self) -> bytes:
        """A digest of the question and of all that the model said; results of tools may be shortened later on."""
        if not self._digest:
            digest = blake2b(digest_size=16)
            for message in self.messages:
                if message.role != "tool":
                    for part in message.parts:
                        digest.update(
                            part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part.digest
                        )
                        digest.update(b"\0")
                    for call in message.tool_calls:
                        digest.update(f"{call.name}\0{call.arguments}\0".encode("utf-8", "surrogatepass"))
                    digest.update(b"\1")
            object.__setattr__(self, "_digest", digest.digest())
        return self._digest

    def same_as(self, other: Turn) -> bool:
        """Return True if they are one turn, which may have been pinned or detached since."""
        return self is other or (self.asked_at, self.cell, self.digest) == (
            other.asked_at,
            other.cell,
            other.digest,
        )


def past_digests(turns: Iterable[Turn]) -> Iterator[bytes]:
    """For each turn, and for one that would follow them, a digest of what was said before it."""
    past = bytes(16)
    yield past
    for turn in turns:
        past = blake2b(past + turn.digest, digest_size=16).digest()
        yield past


@dataclass(frozen=True, slots=True)
class Conversation:
    """An ordered list of turns, a system prompt, and the tools that the model may call."""

    system: str = ""
    all_turns: tuple[Turn, ...] = ()
    """Every turn in its place, those that are detached among them."""
    tools: tuple[str, ...] = ()
    """Their definitions, in JSON."""
    _turns: tuple[Turn, ...] | None = field(init=False, compare=False, repr=False, default=None)

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The turns that are sent, in order."""
        if self._turns is None:
            away = any(turn.detached is not None for turn in self.all_turns)
            live = tuple(turn for turn in self.all_turns if turn.detached is None) if away else self.all_turns
            object.__setattr__(self, "_turns", live)
        return self._turns or ()

    @property
    def stale(self) -> frozenset[int]:
        """The turns (from 1) whose answer was given to a past that has since changed."""
        return frozenset(
            number
            for number, (turn, past) in enumerate(zip(self.turns, past_digests(self.turns), strict=False), 1)
            if turn.past_digest and turn.past_digest != past
        )
