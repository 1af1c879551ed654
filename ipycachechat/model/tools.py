"""Functions as tools: their definitions, and the calls that a model asks for."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ipycachechat.core.conversation import Content, ToolCall
from ipycachechat.core.errors import BadInput
from ipycachechat.core.transcript import UNREADABLE
from ipycachechat.model import parts

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
        return [name_of(one) for one in self.definitions]


def tools(given: Iterable[Any] | None, ns: Any = None) -> Tools:
    """Tools from functions, or from definitions whose functions are in `ns` by name. Raises BadInput.

    `ns`: a dict of functions by name, or a list of functions.
    """
    from fastcore.funccall import mk_ns

    given = list(given or ()) if not callable(given) else [given]
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


def name_of(definition: str) -> str:
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
    name = getattr(one, "__name__", "") or type(one).__name__
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
    made = {"name": inner["name"], "description": inner.get("description", ""), "parameters": parameters}
    return str(inner["name"]), {"type": "function", "function": made}


def _schema(function: Function, name: str) -> Json:
    """What fastcore makes of the signature, the comments at the parameters and the docstring. Raises BadInput."""
    from fastcore.funccall import get_schema

    try:
        made: Json = json.loads(
            json.dumps(get_schema(function, pname="parameters", evalable=True, name=name))
        )
    except AssertionError:
        raise BadInput(
            f"The tool {name} has no docstring, by which the model would know what it is for",
            f'Say it in a line: def {name}(…): "What it does."',
        ) from None
    except Exception as error:
        raise BadInput(
            f"The tool {name} cannot be described to a model: {' '.join(str(error).split())}",
            f"Give each parameter of {name} a type, such as int, str or list[str].",
        ) from None
    return made


@dataclass(frozen=True, slots=True)
class Failed:
    """A call that came to nothing, and what the model is told of it."""

    why: str


def prepared(call: ToolCall, tools: Tools) -> Callable[[], Any] | Failed:
    """The call as a function of nothing, or why it cannot be made.

    The function may return an awaitable. It raises what the tool raises.
    """
    from fastcore.funccall import call_func

    function = tools.functions.get(call.name)
    if function is None:
        there = ", ".join(tools.functions) or "none"
        return Failed(f"There is no tool {call.name!r} that can be called now; there are: {there}.")
    given = json.loads(call.arguments or "{}")
    if UNREADABLE in given:
        return Failed("The arguments were no valid JSON object. Call again with one.")
    definition = next(one for one in tools.definitions if name_of(one) == call.name)
    wrong = misfit(given, json.loads(definition)["function"]["parameters"])
    if wrong:
        return Failed(f"The arguments do not fit: {wrong}. Call again with arguments that do.")
    return lambda: call_func(function, given)


def misfit(given: Json, schema: Json) -> str:
    """What of the arguments does not fit the schema; "" if all do."""
    from jsonschema import Draft202012Validator

    unknown = [name for name in given if name not in schema.get("properties", {})]
    if unknown and schema.get("additionalProperties") is not True and "properties" in schema:
        return f"there is no parameter {', '.join(map(repr, unknown))}"
    for error in Draft202012Validator(schema).iter_errors(given):
        where = ".".join(map(str, error.absolute_path))
        return f"{where}: {error.message}" if where else str(error.message)
    return ""


def told(value: Any) -> Content:
    """What a tool returned, or why it failed, as the model is told."""
    if isinstance(value, Failed):
        return f"Error: {value.why}"
    if isinstance(value, BaseException):
        return f"Error: {type(value).__name__}: {value}"
    return parts.result(value)


def is_async(function: Function | None) -> bool:
    """Whether a call returns something to be awaited."""
    inner = getattr(function, "__call__", None)  # noqa: B004 # of an object that can be called
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(inner)


async def awaited(value: Awaitable[Any]) -> Any:
    """The value, or the exception, as a value."""
    try:
        return await value
    except Exception as error:
        return error


def stand_ins(calls: Sequence[ToolCall], known: Iterable[str]) -> tuple[str, ...]:
    """Definitions for tools that a conversation has called and nobody has defined here.

    A request with calls and no tools is refused, or given a made-up tool by litellm, which costs the cache.
    """
    keys: dict[str, dict[str, Json]] = {}
    there = set(known)
    for call in calls:
        if call.name not in there:
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
