"""A miss is explained only by what the bill proves."""

from __future__ import annotations

from ipycachechat.caching.miss_reasons import MissCause, MissReason
from ipycachechat.caching.prefix import PromptMessage, RequestOptions
from ipycachechat.caching.provider_rules import rules_for
from ipycachechat.caching.tracker import CacheTracker
from ipycachechat.conversation.messages import Message
from ipycachechat.conversation.usage import Usage

ONE = [PromptMessage(Message("user", "word " * 2000), 0)]
TWO = [*ONE, PromptMessage(Message("assistant", "yes"), 0), PromptMessage(Message("user", "and?"), 1)]
EDITED = [PromptMessage(Message("user", "other " * 2000), 0), *TWO[1:]]


def reason_for(
    provider: str, model: str, second: list[PromptMessage], read: int, pause: float = 10.0
) -> MissReason | None:
    """The reason for what the second of two requests read."""
    tracker = CacheTracker(rules_for(provider, model), minimum=1024)
    first = tracker.prepare(ONE, RequestOptions(), 0.0)
    tracker, _ = tracker.record_usage(first, Usage(input=2000, read=0, written=0, output=5))
    again = tracker.prepare(second, RequestOptions(), pause)
    return tracker.record_usage(again, Usage(input=2006, read=read, written=0, output=5))[1]


def test_without_a_documented_lifetime_nothing_is_called_expired_or_dropped() -> None:
    assert reason_for("llama.cpp", "local", ONE, 1999, 4.0) is None
    assert reason_for("llama.cpp", "local", TWO, 0) is None
    assert reason_for("deepseek", "deepseek-chat", TWO, 0, 5000.0) is None


def test_with_a_documented_lifetime_a_miss_is_called_expired_or_dropped() -> None:
    late = reason_for("openai", "gpt-5.5", TWO, 0, 400.0)
    assert late and late.cause is MissCause.EXPIRED
    early = reason_for("openai", "gpt-5.5", TWO, 0, 20.0)
    assert early and early.cause is MissCause.DROPPED
    assert reason_for("openai", "gpt-5.5", TWO, 1920, 20.0) is None


def test_an_edit_is_named_with_every_provider() -> None:
    for provider, model in (("llama.cpp", "local"), ("openai", "gpt-5.5")):
        tracker = CacheTracker(rules_for(provider, model), minimum=1024)
        for turn, messages in enumerate((ONE, TWO)):
            planned = tracker.prepare(messages, RequestOptions(), 10.0 * turn)
            tracker, _ = tracker.record_usage(
                planned, Usage(input=2000 + 6 * turn, read=1920 * turn, written=0, output=5)
            )
        longer = [
            *TWO,
            PromptMessage(Message("assistant", "so " * 3000), 1),
            PromptMessage(Message("user", "then?"), 2),
        ]
        planned = tracker.prepare(longer, RequestOptions(), 30.0)
        tracker, _ = tracker.record_usage(planned, Usage(input=5010, read=2000, written=0, output=5))
        edited = [EDITED[0], *longer[1:]]
        reason = tracker.record_usage(
            tracker.prepare(edited, RequestOptions(), 40.0), Usage(input=5010, read=0, written=0, output=5)
        )[1]
        assert reason and reason.cause is MissCause.EDITED and reason.turn == 0
