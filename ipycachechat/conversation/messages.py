"""Messages and their parts: text, files, tool calls and thinking."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import Literal

Role = Literal["system", "user", "assistant", "tool"]


Signer = Literal["", "claude", "gemini", "openai"]
"""Whose form a thought has; "" is nobody's, who wants none back."""


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
    """What the model thought before it answered, sealed by whoever wants it back."""

    provider: Signer
    text: str
    signature: str = ""
    hidden: str = ""
    """What the provider has encrypted, in place of the text; OpenAI's item in JSON."""


@dataclass(frozen=True)
class File:
    """What is sent that is no text: its media type, and its bytes in base64, or the address where they are."""

    media: str
    data: str = field(repr=False)
    name: str = ""
    detail: str = ""
    """How closely an image is to be looked at, where the provider gives a choice."""

    @property
    def kind(self) -> str:
        """One word for it: image, audio, video, PDF, or the media type."""
        first = self.media.partition("/")[0]
        return (
            first
            if first in ("image", "audio", "video")
            else {"application/pdf": "PDF"}.get(self.media, self.media)
        )

    @cached_property
    def digest(self) -> bytes:
        """Of its bytes or address; made once, since a picture is long."""
        return blake2b(self.data.encode(), digest_size=16).digest()

    @property
    def is_address(self) -> bool:
        """Whether `data` says where the bytes are."""
        return "://" in self.data[:16]


Part = str | File


Content = str | tuple[Part, ...]
"""A text, or texts and files in an order."""


def text_of(content: Content) -> str:
    """The texts of a content, a paragraph each."""
    return (
        content
        if isinstance(content, str)
        else "\n\n".join(part for part in content if isinstance(part, str))
    )


def files_of(content: Content) -> tuple[File, ...]:
    """The files of a content, in order."""
    return () if isinstance(content, str) else tuple(part for part in content if isinstance(part, File))


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the exchange. `call_id` names the call that a tool's message answers."""

    role: Role
    content: Content
    calls: tuple[ToolCall, ...] = ()
    call_id: str = ""
    thoughts: tuple[Thinking, ...] = ()
    tells_of_cells: bool = field(default=False, compare=False)
    """Whether its first part is about cells that ran."""

    @property
    def text(self) -> str:
        """Its texts, a paragraph each."""
        return text_of(self.content)

    @property
    def files(self) -> tuple[File, ...]:
        """Its files, in order."""
        return files_of(self.content)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Its texts and files, in order."""
        return (self.content,) if isinstance(self.content, str) else self.content

    @property
    def pictured(self) -> bool:
        """Whether there is an image in it."""
        return any(file.media.startswith("image/") for file in self.files)

    @property
    def plain(self) -> bool:
        """Whether every model can be shown all of it."""
        signed = self.thoughts or any(call.signature for call in self.calls)
        return isinstance(self.content, str) and not signed
