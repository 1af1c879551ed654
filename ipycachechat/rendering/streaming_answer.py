"""An answer while it grows: the finished part and the rest."""

from __future__ import annotations

from dataclasses import dataclass

from ipycachechat.conversation.events import StreamBroken, StreamChunk, ToolCallFinished, ToolCallStarted
from ipycachechat.rendering import answer, markdown_split
from ipycachechat.rendering.answer import CallSegment, Segment, TextSegment, ThinkingSegment

MIN_PART, MIN_SHARE = 700, 0.015
"""A finished part is taken out of the rest when it has so many characters, and such a share of the answer."""

AnswerEvent = StreamChunk | ToolCallStarted | ToolCallFinished | StreamBroken


@dataclass(frozen=True, slots=True)
class Position:
    """A position in the segments. A block that is cut there is closed before it and reopened after it."""

    segment: int = 0
    offset: int = 0
    close: str = ""
    open: str = ""


class StreamingAnswer:
    """The segments of a growing answer, in two parts: those taken as finished, and the rest."""

    def __init__(self, *, anywhere: bool = False) -> None:
        """`anywhere`: cut a very long block even where the cut is visible, until all is drawn as one again."""
        self.segments: list[Segment] = []
        self.size = 0
        """Characters of the answer so far."""
        self.rest_start = Position()
        """Position at which the rest begins."""
        self._anywhere = anywhere

    def add(self, event: AnswerEvent) -> bool:
        """Add an event; return True if something new begins."""
        match event:
            case StreamChunk(text, thought):
                self.size += len(text) + len(thought)
                new = bool(thought) and self._grow(ThinkingSegment, thought)
                return (bool(text) and self._grow(TextSegment, text)) or new
            case StreamBroken(text):
                while self.segments and not isinstance(self.segments[-1], CallSegment):
                    self.segments.pop()
                self.restart()
                self.segments.append(answer.DiscardedText(text))
            case ToolCallStarted(call):
                self.segments.append(CallSegment(call))
            case ToolCallFinished(call, result):
                index = self.segments.index(CallSegment(call))
                self.segments[index] = CallSegment(call, result)
        return True

    @property
    def discarded(self) -> list[answer.DiscardedText]:
        """The text of answers that broke off and were retried."""
        return [part for part in self.segments if isinstance(part, answer.DiscardedText)]

    @property
    def rest(self) -> list[Segment]:
        """Return the part that is not finished."""
        return self._between(self.rest_start, None)

    @property
    def rest_size(self) -> int:
        """Approximate number of characters of the rest."""
        rest = self.segments[self.rest_start.segment :]
        return (
            sum(len(part.text) for part in rest if not isinstance(part, CallSegment)) - self.rest_start.offset
        )

    def finished_since(self, since: Position) -> list[Segment]:
        """Return the parts that were finished since an earlier `rest_start`."""
        return self._between(since, self.rest_start)

    def take_finished(self) -> list[Segment]:
        """Take finished parts out of the rest and return them; none if they are too short."""
        rest, was = self.rest, self.rest_start
        last = rest[-1] if rest else None
        if not isinstance(last, TextSegment):
            return []
        min_length = max(MIN_PART, int(MIN_SHARE * self.size))
        cut = markdown_split.cut(last.text, min_length, anywhere=self._anywhere)
        same = len(rest) == 1  # a part of this segment may be taken already
        opened = len(was.open) if same else 0
        if cut is not None and cut.offset > opened:
            at = cut.offset - opened + (was.offset if same else 0)
            self.rest_start = Position(len(self.segments) - 1, at, cut.close, cut.open)
        elif sum(len(part.text) for part in rest[:-1] if isinstance(part, ThinkingSegment)) >= min_length:
            self.rest_start = Position(len(self.segments) - 1)
        else:
            return []
        return self.finished_since(was)

    def restart(self) -> None:
        """Count nothing as finished any more."""
        self.rest_start = Position()

    def _between(self, first: Position, last: Position | None) -> list[Segment]:
        """Return the segments between two positions (None: the end)."""
        parts = self.segments[first.segment : None if last is None else last.segment + 1]
        if parts and last is not None:
            ending = parts.pop()
            if last.offset and isinstance(ending, TextSegment):
                parts.append(TextSegment(ending.text[: last.offset] + last.close))
        if parts and first.offset and isinstance(parts[0], TextSegment):
            parts[0] = TextSegment(first.open + parts[0].text[first.offset :])
        return parts

    def _grow(self, kind: type[TextSegment] | type[ThinkingSegment], text: str) -> bool:
        last = self.segments[-1] if self.segments else None
        if isinstance(last, kind):
            self.segments[-1] = kind(last.text + text)
            return not last.text.strip()
        self.segments.append(kind(text))
        return bool(text.strip())
