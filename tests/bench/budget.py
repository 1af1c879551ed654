"""Budgets over random conversations: python tests/bench/budget.py 300

Compare the server's bills, by litellm's prices, with the budget, and count what was refused.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS)]

from support.budget_world import MODELS, TINY, World, random_step  # noqa: E402
from wire import Clock, WireServer  # noqa: E402

from ipycachechat.providers.litellm_import import import_in_portions  # noqa: E402


def main(conversations: int) -> int:
    """Return 0 if no budget was exceeded."""
    for _ in import_in_portions():
        pass
    loop, outcomes, shares, above = asyncio.new_event_loop(), Counter[str](), [], 0
    with WireServer(clock=Clock(1_000_000.0)) as server:
        os.environ.update(server.env())
        for seed in range(conversations):
            rng = random.Random(seed)
            world = World(server, loop, rng.choice([0.2, 1, 3, 10, 40]) / 100, model=rng.choice(MODELS))
            for _ in range(25):
                random_step(world, rng)
            billed, state = world.billed, world.chat.client.budgets.state
            outcomes["requests"] += len(server.requests)
            outcomes["interrupted"] += sum(request.closed != "complete" for request in server.requests)
            outcomes["not sent"] += world.refused
            outcomes["at their bound"] += state.unbilled_requests
            shares.append(billed / world.budget)
            if not billed <= state.spent + TINY or not billed <= world.budget + TINY:
                above += 1
                print(f"{seed}: billed {billed:.6f}, counted {state.spent:.6f}, budget {world.budget}")
    counts = ", ".join(f"{number:,} {name}" for name, number in outcomes.items())
    print(f"{conversations} conversations: {counts}; {above} above their budget")
    shares.sort()
    print(f"billed of the budget: median {shares[len(shares) // 2]:.0%}, most {shares[-1]:.0%}")
    return bool(above)


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 300))
