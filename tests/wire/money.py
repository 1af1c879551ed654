"""The price of requests in dollars, from litellm's price list and none of our code."""

from __future__ import annotations

from collections.abc import Iterable

from .requests import Request


def dollars(requests: Iterable[Request]) -> float:
    """Dollars that the provider charges for these requests; refused ones are free."""
    return sum(_dollars(request) for request in requests)


def _dollars(request: Request) -> float:
    import litellm

    bill = request.bill
    if bill is None:
        return 0.0
    names = (request.model, f"{request.provider}/{request.model}")
    price = next(litellm.model_cost[name] for name in names if name in litellm.model_cost)
    write = price.get("cache_creation_input_token_cost", 0.0)
    return float(
        bill.fresh * price["input_cost_per_token"]
        + bill.read * price.get("cache_read_input_token_cost", price["input_cost_per_token"])
        + (bill.written_5m + bill.written_30m) * write
        + bill.written_1h * price.get("cache_creation_input_token_cost_above_1hr", 0.0)
        + bill.output * price["output_cost_per_token"]
    )
