"""Any Python value as text for a prompt, within a limit of time and size, without copying it."""

from __future__ import annotations

import inspect
import linecache
import os
import re
import reprlib
import traceback
from collections.abc import Callable, Mapping, Set
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
from ipycachechat.text.truncate import strip_addresses, truncate_middle

SECONDS, DRAWING = 1.0, 30.0
"""Seconds that one value may take; those of a figure that is drawn, or a file that is read."""
CHARACTERS = 6_000
"""Characters of one value's text; strings and files are included whole."""
WHOLE = 4_000_000
"""Of a text: no model takes more."""
LOOKED_AT = 100_000
"""Of which so much is looked through for secrets, so that none is cut in two before it is known."""
ITEMS, LEVELS = 100, 6
"""Of data, at each level; how deep."""
NODES = 1_000
"""Of data that is told whole, as JSON."""


def describe(value: Any, redact: Callable[[str], str] = str) -> Part:
    """A value as a text or a file. Raises BadInput for a file that cannot be sent; anything else has a repr.

    `masked`: takes what is secret out of a text.
    """
    seconds = SECONDS
    try:
        if content.is_figure(value) or isinstance(value, os.PathLike):
            seconds = DRAWING
        whole = isinstance(value, (str, *content.BYTES, os.PathLike))
        told = run_with_time_limit(seconds, lambda: _described(value))
    except TimeLimitExceeded:
        return f"({_named(value)}: it took longer than {seconds:g} s to look at)"
    except ChatError:
        raise
    except RecursionError:
        return f"({_named(value)}: it holds itself too deep to be shown)"
    except (Exception, SystemExit) as error:  # the user's own objects may raise anything
        return f"({_named(value)}: it cannot be shown: {type(error).__name__})"
    if isinstance(told, Attachment):
        return replace(told, name=redact(told.name)) if told.name else told
    if whole:
        return redact(truncate_middle(told, WHOLE))
    return truncate_middle(redact(truncate_middle(told, LOOKED_AT)), CHARACTERS)


def describe_value(value: Any, redact: Callable[[str], str] = str) -> Part:
    """One of the values that a prompt is made of in Python: what is written there is a text, or a part as OpenAI and
    litellm write it. Anything else is described. Raises BadInput.
    """
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Attachment):
        return value
    return content.part_from_dict(value) if content.is_part_dict(value) else describe(value, redact)


def _described(value: Any) -> Part:
    if isinstance(value, str):
        return str.__str__(value)
    if type(value) in (NoneType, bool, int, float, complex):
        return repr(value)
    if content.is_table(value):
        return data_summary.summarize_frame(value)
    if isinstance(value, BaseException):
        return "".join(traceback.format_exception(value)).rstrip()
    if isinstance(value, ModuleType):
        return _module(value)
    if isinstance(value, type) or inspect.isroutine(value):
        return _source(value)
    if has_attributes(value, "shape", "dtype"):
        return data_summary.summarize_array(value)
    if isinstance(value, list | tuple | Mapping | Set):
        return _data(value)
    if isinstance(value, os.PathLike) and not isinstance(value, PurePath | os.DirEntry):
        return _repr(value)  # of what answers to everything
    found = content.to_part(value)
    return _repr(value) if found is None else found


def _repr(value: Any) -> str:
    """Its repr, without the address that is another one in every kernel."""
    return strip_addresses(repr(value))


def _data(value: Any) -> str:
    """As JSON if it is small and plain data; else as Python writes it, with what is left out as dots."""
    if _is_small(value):
        try:
            return content.as_json(value)
        except (TypeError, ValueError):
            pass
    short = reprlib.Repr()
    short.maxlevel = LEVELS
    short.maxlist = short.maxtuple = short.maxdict = short.maxset = short.maxfrozenset = short.maxdeque = (
        ITEMS
    )
    short.maxstring = short.maxother = 1_000
    if len(value) <= ITEMS:
        return short.repr(value)
    # Repr sorts what a set or a dict holds, which would be a copy of it.
    first = list(islice(value.items() if isinstance(value, Mapping) else value, ITEMS))
    head = short.repr(dict(first) if isinstance(value, Mapping) else first)
    return f"{type(value).__name__} of {len(value):,}, the first {ITEMS}:\n{head}"


def _is_small(value: Any) -> bool:
    """Return True if it holds few things, all of them plain."""
    left, stack = NODES, [value]
    while stack:
        one, left = stack.pop(), left - 1
        if left < 0:
            return False
        if isinstance(one, Mapping):
            if len(one) > left or not all(isinstance(name, str) for name in one):
                return False
            stack += one.values()
        elif isinstance(one, list | tuple):
            if len(one) > left:
                return False
            stack += one
        elif not (one is None or isinstance(one, str | int | float)):
            return False
    return True


def _source(value: Any) -> str:
    """A function's or a class's source; without one, its signature and docstring."""
    try:
        source = inspect.getsource(value)
    except (OSError, TypeError):
        source = _in_a_cell(value) or _signature(value)
    return f"```python\n{source.rstrip()}\n```"


def _in_a_cell(value: Any) -> str:
    """The source of a class that was defined in a cell, which its methods know; "" if there is none."""
    for one in vars(value).values() if isinstance(value, type) else ():
        if isinstance(one, FunctionType):
            lines = linecache.getlines(one.__code__.co_filename)
            begins = re.compile(rf"\s*class\s+{re.escape(value.__name__)}\b").match
            found = [number for number, line in enumerate(lines) if begins(line)]
            return "".join(inspect.getblock(lines[found[-1] :])) if found else ""
    return ""


def _signature(value: Any) -> str:
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", repr(value))
    try:
        signature = str(inspect.signature(value))
    except (ValueError, TypeError):
        signature = "(…)"
    kind = "class" if isinstance(value, type) else "def"
    told = (inspect.getdoc(value) or "").partition("\n\n")[0].strip()
    return f"{kind} {name}{signature}" + (f"\n    {told!r}" if told else "")


def _module(value: ModuleType) -> str:
    """Return the names and signatures of a module."""
    public = getattr(value, "__all__", None) or [name for name in vars(value) if not name.startswith("_")]
    found = []
    for name in public:
        one = vars(value).get(name)
        if isinstance(one, type) or inspect.isroutine(one):
            found.append(_signature(one).partition("\n")[0])
    return f"module {value.__name__}:\n```python\n" + "\n".join(found) + "\n```"


def _named(value: Any) -> str:
    return f"a value of the type {type_name(value)}"


def type_name(value: Any) -> str:
    """The name of its class, whatever that says itself."""
    return str(type.__dict__["__name__"].__get__(type(value)))
