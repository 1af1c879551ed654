"""Check a provider's cache rules with a handful of small requests, by what it bills for them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from ipycachechat.billing.pricing import Rates, cost
from ipycachechat.caching import request
from ipycachechat.caching.prefix import PromptMessage, build_chain
from ipycachechat.caching.rules import CacheRules
from ipycachechat.caching.state import Checkpoint
from ipycachechat.conversation.events import Event, Progress
from ipycachechat.conversation.messages import Message
from ipycachechat.conversation.usage import Cost, Usage
from ipycachechat.engine.client import ModelClient
from ipycachechat.errors import EmptyAnswer
from ipycachechat.providers.endpoint import ModelEndpoint
from ipycachechat.providers.timeouts import Sleep

# Short words: about one token each by any tokenizer.
WORDS = ("data", "list", "mean", "plot", "rows", "time", "test", "code", "name", "file")
# Shares of the minimum, clearly above and below it although a word may be one token or one and a third.
ABOVE, BELOW = 1.4, 0.5
ANSWER = 16
"""Length limit of each answer in tokens."""
SETTLE = 2.0
"""Seconds until the next request can read what one has written."""
DEFAULT_MINIMUM = 1024
"""Minimum to try where none is known."""


@dataclass(frozen=True, slots=True)
class Check:
    """One rule, what it predicts, and what was billed."""

    rule: str
    promise: str
    agrees: bool | None
    """None: the rules predict nothing here."""
    usage: Usage
    bill: Cost


@dataclass(frozen=True, slots=True)
class Probe:
    """A request of the examination."""

    rule: str
    promise: str
    texts: tuple[str, ...]
    """The system prompt, then the blocks of the user's message."""
    checkpoints: tuple[Checkpoint, ...]
    agrees: Callable[[int, int, int], bool | None]
    """Called with the tokens read, written, and written by the first request."""
    max_tokens: int = ANSWER


def probes(rules: CacheRules, minimum: int) -> list[Probe]:
    """Return the requests to send, in order."""
    size = minimum or DEFAULT_MINIMUM
    long, other, short = (_text(int(size * share)) for share in (ABOVE, ABOVE, BELOW))
    generate = _explicit if rules.mode == "explicit" else _implicit
    return list(generate(rules, size, long, other, short))


def _explicit(rules: CacheRules, size: int, long: str, other: str, short: str) -> Iterator[Probe]:
    five = (Checkpoint(0, rules.lifetimes[0]),)

    def is_read(read: int, written: int, first: int) -> bool:
        return first > 0 and read == first

    yield Probe(
        "a prefix above the minimum is written",
        f"0 read, {size:,} or more written",
        (long, "Say OK."),
        five,
        lambda read, written, _: read == 0 and written >= size,
    )
    yield Probe(
        "it is read by the next request",
        "all read, 0 written",
        (long, "Say OK."),
        five,
        lambda read, written, first: is_read(read, written, first) and written == 0,
    )
    if rules.has_ttl_choice:
        yield Probe(
            "an hour is paid only for what is new",
            "all read, under a tenth written",
            (long, "Say OK once."),
            (Checkpoint(1, rules.lifetimes[-1]),),
            lambda read, written, first: is_read(read, written, first) and 0 < written < first / 10,
        )
    yield Probe(
        f"below the minimum of {size:,} nothing is written",
        "0 read, 0 written",
        (short, "Say OK."),
        five,
        lambda read, written, _: read == 0 and written == 0,
    )
    if rules.lookback:
        near = tuple(_text(1) for _ in range(rules.lookback - 1))
        far = tuple(_text(1) for _ in range(rules.lookback))
        yield Probe(
            f"a write {rules.lookback - 1} blocks back is found",
            "all read",
            (long, *near),
            (Checkpoint(len(near), rules.lifetimes[0]),),
            is_read,
        )
        yield Probe(
            f"a write {rules.lookback} blocks back is not",
            "0 read",
            (long, *far),
            (Checkpoint(len(far), rules.lifetimes[0]),),
            lambda read, written, _: read == 0 and written > 0,
        )
    yield Probe(
        "an edit at the start leaves nothing to read",
        f"0 read, {size:,} or more written",
        (other, "Say OK."),
        five,
        lambda read, written, _: read == 0 and written >= size,
    )
    if rules.keepalive_max_tokens is not None:
        yield Probe(
            "a request for no answer reads all the same",
            "all read, 0 written",
            (long, "Say OK."),
            five,
            lambda read, written, first: is_read(read, written, first) and written == 0,
            max_tokens=rules.keepalive_max_tokens,
        )


def _implicit(rules: CacheRules, size: int, long: str, other: str, short: str) -> Iterator[Probe]:
    sure = bool(rules.lifetimes) and rules.mode != "unknown"

    def may(agrees: bool) -> bool | None:
        return agrees if sure else True if agrees else None

    maybe = "" if sure else " (likely, not promised)"
    # Where there is no minimum, the few tokens at the start of every prompt may be read.
    few, promise = (0, "0 read") if rules.minimum else (size // 20, "next to nothing read")
    written = f", {size:,} or more written" if rules.bills_writes else ""
    yield Probe(
        "a prompt that was never sent is not read",
        promise + written,
        (long, "Say OK."),
        (),
        lambda read, wrote, _: read <= few and (wrote >= size or not rules.bills_writes),
    )
    yield Probe(
        "the same prompt again is read",
        f"{size:,} or more read{maybe}",
        (long, "Say OK."),
        (),
        lambda read, wrote, _: may(read >= size - rules.step),
    )
    if rules.marker:
        marked, at_end = f"new {long}", (Checkpoint(0, rules.lifetimes[0]),)
        yield Probe(
            "a marked system prompt is not read at first",
            promise + written,
            (marked, "Say OK."),
            at_end,
            lambda read, wrote, _: read <= few and wrote >= size,
        )
        yield Probe(
            "sent again it is, whatever follows it",
            f"{size:,} or more read",
            (marked, "Say it once more."),
            at_end,
            lambda read, wrote, _: read >= size,
        )
    yield Probe(
        "an edit at the start leaves nothing to read",
        promise + written,
        (other, "Say OK."),
        (),
        lambda read, wrote, _: read <= few,
    )
    for again in ("", ", nor again") if rules.minimum else ():
        yield Probe(
            f"below the minimum of {size:,} nothing is read{again}",
            "0 read",
            (short, "Say OK."),
            (),
            lambda read, wrote, _: read == 0,
        )


def price(endpoint: ModelEndpoint) -> tuple[int, int, float | None]:
    """Return how many requests, tokens (roughly, at most) and US dollars (None: unknown) an examination takes."""
    requests = probes(endpoint.rules, endpoint.min_cacheable_tokens)
    tokens = sum(round(1.35 * sum(len(text.split()) + 8 for text in probe.texts)) for probe in requests)
    rates: Rates = endpoint.price.rates
    highest = max((rate for rate in (rates.input, rates.write, rates.write_1h) if rate), default=rates.input)
    if highest is None or rates.output is None:
        return len(requests), tokens, None
    return len(requests), tokens, tokens * highest + len(requests) * ANSWER * rates.output


async def examine(
    client: ModelClient, endpoint: ModelEndpoint, sleep: Sleep, emit: Callable[[Event], None]
) -> list[Check]:
    """Send the requests one by one. Raises ChatError if one fails or is over budget."""
    rules, first = endpoint.rules, 0
    requests, checks = probes(rules, endpoint.min_cacheable_tokens), list[Check]()
    for number, probe in enumerate(requests):
        emit(
            Progress(
                f"{number} of {len(requests)} checked: {probe.rule}" if number else f"checking: {probe.rule}"
            )
        )
        if number:
            await sleep(SETTLE)
        usage = await _send(client, endpoint, probe)
        first = first or usage.written or 0
        checks.append(
            Check(
                probe.rule,
                probe.promise if rules.reports_cached_tokens is not False else "not reported",
                _agrees(probe, usage, first, rules),
                usage,
                cost(usage, endpoint.price),
            )
        )
    return checks


async def _send(client: ModelClient, endpoint: ModelEndpoint, probe: Probe) -> Usage:
    messages = [PromptMessage(Message("system", probe.texts[0]))]
    messages += [PromptMessage(Message("user", text), 0) for text in probe.texts[1:]]
    chain = build_chain(messages)
    wire = request.place_checkpoints(
        request.wire_messages(messages), chain, probe.checkpoints, endpoint.rules
    )
    exchange = client.probe(endpoint, wire, chain, probe.max_tokens)
    try:
        with suppress(EmptyAnswer):  # the few tokens may all be thinking
            await exchange.run(lambda _: None)
    finally:  # counted even if it was stopped or broke off
        client.record_probe(exchange)
    return exchange.usage


def _agrees(probe: Probe, usage: Usage, first: int, rules: CacheRules) -> bool | None:
    if usage.read is None or usage.written is None:
        return None if not rules.reports_cached_tokens else False
    if rules.reports_cached_tokens is False:
        return False
    return probe.agrees(usage.read, usage.written, first)


def _text(words: int) -> str:
    """Return a text of so many words that was never sent before."""
    return " ".join([secrets.token_hex(4), *(WORDS[n % len(WORDS)] for n in range(words - 1))])
