"""Cost of a conversation's prompts as a fraction of their cost without a cache.

    python tests/bench/cache_cost.py [--seeds 6] [--short] [--write]

Ours goes through the real engine and the real litellm to the wire server, on its clock, with token counts that the
engine has to guess and learn, as with a real provider. The policies of others are billed by the server's rules for
exactly the blocks that were sent. The bound is the clairvoyant one of `scenarios.py`: each block by the
cheapest lifetime with the whole future known. It takes a lifetime to belong to a block; by Anthropic's page what is
already read is not charged again when a longer lifetime is asked for after it, so that it can be undercut.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import random
import statistics
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(Path(__file__).parent)]

from policies import OTHERS  # noqa: E402
from scenarios import SCENARIOS, Ask, Edit, Rewind, bound, scenario  # noqa: E402
from wire import Clock, Reply, WireServer, count, words  # noqa: E402
from wire.cache import BlockCache, plan_anthropic, prefixes  # noqa: E402

from ipycachechat.caching.planner import NOTEBOOK  # noqa: E402
from ipycachechat.caching.prefix import PromptMessage  # noqa: E402
from ipycachechat.caching.request import request_options  # noqa: E402
from ipycachechat.conversation.messages import Message, ToolCall  # noqa: E402
from ipycachechat.engine.client import ModelClient  # noqa: E402
from ipycachechat.providers.endpoint import provider_endpoint  # noqa: E402
from ipycachechat.providers.litellm_import import import_in_portions  # noqa: E402

MODEL, MINIMUM = "anthropic/claude-sonnet-5", 1024
START = 1_000_000.0
DOCS = TESTS.parent / "docs"
PAUSES = ("E pauses", "I everything")
"""Scenarios with pauses in which a lifetime of one hour is worth its price."""


# Our own scenarios


def long_document(rng: random.Random) -> list[Any]:
    """A document of 60,000 tokens, then thirty questions about it at the pace of a notebook."""
    events, seconds = [], 0.0
    for turn in range(31):
        prompt = 60_000 if not turn else int(rng.lognormvariate(4, 0.6)) + 10
        events.append(
            Ask(seconds, (), prompt, (), (8.0, int(rng.lognormvariate(5.5, 0.6)) + 40), f"cell-{turn}")
        )
        seconds += 8 + rng.choice([rng.lognormvariate(4, 0.8)] * 3 + [rng.uniform(300, 1500)])
    return events


def meetings(rng: random.Random) -> list[Any]:
    """Tools, and one pause in five between one hour and three."""
    events, seconds = [], 0.0
    for event in scenario("B tools", rng.randrange(1 << 30)):
        events.append(replace(event, at=seconds))
        step_seconds = sum(step[0] for step in event.steps) + event.answer[0]
        seconds += step_seconds + rng.choice(
            [rng.lognormvariate(4, 0.8)] * 3 + [rng.uniform(300, 1500), rng.uniform(3600, 10_800)]
        )
    return events


def one_prefix(rng: random.Random) -> list[Any]:
    """Forty questions on the same 20,000 tokens: a loop in a cell that returns to the prefix every time."""
    events: list[Any] = [Ask(0.0, (), 20_000, (), (8.0, 300), "cell-0")]
    seconds = 60.0
    for turn in range(40):
        events += [Ask(seconds, (), int(rng.lognormvariate(5, 0.5)) + 20, (), (5.0, 150), f"cell-{turn + 1}")]
        seconds += 7 if (turn + 1) % 10 else rng.uniform(120, 900)
        events.append(Rewind(seconds, 1))
    return events


OWN = {"J long document": long_document, "K meetings": meetings, "L one prefix": one_prefix}


# The requests of a scenario


@dataclass
class Turn:
    prompt: list[Message]
    rest: list[Message] = field(default_factory=list)
    cell: str = ""


def text(name: int, tokens: int) -> str:
    """Return a unique text of so many tokens."""
    return words(max(1, tokens - 1), "word") + f" b{name}"


TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "description": words(1765),
        "parameters": {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]},
    },
}


def requests(events: list[Any]) -> Iterator[tuple[float, list[PromptMessage], int]]:
    """Yield time in seconds, messages, and the number of messages up to the end of the user's prompt."""
    number = iter(range(1 << 30))
    system = Message("system", text(next(number), 2500))
    turns: list[Turn] = []
    for event in events:
        if isinstance(event, Rewind):
            turns = turns[: event.turn]
        elif isinstance(event, Edit):
            edited_turn = turns[event.turn]
            edited_turn.prompt = [
                Message("user", text(next(number), count(m.text))) for m in edited_turn.prompt
            ]
        else:
            prompt = [Message("user", text(next(number), n)) for n in (*event.cells, event.prompt)]
            turn = Turn(prompt, cell=event.cell)
            turns.append(turn)
            asked_at = event.at
            for step in (*event.steps, None):
                messages = [PromptMessage(system)]
                for n, earlier in enumerate(turns):
                    messages += [
                        PromptMessage(message, n, earlier.cell)
                        for message in (*earlier.prompt, *earlier.rest)
                    ]
                yield asked_at, messages, len(messages) - len(turn.rest)
                if step is not None:
                    asked_at += step[0]
                    turn.rest += rounds(number, step)
            turn.rest.append(Message("assistant", text(next(number), event.answer[1])))


def rounds(number: Iterator[int], step: tuple[Any, ...]) -> list[Message]:
    """Return the messages of one step of tools: calls and their results."""
    _, tokens, pairs = step
    calls, results = [], []
    for call, result in pairs:
        name = f"t{next(number)}"
        calls.append(ToolCall(name, "look", json.dumps({"q": text(next(number), call - 9)})))
        results.append(Message("tool", text(next(number), result), tool_call_id=name))
    return [Message("assistant", text(next(number), tokens) if tokens else "", tuple(calls)), *results]


# Bills


@dataclass
class Sum:
    """Cost of prompts in units of one uncached token."""

    paid: float = 0.0
    plain: float = 0.0

    def add(self, bill: Any) -> None:
        self.paid += bill.units()
        self.plain += bill.prompt


def run(job: tuple[str, int]) -> dict[str, float]:
    """Return each policy's fraction of the uncached cost, for one scenario and seed."""
    name, seed = job
    events = OWN[name](random.Random(seed)) if name in OWN else scenario(name, seed)
    sums = {policy: Sum() for policy in ("ours", *OTHERS)}
    others = {policy: (create(), BlockCache()) for policy, create in OTHERS.items()}
    sent_blocks: list[tuple[float, list[tuple[str, int]]]] = []
    loop = asyncio.new_event_loop()
    for _ in import_in_portions():
        pass
    with WireServer(clock=Clock(START)) as wire:
        os.environ.update(wire.env())
        client = ModelClient(clock=lambda: wire.clock.now, pauses=NOTEBOOK)
        endpoint = provider_endpoint(MODEL, 16)
        wire.always = Reply("ok")
        for asked_at, messages, prompt_end in requests(events):
            wire.clock.now = START + asked_at
            planned = client.prepare(endpoint, messages, request_options(endpoint.rules, [TOOL]))
            exchange = client.exchange(endpoint, planned, 16)
            loop.run_until_complete(exchange.run(lambda _: None))
            client.record(planned, exchange)
            request = wire.requests.pop()
            assert request.bill and request.call
            sums["ours"].add(request.bill)
            blocks = [replace(block, ttl=None) for block in request.call.blocks]
            names = prefixes(blocks, request.call.seeds)
            sent_blocks.append((asked_at, list(zip(names, (block.tokens for block in blocks), strict=True))))
            start = blocks_upto(blocks, messages, prompt_end)
            for policy, (chooser, cache) in others.items():
                checkpoints = chooser.checkpoints(blocks, start, asked_at)
                assert len(checkpoints) <= 4
                marked = [replace(block, ttl=checkpoints.get(n)) for n, block in enumerate(blocks)]
                policy_plan = plan_anthropic(cache, "", marked, request.call.seeds, MINIMUM, asked_at)
                policy_plan.commit()
                sums[policy].add(policy_plan.bill)
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    fractions = {policy: policy_sum.paid / policy_sum.plain for policy, policy_sum in sums.items()}
    return fractions | {"bound": bound(sent_blocks)}


def blocks_upto(blocks: list[Any], messages: list[PromptMessage], upto: int) -> int:
    """Return the index of the last block of the first `upto` messages; the tool's definition is block 0."""
    index = sum(
        (bool(message.message.text) or message.message.role == "tool") + len(message.message.tool_calls)
        for message in messages[:upto]
    )
    assert index < len(blocks)
    return index


def table(rows: dict[str, dict[str, float]]) -> str:
    """Return a markdown table: fractions of the uncached cost; ours divided by the best other and by the bound."""
    names = ["ours", *OTHERS, "bound"]
    lines = [
        "| scenario | " + " | ".join(names) + " | ours / best other | ours / bound |",
        "|---|" + "---|" * (len(names) + 2),
    ]
    for name, row in rows.items():
        best, row_bound = min(row[other] for other in OTHERS), row["bound"]
        cells = [f"{row[policy]:.3f}" for policy in names]
        lines.append(
            f"| {name} | {' | '.join(cells)} | {row['ours'] / best:.3f} | {row['ours'] / row_bound:.3f} |"
        )
    return "\n".join(lines)


def summary(rows: dict[str, dict[str, float]]) -> str:
    """Return the figures in words."""
    five_minute_policies = [name for name in OTHERS if name != "1h anchored"]
    worst = max(row["ours"] / min(row[other] for other in OTHERS) for row in rows.values())
    mean = math.exp(statistics.mean(math.log(row["ours"] / row["bound"]) for row in rows.values()))
    lines = [
        f"ours is at most {worst:.3f} times the best other policy of each scenario",
        f"ours is {mean:.3f} times the bound in the geometric mean, at most "
        f"{max(row['ours'] / row['bound'] for row in rows.values()):.3f}",
    ]
    for name in PAUSES:
        if name in rows:
            best_five = min(rows[name][other] for other in five_minute_policies)
            lines.append(
                f"{name}: {1 - rows[name]['ours'] / best_five:.0%} below the best five-minute policy"
            )
    return "\n".join(lines)


def chart(rows: dict[str, dict[str, float]], file: Path) -> None:
    """Draw the cost of each policy in each scenario as a multiple of the bound."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5.2), layout="constrained")
    styles = dict(zip(OTHERS, "ov^<>sPX", strict=True))
    places = range(len(rows))
    for policy in OTHERS:
        values = [row[policy] / row["bound"] for row in rows.values()]
        axes.scatter(values, places, marker=styles[policy], s=34, alpha=0.75, label=policy)
    ours = [row["ours"] / row["bound"] for row in rows.values()]
    axes.scatter(ours, places, marker="D", s=60, color="black", label="ipycachechat", zorder=3)
    axes.axvline(1, color="grey", linewidth=1)
    axes.set(xscale="log", xlabel="cost of the prompts, as a multiple of the clairvoyant bound")
    axes.set_xticks([1, 1.5, 2, 3, 5, 8], labels=["1", "1.5", "2", "3", "5", "8"])
    axes.set_yticks(list(places), labels=list(rows))
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    figure.legend(fontsize=8, loc="outside right upper")
    figure.savefig(file, dpi=110)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--seeds", type=int, default=6)
    options.add_argument("--only", default="", help="scenarios whose letters are among these")
    options.add_argument("--short", action="store_true", help="two scenarios, one seed")
    options.add_argument("--write", action="store_true", help="write docs/cache_cost.json and .png")
    args = options.parse_args()
    names = ["A chat", "E pauses"] if args.short else [*SCENARIOS, *OWN]
    names = [name for name in names if name[0] in (args.only or name)]
    seeds = 1 if args.short else args.seeds
    jobs = [(name, seed) for name in names for seed in range(seeds)]
    with ProcessPoolExecutor(2) as pool:
        fractions = dict(zip(jobs, pool.map(run, jobs), strict=True))
    rows = {
        name: {
            policy: statistics.mean(fractions[name, seed][policy] for seed in range(seeds))
            for policy in fractions[names[0], 0]
        }
        for name in names
    }
    print(table(rows), summary(rows), sep="\n\n")
    if args.write:
        (DOCS / "cache_cost.json").write_text(
            json.dumps({"seeds": seeds, "scenarios": rows}, indent=1) + "\n"
        )
        chart(rows, DOCS / "cache_cost.png")


if __name__ == "__main__":
    main()
