"""Turn and Conversation: immutable; every change is a new value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import KW_ONLY, dataclass, field
from enum import Enum
from hashlib import blake2b

from ipycachechat.conversation.cell_runs import CellRun, cell_run_parts
from ipycachechat.conversation.messages import Content, Message, text_of
from ipycachechat.conversation.usage import NOTHING_REPORTED, Cost, Usage


@dataclass(frozen=True, slots=True)
class CellRef:
    """Where a turn was asked: the front end's id of the cell, and the id of the run.

    All turns of a loop in a cell have the same cell and the same run.
    """

    id: str
    run: str
    client_session: str = ""
    """Which of the kernel's open notebooks it is, if the front end reports it."""


class TurnStatus(Enum):
    """How a turn ended."""

    COMPLETE = "complete"
    INTERRUPTED = "interrupted"
    CUT_OFF = "cut off"
    """The answer reached its maximum number of tokens."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One prompt and everything that followed from it."""

    prompt: Content
    replies: tuple[Message, ...]
    """Answers with their tool calls, and tool results; empty before the answer."""
    _: KW_ONLY
    model: str = ""
    usage: Usage = NOTHING_REPORTED
    status: TurnStatus = TurnStatus.COMPLETE
    cell: CellRef | None = None
    system: str | None = None
    """The system prompt of this turn only; None if it was the conversation's."""
    pinned: bool = False
    """True if every later request places a checkpoint after this turn."""
    cost: Cost = Cost()
    asked_at: float = 0.0
    """When it was asked, in seconds since the epoch; 0 if unknown."""
    past_digest: bytes = b""
    """Digest of the turns that it followed, from `past_digests`; empty if unknown."""
    detached: float | None = None
    """When its cell was reported as deleted; since then it is not sent."""
    replayed: bool = False
    """True if the replies are recorded ones, so that nothing was sent."""
    cell_runs: tuple[CellRun, ...] = ()
    """Cells that ran before it and are sent in front of the prompt."""
    messages: tuple[Message, ...] = field(init=False, compare=False, repr=False)
    """The prompt and the replies as they are sent; built once, since every later request sends them again."""
    is_portable: bool = field(init=False, compare=False, repr=False)
    """True if it can be sent to every model as it is."""
    _digest: bytes = field(init=False, compare=False, repr=False, default=b"")

    def __post_init__(self) -> None:
        prompt = Message("user", self.prompt)
        if cells := cell_run_parts(self.cell_runs):
            prompt = Message("user", (*cells, *prompt.parts), has_cell_context=True)
        messages = (prompt, *self.replies)
        object.__setattr__(self, "messages", messages)
        object.__setattr__(self, "is_portable", all(message.is_portable for message in messages))

    @property
    def prompt_text(self) -> str:
        """The text of the prompt."""
        return text_of(self.prompt)

    @property
    def answer_text(self) -> str:
        """The text of the model's last answer."""
        return next((reply.text for reply in reversed(self.replies) if reply.role == "assistant"), "")

    @property
    def digest(self) -> bytes:
        """Digest of the prompt and the answers, without tool results, which may be shortened later."""
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
        """Return True if it is the same turn, which may have been pinned or detached since."""
        return self is other or (self.asked_at, self.cell, self.digest) == (
            other.asked_at,
            other.cell,
            other.digest,
        )


def past_digests(turns: Iterable[Turn]) -> Iterator[bytes]:
    """Yield a digest of what came before each turn, and finally of all of them."""
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
    """All turns in order, including detached ones."""
    tools: tuple[str, ...] = ()
    """Their definitions, as JSON."""
    _turns: tuple[Turn, ...] | None = field(init=False, compare=False, repr=False, default=None)

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The turns that are sent, in order."""
        if self._turns is None:
            live = tuple(turn for turn in self.all_turns if turn.detached is None)
            live = self.all_turns if len(live) == len(self.all_turns) else live
            object.__setattr__(self, "_turns", live)
        return self._turns or ()

    @property
    def stale(self) -> frozenset[int]:
        """Numbers (from 1) of the turns whose preceding turns have changed since they were answered."""
        return frozenset(
            number
            for number, (turn, past) in enumerate(zip(self.turns, past_digests(self.turns), strict=False), 1)
            if turn.past_digest and turn.past_digest != past
        )
