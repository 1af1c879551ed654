"""Any Python value as text for a prompt, within a limit of time and size, without copying it."""

from __future__ import annotations

import inspect
import linecache
import os
import re
import traceback
from collections.abc import Mapping, Set
from dataclasses import replace
from itertools import islice
from pathlib import PurePath
from types import FunctionType, ModuleType, NoneType
from typing import Any

from ipycachechat.conversation.messages import Attachment, Part
from ipycachechat.errors import ChatError, TimeLimitExceeded
from ipycachechat.prompts import content, data_summary
from ipycachechat.prompts.duck_typing import has_attributes
from ipycachechat.runtime.time_limit import run_with_time_limit
from ipycachechat.text.redaction_log import RedactingRepr, RedactionLog
from ipycachechat.text.truncate import strip_addresses

SECONDS, DRAWING_SECONDS = 1.0, 30.0
"""Time limit for a value; for a figure that is drawn, or a file that is read."""
MAX_CHARACTERS = 6_000
"""Length of a value's text; strings and files are included whole."""
MAX_WHOLE = 4_000_000
"""Length of strings and files: no model takes more."""
MASKABLE = (str, bytes, bytearray, int, list, tuple, set, frozenset, dict)
"""Types of values that a variable of a secret's name may hold."""
MAX_ITEMS, MAX_LEVELS = 100, 6
"""Items of data at each level, and levels."""
MAX_JSON_ITEMS = 1_000
"""Items of data that is included whole, as JSON."""


def describe(value: Any, redact: RedactionLog, name: str = "") -> Part:
    """Return a value as a text or a file; what cannot be read is a note. Raises BadInput for a file that is refused.

    `name`: of the variable or field that holds it; one of a secret is masked whole.
    """
    if name and isinstance(value, MASKABLE) and redact.hides(name):
        return str(redact.mask(name, value))
    seconds = SECONDS
    try:
        if content.is_figure(value) or isinstance(value, os.PathLike):
            seconds = DRAWING_SECONDS
        whole = isinstance(value, (str, *content.BYTES, os.PathLike))
        part = run_with_time_limit(seconds, lambda: _describe(value, redact))
    except TimeLimitExceeded:
        return f"({_a_value(value)}: it took longer than {seconds:g} s to read)"
    except ChatError:
        raise
    except RecursionError:
        return f"({_a_value(value)}: it is nested too deep to be shown)"
    except (Exception, SystemExit) as error:  # the user's own objects may raise anything
        return f"({_a_value(value)}: it cannot be shown: {type(error).__name__})"
    if isinstance(part, Attachment):
        return replace(part, name=redact(part.name)) if part.name else part
    if whole:
        return redact.truncate_middle(part, MAX_WHOLE)
    return redact.truncate_middle(part, MAX_CHARACTERS)


def describe_value(value: Any, redact: RedactionLog) -> Part:
    """Return a value of a prompt from Python as a part: texts and parts as they are, others described.

    Raises BadInput.
    """
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Attachment):
        return value
    return content.part_from_dict(value) if content.is_part_dict(value) else describe(value, redact)


def type_name(value: Any) -> str:
    """Return the name of the value's class, even if its metaclass overrides `__name__`."""
    return str(type.__dict__["__name__"].__get__(type(value)))


def _a_value(value: Any) -> str:
    return f"a value of the type {type_name(value)}"


def _describe(value: Any, redact: RedactionLog) -> Part:
    if isinstance(value, str):
        return str.__str__(value)
    if type(value) in (NoneType, bool, int, float, complex):
        return repr(value)
    if content.is_table(value):
        return data_summary.summarize_frame(value, redact)
    if isinstance(value, BaseException):
        return "".join(traceback.format_exception(value)).rstrip()
    if isinstance(value, ModuleType):
        return _module_summary(value)
    if isinstance(value, type) or inspect.isroutine(value):
        return _source(value)
    if has_attributes(value, "shape", "dtype"):
        return data_summary.summarize_array(value, redact)
    if isinstance(value, list | tuple | Mapping | Set):
        return _data_text(value, redact)
    if isinstance(value, os.PathLike) and not isinstance(value, PurePath | os.DirEntry):
        return strip_addresses(redact.mask_repr(repr(value)))  # an object that answers to every attribute
    part = content.to_part(value, redact)
    return strip_addresses(redact.mask_repr(repr(value))) if part is None else part


def _data_text(value: Any, redact: RedactionLog) -> str:
    """Return small plain data as JSON, other data as an abbreviated repr."""
    if _is_small(value):
        try:
            return content.as_json(value, redact)
        except (TypeError, ValueError):
            pass
    short = RedactingRepr(redact)
    short.maxlevel = MAX_LEVELS
    short.maxlist = short.maxtuple = short.maxdict = short.maxdeque = MAX_ITEMS
    short.maxset = short.maxfrozenset = MAX_ITEMS
    short.maxstring = short.maxother = 1_000
    if len(value) <= MAX_ITEMS:
        return short.repr(value)
    # Repr would sort the items of a set or a dict, which copies them.
    first = list(islice(value.items() if isinstance(value, Mapping) else value, MAX_ITEMS))
    head = short.repr(dict(first) if isinstance(value, Mapping) else first)
    return f"{type(value).__name__} of {len(value):,}, the first {MAX_ITEMS}:\n{head}"


def _is_small(value: Any) -> bool:
    """Return True if it consists of few items, all of them plain data."""
    left, stack = MAX_JSON_ITEMS, [value]
    while stack:
        item, left = stack.pop(), left - 1
        if left < 0:
            return False
        if isinstance(item, Mapping):
            if len(item) > left or not all(isinstance(name, str) for name in item):
                return False
            stack += item.values()
        elif isinstance(item, list | tuple):
            if len(item) > left:
                return False
            stack += item
        elif not (item is None or isinstance(item, str | int | float)):
            return False
    return True


def _source(value: Any) -> str:
    """Return the source of a function or a class; without one, its signature and docstring."""
    try:
        source = inspect.getsource(value)
    except (OSError, TypeError):
        source = _cell_source(value) or signature(value)
    return f"```python\n{source.rstrip()}\n```"


def _cell_source(cls: Any) -> str:
    """Return the source of a class defined in a cell, which its methods refer to; "" if there is none."""
    for member in vars(cls).values() if isinstance(cls, type) else ():
        if isinstance(member, FunctionType):
            lines = linecache.getlines(member.__code__.co_filename)
            is_start = re.compile(rf"\s*class\s+{re.escape(cls.__name__)}\b").match
            starts = [number for number, line in enumerate(lines) if is_start(line)]
            return "".join(inspect.getblock(lines[starts[-1] :])) if starts else ""
    return ""


def signature(value: Any) -> str:
    """Return the first line of a function or a class, with the summary of its docstring below."""
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", repr(value))
    try:
        parameters = str(inspect.signature(value))
    except (ValueError, TypeError):
        parameters = "(…)"
    kind = "class" if isinstance(value, type) else "def"
    summary = (inspect.getdoc(value) or "").partition("\n\n")[0].strip()
    return f"{kind} {name}{parameters}" + (f"\n    {summary!r}" if summary else "")


def _module_summary(module: ModuleType) -> str:
    """Return the signatures of a module's public functions and classes."""
    public = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
    members = [vars(module).get(name) for name in public]
    signatures = [
        signature(member).partition("\n")[0]
        for member in members
        if isinstance(member, type) or inspect.isroutine(member)
    ]
    return f"module {module.__name__}:\n```python\n" + "\n".join(signatures) + "\n```"
