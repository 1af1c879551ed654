"""What it takes to plan: `python tests/bench/planning.py`. Medians of one run, on this machine.

A turn is added to conversations of turns of 1,000 tokens each; what is timed is all that is ours between the prompt
and the request: what is said, the plan (chain, checkpoints, prediction and its reason), the messages, and afterwards
the bill.
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
    """Turns of 1,000 tokens, by four characters a token."""
    half = "abc " * (TOKENS // 2)
    return Conversation(
        "be brief",
        tuple(
            Turn(f"{n} {half}", (Message("assistant", f"{n} {half}"),), cell=CellRef(f"c{n}", str(n)))
            for n in range(turns)
        ),
    )


def timed(turns: int) -> Iterator[tuple[float, ...]]:
    """Milliseconds: of a turn more what is said, its plan, messages and bill; the plan of an edit of the first turn."""
    past = conversation(turns)
    memory = CacheTracker(
        rules_for("anthropic", "claude-sonnet-5"), minimum=1024, count=lru_cache(1 << 16)(count_tokens)
    )
    for n in range(RUNS):
        now = 1000.0 + 20 * n
        begun = time.perf_counter()
        sent = prompt_messages(past, Turn(f"question {n}", ()))
        start = time.perf_counter()
        prepared = memory.prepare(sent, RequestOptions(), now)
        memory.predict_miss(prepared)
        planned = time.perf_counter()
        place_checkpoints(wire_messages(sent), prepared.chain, prepared.checkpoints, memory.rules)
        made = time.perf_counter()
        expected = prepared.expected
        bill = Usage(
            input=expected.input,
            read=expected.read,
            written=expected.written,
            written_1h=expected.written_1h,
            output=1,
        )
        memory, _ = memory.record_usage(prepared, bill)
        billed = time.perf_counter()
        edited = replace(past, all_turns=(replace(past.turns[0], prompt="other"), *past.turns[1:]))
        changed = prompt_messages(edited, Turn("question", ()))
        before = time.perf_counter()
        memory.predict_miss(memory.prepare(changed, RequestOptions(), now + 1))
        after = time.perf_counter()
        if n:  # the first one hashes everything
            spans = (start - begun, planned - start, made - planned, billed - made, after - before)
            yield tuple(span * 1000 for span in spans)
        cell = CellRef(f"n{n}", "1")
        past = place_turn(
            past, Turn(f"question {n}", (Message("assistant", "abc " * TOKENS),), cell=cell), Placement(cell)
        )


def main() -> None:
    for _ in import_in_portions():
        pass
    print("| turns | said | plan of one more | messages | bill | all hashes anew | an edit of turn 1 |")
    print("|---|---|---|---|---|---|---|")
    for turns in SIZES:
        *spans, edit = (statistics.median(column) for column in zip(*timed(turns), strict=True))
        sent = prompt_messages(conversation(turns), Turn("question", ()))
        start = time.perf_counter()
        build_chain(sent, count=count_tokens)
        anew = (time.perf_counter() - start) * 1000
        print(
            f"| {turns:,} | {' | '.join(f'{span:.2f} ms' for span in spans)} | {anew:.1f} ms | {edit:.1f} ms |"
        )


if __name__ == "__main__":
    main()
