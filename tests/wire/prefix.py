"""Cache rules that work by token prefix: OpenAI's up to gpt-5.5, and Gemini's implicit caching. Pure.

OpenAI: developers.openai.com/api/docs/guides/prompt-caching, "Earlier models": 1024 tokens, then steps of
128; kept for 5 to 10 minutes of idleness (here: 10) or 24 hours on request.
Gemini: ai.google.dev/gemini-api/docs/caching: 2048 tokens for 2.5, 4096 for 3 and later; neither step nor
lifetime is documented. This server takes 128 and 10 minutes; the real one guarantees nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from .bill import Bill
from .cache import Block, Plan
from .tokens import split_tokens

STEP = 128
IDLE = 600
DAY = 86_400


@dataclass(slots=True)
class PrefixCache:
    """Cached token prefixes by API key; a value is (time of expiry, lifetime in seconds)."""

    entries: dict[tuple[str, str], tuple[float, int]] = field(default_factory=dict)

    def plan(
        self, key: str, blocks: Sequence[Block], model: str, minimum: int | None, now: float, ttl: int = IDLE
    ) -> Plan:
        """Bill a prompt; `minimum` None means that the model does not cache."""
        total = sum(block.tokens for block in blocks)
        prefixes = [] if minimum is None else boundaries(blocks, model, minimum)
        read_tokens = 0
        for tokens, name in reversed(prefixes):
            expires, _ = self.entries.get((key, name), (0.0, 0))
            if now < expires:
                read_tokens = tokens
                break

        def commit() -> None:
            for _, name in prefixes:
                expires, _ = self.entries.get((key, name), (0.0, 0))
                self.entries[key, name] = (max(expires, now + ttl), ttl)

        return Plan(Bill(fresh=total - read_tokens, read=read_tokens), commit)


def boundaries(blocks: Sequence[Block], model: str, minimum: int) -> list[tuple[int, str]]:
    """Token count and hash of the prefix at `minimum` and every STEP after it."""
    all_tokens: list[str] = []
    head = ""
    for block in blocks:
        # The role and kind of a block are part of its first token: they change the hash, not the count.
        head += f"\x01{block.tier}/{block.kind}/{block.wire if not block.text else block.wire[:16]}\x02"
        tokens = split_tokens(block.text) if block.text else [""] * block.tokens
        if tokens:
            tokens[0] = head + tokens[0]
            head = ""
        all_tokens += tokens
    chain, prefixes, start = sha256(model.encode()), [], 0
    for end in range(minimum, len(all_tokens) + 1, STEP):
        chain.update("".join(all_tokens[start:end]).encode())
        prefixes.append((end, chain.hexdigest()))
        start = end
    return prefixes
