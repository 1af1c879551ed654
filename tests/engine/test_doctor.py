"""The rules held against the bills: right rules agree, and every rule that is broken on purpose shows."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from support.talks import OPUS, SONNET, Talk
from wire import Drop, Reply, Stall, WireServer

from ipycachechat.engine import doctor
from ipycachechat.providers.endpoint import ModelEndpoint, provider_endpoint


def examine(talk: Talk, to: ModelEndpoint) -> list[doctor.Check]:
    async def all_of_it() -> list[doctor.Check]:
        async def sleep(seconds: float) -> None:
            talk.wait(seconds)

        return await doctor.examine(talk.chat.client, to, sleep, lambda _: None)

    talk.server.always = Reply("OK")
    return talk.loop.run_until_complete(all_of_it())


def broken(talk: Talk, model: str = SONNET, **rules: Any) -> list[str]:
    to = provider_endpoint(model, 16_000)
    to = replace(
        to,
        rules=replace(to.rules, **rules),
        min_cacheable_tokens=rules.get("minimum", to.min_cacheable_tokens),
    )
    return [check.rule for check in examine(talk, to) if check.agrees is False]


@pytest.mark.parametrize(
    "model", [SONNET, OPUS, "anthropic/claude-haiku-4-5", "openai/gpt-5.5", "openai/gpt-5.6-terra"]
)
def test_the_rules_in_the_table_agree(talk: Talk, model: str) -> None:
    assert broken(talk, model) == []


@pytest.mark.parametrize("model", ["gemini/gemini-2.5-flash", "openrouter/anthropic/claude-sonnet-4.5"])
def test_neither_do_the_others_differ(talk: Talk, model: str) -> None:
    assert broken(talk, model) == []


def test_a_lost_connection_does_not_end_the_examination(talk: Talk) -> None:
    talk.server.script(Reply("OK"), Reply("OK", fault=Drop("headers")))
    assert broken(talk, SONNET) == []


@pytest.mark.local
def test_nor_does_the_real_model_on_this_machine(loop: asyncio.AbstractEventLoop, talk: Talk) -> None:
    async def all_of_it() -> list[doctor.Check]:
        checks = await talk.chat.examine("local", lambda _: None)
        await talk.chat.stop()
        return checks

    checks = loop.run_until_complete(all_of_it())
    assert [check.agrees for check in checks] == [True] * 3
    assert talk.chat.client.ledger.paid == 0


def test_it_costs_cents_and_no_more_than_was_said(talk: Talk) -> None:
    to = provider_endpoint(SONNET, 16_000)
    requests, tokens, dollars = doctor.price(to)
    checks = examine(talk, to)
    assert len(checks) == len(talk.server.requests) == requests
    assert sum(check.usage.input or 0 for check in checks) <= tokens
    paid = sum(check.bill.paid or 0 for check in checks)
    assert dollars is not None
    assert 0 < paid <= dollars < 0.20


def test_a_minimum_that_is_too_high_shows(talk: Talk) -> None:
    assert any("below the minimum" in rule for rule in broken(talk, minimum=4096))


def test_a_minimum_that_is_too_low_shows(talk: Talk) -> None:
    assert "a prefix above the minimum is written" in broken(talk, minimum=512)


def test_a_look_back_that_is_too_long_shows(talk: Talk) -> None:
    assert any("29 blocks back is found" in rule for rule in broken(talk, lookback=30))


def test_a_look_back_that_is_too_short_shows(talk: Talk) -> None:
    assert any("10 blocks back is not found" in rule for rule in broken(talk, lookback=10))


def test_a_provider_that_forgets_shows(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wire.cache.BlockCache.live", lambda *_: None)
    assert "it is read by the next request" in broken(talk)


def test_a_provider_that_reports_nothing_though_the_rules_say_so_shows(talk: Talk) -> None:
    talk.server.always = Reply("OK")
    to = provider_endpoint("openai/gpt-5.5", 16_000)
    assert all(check.agrees is not None for check in examine(talk, to))
    silent = replace(to, rules=replace(to.rules, reports_cached_tokens=False))
    assert all(check.agrees is False for check in examine(talk, silent))


def test_what_it_paid_counts(server: WireServer, loop: asyncio.AbstractEventLoop, talk: Talk) -> None:
    server.always = Reply("OK")
    checks = loop.run_until_complete(talk.chat.examine(SONNET, lambda _: None))
    assert talk.chat.client.ledger.requests == len(checks)
    assert talk.chat.client.ledger.paid == pytest.approx(sum(check.bill.paid or 0 for check in checks))


def test_the_reported_usage_of_a_stopped_probe_counts(
    server: WireServer, loop: asyncio.AbstractEventLoop, talk: Talk
) -> None:
    async def stopped() -> None:
        server.always = Reply("One two three", fault=Stall())
        task = asyncio.ensure_future(talk.chat.examine(SONNET, lambda _: None))
        while not server.requests or not server.requests[0].written:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.wait([task])

    loop.run_until_complete(stopped())
    ledger, bill = talk.chat.client.ledger, server.requests[0].bill
    assert bill is not None and ledger.tokens.written == bill.written_5m > 0
    assert ledger.requests == ledger.unknown_cost == 1 and ledger.tokens.at_least
