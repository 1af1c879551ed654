"""CacheRules: the fields that describe how one model family caches.

A field that a row leaves out is unknown, and is treated so. `verified` names tests against the real provider;
everything else is the provider's documentation, to which `source` points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from ipycachechat.conversation.messages import ThinkingFormat

CacheMode = Literal["explicit", "implicit", "automatic", "unknown"]
Tier = Literal["tools", "system", "messages"]
Marker = Literal["", "cache_control", "prompt_cache_breakpoint"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRules:
    """How one family of models caches.

    `mode`: "explicit" caches up to marked blocks; "implicit" places a checkpoint at the end by itself and accepts
    others; "automatic" caches token prefixes; "unknown" may do anything. Markers are sent in the first two modes only:
    some of the other providers charge for them (Gemini bills storage), some reject them.
    """

    provider: str
    """Pattern of litellm's provider name."""
    model: str
    """Pattern of the model name without the provider."""
    mode: CacheMode
    source: str
    """Documentation on which the row is based."""
    bills_writes: bool = False
    """True if the bill separates written tokens from fresh ones."""
    missing_means_zero: bool = False
    """True if a count that the response leaves out is 0, as in JSON of protocol buffers; False: it is unknown."""
    reports_cached_tokens: bool | None = True
    """True if the provider reports how much was read; None: only some servers do."""
    minimum: int | None = None
    """Tokens below which nothing is cached; litellm's figure for the model takes precedence."""
    minimums: tuple[tuple[str, int], ...] = ()
    """Minimums of single models, by pattern of their name."""
    step: int = 1
    """Reads end at a multiple of this many tokens."""
    marker: Marker = ""
    """Field of a block that makes it a checkpoint; "": none is sent."""
    max_checkpoints: int = 0
    """Number of markers that a request may have."""
    can_mark_assistant: bool = True
    """True if assistant messages may have a marker."""
    lookback: int | None = None
    """Positions searched backwards from a checkpoint for an entry, its own included; None: all."""
    searched_checkpoints: int | None = None
    """Number of latest checkpoints, implicit ones included, at which entries are searched; None: all."""
    lifetimes: tuple[int, ...] = ()
    """Seconds that an entry lives after its last use, shortest first; empty: unknown."""
    one_hour_if_priced: bool = False
    """True if only models for which litellm knows a price of it have the longer lifetime."""
    writes: tuple[float, ...] = ()
    """Price of writing, as a multiple of the input price, for each lifetime."""
    reads: float = 0.1
    """Price of reading, as a multiple of the input price."""
    cache_key: str = ""
    """litellm's parameter for a stable key that routes a conversation's requests to one machine; `parameter.field`
    for a field of a parameter."""
    invalidates: Mapping[str, Tier] = field(default_factory=dict)
    """Options that are part of the prefix, each with the first tier that it changes."""
    thinking_format: ThinkingFormat = ""
    """Format in which thinking is sent back; "": it is not."""
    drops_thinking: tuple[str, ...] = ()
    """Models, by pattern of their name, that are not shown the thinking of earlier turns."""
    keepalive_max_tokens: int | None = None
    """`max_tokens` of the cheapest request that reads or writes the cache: 0 where the provider accepts it."""
    sends_pings: bool = False
    """True if events keep arriving while the model thinks."""
    verified: str = ""

    def min_cacheable_tokens(self, model: str) -> int | None:
        """Return the minimum of a model according to this row."""
        name = model.lower().replace(".", "-")
        return next((n for pattern, n in self.minimums if fnmatchcase(name, pattern)), self.minimum)

    def drops_earlier_thinking(self, model: str) -> bool:
        """Return True if the model is not shown its thinking of earlier turns."""
        name = model.lower().replace(".", "-")
        return any(fnmatchcase(name, pattern) for pattern in self.drops_thinking)

    @property
    def has_ttl_choice(self) -> bool:
        """True if the request chooses among several lifetimes."""
        return len(self.lifetimes) > 1
