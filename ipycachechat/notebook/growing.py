"""An answer while it grows: what has been told of it, and what of that is finished and need not be drawn again."""

from __future__ import annotations

from ipycachechat.core.events import Called, Piece, Returned
from ipycachechat.notebook import blocks
from ipycachechat.notebook.answer import Call, Segment, Text, Thinking

# A part is taken when it is so long, and not too short for the answer.
PART, OF_ALL = 700, 0.015  # characters, of the answer

More = Piece | Called | Returned


class Growing:
    """The segments that are shown, in two parts: those that were taken as finished, and the rest."""

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.size = 0
        """Characters of it."""
        self._first = self._at = 0
        """Where the rest begins: the segment, and the place in its text."""
        self._open = ""
        """What opens a fence anew that was cut there."""

    def add(self, event: More) -> bool:
        """Add what is told; True if something begins that was not there before."""
        match event:
            case Piece(text, thought):
                self.size += len(text) + len(thought)
                begun = bool(thought) and self._grow(Thinking, thought)
                return (bool(text) and self._grow(Text, text)) or begun
            case Called(call):
                self.segments.append(Call(call))
            case Returned(call, result):
                place = next(n for n, one in enumerate(self.segments) if one == Call(call))
                self.segments[place] = Call(call, result)
        return True

    @property
    def rest(self) -> list[Segment]:
        """What is not finished."""
        rest = self.segments[self._first :]
        if rest and self._at and isinstance(rest[0], Text):
            rest[0] = Text(self._open + rest[0].text[self._at :])
        return rest

    @property
    def unfinished(self) -> int:
        """Characters of the rest, about."""
        return (
            sum(len(one.text) for one in self.segments[self._first :] if not isinstance(one, Call)) - self._at
        )

    def take_finished(self) -> list[Segment]:
        """Take what is finished, if it is enough to be worth it, out of the rest."""
        rest = self.rest
        last = rest[-1] if rest else None
        if not isinstance(last, Text):
            return []
        least = max(PART, int(OF_ALL * self.size))
        cut = blocks.cut(last.text, least)
        begun = len(rest) == 1  # so that a part of this segment may be taken already
        opened = len(self._open) if begun else 0
        if cut is not None and cut.at > opened:
            at = cut.at - opened + (self._at if begun else 0)
            self._first, self._at, self._open = len(self.segments) - 1, at, cut.open
            return [*rest[:-1], Text(last.text[: cut.at] + cut.close)]
        if sum(len(one.text) for one in rest[:-1] if isinstance(one, Thinking)) >= least:
            self._first, self._at, self._open = len(self.segments) - 1, 0, ""
            return rest[:-1]
        return []

    def all_again(self) -> None:
        """Nothing counts as finished any more."""
        self._first, self._at, self._open = 0, 0, ""

    def _grow(self, kind: type[Text] | type[Thinking], text: str) -> bool:
        last = self.segments[-1] if self.segments else None
        if isinstance(last, kind):
            self.segments[-1] = kind(last.text + text)
            return not last.text.strip()
        self.segments.append(kind(text))
        return bool(text.strip())
