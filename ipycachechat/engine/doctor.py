"""Check a provider's cache rules with a handful of small requests, by what it bills for them."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from ipycachechat.billing.pricing import Rates, cost
from ipycachechat.caching import request
from ipycachechat.caching.prefix import PromptMessage, build_chain
from ipycachechat.caching.rules import CacheRules
from ipycachechat.caching.state import Checkpoint
from ipycachechat.conversation.events import Event, Progress, RetryScheduled
from ipycachechat.conversation.messages import Message
from ipycachechat.conversation.usage import Cost, Usage
from ipycachechat.engine.client import ModelClient
from ipycachechat.errors import EmptyAnswer, ModelError
from ipycachechat.providers.endpoint import ModelEndpoint
from ipycachechat.providers.retry import retrying
from ipycachechat.providers.timeouts import DEFAULT_LIMITS, Sleep

# Short words: about one token each by any tokenizer.
WORDS = ("data", "list", "mean", "plot", "rows", "time", "test", "code", "name", "file")
# Shares of the minimum, clearly above and below it although a word may be one token or one and a third.
ABOVE, BELOW = 1.4, 0.5
OK = "Say OK."
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
    table = _explicit(rules, size) if rules.mode == "explicit" else _implicit(rules, size)
    return [probe for applies, probe in table if applies]


def _explicit(rules: CacheRules, size: int) -> list[tuple[bool, Probe]]:
    """Return the probes of a provider that is told what to cache, and for each True if it applies to these rules."""
    long, other, short = (_text(int(size * share)) for share in (ABOVE, ABOVE, BELOW))
    shortest, longest = rules.lifetimes[0], rules.lifetimes[-1]
    at_start, back = (Checkpoint(0, shortest),), rules.lookback or 0
    near, far = (tuple(_text(1) for _ in range(blocks)) for blocks in (max(0, back - 1), back))

    def is_written(read: int, written: int, _: int) -> bool:
        return read == 0 and written >= size

    def is_read(read: int, _: int, first: int) -> bool:
        return first > 0 and read == first

    def is_only_read(read: int, written: int, first: int) -> bool:
        return is_read(read, written, first) and written == 0

    def is_extended(read: int, written: int, first: int) -> bool:
        return is_read(read, written, first) and 0 < written < first / 10

    def is_nothing(read: int, written: int, _: int) -> bool:
        return read == 0 and written == 0

    def is_missed(read: int, written: int, _: int) -> bool:
        return read == 0 and written > 0

    writes, reads = f"0 read, {size:,} or more written", "all read, 0 written"
    extended, nothing = "all read, under a tenth written", "0 read, 0 written"
    below = f"below the minimum of {size:,} nothing is written"
    no_answer = "a request without an answer reads it, too"
    max_tokens = rules.keepalive_max_tokens
    once, at_end = (long, "Say OK once."), (Checkpoint(1, longest),)
    back_near, back_far = (Checkpoint(len(near), shortest),), (Checkpoint(len(far), shortest),)
    return [
        (True, Probe("a prefix above the minimum is written", writes, (long, OK), at_start, is_written)),
        (True, Probe("it is read by the next request", reads, (long, OK), at_start, is_only_read)),
        (rules.has_ttl_choice, Probe("an hour is charged only for new tokens", extended, once, at_end, is_extended)),
        (True, Probe(below, nothing, (short, OK), at_start, is_nothing)),
        (back > 0, Probe(f"a write {back - 1} blocks back is found", "all read", (long, *near), back_near, is_read)),
        (back > 0, Probe(f"a write {back} blocks back is not found", "0 read", (long, *far), back_far, is_missed)),
        (True, Probe("an edit at the start leaves nothing to read", writes, (other, OK), at_start, is_written)),
        (max_tokens is not None, Probe(no_answer, reads, (long, OK), at_start, is_only_read, max_tokens or 0)),
    ]  # fmt: skip


def _implicit(rules: CacheRules, size: int) -> list[tuple[bool, Probe]]:
    """Return the probes of a provider that caches by itself, and for each True if it applies to these rules."""
    long, other, short = (_text(int(size * share)) for share in (ABOVE, ABOVE, BELOW))
    sure = bool(rules.lifetimes) and rules.mode != "unknown"
    # Where there is no minimum, the few tokens at the start of every prompt may be read.
    few, unread = (0, "0 read") if rules.minimum else (size // 20, "next to nothing read")
    unread += f", {size:,} or more written" if rules.bills_writes else ""
    marked, all_read = f"new {long}", f"{size:,} or more read"
    again = "it is read when sent again with another question"
    likely = all_read if sure else f"{all_read} (likely, not promised)"
    marks, bounded = bool(rules.marker), bool(rules.minimum)
    at_start = (Checkpoint(0, rules.lifetimes[0]),) if marks else ()
    below = f"below the minimum of {size:,} nothing is read"

    def is_new(read: int, written: int, _: int) -> bool:
        return read <= few and (written >= size or not rules.bills_writes)

    def is_probably_read(read: int, _: int, __: int) -> bool | None:
        return True if read >= size - rules.step else False if sure else None

    def is_marked(read: int, written: int, _: int) -> bool:
        return read <= few and written >= size

    def is_read(read: int, _: int, __: int) -> bool:
        return read >= size

    def is_unread(read: int, _: int, __: int) -> bool:
        return read <= few

    def is_nothing(read: int, _: int, __: int) -> bool:
        return read == 0

    return [
        (True, Probe("a prompt that was never sent is not read", unread, (long, OK), (), is_new)),
        (True, Probe("the same prompt again is read", likely, (long, OK), (), is_probably_read)),
        (marks, Probe("a marked system prompt is written at first", unread, (marked, OK), at_start, is_marked)),
        (marks, Probe(again, all_read, (marked, "Say it once more."), at_start, is_read)),
        (True, Probe("an edit at the start leaves nothing to read", unread, (other, OK), (), is_unread)),
        (bounded, Probe(below, "0 read", (short, OK), (), is_nothing)),
        (bounded, Probe(f"{below}, nor again", "0 read", (short, OK), (), is_nothing)),
    ]  # fmt: skip


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
    """Send the requests one by one. Raises ChatError if one fails for good or is over budget."""

    def on_pause(error: ModelError, seconds: float, tries: int) -> None:
        emit(RetryScheduled(error.message, seconds, tries, DEFAULT_LIMITS.retries + 1))

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
        usage: Usage = await retrying(DEFAULT_LIMITS, sleep, on_pause)(_send, client, endpoint, probe)
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
