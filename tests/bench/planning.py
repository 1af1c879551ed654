"""Time to plan a request: `python tests/bench/planning.py`. Medians of one run on this machine.

A turn is added to conversations with turns of 1,000 tokens each. Timed is our own work between prompt and request: the
messages, the plan (chain, checkpoints, prediction and its reason), the messages in wire form, and afterwards the bill.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

from ipycachechat.caching.prefix import RequestOptions, build_chain
from ipycachechat.caching.provider_rules import rules_for
from ipycachechat.caching.request import place_checkpoints, prompt_messages, wire_messages
from ipycachechat.caching.tracker import CacheTracker
from ipycachechat.conversation.messages import Message
from ipycachechat.conversation.placement import Placement, place_turn
from ipycachechat.conversation.turns import CellRef, Conversation, Turn
from ipycachechat.conversation.usage import Usage
from ipycachechat.providers.litellm_import import import_in_portions
from ipycachechat.providers.model_data import count_tokens

SIZES = (125, 250, 500, 1000)
TOKENS = 1000
RUNS = 30


def conversation(turns: int) -> Conversation:
    """Return a conversation of turns of 1,000 tokens, at four characters per token."""
    half = "abc " * (TOKENS // 2)
    return Conversation(
        "be brief",
        tuple(
            Turn(f"{n} {half}", (Message("assistant", f"{n} {half}"),), cell=CellRef(f"c{n}", str(n)))
            for n in range(turns)
        ),
    )


def timed(turns: int) -> Iterator[tuple[float, ...]]:
    """Yield milliseconds: a new turn's messages, plan, wire messages and bill; the plan of an edit of turn 1."""
    past = conversation(turns)
    tracker = CacheTracker(
        rules_for("anthropic", "claude-sonnet-5"), minimum=1024, count=lru_cache(1 << 16)(count_tokens)
    )
    for n in range(RUNS):
        now = 1000.0 + 20 * n
        begin = time.perf_counter()
        messages = prompt_messages(past, Turn(f"question {n}", ()))
        gathered = time.perf_counter()
        planned_request = tracker.prepare(messages, RequestOptions(), now)
        tracker.predict_miss(planned_request)
        planned = time.perf_counter()
        place_checkpoints(
            wire_messages(messages), planned_request.chain, planned_request.checkpoints, tracker.rules
        )
        wired = time.perf_counter()
        expected = planned_request.expected
        bill = Usage(
            input=expected.input,
            read=expected.read,
            written=expected.written,
            written_1h=expected.written_1h,
            output=1,
        )
        tracker, _ = tracker.record_usage(planned_request, bill)
        billed = time.perf_counter()
        edited = replace(past, all_turns=(replace(past.turns[0], prompt="other"), *past.turns[1:]))
        changed = prompt_messages(edited, Turn("question", ()))
        edit_start = time.perf_counter()
        tracker.predict_miss(tracker.prepare(changed, RequestOptions(), now + 1))
        edit_end = time.perf_counter()
        if n:  # the first turn hashes everything
            spans = (
                gathered - begin,
                planned - gathered,
                wired - planned,
                billed - wired,
                edit_end - edit_start,
            )
            yield tuple(span * 1000 for span in spans)
        cell = CellRef(f"n{n}", "1")
        past = place_turn(
            past, Turn(f"question {n}", (Message("assistant", "abc " * TOKENS),), cell=cell), Placement(cell)
        )


def main() -> None:
    for _ in import_in_portions():
        pass
    print(
        "| turns | messages | plan of one more | wire messages | bill | all hashes again | an edit of turn 1 |"
    )
    print("|---|---|---|---|---|---|---|")
    for turns in SIZES:
        *spans, edit = (statistics.median(column) for column in zip(*timed(turns), strict=True))
        messages = prompt_messages(conversation(turns), Turn("question", ()))
        start = time.perf_counter()
        build_chain(messages, count=count_tokens)
        hash_ms = (time.perf_counter() - start) * 1000
        print(
            f"| {turns:,} | {' | '.join(f'{span:.2f} ms' for span in spans)} | {hash_ms:.1f} ms | {edit:.1f} ms |"
        )


if __name__ == "__main__":
    main()
