"""Functions and dicts as tool definitions."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from ipycachechat.conversation.messages import ToolCall
from ipycachechat.errors import BadInput

Json = dict[str, Any]
Function = Callable[..., Any]
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")  # what every provider takes


@dataclass(frozen=True, slots=True)
class Tools:
    """Definitions in the order in which they are sent, and the functions behind them."""

    definitions: tuple[str, ...] = ()
    """In JSON, as litellm takes them."""
    functions: Mapping[str, Function] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Of all tools, in order."""
        return [tool_name(one) for one in self.definitions]


def make_tools(given: Iterable[Any] | None, ns: Any = None) -> Tools:
    """Tools from functions, or from definitions whose functions are in `ns` by name. Raises BadInput.

    `ns`: a dict of functions by name, or a list of functions.
    """
    from fastcore.funccall import mk_ns

    if given is not None and not callable(given) and not isinstance(given, Iterable):
        raise BadInput(f"tools is a {type(given).__name__}", "Give a list of functions.")
    given = [given] if callable(given) or isinstance(given, Mapping) else list(given or ())
    functions = {name: one for name, one in mk_ns(ns or []).items() if callable(one)}
    definitions: dict[str, str] = {}
    for one in given:
        name, definition = _defined(one)
        if name in definitions:
            raise BadInput(f"Two tools are named {name!r}", "Give each a name of its own.")
        definitions[name] = json.dumps(definition, ensure_ascii=False, separators=(",", ":"))
        if callable(one):
            functions[name] = one
    return Tools(tuple(definitions.values()), {n: f for n, f in functions.items() if n in definitions})


def tool_name(definition: str) -> str:
    """The name in a definition."""
    return str(json.loads(definition)["function"]["name"])


def _defined(one: Any) -> tuple[str, Json]:
    """Name and definition of a tool. Raises BadInput."""
    if isinstance(one, Mapping):
        return _given(one)
    if not callable(one):
        raise BadInput(
            f"A tool is a function, not a {type(one).__name__}",
            "Give the function itself: tools=[my_function].",
        )
    named = one.func if isinstance(one, partial) else one
    name = getattr(named, "__name__", "") or type(one).__name__
    if not NAME.fullmatch(name):
        raise BadInput(
            f"A tool cannot be named {name!r}", "Write it as a function with a name: def lookup(…): …"
        )
    return name, {"type": "function", "function": _schema(one, name)}


def _given(one: Mapping[str, Any]) -> tuple[str, Json]:
    """A definition that was given as such, in OpenAI's form or as the bare function."""
    inner = one.get("function", one)
    if not isinstance(inner, Mapping) or not NAME.fullmatch(str(inner.get("name", ""))):
        raise BadInput(
            "A tool that is given as a dict has no name",
            'Write it as {"type": "function", "function": {"name": …, "description": …, "parameters": {…}}}.',
        )
    parameters = inner.get("parameters") or inner.get("input_schema") or {"type": "object", "properties": {}}
    try:
        validator_class().check_schema(parameters)
    except Exception as error:
        raise BadInput(
            f"The parameters of the tool {inner['name']} are no JSON schema: {' '.join(str(error).split())[:160]}",
            'Write them as {"type": "object", "properties": {…}}.',
        ) from None
    made = {"name": inner["name"], "description": inner.get("description", ""), "parameters": parameters}
    return str(inner["name"]), {"type": "function", "function": made}


def _schema(function: Function, name: str) -> Json:
    """Return fastcore's schema of the signature, the parameters' comments and the docstring. Raises BadInput.

    Types that it does not know (choices, enums, dates, classes in classes) are pydantic's to describe.
    """
    bare = _bare(function)
    if not _doc(bare):
        raise BadInput(
            f"The tool {name} has no docstring, by which the model would know what it is for",
            f'Say it in a line: def {name}(…): "What it does."',
        )
    try:
        made = _described(function, bare, name)
        validator_class().check_schema(made["parameters"])
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(
            f"The tool {name} cannot be described to a model: {' '.join(str(error).split())[:200]}",
            f"Give each parameter of {name} a type, such as int, str or list[str].",
        ) from None
    return made


def _described(function: Function, bare: Function, name: str) -> Json:
    from fastcore.docments import docments
    from fastcore.funccall import get_schema, handle_type

    parameters = inspect.signature(function).parameters
    for one in parameters.values():
        if one.kind in (one.POSITIONAL_ONLY, one.VAR_POSITIONAL, one.VAR_KEYWORD):
            raise BadInput(
                f"The tool {name} has the parameter {one}, which a model cannot give by name",
                "Write a function around it whose parameters all have names and types.",
            )
    rich = rich_types(function)
    try:
        documents = docments(_routine(bare), full=True)
    except (OSError, SyntaxError):  # the source is not there, or not what it was
        documents = {}
    if documents and not rich and not isinstance(function, partial):
        plain = get_schema(bare, pname="parameters", evalable=True, name=name)
        described: Json = json.loads(json.dumps(plain))
        return described
    hints = get_type_hints(_routine(bare))
    properties: dict[str, Json] = {}
    defs: Json = {}
    for one in parameters.values():
        if one.name in rich:
            form = rich[one.name].json_schema()
            defs |= form.pop("$defs", {})
        else:
            form = handle_type(hints.get(one.name, inspect.Parameter.empty), defs)
        told = documents.get(one.name)
        default = {} if one.default is one.empty else {"default": _default(one.default)}
        properties[one.name] = {"description": (told and told.docment) or "", **form, **default}
    made: Json = {"type": "object", "properties": properties}
    made["required"] = [one.name for one in parameters.values() if one.default is one.empty]
    if defs:
        made["$defs"] = defs
    return {"name": name, "description": _doc(bare), "parameters": made}


def _bare(function: Function) -> Any:
    """The function as it was written: without what was given beforehand, or wrapped around it."""
    return inspect.unwrap(function.func if isinstance(function, partial) else function)


def _routine(bare: Any) -> Any:
    """Return the function that has the signature; of a callable object, its method."""
    return bare if inspect.isroutine(bare) or inspect.isclass(bare) else type(bare).__call__


def _doc(bare: Any) -> str:
    """The docstring; of an object, that of its class, or of its method."""
    return (bare.__doc__ or getattr(_routine(bare), "__doc__", "") or "").strip()


def _default(value: Any) -> Any:
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError):
        return str(value)


PLAIN = (str, int, float, bool, list, dict, set, tuple, type(None), Path, bytes, Decimal, UUID)


def rich_types(function: Function) -> dict[str, Any]:
    """By parameter, what describes and checks a type that is not made of Python's plain ones alone."""
    from pydantic import TypeAdapter

    bare = _bare(function)
    hints = get_type_hints(_routine(bare))
    names = inspect.signature(function).parameters
    return {name: TypeAdapter(hint) for name, hint in hints.items() if name in names and not _is_plain(hint)}


def _is_plain(hint: Any) -> bool:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType) or (isinstance(origin, type) and origin in PLAIN):
        return all(one is Ellipsis or _is_plain(one) for one in inner)
    return hint in PLAIN


def placeholder_definitions(calls: Sequence[ToolCall]) -> tuple[str, ...]:
    """Definitions for the tools that a conversation has called, if none are defined.

    A request with calls and no tools is refused, or given a made-up tool by litellm, which costs the cache.
    """
    keys: dict[str, dict[str, Json]] = {}
    for call in calls:
        given = json.loads(call.arguments or "{}")
        keys.setdefault(call.name, {}).update({name: {} for name in given})
    return tuple(
        json.dumps(
            {
                "type": "function",
                "function": {
                    "name": name,
                    "description": "Called earlier in this conversation; not available now.",
                    "parameters": {"type": "object", "properties": properties},
                },
            },
            ensure_ascii=False,
            separators=(",", ":"),
        )
        for name, properties in keys.items()
    )


def validator_class() -> Any:
    """Return jsonschema's validator; imported at first use, since it takes a while."""
    from jsonschema import Draft202012Validator

    return Draft202012Validator
