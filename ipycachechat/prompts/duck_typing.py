"""Recognise the types of other libraries without importing them, and this package's own values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ipycachechat.text.redaction_log import RedactionLog


class PromptValue(ABC):
    """A value that makes its own text for a prompt."""

    @abstractmethod
    def text(self, redact: RedactionLog) -> str:
        """Return the text; what of it is cut is redacted before."""


def has_attributes(value: Any, *names: str) -> bool:
    """Return True if the value's class has all of them; an object itself may invent any attribute."""
    return all(hasattr(type(value), name) for name in names)


def is_instance_of(*names: str) -> Callable[[Any], bool]:
    """Return a check for instances of the classes with these full names, and of their subclasses."""
    return lambda value: any(f"{cls.__module__}.{cls.__name__}" in names for cls in type(value).__mro__)
