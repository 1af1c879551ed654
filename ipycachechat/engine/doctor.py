"""Hold the rules for a model against what its provider bills, with a handful of small requests."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from ipycachechat.billing.pricing import Rates, cost
from ipycachechat.caching import request
from ipycachechat.caching.prefix import PromptMessage, build_chain
from ipycachechat.caching.rules import CacheRules
from ipycachechat.caching.state import Checkpoint
from ipycachechat.conversation.messages import Message
from ipycachechat.conversation.usage import Cost, Usage
from ipycachechat.engine.client import ModelClient
from ipycachechat.errors import EmptyAnswer
from ipycachechat.providers.endpoint import ModelEndpoint

# Short words, so that there is about one token in each, whoever counts.
WORDS = ("data", "list", "mean", "plot", "rows", "time", "test", "code", "name", "file")
# Of the minimum: clearly above it and clearly below, though a word may be one token or one and a third.
ABOVE, BELOW = 1.4, 0.5
ANSWER = 16
"""Tokens of each answer, at most."""
SETTLE = 2.0
"""Seconds until what one request has written can be read by the next."""
USUAL = 1024
"""A minimum to try where none is known."""


@dataclass(frozen=True, slots=True)
class Check:
    """One rule, what it promises, and what was billed."""

    rule: str
    promise: str
    agrees: bool | None
    """None: nothing was promised."""
    usage: Usage
    bill: Cost


@dataclass(frozen=True, slots=True)
class Probe:
    """A request of the examination: texts of the system prompt and of the user's blocks, and what is marked."""

    rule: str
    promise: str
    texts: tuple[str, ...]
    marks: tuple[Checkpoint, ...]
    agrees: Callable[[int, int, int], bool | None]
    """Of what was read, written, and written by the first request."""
    max_tokens: int = ANSWER


def probes(by: CacheRules, minimum: int) -> list[Probe]:
    """What to ask, in order."""
    size = minimum or USUAL
    long, other, short = (_text(int(size * part)) for part in (ABOVE, ABOVE, BELOW))
    found = list(
        _explicit(by, size, long, other, short)
        if by.mode == "explicit"
        else _unasked(by, size, long, other, short)
    )
    return found


def _explicit(by: CacheRules, size: int, long: str, other: str, short: str) -> Iterator[Probe]:
    five = (Checkpoint(0, by.lifetimes[0]),)

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
    if by.choice:
        yield Probe(
            "an hour is paid only for what is new",
            "all read, under a tenth written",
            (long, "Say OK once."),
            (Checkpoint(1, by.lifetimes[-1]),),
            lambda read, written, first: is_read(read, written, first) and 0 < written < first / 10,
        )
    yield Probe(
        f"below the minimum of {size:,} nothing is written",
        "0 read, 0 written",
        (short, "Say OK."),
        five,
        lambda read, written, _: read == 0 and written == 0,
    )
    if by.lookback:
        near = tuple(_text(1) for _ in range(by.lookback - 1))
        far = tuple(_text(1) for _ in range(by.lookback))
        yield Probe(
            f"a write {by.lookback - 1} blocks back is found",
            "all read",
            (long, *near),
            (Checkpoint(len(near), by.lifetimes[0]),),
            is_read,
        )
        yield Probe(
            f"a write {by.lookback} blocks back is not",
            "0 read",
            (long, *far),
            (Checkpoint(len(far), by.lifetimes[0]),),
            lambda read, written, _: read == 0 and written > 0,
        )
    yield Probe(
        "an edit at the start leaves nothing to read",
        f"0 read, {size:,} or more written",
        (other, "Say OK."),
        five,
        lambda read, written, _: read == 0 and written >= size,
    )
    if by.keepalive_max_tokens is not None:
        yield Probe(
            "a request for no answer reads all the same",
            "all read, 0 written",
            (long, "Say OK."),
            five,
            lambda read, written, first: is_read(read, written, first) and written == 0,
            max_tokens=by.keepalive_max_tokens,
        )


def _unasked(by: CacheRules, size: int, long: str, other: str, short: str) -> Iterator[Probe]:
    sure = bool(by.lifetimes) and by.mode != "unknown"

    def may(agrees: bool) -> bool | None:
        return agrees if sure else True if agrees else None

    maybe = "" if sure else " (likely, not promised)"
    # Where there is no minimum, the few tokens that every prompt begins with may be read.
    few, nothing = (0, "0 read") if by.minimum else (size // 20, "next to nothing read")
    written = f", {size:,} or more written" if by.bills_writes else ""
    yield Probe(
        "a prompt that nobody has sent is not read",
        nothing + written,
        (long, "Say OK."),
        (),
        lambda read, wrote, _: read <= few and (wrote >= size or not by.bills_writes),
    )
    yield Probe(
        "the same prompt again is read",
        f"{size:,} or more read{maybe}",
        (long, "Say OK."),
        (),
        lambda read, wrote, _: may(read >= size - by.step),
    )
    if by.marker:
        marked, at_its_end = f"new {long}", (Checkpoint(0, by.lifetimes[0]),)
        yield Probe(
            "a marked system prompt is not read at first",
            nothing + written,
            (marked, "Say OK."),
            at_its_end,
            lambda read, wrote, _: read <= few and wrote >= size,
        )
        yield Probe(
            "sent again it is, whatever follows it",
            f"{size:,} or more read",
            (marked, "Say it once more."),
            at_its_end,
            lambda read, wrote, _: read >= size,
        )
    yield Probe(
        "an edit at the start leaves nothing to read",
        nothing + written,
        (other, "Say OK."),
        (),
        lambda read, wrote, _: read <= few,
    )
    for again in ("", ", nor again") if by.minimum else ():
        yield Probe(
            f"below the minimum of {size:,} nothing is read{again}",
            "0 read",
            (short, "Say OK."),
            (),
            lambda read, wrote, _: read == 0,
        )


def price(to: ModelEndpoint) -> tuple[int, int, float | None]:
    """Requests, tokens (at most, roughly) and dollars (None: unknown) that an examination takes."""
    asked = probes(to.rules, to.minimum)
    tokens = sum(round(1.35 * sum(len(text.split()) + 8 for text in probe.texts)) for probe in asked)
    rates: Rates = to.price.rates
    dearest = max((rate for rate in (rates.input, rates.write, rates.write_1h) if rate), default=rates.input)
    if dearest is None or rates.output is None:
        return len(asked), tokens, None
    return len(asked), tokens, tokens * dearest + len(asked) * ANSWER * rates.output


async def examine(
    engine: ModelClient, to: ModelEndpoint, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> AsyncIterator[Check]:
    """Send the requests one by one. Raises ChatError if one is refused, or is too much."""
    first = 0
    for number, probe in enumerate(probes(to.rules, to.minimum)):
        if number:
            await sleep(SETTLE)
        said = [PromptMessage(Message("system", probe.texts[0]))]
        said += [PromptMessage(Message("user", text), 0) for text in probe.texts[1:]]
        links = build_chain(said)
        messages = request.place_checkpoints(request.wire_messages(said), links, probe.marks, to.rules)
        exchange = engine.probe(to, messages, links, probe.max_tokens)
        try:
            with suppress(EmptyAnswer):  # so few tokens may all be thought
                await exchange.run(lambda _: None)
        finally:  # counted also if it was stopped, or broke off
            engine.probed(exchange)
        used = exchange.usage
        first = first or used.written or 0
        yield Check(
            probe.rule,
            probe.promise if to.rules.reports_cached_tokens is not False else "not reported",
            _agrees(probe, used, first, to.rules),
            used,
            cost(used, to.price),
        )


def _agrees(probe: Probe, used: Usage, first: int, by: CacheRules) -> bool | None:
    if used.read is None or used.written is None:
        return None if not by.reports_cached_tokens else False
    if by.reports_cached_tokens is False:
        return False
    return probe.agrees(used.read, used.written, first)


def _text(words: int) -> str:
    """So many words that nobody has sent before."""
    return " ".join([secrets.token_hex(4), *(WORDS[n % len(WORDS)] for n in range(words - 1))])
