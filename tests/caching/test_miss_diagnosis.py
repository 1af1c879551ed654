"""Reasons that the evidence does not show are not given."""

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


def asked(
    provider: str, model: str, second: list[PromptMessage], read: int, pause: float = 10.0
) -> MissReason | None:
    """The reason for what the second of two requests read."""
    memory = CacheTracker(rules_for(provider, model), minimum=1024)
    first = memory.prepare(ONE, RequestOptions(), 0.0)
    memory, _ = memory.record_usage(first, Usage(input=2000, read=0, written=0, output=5))
    again = memory.prepare(second, RequestOptions(), pause)
    return memory.record_usage(again, Usage(input=2006, read=read, written=0, output=5))[1]


def test_a_model_that_promises_no_lifetime_is_not_said_to_have_forgotten() -> None:
    assert asked("llama.cpp", "local", ONE, 1999, 4.0) is None
    assert asked("llama.cpp", "local", TWO, 0) is None
    assert asked("deepseek", "deepseek-chat", TWO, 0, 5000.0) is None


def test_one_that_promises_it_is() -> None:
    late = asked("openai", "gpt-5.5", TWO, 0, 400.0)
    assert late and late.cause is MissCause.EXPIRED
    early = asked("openai", "gpt-5.5", TWO, 0, 20.0)
    assert early and early.cause is MissCause.DROPPED
    assert asked("openai", "gpt-5.5", TWO, 1920, 20.0) is None


def test_an_edit_is_named_whoever_caches() -> None:
    for provider, model in (("llama.cpp", "local"), ("openai", "gpt-5.5")):
        memory = CacheTracker(rules_for(provider, model), minimum=1024)
        for turn, said in enumerate((ONE, TWO)):
            prepared = memory.prepare(said, RequestOptions(), 10.0 * turn)
            memory, _ = memory.record_usage(
                prepared, Usage(input=2000 + 6 * turn, read=1920 * turn, written=0, output=5)
            )
        longer = [
            *TWO,
            PromptMessage(Message("assistant", "so " * 3000), 1),
            PromptMessage(Message("user", "then?"), 2),
        ]
        prepared = memory.prepare(longer, RequestOptions(), 30.0)
        memory, _ = memory.record_usage(prepared, Usage(input=5010, read=2000, written=0, output=5))
        edited = [EDITED[0], *longer[1:]]
        reason = memory.record_usage(
            memory.prepare(edited, RequestOptions(), 40.0), Usage(input=5010, read=0, written=0, output=5)
        )[1]
        assert reason and reason.cause is MissCause.EDITED and reason.turn == 0
