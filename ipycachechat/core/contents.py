"""What a request contains, block by block, for whoever wants to see it before it goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ipycachechat.caching.breakdown import Row
from ipycachechat.caching.prefix import Chain
from ipycachechat.conversation.turns import File


@dataclass(frozen=True, slots=True)
class Contents:
    """The blocks of a request: what is known of each, and its text; and all of it as it is handed over."""

    model: str
    blocks: tuple[tuple[Row, str], ...]
    wire: dict[str, Any]

    @property
    def tokens(self) -> int:
        """Of all blocks, about."""
        return sum(row.tokens for row, _ in self.blocks)


def texts(chain: Chain) -> list[str]:
    """The text of each block, in the order of the chain's prefixes; of a file what it is."""
    found = list(chain.settings.tools)
    for one in chain.said:
        message = one.message
        if message.role == "tool":
            found.append("\n".join([message.text, *map(_file, message.files)]).strip())
            continue
        found += [thought.text or "(a sealed thought)" for thought in message.thoughts]
        for part in message.parts:
            if isinstance(part, File):
                found.append(_file(part))
            elif part.strip():
                found.append(part)
        found += [f"{call.name}({call.arguments})" for call in message.calls]
    return found


def _file(file: File) -> str:
    named = f" {file.name}" if file.name else ""
    if file.is_address:
        return f"({file.kind}{named}: {file.data})"
    return f"({file.kind}{named}, {file.media}, {len(file.data) * 3 // 4:,} bytes)"
