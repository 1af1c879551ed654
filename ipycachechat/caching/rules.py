"""CacheRules: the fields that describe how one model family caches.

What a row does not say is unknown, and is treated so. `verified` names what was seen; everything else is the
provider's word, which `source` points to. Nothing here has been checked against a live provider yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from ipycachechat.conversation.messages import ThinkingFormat

Asked = Literal["explicit", "implicit", "automatic", "unknown"]
Tier = Literal["tools", "system", "messages"]
Marker = Literal["", "cache_control", "prompt_cache_breakpoint"]


@dataclass(frozen=True, slots=True)
class CacheRules:
    """How one family of models caches.

    `asked`: "explicit" caches what is marked; "implicit" puts a checkpoint at the end by itself, and takes others;
    "automatic" caches token prefixes; "unknown" may do anything. Only the first two are sent a marker: some
    bill for it (Gemini stores the cache for money), some refuse it.
    """

    provider: str
    model: str
    mode: Asked
    source: str
    bills_writes: bool = False
    """True if the bill tells written tokens apart from fresh ones."""
    missing_means_zero: bool = False
    """True if a count that is left out means none, as in protocols that leave out zeros; else it is unknown."""
    reports_cached_tokens: bool | None = True
    """True if the provider says how much it read; None: some servers do."""
    minimum: int | None = None
    """Tokens below which nothing is cached; litellm's figure for the model goes first."""
    minimums: tuple[tuple[str, int], ...] = ()
    """The same for single models, by pattern of name."""
    step: int = 1
    """A read ends at a multiple of this many tokens."""
    marker: Marker = ""
    """The field of a block that makes it a checkpoint; "": none is sent."""
    checkpoints: int = 0
    """Markers in a request, at most."""
    can_mark_assistant: bool = True
    """True if what the assistant said can bear one."""
    lookback: int | None = None
    """Positions that are searched back from a checkpoint, its own counted; None: all."""
    breakpoints: int | None = None
    """The latest checkpoints, including implicit ones, among which an entry is looked for; None: all."""
    lifetimes: tuple[int, ...] = ()
    """Seconds that an entry lives from its last use; the shortest promised. Empty: unknown."""
    one_hour_if_priced: bool = False
    """True if only those models have the longer lifetime that litellm has a price of it for."""
    writes: tuple[float, ...] = ()
    """The cost of writing, as a multiple of fresh input, for each TTL."""
    reads: float = 0.1
    """The cost of reading, as a multiple of fresh input."""
    cache_key: str = ""
    """Where a stable key goes that leads requests of one conversation to the same machine: a parameter of litellm's,
    or a field of one, as in `parameter.field`."""
    invalidates: Mapping[str, Tier] = field(default_factory=dict)
    """Settings that are part of the prefix, each with the first tier that it changes."""
    thinking_format: ThinkingFormat = ""
    """In whose form thoughts are sent back; "": none are."""
    forgets: tuple[str, ...] = ()
    """Models, by pattern of name, that are not shown the thoughts of earlier turns."""
    keepalive_max_tokens: int | None = None
    """`max_tokens` of the cheapest request that reads or writes: 0 where that is taken, and answers nothing."""
    sends_pings: bool = False
    """True if something comes over the connection all the time, also while the model thinks."""
    verified: str = ""

    def min_cacheable_tokens(self, model: str) -> int | None:
        """The minimum for a model by this row."""
        name = model.lower().replace(".", "-")
        return next((n for pattern, n in self.minimums if fnmatchcase(name, pattern)), self.minimum)

    def forgetful(self, model: str) -> bool:
        """Return True if the model is not shown what it thought in earlier turns."""
        name = model.lower().replace(".", "-")
        return any(fnmatchcase(name, pattern) for pattern in self.forgets)

    @property
    def choice(self) -> bool:
        """True if there is more than one lifetime to ask for."""
        return len(self.lifetimes) > 1
