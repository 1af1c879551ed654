"""An answer while it grows: the finished part and the rest."""

from __future__ import annotations

from dataclasses import dataclass

from ipycachechat.conversation.events import StreamBroken, StreamChunk, ToolCallFinished, ToolCallStarted
from ipycachechat.rendering import answer, markdown_split
from ipycachechat.rendering.answer import CallSegment, Segment, TextSegment, ThinkingSegment

# A part is taken when it is so long, and not too short for the answer.
MIN_PART, MIN_SHARE = 700, 0.015  # characters, of the answer

AnswerEvent = StreamChunk | ToolCallStarted | ToolCallFinished | StreamBroken


@dataclass(frozen=True, slots=True)
class Position:
    """One in the segments; a block that is cut there is closed before it and reopened behind it."""

    segment: int = 0
    offset: int = 0
    close: str = ""
    open: str = ""


class StreamingAnswer:
    """The segments that are shown, in two parts: those that were taken as finished, and the rest."""

    def __init__(self, *, anywhere: bool = False) -> None:
        """`anywhere`: a very long block is cut also where that shows, until all is drawn as one again."""
        self.segments: list[Segment] = []
        self.size = 0
        """Characters of it."""
        self.rest_start = Position()
        """Where the rest begins."""
        self._anywhere = anywhere

    def add(self, event: AnswerEvent) -> bool:
        """Add what is told; True if something begins that was not there before."""
        match event:
            case StreamChunk(text, thought):
                self.size += len(text) + len(thought)
                begun = bool(thought) and self._grow(ThinkingSegment, thought)
                return (bool(text) and self._grow(TextSegment, text)) or begun
            case StreamBroken(text):
                while self.segments and not isinstance(self.segments[-1], CallSegment):
                    self.segments.pop()
                self.restart()
                self.segments.append(answer.DiscardedText(text))
            case ToolCallStarted(call):
                self.segments.append(CallSegment(call))
            case ToolCallFinished(call, result):
                place = next(n for n, one in enumerate(self.segments) if one == CallSegment(call))
                self.segments[place] = CallSegment(call, result)
        return True

    @property
    def discarded(self) -> list[answer.DiscardedText]:
        """The text of answers that broke off and were retried."""
        return [one for one in self.segments if isinstance(one, answer.DiscardedText)]

    @property
    def rest(self) -> list[Segment]:
        """Return the part that is not finished."""
        return self._between(self.rest_start, None)

    @property
    def rest_size(self) -> int:
        """Characters of the rest, about."""
        rest = self.segments[self.rest_start.segment :]
        return sum(len(one.text) for one in rest if not isinstance(one, CallSegment)) - self.rest_start.offset

    def finished_since(self, since: Position) -> list[Segment]:
        """Return the parts that were finished since then."""
        return self._between(since, self.rest_start)

    def take_finished(self) -> list[Segment]:
        """Take what is finished, if it is enough to be worth it, out of the rest."""
        rest, was = self.rest, self.rest_start
        last = rest[-1] if rest else None
        if not isinstance(last, TextSegment):
            return []
        least = max(MIN_PART, int(MIN_SHARE * self.size))
        cut = markdown_split.cut(last.text, least, anywhere=self._anywhere)
        begun = len(rest) == 1  # so that a part of this segment may be taken already
        opened = len(was.open) if begun else 0
        if cut is not None and cut.offset > opened:
            at = cut.offset - opened + (was.offset if begun else 0)
            self.rest_start = Position(len(self.segments) - 1, at, cut.close, cut.open)
        elif sum(len(one.text) for one in rest[:-1] if isinstance(one, ThinkingSegment)) >= least:
            self.rest_start = Position(len(self.segments) - 1)
        else:
            return []
        return self.finished_since(was)

    def restart(self) -> None:
        """Nothing counts as finished any more."""
        self.rest_start = Position()

    def _between(self, first: Position, last: Position | None) -> list[Segment]:
        """The segments from a place to another (None: to the end)."""
        found = self.segments[first.segment : None if last is None else last.segment + 1]
        if found and last is not None:
            ending = found.pop()
            if last.offset and isinstance(ending, TextSegment):
                found.append(TextSegment(ending.text[: last.offset] + last.close))
        if found and first.offset and isinstance(found[0], TextSegment):
            found[0] = TextSegment(first.open + found[0].text[first.offset :])
        return found

    def _grow(self, kind: type[TextSegment] | type[ThinkingSegment], text: str) -> bool:
        last = self.segments[-1] if self.segments else None
        if isinstance(last, kind):
            self.segments[-1] = kind(last.text + text)
            return not last.text.strip()
        self.segments.append(kind(text))
        return bool(text.strip())
