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
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")  # accepted by every provider


@dataclass(frozen=True, slots=True)
class Tools:
    """Tool definitions in the order in which they are sent, and the functions behind them."""

    definitions: tuple[str, ...] = ()
    """As JSON, in the form that litellm takes."""
    functions: Mapping[str, Function] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Names of all tools, in order."""
        return [tool_name(definition) for definition in self.definitions]


def make_tools(tools: Iterable[Any] | None, ns: Any = None) -> Tools:
    """Return tools from functions, or from definitions whose functions are in `ns`. Raises BadInput.

    `ns`: a dict of functions by name, or a list of functions.
    """
    from fastcore.funccall import mk_ns

    if tools is not None and not callable(tools) and not isinstance(tools, Iterable):
        raise BadInput(f"tools is a {type(tools).__name__}", "Give a list of functions.")
    tools = [tools] if callable(tools) or isinstance(tools, Mapping) else list(tools or ())
    functions = {name: function for name, function in mk_ns(ns or []).items() if callable(function)}
    definitions: dict[str, str] = {}
    for tool in tools:
        definition = _from_dict(tool) if isinstance(tool, Mapping) else _from_function(tool)
        name = str(definition["name"])
        if name in definitions:
            raise BadInput(f"Two tools are named {name!r}", "Give each a name of its own.")
        definitions[name] = _to_json(definition)
        if callable(tool):
            functions[name] = tool
    return Tools(tuple(definitions.values()), {n: f for n, f in functions.items() if n in definitions})


def tool_name(definition: str) -> str:
    """Return the name in a definition."""
    return str(json.loads(definition)["function"]["name"])


def _to_json(definition: Json) -> str:
    tool = {"type": "function", "function": definition}
    return json.dumps(tool, ensure_ascii=False, separators=(",", ":"))


def _from_function(tool: Any) -> Json:
    """Return the definition of a function. Raises BadInput."""
    if not callable(tool):
        raise BadInput(
            f"A tool is a function, not a {type(tool).__name__}",
            "Give the function itself: tools=[my_function].",
        )
    named = tool.func if isinstance(tool, partial) else tool
    name = getattr(named, "__name__", "") or type(tool).__name__
    if not NAME.fullmatch(name):
        raise BadInput(
            f"A tool cannot be named {name!r}", "Write it as a function with a name: def lookup(…): …"
        )
    return _function_definition(tool, name)


def _from_dict(tool: Mapping[str, Any]) -> Json:
    """Return the definition in a dict of OpenAI's form, or in its inner part. Raises BadInput."""
    inner = tool.get("function", tool)
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
            f"The parameters of the tool {inner['name']} are not a JSON schema: {' '.join(str(error).split())[:160]}",
            'Write them as {"type": "object", "properties": {…}}.',
        ) from None
    description = inner.get("description", "")
    return {"name": inner["name"], "description": description, "parameters": parameters}


def _function_definition(function: Function, name: str) -> Json:
    """Return a definition from the signature, the comments of the parameters and the docstring. Raises BadInput.

    fastcore describes Python's plain types, pydantic the others (choices, enums, dates, nested classes).
    """
    bare = _bare(function)
    if not _doc(bare):
        raise BadInput(
            f"The tool {name} has no docstring, so the model would not know what it is for",
            f'Describe it in a line: def {name}(…): "What it does."',
        )
    try:
        definition = _describe_parameters(function, bare, name)
        validator_class().check_schema(definition["parameters"])
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(
            f"The tool {name} cannot be described to a model: {' '.join(str(error).split())[:200]}",
            f"Give each parameter of {name} a type, such as int, str or list[str].",
        ) from None
    return definition


def _describe_parameters(function: Function, bare: Function, name: str) -> Json:
    from fastcore.docments import docments
    from fastcore.funccall import get_schema, handle_type

    parameters = inspect.signature(function).parameters
    for parameter in parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise BadInput(
                f"The tool {name} has the parameter {parameter}, which a model cannot give by name",
                "Write a function around it whose parameters all have names and types.",
            )
    rich = rich_types(function)
    try:
        comments = docments(_routine(bare), full=True)
    except (OSError, SyntaxError):  # the source is not available, or has changed
        comments = {}
    if comments and not rich and not isinstance(function, partial):
        plain = get_schema(bare, pname="parameters", evalable=True, name=name)
        definition: Json = json.loads(json.dumps(plain))
        return definition
    hints = get_type_hints(_routine(bare))
    properties: dict[str, Json] = {}
    defs: Json = {}
    for parameter in parameters.values():
        if parameter.name in rich:
            schema = rich[parameter.name].json_schema()
            defs |= schema.pop("$defs", {})
        else:
            schema = handle_type(hints.get(parameter.name, inspect.Parameter.empty), defs)
        comment = comments.get(parameter.name)
        default = {} if parameter.default is parameter.empty else {"default": _default(parameter.default)}
        properties[parameter.name] = {"description": (comment and comment.docment) or "", **schema, **default}
    required = [parameter.name for parameter in parameters.values() if parameter.default is parameter.empty]
    schema = {"type": "object", "properties": properties, "required": required}
    schema |= {"$defs": defs} if defs else {}
    return {"name": name, "description": _doc(bare), "parameters": schema}


def _bare(function: Function) -> Any:
    """Return the function as it was written, without its wrappers or arguments given beforehand."""
    return inspect.unwrap(function.func if isinstance(function, partial) else function)


def _routine(bare: Any) -> Any:
    """Return the function that has the signature; for a callable object, its `__call__`."""
    return bare if inspect.isroutine(bare) or inspect.isclass(bare) else type(bare).__call__


def _doc(bare: Any) -> str:
    """Return the docstring; for a callable object, that of its class or its `__call__`."""
    return (bare.__doc__ or getattr(_routine(bare), "__doc__", "") or "").strip()


def _default(value: Any) -> Any:
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError):
        return str(value)


PLAIN = (str, int, float, bool, list, dict, set, tuple, type(None), Path, bytes, Decimal, UUID)


def rich_types(function: Function) -> dict[str, Any]:
    """Return pydantic's TypeAdapter for each parameter whose type consists of more than PLAIN types."""
    from pydantic import TypeAdapter

    hints = get_type_hints(_routine(_bare(function)))
    names = inspect.signature(function).parameters
    return {name: TypeAdapter(hint) for name, hint in hints.items() if name in names and not _is_plain(hint)}


def _is_plain(hint: Any) -> bool:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType) or (isinstance(origin, type) and origin in PLAIN):
        return all(arg is Ellipsis or _is_plain(arg) for arg in inner)
    return hint in PLAIN


def placeholder_definitions(calls: Sequence[ToolCall]) -> tuple[str, ...]:
    """Return definitions for the tools that a conversation has called, if none are defined.

    A request with calls but no tools is refused, or litellm adds an invented tool, which discards the cache.
    """
    parameters: dict[str, dict[str, Json]] = {}
    for call in calls:
        arguments = json.loads(call.arguments or "{}")
        parameters.setdefault(call.name, {}).update({name: {} for name in arguments})
    description = "Called earlier in this conversation; not available now."
    return tuple(
        _to_json(
            {
                "name": name,
                "description": description,
                "parameters": {"type": "object", "properties": properties},
            }
        )
        for name, properties in parameters.items()
    )


def validator_class() -> Any:
    """Return jsonschema's validator; imported on first use, since that takes a while."""
    from jsonschema import Draft202012Validator

    return Draft202012Validator
