"""OpenAI-style dicts and litellm objects to messages and turns, and back to a list of messages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from ipycachechat.conversation import to_wire
from ipycachechat.conversation.messages import Attachment, Content, Message, Part, Role, Thinking, ToolCall
from ipycachechat.conversation.turns import Conversation, Turn
from ipycachechat.errors import BadInput

Json = Mapping[str, Any]
ROLES: dict[str, Role] = {role: role for role in get_args(Role)}
ROLES |= {"developer": "system", "model": "assistant"}
UNREADABLE_ARGUMENTS = "unreadable_arguments"
"""Name under which arguments that are not a JSON object are sent back."""


def to_dicts(conversation: Conversation) -> list[dict[str, Any]]:
    """Return all turns as message dicts, from which `message` restores the same messages, to the byte."""
    return [_message_dict(message) for turn in conversation.turns for message in turn.messages]


def _message_dict(message: Message) -> dict[str, Any]:
    fields = to_wire.to_wire(message)
    # The text of other providers' thinking is in the signed blocks.
    texts = [block.text for block in message.thinking if block.provider in ("", "gemini") and block.text]
    return fields | ({"reasoning_content": "\n\n".join(texts)} if texts else {})


def conversation(messages: Iterable[Message], system: str = "") -> Conversation:
    """Return a conversation; a system message at the front is its system prompt. Raises BadInput."""
    messages = list(messages)
    if messages and messages[0].role == "system":
        if system.strip() and messages[0].text.strip() != system.strip():
            raise BadInput(
                "There are two system prompts: the argument, and the first message of hist",
                "Give one of them.",
            )
        system, messages = messages[0].text, messages[1:]
    return Conversation(system, tuple(turns(messages)))


def turns(messages: Sequence[Message]) -> list[Turn]:
    """Return the messages as turns, each starting at a message of the user. Raises BadInput.

    A last turn without a reply is a prompt that has yet to be answered.
    """
    groups: list[list[Message]] = []
    for number, message in enumerate(messages, 1):
        if message.role == "system":
            raise BadInput(
                f"Message {number} of hist is a system prompt, which can only be the first",
                "Put it into a prompt instead: providers treat later system prompts differently.",
            )
        if not (message.text.strip() or message.files or message.tool_calls or message.role == "tool"):
            raise BadInput(f"Message {number} of hist ({message.role}) is empty", "Leave it out.")
        if message.role == "user":
            groups.append([message])
        elif not groups:
            raise BadInput(
                f"hist begins with a message of the role {message.role!r}",
                "A conversation begins with the user; put the question before the answer.",
            )
        else:
            groups[-1].append(message)
    turns = [Turn(first.content, tuple(rest)) for first, *rest in groups]
    for number, turn in enumerate(turns, 1):
        check_calls(turn, f"turn {number} of hist")
    return turns


def check_calls(turn: Turn, name: str) -> None:
    """Check that every tool call has its result right after it. Raises BadInput, in which the turn has this name."""
    missing: list[str] = []
    for message in (*turn.replies, None):
        if message is not None and message.role == "tool" and message.tool_call_id in missing:
            missing.remove(message.tool_call_id)
            continue
        if message is not None and message.role == "tool":
            raise BadInput(
                f"In {name} a tool result answers no call: {message.tool_call_id!r}",
                "Put each result after the answer that called for it, with its `tool_call_id`.",
            )
        if missing:
            raise BadInput(
                f"In {name} these calls have no result: {', '.join(missing)}",
                "Add a message with the role `tool` for each, or take the calls out.",
            )
        missing = [call.id for call in message.tool_calls] if message is not None else []
        if len({*missing}) < len(missing) or "" in missing:
            raise BadInput(
                f"In {name} two calls of one message have the same id, or one has none",
                "Give each call an id of its own, and its result the same.",
            )


def message(fields: Json, default_role: Role = "user") -> Message:
    """Return a message from its dict. Raises BadInput."""
    role = str(fields.get("role") or default_role)
    if role not in ROLES:
        raise BadInput(f"A message has the role {role!r}", f"Roles are: {', '.join(ROLES)}.")
    return Message(
        ROLES[role],
        content(fields.get("content")),
        tuple(_call(call) for call in fields.get("tool_calls") or ()),
        tool_call_id=str(fields.get("tool_call_id") or ""),
        thinking=tuple(_thinking(fields)) if ROLES[role] == "assistant" else (),
    )


def content(value: Any) -> Content:
    """Return the content of a message dict: a text or a list of parts, without cache markers. Raises BadInput."""
    if value is None or isinstance(value, str):
        return value or ""
    if not isinstance(value, Sequence) or isinstance(value, bytes):
        raise BadInput(
            f"The content of a message is a {type(value).__name__}", "Give a text, or a list of parts."
        )
    return join_parts([part(item) for item in value])


def join_parts(parts: Sequence[Part]) -> Content:
    """Return the parts that are not blank as a content; a single text as that text."""
    kept = tuple(part for part in parts if isinstance(part, Attachment) or part.strip())
    return kept[0] if len(kept) == 1 and isinstance(kept[0], str) else kept or ""


def part(value: Any) -> Part:
    """Return a content part from the form in which OpenAI and litellm write it. Raises BadInput."""
    if isinstance(value, str):
        return value
    kind = value.get("type") if isinstance(value, Mapping) else type(value).__name__
    inner: Any = value.get(kind) if isinstance(value, Mapping) else None
    if kind in ("text", "refusal") and isinstance(inner, str):
        return inner
    url = inner if isinstance(inner, str) else _text(inner, "url")
    if kind == "image_url" and url:
        return _attachment(url, "image/*", detail=_text(inner, "detail"))
    if kind == "input_audio" and _text(inner, "data"):
        return Attachment(f"audio/{inner.get('format', 'wav')}", str(inner.get("data", "")))
    if kind == "file" and (_text(inner, "file_data") or _text(inner, "file_id")):
        address = str(inner.get("file_data") or "") or f"{to_wire.FILE_ID}{inner.get('file_id') or ''}"
        return _attachment(address, _text(inner, "format") or "application/pdf", _text(inner, "filename"))
    raise BadInput(
        f"A part of a message is empty, or has an unknown type: {kind!r}",
        "Known are text, image_url, input_audio and file; or give bytes, a Path, an image, a figure, a dataframe.",
    )


def _text(fields: Any, name: str) -> str:
    return str(fields.get(name) or "") if isinstance(fields, Mapping) else ""


def _attachment(address: str, media_type: str, name: str = "", detail: str = "") -> Attachment:
    """Return a file by its address; a data URL holds the bytes themselves."""
    if address.startswith("data:"):
        head, _, data = address.removeprefix("data:").partition(",")
        return Attachment(head.partition(";")[0] or media_type, data, name, detail)
    return Attachment(media_type, address, name, detail)


def _call(value: Any) -> ToolCall:
    function: Any = _get(value, "function") or {}
    arguments = _get(function, "arguments")
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments or {}, ensure_ascii=False)
    if not _get(function, "name"):
        raise BadInput(
            "A tool call in a message has no name",
            "Write it as OpenAI does: id, and function: name, arguments.",
        )
    signature = str((_get(value, "provider_specific_fields") or {}).get("thought_signature") or "")
    # litellm appends the signature to the id, which other providers would refuse.
    call_id, _, appended = str(_get(value, "id") or "").partition("__thought__")
    # Providers refuse some names that a model may invent.
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", str(_get(function, "name")))[:64]
    return ToolCall(call_id, name, parse_arguments(arguments), signature or appended)


def parse_arguments(arguments: str) -> str:
    """Return arguments that are a JSON object; others (cut off, say) as the value of UNREADABLE_ARGUMENTS."""
    try:
        if isinstance(values := json.loads(arguments or "{}"), dict):
            if "\\ud" in arguments.lower():  # maybe a lone surrogate, which no request can carry
                return to_wire.replace_surrogates(json.dumps(values, ensure_ascii=False))
            return arguments or "{}"
    except (ValueError, RecursionError):
        pass
    return json.dumps({UNREADABLE_ARGUMENTS: arguments}, ensure_ascii=False)


def _get(value: Any, name: str) -> Any:
    """Return a field of a dict or of one of litellm's objects."""
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _thinking(fields: Json) -> Iterable[Thinking]:
    """Yield Claude's signed blocks, OpenAI's items, or the reasoning text with Gemini's signatures."""
    blocks = fields.get("thinking_blocks") or ()
    for block in blocks:
        text, signature, data = (str(block.get(name) or "") for name in ("thinking", "signature", "data"))
        if signature or data:
            yield Thinking("claude", text, signature, data)
        elif text:
            yield Thinking("", text)
    for item in fields.get("reasoning_items") or ():
        encrypted = json.dumps(dict(item), ensure_ascii=False, separators=(",", ":"))
        summary = (str(part.get("text") or "") for part in item.get("summary") or ())
        yield Thinking("openai", "\n\n".join(filter(None, summary)), encrypted=encrypted)
    signatures = (fields.get("provider_specific_fields") or {}).get("thought_signatures") or ()
    calls = fields.get("tool_calls") or ()
    on_calls = {(_get(call, "provider_specific_fields") or {}).get("thought_signature") for call in calls}
    own = [signature for signature in signatures if signature not in on_calls]
    text = str(fields.get("reasoning_content") or "")
    if own:
        yield Thinking("gemini", text, own[0])
        yield from (Thinking("gemini", "", signature) for signature in own[1:])
    elif text and not blocks and not fields.get("reasoning_items"):
        yield Thinking("", text)
