"""Messages and their parts: text, files, tool calls and thinking."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import Literal

Role = Literal["system", "user", "assistant", "tool"]


ThinkingFormat = Literal["", "claude", "gemini", "openai"]
"""The provider whose form a thinking block has; "": one that takes none back."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model asks for; `arguments` is the JSON as it came."""

    id: str
    name: str
    arguments: str
    signature: str = ""
    """The provider's seal on the thought behind the call, which it wants back."""


@dataclass(frozen=True, slots=True)
class Thinking:
    """The model's thinking before its answer, signed by the provider that takes it back."""

    provider: ThinkingFormat
    text: str
    signature: str = ""
    encrypted: str = ""
    """The provider's encrypted thinking, in place of the text; for OpenAI, its item as JSON."""


@dataclass(frozen=True)
class Attachment:
    """A file in a message: its media type, and its bytes in base64 or the address where they are."""

    media_type: str
    data: str = field(repr=False)
    name: str = ""
    detail: str = ""
    """How closely an image is to be looked at, where the provider gives a choice."""

    @property
    def kind(self) -> str:
        """One word for it: image, audio, video, PDF, or the media type."""
        first = self.media_type.partition("/")[0]
        return (
            first
            if first in ("image", "audio", "video")
            else {"application/pdf": "PDF"}.get(self.media_type, self.media_type)
        )

    @cached_property
    def digest(self) -> bytes:
        """Of its bytes or address; made once, since a picture is long."""
        return blake2b(self.data.encode(), digest_size=16).digest()

    @property
    def is_address(self) -> bool:
        """True if `data` says where the bytes are."""
        return "://" in self.data[:16]


Part = str | Attachment


Content = str | tuple[Part, ...]
"""A text, or texts and files in an order."""


def text_of(content: Content) -> str:
    """The texts of a content, a paragraph each."""
    return (
        content
        if isinstance(content, str)
        else "\n\n".join(part for part in content if isinstance(part, str))
    )


def files_of(content: Content) -> tuple[Attachment, ...]:
    """The files of a content, in order."""
    return () if isinstance(content, str) else tuple(part for part in content if isinstance(part, Attachment))


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the exchange. `call_id` names the call that a tool's message answers."""

    role: Role
    content: Content
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    thinking: tuple[Thinking, ...] = ()
    has_cell_context: bool = field(default=False, compare=False)
    """True if its first part is about cells that ran."""

    @property
    def text(self) -> str:
        """Its texts, a paragraph each."""
        return text_of(self.content)

    @property
    def files(self) -> tuple[Attachment, ...]:
        """Its files, in order."""
        return files_of(self.content)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Its texts and files, in order."""
        return (self.content,) if isinstance(self.content, str) else self.content

    @property
    def has_image(self) -> bool:
        """True if there is an image in it."""
        return any(file.media_type.startswith("image/") for file in self.files)

    @property
    def is_portable(self) -> bool:
        """True if every model can be shown all of it."""
        signed = self.thinking or any(call.signature for call in self.tool_calls)
        return isinstance(self.content, str) and not signed
