"""Recognise the types of other libraries without importing them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def has_attributes(value: Any, *names: str) -> bool:
    """Return True if its class has them all: some objects make up every attribute that they are asked for."""
    return all(hasattr(type(value), name) for name in names)


def is_instance_of(*names: str) -> Callable[[Any], bool]:
    """By the names of classes, whose libraries are not imported here."""
    return lambda value: any(f"{kind.__module__}.{kind.__name__}" in names for kind in type(value).__mro__)
