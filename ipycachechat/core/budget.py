"""How much of each of several texts is taken, so that together they are no more than may be."""

from __future__ import annotations

from collections.abc import Mapping


def shares(sizes: Mapping[str, int], most: int) -> dict[str, int]:
    """What each may have: the largest are cut first, down to the size of the next, until all of it fits."""
    left, found = most, {}
    waiting = sorted(sizes.items(), key=lambda one: one[1])
    for number, (name, size) in enumerate(waiting):
        found[name] = min(size, left // (len(waiting) - number))
        left -= found[name]
    return found
