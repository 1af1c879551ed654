"""What of a conversation one model is shown: the thoughts that it sealed itself, and the files that it takes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ipycachechat.conversation.messages import Content, File, Message, Part, Signer
from ipycachechat.conversation.turns import Turn


@dataclass(frozen=True, slots=True)
class Eyes:
    """What a model can be shown; by default everything but other models' thoughts."""

    signer: Signer = ""
    """Whose thoughts it wants back."""
    forgets: bool = False
    """Whether it is not shown the thoughts of earlier turns."""
    takes: frozenset[str] | None = None
    """Kinds of files; None: unknown, so that the provider is left to say."""

    def refuses(self, file: File) -> bool:
        """Whether the model is known not to take such a file."""
        return self.takes is not None and file.kind in KINDS and file.kind not in self.takes


KINDS = ("image", "PDF", "audio", "video")
"""Those of which is known who takes them."""


def messages(turn: Turn, eyes: Eyes, *, earlier: bool) -> tuple[Message, ...]:
    """A turn's messages as the model is shown them. `earlier`: another prompt follows."""
    if turn.plain:
        return turn.messages
    return tuple(shown(message, eyes, earlier=earlier) for message in turn.messages)


def shown(message: Message, eyes: Eyes, *, earlier: bool) -> Message:
    """One message; the very same if all of it is shown."""
    if message.plain:
        return message
    forgotten = earlier and eyes.forgets
    thoughts = tuple(t for t in message.thoughts if eyes.signer and t.provider == eyes.signer and not forgotten)
    calls = message.calls
    if eyes.signer != "gemini" and any(call.signature for call in calls):
        calls = tuple(replace(call, signature="") for call in calls)
    content = _content(message.content, eyes)
    if (content, calls, thoughts) == (message.content, message.calls, message.thoughts):
        return message
    return replace(message, content=content, calls=calls, thoughts=thoughts)


def _content(content: Content, eyes: Eyes) -> Content:
    """With a note in place of each file that the model does not take."""
    if isinstance(content, str):
        return content
    parts: list[Part] = [
        f"[{part.name or part.kind}: not shown, this model takes no {part.kind}]"
        if isinstance(part, File) and eyes.refuses(part)
        else part
        for part in content
    ]
    return tuple(parts)
