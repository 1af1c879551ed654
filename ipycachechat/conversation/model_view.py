"""The part of a conversation that one model can be sent: its own thinking, and the files that it accepts."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ipycachechat.conversation.messages import Attachment, Content, Message, Part, Thinking, ThinkingFormat
from ipycachechat.conversation.turns import Turn

FILE_KINDS = ("image", "PDF", "audio", "video")
"""Kinds of files for which it is known which models accept them."""


@dataclass(frozen=True, slots=True)
class ModelView:
    """The content that a model can be sent; by default everything but other models' thinking."""

    thinking_format: ThinkingFormat = ""
    """The form of thinking that it takes back."""
    drops_earlier_thinking: bool = False
    """True if the thinking of earlier turns is not sent."""
    accepted_files: frozenset[str] | None = None
    """Kinds of files; None if unknown, in which case the provider decides."""

    def rejects(self, file: Attachment) -> bool:
        """Return True if the model is known not to accept such a file."""
        if self.accepted_files is None or file.kind not in FILE_KINDS:
            return False
        return file.kind not in self.accepted_files


def visible_messages(turn: Turn, view: ModelView, *, earlier: bool) -> tuple[Message, ...]:
    """Return a turn's messages as the model is sent them. `earlier`: another prompt follows."""
    if turn.is_portable:
        return turn.messages
    return tuple(_visible_message(message, view, earlier) for message in turn.messages)


def _visible_message(message: Message, view: ModelView, earlier: bool) -> Message:
    """Return the message as the model is sent it; the same object if nothing changes."""
    if message.is_portable:
        return message
    thinking: tuple[Thinking, ...] = ()
    if view.thinking_format and not (earlier and view.drops_earlier_thinking):
        thinking = tuple(t for t in message.thinking if t.provider == view.thinking_format)
    calls = message.tool_calls
    if view.thinking_format != "gemini" and any(call.signature for call in calls):
        calls = tuple(replace(call, signature="") for call in calls)
    content = _visible_content(message.content, view)
    if (content, calls, thinking) == (message.content, message.tool_calls, message.thinking):
        return message
    return replace(message, content=content, tool_calls=calls, thinking=thinking)


def _visible_content(content: Content, view: ModelView) -> Content:
    """Replace each file that the model does not accept by a note."""
    if isinstance(content, str):
        return content
    parts: list[Part] = [
        f"[{part.name or part.kind}: not shown, this model takes no {part.kind}]"
        if isinstance(part, Attachment) and view.rejects(part)
        else part
        for part in content
    ]
    return tuple(parts)
