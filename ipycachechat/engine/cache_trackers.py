"""CacheTrackers: one CacheTracker per endpoint."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

from ipycachechat.caching.planner import PauseStats, PlannedRequest
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
        """`pauses`: assumed before any is known. `count`: the provider's own tokenizer; None: estimate."""
        self._pauses, self._exact = pauses, count is not None
        # The same texts are counted again whenever something before them has changed.
        self._count = lru_cache(COUNTED_TEXTS)(count or count_tokens)
        self._trackers: dict[tuple[str, ...], CacheTracker] = {}
        self._restored: dict[tuple[str, ...], CacheTracker] = {}
        """Trackers of an earlier kernel that have not been used yet."""
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

    def response_started(self, endpoint: ModelEndpoint, planned: PlannedRequest) -> None:
        """Note that a response has started: from now on other requests can read what this one wrote."""
        self.put(endpoint, self.get(endpoint).response_started(planned))

    def get_for(
        self, endpoint: ModelEndpoint, messages: Sequence[PromptMessage], options: RequestOptions
    ) -> CacheTracker:
        """Return the endpoint's tracker for planning a request.

        After a restart, the part of the request that is cached stands for the tracker's last request.
        """
        tracker, scope = self.get(endpoint), endpoint.cache_scope
        if scope in self._resumed:
            self._resumed.discard(scope)
            tracker = self._trackers[scope] = tracker.resumed(messages, options)
        return tracker

    def restore(self, trackers: Iterable[tuple[tuple[str, ...], CacheTracker]]) -> None:
        """Take over the trackers of an earlier kernel, each with its cache scope."""
        for scope, earlier in trackers:
            current = self._trackers.get(scope)
            if current is None:
                self._restored[scope] = earlier
                continue
            entries = {**earlier.state.entries, **current.state.entries}
            sizes = {**earlier.state.billed_sizes, **current.state.billed_sizes}
            state = replace(current.state, entries=entries, billed_sizes=sizes)
            self._trackers[scope] = replace(current, state=state)
