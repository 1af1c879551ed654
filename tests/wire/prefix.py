"""Cache rules that work by token prefix: OpenAI's up to gpt-5.5, and Gemini's implicit caching. Pure.

OpenAI: developers.openai.com/api/docs/guides/prompt-caching, "Earlier models": 1024 tokens, then steps of
128; kept for 5 to 10 minutes of idleness (here: 10) or 24 hours on request.
Gemini: ai.google.dev/gemini-api/docs/caching: 2048 tokens for 2.5, 4096 for 3 and later; neither step nor
lifetime is stated. This server takes 128 and 10 minutes; the real one promises nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from .bill import Bill
from .cache import Block, Plan
from .tokens import pieces

STEP = 128
IDLE = 600
DAY = 86_400


@dataclass(slots=True)
class PrefixCache:
    """Token prefixes seen, kept apart per API key; values are when they die and how long they live."""

    seen: dict[tuple[str, str], tuple[float, int]] = field(default_factory=dict)

    def plan(
        self, key: str, blocks: Sequence[Block], model: str, minimum: int | None, now: float, ttl: int = IDLE
    ) -> Plan:
        """Bill a prompt; `minimum` None means that the model does not cache."""
        total = sum(block.tokens for block in blocks)
        marks = [] if minimum is None else boundaries(blocks, model, minimum)
        read = 0
        for tokens, name in reversed(marks):
            dies, _ = self.seen.get((key, name), (0.0, 0))
            if now < dies:
                read = tokens
                break

        def commit() -> None:
            for _, name in marks:
                dies, _ = self.seen.get((key, name), (0.0, 0))
                self.seen[key, name] = (max(dies, now + ttl), ttl)

        return Plan(Bill(fresh=total - read, read=read), commit)


def boundaries(blocks: Sequence[Block], model: str, minimum: int) -> list[tuple[int, str]]:
    """Token count and hash of the prefix at `minimum` and every STEP after it."""
    stream: list[str] = []
    head = ""
    for block in blocks:
        # The role and kind of a block are part of its first token: they change the hash, not the count.
        head += f"\x01{block.tier}/{block.kind}/{block.wire if not block.text else block.wire[:16]}\x02"
        cut = pieces(block.text) if block.text else [""] * block.tokens
        if cut:
            cut[0] = head + cut[0]
            head = ""
        stream += cut
    chain, found, done = sha256(model.encode()), [], 0
    for at in range(minimum, len(stream) + 1, STEP):
        chain.update("".join(stream[done:at]).encode())
        found.append((at, chain.hexdigest()))
        done = at
    return found
