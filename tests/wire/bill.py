"""The tokens that a request is billed, in one form for all providers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bill:
    """Tokens by price class. `fresh + read + written` is the whole prompt, `output` includes `thinking`."""

    fresh: int = 0
    read: int = 0
    written_5m: int = 0
    written_1h: int = 0
    written_30m: int = 0
    output: int = 0
    thinking: int = 0

    @property
    def written(self) -> int:
        """Tokens written to a cache, of any lifetime."""
        return self.written_5m + self.written_1h + self.written_30m

    @property
    def prompt(self) -> int:
        """Tokens of the whole prompt."""
        return self.fresh + self.read + self.written

    def units(self, read_price: float = 0.1) -> float:
        """Price of the prompt in units of one uncached token (writes: 1.25 for 5m and 30m, 2.0 for 1h)."""
        short = self.written_5m + self.written_30m
        return self.fresh + read_price * self.read + 1.25 * short + 2.0 * self.written_1h
