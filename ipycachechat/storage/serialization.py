"""Turns and conversations as JSON values that say all of them, and back; files of an older form are brought up to date.

The form is told apart by its number, `SCHEMA`. Form 0 is what `Chat.hist` gives: a list of messages.
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
AttachmentSink = Callable[[str], str]
"""What is written in place of a file's data, and what stands behind it when it is read."""

USAGE = ("input", "read", "written", "written_1h", "output", "thinking", "bills_writes")


def _same(data: str) -> str:
    return data


def dump_conversation(conversation: Conversation) -> Json:
    """All of a conversation."""
    told = {"kind": KIND, "schema": SCHEMA, "system": conversation.system, "tools": list(conversation.tools)}
    return told | {"turns": [dump_turn(one) for one in conversation.all_turns]}


def load_conversation(told: Any) -> Conversation:
    """The conversation again, whichever form it was written in. Raises BadInput; then nothing is half read."""
    schema = 0 if isinstance(told, list) else told.get("schema") if isinstance(told, Mapping) else None
    if schema != 0 and (not isinstance(told, Mapping) or told.get("kind") != KIND):
        raise BadInput(
            "This is no saved conversation", "Give a .json file that %chat save or Chat.hist has made."
        )
    if type(schema) is not int or schema < 0:
        raise corrupt_file_error(ValueError("its form has no number"))
    if schema > SCHEMA:
        raise BadInput(
            f"This conversation was saved by a newer ipycachechat (form {schema}; this one knows {SCHEMA})",
            "Update ipycachechat, and load it again.",
        )
    try:
        if schema == 0:
            found = from_wire.conversation([from_wire.message(one) for one in told])
            for number, one in enumerate(found.all_turns, 1):
                _check(one, f"turn {number} of the file")
            return found
        if not isinstance(told["turns"], list) or not isinstance(told["tools"], list):
            raise ValueError("the turns, or the tools, are no list")
        placed = tuple(load_turn(one) for one in told["turns"])
        for number, one in enumerate(placed, 1):
            _check(one, f"turn {number} of the file")
        return Conversation(_text(told["system"]), placed, tuple(_definition(one) for one in told["tools"]))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise corrupt_file_error(error) from None


def _check(one: Turn, name: str) -> None:
    """Raises BadInput, or ValueError, for what no provider would take."""
    if not one.prompt_text.strip() and not files_of(one.prompt):
        raise ValueError(f"the prompt of {name} is empty")
    if not one.replies or any(message.role == "user" for message in one.replies):
        raise ValueError(f"{name} is not one question and its answer")
    from_wire.check_calls(one, name)


def _definition(tool: Any) -> str:
    """A tool's definition, if it is one."""
    if not isinstance(json.loads(_text(tool)), dict):
        raise ValueError("a tool's definition is no object")
    return _text(tool)


def corrupt_file_error(error: Exception) -> BadInput:
    """What a file that is not whole is told to be."""
    what = f"{error} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())[:160]
    return BadInput(
        f"The saved conversation is broken: {what}", "Nothing was changed. Take another copy of it."
    )


def dump_turn(one: Turn, stow: AttachmentSink = _same) -> Json:
    """A turn; what has its usual value is left out."""
    said = (Message("user", one.prompt), *one.replies)
    told: Json = {
        "messages": [dump_message(each, stow) for each in said],
        "model": one.model,
        "state": one.status.value,
    }
    if one.usage != NOTHING_REPORTED:
        told["usage"] = {name: getattr(one.usage, name) for name in USAGE}
        told["usage"] |= {"at_least": True} if one.usage.at_least else {}
    if one.cost != Cost():
        told["cost"] = {"paid": one.cost.paid, "saved": one.cost.saved}
        told["cost"] |= {"at_least": True} if one.cost.at_least else {}
    if one.cell is not None:
        told["cell"] = {"id": one.cell.id, "run": one.cell.run, "page": one.cell.client_session}
    more: Json = {
        "system": one.system,
        "pinned": one.pinned or None,
        "at": one.asked_at or None,
        "detached": one.detached,
    }
    more |= {"past": one.past_digest.hex() or None, "replayed": one.replayed or None}
    more |= {"watched": [_watched(each, stow) for each in one.cell_runs] or None}
    return told | {name: value for name, value in more.items() if value is not None}


def load_turn(told: Any, fetch: AttachmentSink = _same) -> Turn:
    """The turn again. Raises what a wrong form raises: KeyError, TypeError, ValueError."""
    first, *rest = [load_message(said, fetch) for said in told["messages"]]
    if first.role != "user":
        raise ValueError("a turn begins with a prompt")
    cell, cost, usage = told.get("cell"), told.get("cost"), told.get("usage")
    at, detached = told.get("at", 0.0), told.get("detached")
    return Turn(
        first.content,
        tuple(rest),
        _text(told["model"]),
        _usage_of(usage) if usage else NOTHING_REPORTED,
        TurnStatus(told["state"]),
        CellRef(*map(_text, (cell["id"], cell["run"], cell.get("page", "")))) if cell else None,
        None if told.get("system") is None else _text(told["system"]),
        bool(told.get("pinned")),
        Cost(_number(cost["paid"]), _number(cost["saved"]), bool(cost.get("at_least"))) if cost else Cost(),
        float(_number(at)),
        bytes.fromhex(told.get("past", "")),
        None if detached is None else float(_number(detached)),
        bool(told.get("replayed")),
        tuple(_watched_of(each, fetch) for each in told.get("watched", ())),
    )


def _usage_of(told: Any) -> Usage:
    counts = {name: _number(told[name]) for name in USAGE}
    return Usage(**counts, at_least=bool(told.get("at_least")))


def dump_message(one: Message, stow: AttachmentSink = _same) -> Json:
    """A message."""
    told: Json = {"role": one.role, "content": _content(one.content, stow)}
    if one.tool_calls:
        told["calls"] = [
            {"id": call.id, "name": call.name, "arguments": call.arguments}
            | ({"signature": call.signature} if call.signature else {})
            for call in one.tool_calls
        ]
    if one.tool_call_id:
        told["call_id"] = one.tool_call_id
    if one.thinking:
        told["thoughts"] = [
            {"by": thought.provider, "text": thought.text}
            | ({"signature": thought.signature} if thought.signature else {})
            | ({"hidden": thought.encrypted} if thought.encrypted else {})
            for thought in one.thinking
        ]
    return told


def load_message(told: Any, fetch: AttachmentSink = _same) -> Message:
    """The message again. Raises what a wrong form raises."""
    role = told["role"]
    if role not in ("user", "assistant", "tool"):
        raise ValueError(f"a message has the role {role!r}")
    calls = [
        ToolCall(*map(_text, (c["id"], c["name"], c["arguments"], c.get("signature", ""))))
        for c in told.get("calls", ())
    ]
    thoughts = [
        Thinking(_signer(t["by"]), *map(_text, (t["text"], t.get("signature", ""), t.get("hidden", ""))))
        for t in told.get("thoughts", ())
    ]
    call_id = _text(told.get("call_id", ""))
    return Message(role, _content_of(told["content"], fetch), tuple(calls), call_id, tuple(thoughts))


def _watched(one: CellRun, stow: AttachmentSink) -> Json:
    told: Json = {"cell": one.cell, "number": one.number, "source": one.source, "digest": one.digest}
    told |= {"outputs": list(one.outputs)} if one.outputs else {}
    return told | ({"pictures": [_file(each, stow) for each in one.images]} if one.images else {})


def _watched_of(told: Any, fetch: AttachmentSink) -> CellRun:
    return CellRun(
        _text(told["cell"]),
        int(_number(told["number"])),
        _text(told["source"]),
        tuple(map(_text, told.get("outputs", ()))),
        tuple(_file_of(each, fetch) for each in told.get("pictures", ())),
        _text(told["digest"]),
    )


def _content(content: Content, stow: AttachmentSink) -> Any:
    if isinstance(content, str):
        return content
    return [part if isinstance(part, str) else _file(part, stow) for part in content]


def _content_of(told: Any, fetch: AttachmentSink) -> Content:
    if not isinstance(told, list):
        return _text(told)
    return tuple(part if isinstance(part, str) else _file_of(part, fetch) for part in told)


def _file(file: Attachment, stow: AttachmentSink) -> Json:
    return {"media": file.media_type, "data": stow(file.data), "name": file.name, "detail": file.detail}


def _file_of(told: Any, fetch: AttachmentSink) -> Attachment:
    return Attachment(
        _text(told["media"]), fetch(_text(told["data"])), _text(told["name"]), _text(told["detail"])
    )


def _signer(value: Any) -> Any:
    if value not in get_args(ThinkingFormat):
        raise ValueError(f"nobody is known as {value!r}"[:120])
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a text was expected, not {value!r}"[:120])
    return value


def _number(value: Any) -> Any:
    if value is not None and not (isinstance(value, int | float) and isfinite(value)):
        raise ValueError(f"a number was expected, not {value!r}"[:120])
    return value
