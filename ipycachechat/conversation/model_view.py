"""The part of a conversation that one model can be sent: its own thinking, and the files that it accepts."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ipycachechat.conversation.messages import Attachment, Content, Message, Part, ThinkingFormat
from ipycachechat.conversation.turns import Turn


@dataclass(frozen=True, slots=True)
class ModelView:
    """The content that a model can be sent; by default everything but other models' thinking."""

    thinking_format: ThinkingFormat = ""
    """The form of thinking that it takes back."""
    drops_earlier_thinking: bool = False
    """True if it is not shown the thoughts of earlier turns."""
    accepted_files: frozenset[str] | None = None
    """Kinds of files; None: unknown, so that the provider is left to say."""

    def rejects(self, file: Attachment) -> bool:
        """Return True if the model is known not to take such a file."""
        return self.accepted_files is not None and file.kind in KINDS and file.kind not in self.accepted_files


KINDS = ("image", "PDF", "audio", "video")
"""Those of which is known who takes them."""


def visible_messages(turn: Turn, eyes: ModelView, *, earlier: bool) -> tuple[Message, ...]:
    """A turn's messages as the model is shown them. `earlier`: another prompt follows."""
    if turn.is_portable:
        return turn.messages
    return tuple(visible_message(message, eyes, earlier=earlier) for message in turn.messages)


def visible_message(message: Message, eyes: ModelView, *, earlier: bool) -> Message:
    """One message; the very same if all of it is shown."""
    if message.is_portable:
        return message
    forgotten = earlier and eyes.drops_earlier_thinking
    thoughts = tuple(
        t
        for t in message.thinking
        if eyes.thinking_format and t.provider == eyes.thinking_format and not forgotten
    )
    calls = message.tool_calls
    if eyes.thinking_format != "gemini" and any(call.signature for call in calls):
        calls = tuple(replace(call, signature="") for call in calls)
    content = _content(message.content, eyes)
    if (content, calls, thoughts) == (message.content, message.tool_calls, message.thinking):
        return message
    return replace(message, content=content, tool_calls=calls, thinking=thoughts)


def _content(content: Content, eyes: ModelView) -> Content:
    """With a note in place of each file that the model does not take."""
    if isinstance(content, str):
        return content
    parts: list[Part] = [
        f"[{part.name or part.kind}: not shown, this model takes no {part.kind}]"
        if isinstance(part, Attachment) and eyes.rejects(part)
        else part
        for part in content
    ]
    return tuple(parts)
