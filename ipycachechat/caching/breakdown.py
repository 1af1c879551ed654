"""The blocks of a request: tokens, checkpoint, expiry, text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ipycachechat.caching.planner import PlannedRequest
from ipycachechat.caching.prefix import Prefix, PrefixChain
from ipycachechat.caching.state import CacheState
from ipycachechat.conversation.messages import Attachment

KIND_LABELS = {"tool": "tool", "tool_use": "call", "tool_result": "result"}
ROLE_LABELS = {"system": "system", "user": "prompt"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRow:
    """One block of a request, or several in a row."""

    what: str
    """Its kind in a word: system, prompt, answer, call…"""
    turn: int = -1
    """From 0; -1: tools and system prompt, which belong to no turn."""
    cell: str = ""
    tokens: int
    exact: bool
    """True if the tokens are counted or were billed, not estimated."""
    checkpoint: int | None = None
    """TTL in seconds of the checkpoint after it."""
    warm_until: float | None = None
    """When the cached prefix that ends with it expires."""
    blocks: int = 1
    """Number of blocks that the row stands for."""
    cells: int = 1
    """Number of cells to which they belong."""

    @property
    def label(self) -> str:
        """The turn and kind of the block, or of the blocks."""
        if self.blocks > 1:
            return f"{self.what} ({self.blocks} blocks)"
        return f"turn {self.turn + 1}: {self.what}" if self.turn >= 0 else self.what


def block_rows(planned: PlannedRequest, state: CacheState) -> tuple[BlockRow, ...]:
    """Return a row for each block of a request."""
    chain, ttls = planned.chain, {each.index: each.ttl for each in planned.checkpoints}
    rows: list[BlockRow] = []
    start, exact_start = 0, True
    for index, (prefix, end) in enumerate(zip(chain.prefixes, state.sizes(chain), strict=True)):
        entry = state.live(prefix.digest, planned.context.now)
        exact_end = state.is_exact(chain, index)
        rows.append(
            BlockRow(
                what=_label(chain, index, prefix),
                turn=prefix.turn,
                cell=chain.messages[prefix.message].cell if prefix.message >= 0 else "",
                tokens=end - start,
                exact=exact_start and exact_end,
                checkpoint=ttls.get(index),
                warm_until=entry.expires if entry else None,
            )
        )
        start, exact_start = end, exact_end
    return tuple(rows)


def _label(chain: PrefixChain, index: int, prefix: Prefix) -> str:
    if prefix.message < 0:
        return KIND_LABELS[prefix.kind]
    message = chain.messages[prefix.message].message
    if message.has_cell_context and chain.message_starts[prefix.message] == index:
        return "cells that ran"
    return KIND_LABELS.get(prefix.kind) or ROLE_LABELS.get(message.role, "answer")


def summarize_rows(rows: Sequence[BlockRow]) -> tuple[BlockRow, ...]:
    """Return a row for each block with a checkpoint, and for the first and last; the others are joined."""
    summary: list[BlockRow] = []
    pending: list[BlockRow] = []

    def flush() -> None:
        if pending:
            summary.append(_join(pending) if len(pending) > 1 else pending[0])
        pending.clear()

    for index, row in enumerate(rows):
        # In mode "automatic" all rows expire at the same time.
        is_expiry = row.warm_until and index + 1 < len(rows) and row.warm_until != rows[index + 1].warm_until
        if row.checkpoint or is_expiry or index in (0, len(rows) - 1):
            flush()
            summary.append(row)
            continue
        if pending and (pending[-1].turn < 0) != (row.turn < 0):
            flush()
        pending.append(row)
    flush()
    return tuple(summary)


def _join(rows: Sequence[BlockRow]) -> BlockRow:
    first, last = rows[0].turn + 1, rows[-1].turn + 1
    if first == 0:
        what = " and ".join(dict.fromkeys(f"{row.what}s" if row.what == "tool" else row.what for row in rows))
    else:
        what = f"turn {first}" if first == last else f"turns {first} to {last}"
    cells = list(dict.fromkeys(row.cell for row in rows if row.cell))
    return BlockRow(
        what=what,
        turn=rows[0].turn,
        cell=cells[0] if len(cells) == 1 else "",
        tokens=sum(row.tokens for row in rows),
        exact=all(row.exact for row in rows),
        blocks=len(rows),
        cells=len(cells),
    )


@dataclass(frozen=True, slots=True)
class RequestPreview:
    """The content of a request: its blocks with their text, and all of it as litellm takes it."""

    model: str
    blocks: tuple[tuple[BlockRow, str], ...]
    wire: dict[str, Any]

    @property
    def tokens(self) -> int:
        """Tokens of all blocks, partly estimated."""
        return sum(row.tokens for row, _ in self.blocks)


def block_texts(chain: PrefixChain) -> list[str]:
    """Return the text of each block, in the order of the chain's prefixes; for files a description."""
    texts = list(chain.options.tools)
    for item in chain.messages:
        message = item.message
        if message.role == "tool":
            texts.append("\n".join([message.text, *map(_describe_file, message.files)]).strip())
            continue
        texts += [thought.text or "(encrypted thinking)" for thought in message.thinking]
        for part in message.parts:
            if isinstance(part, Attachment):
                texts.append(_describe_file(part))
            elif part.strip():
                texts.append(part)
        texts += [f"{call.name}({call.arguments})" for call in message.tool_calls]
    return texts


def _describe_file(file: Attachment) -> str:
    name = f" {file.name}" if file.name else ""
    if file.is_address:
        return f"({file.kind}{name}: {file.data})"
    return f"({file.kind}{name}, {file.media_type}, {len(file.data) * 3 // 4:,} bytes)"
