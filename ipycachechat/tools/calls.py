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
from ipycachechat.conversation.messages import Content, ToolCall
from ipycachechat.prompts import content
from ipycachechat.tools.schema import Function, Json, Tools, rich_types, tool_name, validator_class


@dataclass(frozen=True, slots=True)
class ToolError:
    """A call that came to nothing, and what the model is told of it."""

    message: str


def bind_call(call: ToolCall, tools: Tools) -> Callable[[], Any] | ToolError:
    """The call as a function of nothing, or why it cannot be made.

    The function may return an awaitable. It raises what the tool raises.
    """
    function = tools.functions.get(call.name)
    if function is None:
        there = ", ".join(tools.functions) or "none"
        return ToolError(f"There is no tool {call.name!r} that can be called now; there are: {there}.")
    given = json.loads(call.arguments or "{}")
    if UNREADABLE_ARGUMENTS in given:
        return ToolError("The arguments were no valid JSON object. Call again with one.")
    definition = next(one for one in tools.definitions if tool_name(one) == call.name)
    wrong = validation_error(given, json.loads(definition)["function"]["parameters"])
    if wrong:
        return ToolError(f"The arguments do not fit: {wrong}. Call again with arguments that do.")
    return partial(_called, function, given)


def _called(function: Function, given: Json) -> Any:
    """Call the function and return its result; of a generator, the list of its values."""
    from fastcore.funccall import call_func

    rich = rich_types(function)
    whole = {
        name: rich[name].validate_json(json.dumps(value)) if name in rich else value
        for name, value in given.items()
    }
    # fastcore would make objects of dicts; those of rich types are made already.
    value = function(**whole) if rich else call_func(function, whole)
    return list(value) if inspect.isgenerator(value) else value


def validation_error(given: Json, schema: Json) -> str:
    """Return why the arguments do not fit the schema; "" if they do."""
    unknown = [name for name in given if name not in schema.get("properties", {})]
    if unknown and schema.get("additionalProperties") is not True and "properties" in schema:
        return f"there is no parameter {', '.join(map(repr, unknown))}"
    for error in validator_class()(schema).iter_errors(given):
        where = ".".join(map(str, error.absolute_path))
        return f"{where}: {error.message}" if where else str(error.message)
    return ""


def result_content(value: Any) -> Content:
    """Return a tool's result, or its error, as content for the model."""
    return f"Error: {value.message}" if isinstance(value, ToolError) else content.tool_result_content(value)


def error_from(error: BaseException) -> ToolError:
    """Return an exception as the error that the model gets."""
    try:
        text = str(error)
    except Exception:  # its own text may fail as well
        text = ""
    return ToolError(": ".join(filter(None, (type(error).__name__, text))))


def is_async(function: Function | None) -> bool:
    """Return True if a call returns something to be awaited."""
    inner = getattr(function, "__call__", None)  # noqa: B004 # of an object that can be called
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(inner)


async def await_result(work: Callable[[], Any]) -> Any:
    """Return the result of the work, awaited if necessary; exceptions as a `ToolError`, except our own cancelling.

    Even SystemExit, which would end the event loop and with it every chat.
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
