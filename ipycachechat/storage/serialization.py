"""Conversations and turns as JSON values and back, with a schema version; older schemas are converted on loading.

Schema 0 is what `Chat.hist` returns: a list of messages. Default values are left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, get_args

from ipycachechat.conversation import from_wire
from ipycachechat.conversation.cell_runs import CellRun
from ipycachechat.conversation.messages import (
    Attachment,
    Content,
    Message,
    Thinking,
    ThinkingFormat,
    ToolCall,
    files_of,
)
from ipycachechat.conversation.turns import CellRef, Conversation, Turn, TurnStatus
from ipycachechat.conversation.usage import NOTHING_REPORTED, Cost, Usage
from ipycachechat.errors import BadInput

Json = dict[str, Any]
SCHEMA = 1
KIND = "ipycachechat conversation"
FileData = Callable[[str], str]
"""Converts the data of an attachment when a turn is dumped (to a reference, say), and back when it is loaded."""
USAGE_FIELDS = ("input", "read", "written", "written_1h", "output", "thinking", "bills_writes")


def _unchanged(data: str) -> str:
    return data


def dump_conversation(conversation: Conversation) -> Json:
    """Return a conversation as JSON values."""
    return {
        "kind": KIND,
        "schema": SCHEMA,
        "system": conversation.system,
        "tools": list(conversation.tools),
        "turns": [dump_turn(turn) for turn in conversation.all_turns],
    }


def load_conversation(data: Any) -> Conversation:
    """Return the conversation in JSON values of any schema. Raises BadInput if they are not one."""
    schema = 0 if isinstance(data, list) else data.get("schema") if isinstance(data, Mapping) else None
    if schema != 0 and (not isinstance(data, Mapping) or data.get("kind") != KIND):
        raise BadInput(
            "This is not a saved conversation",
            "Give a .json file written by %chat save, or the messages of Chat.hist.",
        )
    if type(schema) is not int or schema < 0:
        raise corrupt_file_error(ValueError("its format has no number"))
    if schema > SCHEMA:
        raise BadInput(
            f"This conversation was saved by a newer ipycachechat (format {schema}; this one knows {SCHEMA})",
            "Update ipycachechat, then load it again.",
        )
    try:
        if schema == 0:
            conversation = from_wire.conversation([from_wire.message(message) for message in data])
        else:
            if not isinstance(data["turns"], list) or not isinstance(data["tools"], list):
                raise ValueError("the turns, or the tools, are not a list")
            turns = tuple(load_turn(turn) for turn in data["turns"])
            tools = tuple(_tool_definition(tool) for tool in data["tools"])
            conversation = Conversation(_text(data["system"]), turns, tools)
        for number, turn in enumerate(conversation.all_turns, 1):
            _check_turn(turn, f"turn {number} of the file")
        return conversation
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise corrupt_file_error(error) from None


def _check_turn(turn: Turn, name: str) -> None:
    """Raise BadInput or ValueError for a turn that no provider accepts; errors mention the `name`."""
    if not turn.prompt_text.strip() and not files_of(turn.prompt):
        raise ValueError(f"the prompt of {name} is empty")
    if not turn.replies or any(message.role == "user" for message in turn.replies):
        raise ValueError(f"{name} is not one prompt and its answer")
    from_wire.check_calls(turn, name)


def _tool_definition(tool: Any) -> str:
    if not isinstance(json.loads(_text(tool)), dict):
        raise ValueError("a tool's definition is not an object")
    return str(tool)


def corrupt_file_error(error: Exception) -> BadInput:
    """Return the error for a file that is damaged, by the error that reading it raised."""
    reason = f"{error} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())[:160]
    return BadInput(
        f"The saved conversation is damaged: {reason}", "Nothing was changed. Use another copy of it."
    )


def dump_turn(turn: Turn, save_data: FileData = _unchanged) -> Json:
    """Return a turn as JSON values. `save_data` converts the data of attachments."""
    messages = (Message("user", turn.prompt), *turn.replies)
    data: Json = {
        "messages": [dump_message(message, save_data) for message in messages],
        "model": turn.model,
        "state": turn.status.value,
    }
    if turn.usage != NOTHING_REPORTED:
        data["usage"] = {name: getattr(turn.usage, name) for name in USAGE_FIELDS}
        data["usage"] |= {"at_least": True} if turn.usage.at_least else {}
    if turn.cost != Cost():
        data["cost"] = {"paid": turn.cost.paid, "saved": turn.cost.saved}
        data["cost"] |= {"at_least": True} if turn.cost.at_least else {}
    if turn.cell is not None:
        data["cell"] = {"id": turn.cell.id, "run": turn.cell.run, "page": turn.cell.client_session}
    optional: Json = {
        "system": turn.system,
        "pinned": turn.pinned or None,
        "at": turn.asked_at or None,
        "detached": turn.detached,
        "past": turn.past_digest.hex() or None,
        "replayed": turn.replayed or None,
        "watched": [_dump_cell_run(cell_run, save_data) for cell_run in turn.cell_runs] or None,
    }
    return data | {name: value for name, value in optional.items() if value is not None}


def load_turn(data: Any, load_data: FileData = _unchanged) -> Turn:
    """Return the turn in JSON values. Raises KeyError, TypeError or ValueError if they are not one.

    `load_data` reverses `save_data`.
    """
    first, *replies = [load_message(message, load_data) for message in data["messages"]]
    if first.role != "user":
        raise ValueError("a turn begins with a prompt")
    cell, cost, usage = data.get("cell"), data.get("cost"), data.get("usage")
    system, detached = data.get("system"), data.get("detached")
    return Turn(
        prompt=first.content,
        replies=tuple(replies),
        model=_text(data["model"]),
        usage=_load_usage(usage) if usage else NOTHING_REPORTED,
        status=TurnStatus(data["state"]),
        cell=_load_cell(cell) if cell else None,
        system=None if system is None else _text(system),
        pinned=bool(data.get("pinned")),
        cost=_load_cost(cost) if cost else Cost(),
        asked_at=float(_number(data.get("at", 0.0))),
        past_digest=bytes.fromhex(data.get("past", "")),
        detached=None if detached is None else float(_number(detached)),
        replayed=bool(data.get("replayed")),
        cell_runs=tuple(_load_cell_run(run, load_data) for run in data.get("watched", ())),
    )


def _load_usage(data: Any) -> Usage:
    counts = {name: _number(data[name]) for name in USAGE_FIELDS}
    return Usage(**counts, at_least=bool(data.get("at_least")))


def _load_cost(data: Any) -> Cost:
    return Cost(_number(data["paid"]), _number(data["saved"]), bool(data.get("at_least")))


def _load_cell(data: Any) -> CellRef:
    return CellRef(*map(_text, (data["id"], data["run"], data.get("page", ""))))


def dump_message(message: Message, save_data: FileData = _unchanged) -> Json:
    """Return a message as JSON values. `save_data` converts the data of attachments."""
    content: Any = message.content
    if not isinstance(content, str):
        content = [part if isinstance(part, str) else _dump_file(part, save_data) for part in content]
    data: Json = {"role": message.role, "content": content}
    if message.tool_calls:
        data["calls"] = [
            {"id": call.id, "name": call.name, "arguments": call.arguments}
            | ({"signature": call.signature} if call.signature else {})
            for call in message.tool_calls
        ]
    if message.tool_call_id:
        data["call_id"] = message.tool_call_id
    if message.thinking:
        data["thoughts"] = [
            {"by": thinking.provider, "text": thinking.text}
            | ({"signature": thinking.signature} if thinking.signature else {})
            | ({"hidden": thinking.encrypted} if thinking.encrypted else {})
            for thinking in message.thinking
        ]
    return data


def load_message(data: Any, load_data: FileData = _unchanged) -> Message:
    """Return the message in JSON values, as `load_turn` does for a turn."""
    role = data["role"]
    if role not in ("user", "assistant", "tool"):
        raise ValueError(f"a message has the role {role!r}")
    calls = [
        ToolCall(*map(_text, (call["id"], call["name"], call["arguments"], call.get("signature", ""))))
        for call in data.get("calls", ())
    ]
    thinking = [
        Thinking(
            _thinking_format(t["by"]), *map(_text, (t["text"], t.get("signature", ""), t.get("hidden", "")))
        )
        for t in data.get("thoughts", ())
    ]
    return Message(
        role,
        _load_content(data["content"], load_data),
        tuple(calls),
        tool_call_id=_text(data.get("call_id", "")),
        thinking=tuple(thinking),
    )


def _load_content(data: Any, load_data: FileData) -> Content:
    if not isinstance(data, list):
        return _text(data)
    return tuple(part if isinstance(part, str) else _load_file(part, load_data) for part in data)


def _dump_cell_run(run: CellRun, save_data: FileData) -> Json:
    data: Json = {"cell": run.cell_id, "number": run.number, "source": run.source, "digest": run.digest}
    data |= {"outputs": list(run.outputs)} if run.outputs else {}
    return data | ({"pictures": [_dump_file(image, save_data) for image in run.images]} if run.images else {})


def _load_cell_run(data: Any, load_data: FileData) -> CellRun:
    return CellRun(
        cell_id=_text(data["cell"]),
        number=int(_number(data["number"])),
        source=_text(data["source"]),
        outputs=tuple(map(_text, data.get("outputs", ()))),
        images=tuple(_load_file(image, load_data) for image in data.get("pictures", ())),
        digest=_text(data["digest"]),
    )


def _dump_file(file: Attachment, save_data: FileData) -> Json:
    return {"media": file.media_type, "data": save_data(file.data), "name": file.name, "detail": file.detail}


def _load_file(data: Any, load_data: FileData) -> Attachment:
    media_type, name, detail = map(_text, (data["media"], data["name"], data["detail"]))
    return Attachment(media_type, load_data(_text(data["data"])), name, detail)


def _thinking_format(value: Any) -> Any:
    if value not in get_args(ThinkingFormat):
        raise ValueError(f"unknown format of thinking: {value!r}"[:120])
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a text was expected, not {value!r}"[:120])
    return value


def _number(value: Any) -> Any:
    if value is not None and not (isinstance(value, int | float) and isfinite(value)):
        raise ValueError(f"a number was expected, not {value!r}"[:120])
    return value
