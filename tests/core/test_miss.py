"""Reasons that the evidence does not show are not given."""

from __future__ import annotations

from ipycachechat.caching.miss_reasons import Cause, Reason
from ipycachechat.caching.prefix import Said, Settings
from ipycachechat.caching.provider_rules import rules
from ipycachechat.caching.tracker import Memory
from ipycachechat.conversation.messages import Message
from ipycachechat.conversation.usage import Usage

ONE = [Said(Message("user", "word " * 2000), 0)]
TWO = [*ONE, Said(Message("assistant", "yes"), 0), Said(Message("user", "and?"), 1)]
EDITED = [Said(Message("user", "other " * 2000), 0), *TWO[1:]]


def asked(provider: str, model: str, second: list[Said], read: int, pause: float = 10.0) -> Reason | None:
    """The reason for what the second of two requests read."""
    memory = Memory(rules(provider, model))
    first = memory.prepare(ONE, Settings(), 1024, 0.0)
    memory, _ = memory.billed(first, Usage(2000, 0, 0, 0, 5))
    again = memory.prepare(second, Settings(), 1024, pause)
    return memory.billed(again, Usage(2006, read, 0, 0, 5))[1]


def test_a_model_that_promises_no_lifetime_is_not_said_to_have_forgotten() -> None:
    assert asked("llama.cpp", "local", ONE, 1999, 4.0) is None
    assert asked("llama.cpp", "local", TWO, 0) is None
    assert asked("deepseek", "deepseek-chat", TWO, 0, 5000.0) is None


def test_one_that_promises_it_is() -> None:
    late = asked("openai", "gpt-5.5", TWO, 0, 400.0)
    assert late and late.cause is Cause.EXPIRED
    early = asked("openai", "gpt-5.5", TWO, 0, 20.0)
    assert early and early.cause is Cause.DROPPED
    assert asked("openai", "gpt-5.5", TWO, 1920, 20.0) is None


def test_an_edit_is_named_whoever_caches() -> None:
    for provider, model in (("llama.cpp", "local"), ("openai", "gpt-5.5")):
        memory = Memory(rules(provider, model))
        for turn, said in enumerate((ONE, TWO)):
            prepared = memory.prepare(said, Settings(), 1024, 10.0 * turn)
            memory, _ = memory.billed(prepared, Usage(2000 + 6 * turn, 1920 * turn, 0, 0, 5))
        longer = [*TWO, Said(Message("assistant", "so " * 3000), 1), Said(Message("user", "then?"), 2)]
        prepared = memory.prepare(longer, Settings(), 1024, 30.0)
        memory, _ = memory.billed(prepared, Usage(5010, 2000, 0, 0, 5))
        edited = [EDITED[0], *longer[1:]]
        reason = memory.billed(memory.prepare(edited, Settings(), 1024, 40.0), Usage(5010, 0, 0, 0, 5))[1]
        assert reason and reason.cause is Cause.EDITED and reason.turn == 0
