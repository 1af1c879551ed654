"""Messages and their parts: text, files, tool calls and thinking."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import Literal

Role = Literal["system", "user", "assistant", "tool"]
ThinkingFormat = Literal["", "claude", "gemini", "openai"]
"""The provider whose format a thinking block has; "": a provider that takes none back."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call that the model asks for; `arguments` is the JSON as it arrived."""

    id: str
    name: str
    arguments: str
    signature: str = ""
    """The provider's signature of the thinking behind the call, which has to be sent back."""


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
    """A file in a message: its media type, and its bytes in base64 or its address."""

    media_type: str
    data: str = field(repr=False)
    name: str = ""
    detail: str = ""
    """Resolution at which an image is to be read ("low", "high"), for providers that offer a choice."""

    @property
    def kind(self) -> str:
        """The kind of file in a word: image, audio, video, PDF, or the media type."""
        kind = self.media_type.partition("/")[0]
        if kind in ("image", "audio", "video"):
            return kind
        return "PDF" if self.media_type == "application/pdf" else self.media_type

    @cached_property
    def digest(self) -> bytes:
        """Digest of `data`; computed once, since images are large."""
        return blake2b(self.data.encode(), digest_size=16).digest()

    @property
    def is_address(self) -> bool:
        """True if `data` is an address."""
        return "://" in self.data[:16]


Part = str | Attachment
Content = str | tuple[Part, ...]
"""A text, or texts and files in order."""


def text_of(content: Content) -> str:
    """Return the texts of a content as paragraphs."""
    if isinstance(content, str):
        return content
    return "\n\n".join(part for part in content if isinstance(part, str))


def files_of(content: Content) -> tuple[Attachment, ...]:
    """Return the files of a content, in order."""
    return () if isinstance(content, str) else tuple(part for part in content if isinstance(part, Attachment))


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it is sent. `tool_call_id` is the call that a tool's message answers."""

    role: Role
    content: Content
    tool_calls: tuple[ToolCall, ...] = ()
    _: KW_ONLY
    tool_call_id: str = ""
    thinking: tuple[Thinking, ...] = ()
    has_cell_context: bool = field(default=False, compare=False)
    """True if its first part is about cells that ran."""

    @property
    def text(self) -> str:
        """Its texts as paragraphs."""
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
        """True if it can be sent to every model as it is."""
        signed = self.thinking or any(call.signature for call in self.tool_calls)
        return isinstance(self.content, str) and not signed
