"""What the prompts of a conversation cost, as a part of what they would cost with no cache.

    python tests/bench/cache_cost.py [--seeds 6] [--short] [--write]

Ours goes through the real engine and the real litellm to the wire server, on its clock, with token counts that the
engine has to guess and learn, as with a real provider. The policies of others are billed by the server's own rules
for exactly the blocks that went over the wire. The bound is the clairvoyant one of `scenarios.py`: each block by the
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
"""Where an hour is worth its price."""


# Scenarios of our own


def long_document(r: random.Random) -> list[Any]:
    """A document of 60,000 tokens, then thirty questions about it at the pace of a notebook."""
    found, now = [], 0.0
    for turn in range(31):
        prompt = 60_000 if not turn else int(r.lognormvariate(4, 0.6)) + 10
        found.append(Ask(now, (), prompt, (), (8.0, int(r.lognormvariate(5.5, 0.6)) + 40), f"cell-{turn}"))
        now += 8 + r.choice([r.lognormvariate(4, 0.8)] * 3 + [r.uniform(300, 1500)])
    return found


def meetings(r: random.Random) -> list[Any]:
    """Tools, and one pause in five between one hour and three."""
    found, now = [], 0.0
    for event in scenario("B tools", r.randrange(1 << 30)):
        found.append(replace(event, at=now))
        spent = sum(step[0] for step in event.steps) + event.answer[0]
        now += spent + r.choice(
            [r.lognormvariate(4, 0.8)] * 3 + [r.uniform(300, 1500), r.uniform(3600, 10_800)]
        )
    return found


def one_prefix(r: random.Random) -> list[Any]:
    """Forty questions, each asked of the same 20,000 tokens: a loop in a cell that goes back every time."""
    found: list[Any] = [Ask(0.0, (), 20_000, (), (8.0, 300), "cell-0")]
    now = 60.0
    for turn in range(40):
        found += [Ask(now, (), int(r.lognormvariate(5, 0.5)) + 20, (), (5.0, 150), f"cell-{turn + 1}")]
        now += 7 if (turn + 1) % 10 else r.uniform(120, 900)
        found.append(Rewind(now, 1))
    return found


OWN = {"J long document": long_document, "K meetings": meetings, "L one prefix": one_prefix}


# The requests that a scenario makes


@dataclass
class Turn:
    prompt: list[Message]
    rest: list[Message] = field(default_factory=list)
    cell: str = ""


def text(name: int, tokens: int) -> str:
    """So many tokens that nobody else has."""
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
    """Second, messages, and how many of them there are up to the end of the person's prompt."""
    number = iter(range(1 << 30))
    said_first = Message("system", text(next(number), 2500))
    turns: list[Turn] = []
    for event in events:
        if isinstance(event, Rewind):
            turns = turns[: event.turn]
        elif isinstance(event, Edit):
            old = turns[event.turn]
            old.prompt = [Message("user", text(next(number), count(m.text))) for m in old.prompt]
        else:
            prompt = [Message("user", text(next(number), n)) for n in (*event.cells, event.prompt)]
            turn = Turn(prompt, cell=event.cell)
            turns.append(turn)
            at = event.at
            for step in (*event.steps, None):
                said = [PromptMessage(said_first)]
                for n, one in enumerate(turns):
                    said += [PromptMessage(message, n, one.cell) for message in (*one.prompt, *one.rest)]
                yield at, said, len(said) - len(turn.rest)
                if step is not None:
                    at += step[0]
                    turn.rest += rounds(number, step)
            turn.rest.append(Message("assistant", text(next(number), event.answer[1])))


def rounds(number: Iterator[int], step: tuple[Any, ...]) -> list[Message]:
    """One step of tools: calls, and their results."""
    _, tokens, pairs = step
    calls, results = [], []
    for call, result in pairs:
        name = f"t{next(number)}"
        calls.append(ToolCall(name, "look", json.dumps({"q": text(next(number), call - 9)})))
        results.append(Message("tool", text(next(number), result), tool_call_id=name))
    return [Message("assistant", text(next(number), tokens) if tokens else "", tuple(calls)), *results]


# The bills


@dataclass
class Sum:
    """Prompt tokens in units of an uncached one."""

    paid: float = 0.0
    plain: float = 0.0

    def add(self, bill: Any) -> None:
        self.paid += bill.units()
        self.plain += bill.prompt


def run(job: tuple[str, int]) -> dict[str, float]:
    """All policies over one scenario and seed: parts of the uncached cost."""
    name, seed = job
    events = OWN[name](random.Random(seed)) if name in OWN else scenario(name, seed)
    sums = {policy: Sum() for policy in ("ours", *OTHERS)}
    others = {policy: (make(), BlockCache()) for policy, make in OTHERS.items()}
    seen: list[tuple[float, list[tuple[str, int]]]] = []
    loop = asyncio.new_event_loop()
    for _ in import_in_portions():
        pass
    with WireServer(clock=Clock(START)) as wire:
        os.environ.update(wire.env())
        engine, to = ModelClient(clock=lambda: wire.clock.now, pauses=NOTEBOOK), provider_endpoint(MODEL, 16)
        wire.always = Reply("ok")
        for at, said, upto in requests(events):
            wire.clock.now = START + at
            prepared = engine.prepare(to, said, request_options(to.rules, [TOOL]))
            exchange = engine.exchange(to, prepared, 16)
            loop.run_until_complete(exchange.run(lambda _: None))
            engine.record(prepared, exchange)
            request = wire.requests.pop()
            assert request.bill and request.call
            sums["ours"].add(request.bill)
            blocks = [replace(block, ttl=None) for block in request.call.blocks]
            names = prefixes(blocks, request.call.seeds)
            seen.append((at, list(zip(names, (block.tokens for block in blocks), strict=True))))
            start = blocks_upto(blocks, said, upto)
            for policy, (chooser, cache) in others.items():
                marks = chooser.marks(blocks, start, at)
                assert len(marks) <= 4
                marked = [replace(block, ttl=marks.get(n)) for n, block in enumerate(blocks)]
                planned = plan_anthropic(cache, "", marked, request.call.seeds, MINIMUM, at)
                planned.commit()
                sums[policy].add(planned.bill)
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    found = {policy: one.paid / one.plain for policy, one in sums.items()}
    return found | {"bound": bound(seen)}


def blocks_upto(blocks: list[Any], said: list[PromptMessage], upto: int) -> int:
    """Index of the last block of the first `upto` messages; behind the tool's definition."""
    found = sum(
        (bool(one.message.text) or one.message.role == "tool") + len(one.message.tool_calls)
        for one in said[:upto]
    )
    assert found < len(blocks)
    return found


def table(rows: dict[str, dict[str, float]]) -> str:
    """In Markdown: parts of the uncached cost, and ours beside the best other and the bound."""
    names = ["ours", *OTHERS, "bound"]
    lines = [
        "| scenario | " + " | ".join(names) + " | ours / best other | ours / bound |",
        "|---|" + "---|" * (len(names) + 2),
    ]
    for name, row in rows.items():
        best, least = min(row[other] for other in OTHERS), row["bound"]
        cells = [f"{row[policy]:.3f}" for policy in names]
        lines.append(
            f"| {name} | {' | '.join(cells)} | {row['ours'] / best:.3f} | {row['ours'] / least:.3f} |"
        )
    return "\n".join(lines)


def summary(rows: dict[str, dict[str, float]]) -> str:
    """The figures in words."""
    fives = [name for name in OTHERS if name != "1h anchored"]
    worst = max(row["ours"] / min(row[other] for other in OTHERS) for row in rows.values())
    mean = math.exp(statistics.mean(math.log(row["ours"] / row["bound"]) for row in rows.values()))
    lines = [
        f"ours is at most {worst:.3f} times the best other policy of each scenario",
        f"ours is {mean:.3f} times the bound in the geometric mean, at most "
        f"{max(row['ours'] / row['bound'] for row in rows.values()):.3f}",
    ]
    for name in PAUSES:
        if name in rows:
            five = min(rows[name][other] for other in fives)
            lines.append(f"{name}: {1 - rows[name]['ours'] / five:.0%} below the best five-minute policy")
    return "\n".join(lines)


def chart(rows: dict[str, dict[str, float]], file: Path) -> None:
    """For each scenario, what every policy costs as a multiple of the bound."""
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
        found = dict(zip(jobs, pool.map(run, jobs), strict=True))
    rows = {
        name: {
            policy: statistics.mean(found[name, seed][policy] for seed in range(seeds))
            for policy in found[names[0], 0]
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
