"""Validate a tool call's arguments and call the function."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from ipycachechat.conversation.from_wire import UNREADABLE_ARGUMENTS
from ipycachechat.conversation.messages import ToolCall
from ipycachechat.tools.schema import Function, Json, Tools, rich_types, tool_name, validator_class


@dataclass(frozen=True, slots=True)
class ToolError:
    """A call that failed, and the error message that the model gets."""

    message: str


def bind_call(call: ToolCall, tools: Tools) -> Callable[[], Any] | ToolError:
    """Return the call as a function without parameters, or why it cannot be made.

    The function may return an awaitable. It raises what the tool raises.
    """
    function = tools.functions.get(call.name)
    if function is None:
        names = ", ".join(tools.functions) or "none"
        return ToolError(f"There is no tool {call.name!r} now. Available tools: {names}.")
    arguments = json.loads(call.arguments or "{}")
    if UNREADABLE_ARGUMENTS in arguments:
        return ToolError("The arguments are not a valid JSON object. Call again with a valid one.")
    definition = next(definition for definition in tools.definitions if tool_name(definition) == call.name)
    error = validation_error(arguments, json.loads(definition)["function"]["parameters"])
    if error:
        return ToolError(f"Invalid arguments: {error}. Call again with valid ones.")
    return partial(_call, function, arguments)


def _call(function: Function, arguments: Json) -> Any:
    """Return the result of the function; for a generator, the list of its values."""
    from fastcore.funccall import call_func

    rich = rich_types(function)
    converted = {
        name: rich[name].validate_json(json.dumps(value)) if name in rich else value
        for name, value in arguments.items()
    }
    # fastcore would convert dicts to objects, which pydantic has done already.
    result = function(**converted) if rich else call_func(function, converted)
    return list(result) if inspect.isgenerator(result) else result


def validation_error(arguments: Json, schema: Json) -> str:
    """Return why the arguments do not fit the schema; "" if they do."""
    unknown = [name for name in arguments if name not in schema.get("properties", {})]
    if unknown and schema.get("additionalProperties") is not True and "properties" in schema:
        return f"there is no parameter {', '.join(map(repr, unknown))}"
    for error in validator_class()(schema).iter_errors(arguments):
        path = ".".join(map(str, error.absolute_path))
        return f"{path}: {error.message}" if path else str(error.message)
    return ""


def error_from(error: BaseException) -> ToolError:
    """Return an exception as the error message that the model gets."""
    try:
        text = str(error)
    except Exception:  # the exception's own `__str__` may fail, too
        text = ""
    return ToolError(": ".join(filter(None, (type(error).__name__, text))))


def is_async(function: Function | None) -> bool:
    """Return True if a call returns an awaitable."""
    inner = getattr(function, "__call__", None)  # noqa: B004 # of a callable object
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(inner)


async def await_result(work: Callable[[], Any]) -> Any:
    """Return the result of the work, awaited if necessary, or a `ToolError` if it raises. Raises CancelledError.

    Even SystemExit becomes a ToolError: it would end the event loop and with it every chat.
    """
    try:
        value = work()
        return await value if inspect.isawaitable(value) else value
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return error_from(error)
    except BaseException as error:
        return error_from(error)
