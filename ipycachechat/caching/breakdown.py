"""The blocks of a request: tokens, checkpoint, expiry, text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ipycachechat.caching.planner import PlannedRequest
from ipycachechat.caching.prefix import PrefixChain
from ipycachechat.caching.state import CacheState
from ipycachechat.conversation.messages import Attachment

KINDS = {"tool": "tool", "tool_use": "call", "tool_result": "result"}


@dataclass(frozen=True, slots=True)
class BlockRow:
    """One block of the prefix."""

    what: str
    turn: int
    """From 0; -1: none."""
    cell: str
    tokens: int
    exact: bool
    checkpoint: int | None = None
    """Lifetime in seconds."""
    warm_until: float | None = None
    blocks: int = 1
    """How many this row stands for."""
    cells: int = 1
    """Of how many cells."""

    @property
    def label(self) -> str:
        """Which block it is, or which blocks."""
        if self.blocks > 1:
            return f"{self.what} ({self.blocks} blocks)"
        return f"turn {self.turn + 1}: {self.what}" if self.turn >= 0 else self.what


def block_rows(prepared: PlannedRequest, state: CacheState) -> tuple[BlockRow, ...]:
    """The blocks of a request; tokens are those of the block alone."""
    chain, marked = prepared.chain, {mark.at: mark.ttl for mark in prepared.plan.checkpoints}
    found, before, known = [], 0, True
    sizes = state.sizes(chain)
    for n, prefix in enumerate(chain.prefixes):
        one = chain.messages[prefix.message] if prefix.message >= 0 else None
        upto, exact = sizes[n]
        entry = state.live(prefix.digest, prepared.at)
        what = KINDS.get(prefix.kind) or {"system": "system", "user": "prompt"}.get(
            one.message.role if one else "", "answer"
        )
        if one and one.message.has_cell_context and chain.message_starts[prefix.message] == n:
            what = "cells that ran"
        found.append(
            BlockRow(
                what,
                prefix.turn,
                one.cell if one else "",
                upto - before,
                exact and known,
                marked.get(n),
                entry.expires if entry else None,
            )
        )
        before, known = upto, exact
    return tuple(found)


def summarize_rows(rows: Sequence[BlockRow]) -> tuple[BlockRow, ...]:
    """A row for each block with a checkpoint, and for the first and last; the others are put together."""
    found: list[BlockRow] = []
    waiting: list[BlockRow] = []

    def flush() -> None:
        if waiting:
            found.append(_together(waiting) if len(waiting) > 1 else waiting[0])
        waiting.clear()

    for n, row in enumerate(rows):
        # Where whole prefixes live, all rows have the same time.
        ends = n + 1 < len(rows) and row.warm_until != rows[n + 1].warm_until and row.warm_until
        if row.checkpoint or ends or n in (0, len(rows) - 1):
            flush()
            found.append(row)
            continue
        if waiting and (waiting[-1].turn < 0) != (row.turn < 0):  # tools and system prompt belong to no turn
            flush()
        waiting.append(row)
    flush()
    return tuple(found)


def _together(rows: Sequence[BlockRow]) -> BlockRow:
    cells = list(dict.fromkeys(row.cell for row in rows if row.cell))
    return BlockRow(
        _span(rows),
        rows[0].turn,
        cells[0] if len(cells) == 1 else "",
        sum(row.tokens for row in rows),
        all(row.exact for row in rows),
        blocks=len(rows),
        cells=len(cells),
    )


def _span(rows: Sequence[BlockRow]) -> str:
    if rows[0].turn < 0:
        return " and ".join(dict.fromkeys(f"{row.what}s" if row.what == "tool" else row.what for row in rows))
    first, last = rows[0].turn + 1, rows[-1].turn + 1
    return f"turn {first}" if first == last else f"turns {first} to {last}"


@dataclass(frozen=True, slots=True)
class RequestPreview:
    """The blocks of a request: what is known of each, and its text; and all of it as it is handed over."""

    model: str
    blocks: tuple[tuple[BlockRow, str], ...]
    wire: dict[str, Any]

    @property
    def tokens(self) -> int:
        """Of all blocks, about."""
        return sum(row.tokens for row, _ in self.blocks)


def block_texts(chain: PrefixChain) -> list[str]:
    """The text of each block, in the order of the chain's prefixes; of a file what it is."""
    found = list(chain.options.tools)
    for one in chain.messages:
        message = one.message
        if message.role == "tool":
            found.append("\n".join([message.text, *map(_file, message.files)]).strip())
            continue
        found += [thought.text or "(a sealed thought)" for thought in message.thinking]
        for part in message.parts:
            if isinstance(part, Attachment):
                found.append(_file(part))
            elif part.strip():
                found.append(part)
        found += [f"{call.name}({call.arguments})" for call in message.tool_calls]
    return found


def _file(file: Attachment) -> str:
    named = f" {file.name}" if file.name else ""
    if file.is_address:
        return f"({file.kind}{named}: {file.data})"
    return f"({file.kind}{named}, {file.media_type}, {len(file.data) * 3 // 4:,} bytes)"
