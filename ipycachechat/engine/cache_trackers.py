"""CacheTrackers: one CacheTracker per endpoint."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

from ipycachechat.caching.planner import PauseStats
from ipycachechat.caching.prefix import PromptMessage, RequestOptions, TokenCounter
from ipycachechat.caching.state import CacheState
from ipycachechat.caching.tracker import CacheTracker
from ipycachechat.providers.endpoint import ModelEndpoint
from ipycachechat.providers.model_data import count_tokens

COUNTED_TEXTS = 1 << 13
"""Number of texts whose token count is remembered."""


class CacheTrackers:
    """One CacheTracker per endpoint, by cache scope; those of an earlier kernel included."""

    def __init__(self, pauses: PauseStats, count: TokenCounter | None = None) -> None:
        """`pauses`: assumed before any pause was seen. `count`: the provider's own tokenizer; None: estimate."""
        self._pauses, self._exact = pauses, count is not None
        # The same texts are counted again whenever something before them has changed.
        self._count = lru_cache(COUNTED_TEXTS)(count or count_tokens)
        self._trackers: dict[tuple[str, ...], CacheTracker] = {}
        self._restored: dict[tuple[str, ...], CacheTracker] = {}
        """Trackers of an earlier kernel that were not used yet."""
        self._resumed: set[tuple[str, ...]] = set()
        """Scopes of such trackers before their first request."""

    def __bool__(self) -> bool:
        return bool(self._trackers or self._restored)

    def get(self, endpoint: ModelEndpoint) -> CacheTracker:
        """Return the endpoint's tracker, a new one if nothing was sent to it yet."""
        scope = endpoint.cache_scope
        if restored := self._restored.pop(scope, None):
            self._trackers[scope] = replace(
                restored, rules=endpoint.rules, minimum=endpoint.min_cacheable_tokens, count=self._count
            )
            self._resumed.add(scope)
        new = CacheTracker(
            endpoint.rules,
            minimum=endpoint.min_cacheable_tokens,
            state=CacheState(exact=self._exact),
            pauses=self._pauses,
            count=self._count,
        )
        return self._trackers.get(scope, new)

    def put(self, endpoint: ModelEndpoint, tracker: CacheTracker) -> None:
        """Replace the endpoint's tracker."""
        self._trackers[endpoint.cache_scope] = tracker

    def get_for(
        self, endpoint: ModelEndpoint, messages: Sequence[PromptMessage], options: RequestOptions
    ) -> CacheTracker:
        """Return the endpoint's tracker for planning a request.

        After a restart it takes as its last request what the new request shares with the cache.
        """
        tracker, scope = self.get(endpoint), endpoint.cache_scope
        if scope in self._resumed:
            self._resumed.discard(scope)
            tracker = self._trackers[scope] = tracker.resumed(messages, options)
        return tracker

    def restore(self, trackers: Iterable[tuple[tuple[str, ...], CacheTracker]]) -> None:
        """Take over the trackers of an earlier kernel, each with its cache scope."""
        for scope, earlier in trackers:
            own = self._trackers.get(scope)
            if own is None:
                self._restored[scope] = earlier
            else:  # what this kernel knows is newer
                entries = {**earlier.state.entries, **own.state.entries}
                sizes = {**earlier.state.billed_sizes, **own.state.billed_sizes}
                state = replace(own.state, entries=entries, billed_sizes=sizes)
                self._trackers[scope] = replace(own, state=state)
