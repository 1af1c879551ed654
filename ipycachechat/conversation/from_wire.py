"""OpenAI-style dicts and litellm objects to messages and turns, and back to a list of messages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ipycachechat.conversation import to_wire
from ipycachechat.conversation.messages import Attachment, Content, Message, Part, Role, Thinking, ToolCall
from ipycachechat.conversation.turns import Conversation, Turn
from ipycachechat.errors import BadInput

Json = Mapping[str, Any]
ROLES: dict[str, Role] = {
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "system": "system",
    "developer": "system",
    "model": "assistant",
}


def to_messages(conversation: Conversation) -> list[dict[str, Any]]:
    """All turns as messages: `message` of each gives it back, to the byte."""
    return [_written(message) for turn in conversation.turns for message in turn.messages]


def _written(message: Message) -> dict[str, Any]:
    sent = to_wire.to_wire(message)
    # What others thought is shown and not sent; their seals are in fields of their own.
    if told := [
        thought.text for thought in message.thinking if thought.provider in ("", "gemini") and thought.text
    ]:
        sent["reasoning_content"] = "\n\n".join(told)
    return sent


def conversation(messages: Iterable[Message], system: str = "") -> Conversation:
    """Turns of these messages; a system prompt at the front stands where none is given. Raises BadInput."""
    told = list(messages)
    if told and told[0].role == "system":
        if system.strip() and told[0].text.strip() != system.strip():
            raise BadInput(
                "There are two system prompts: the argument, and the first message of hist",
                "Give one of them.",
            )
        system, told = told[0].text, told[1:]
    return Conversation(system, tuple(turns(told)))


def turns(messages: Sequence[Message]) -> list[Turn]:
    """Each message of the user's begins a turn; a last one with no reply is still to be answered. Raises BadInput."""
    found: list[list[Message]] = []
    for number, message in enumerate(messages, 1):
        if message.role == "system":
            raise BadInput(
                f"Message {number} of hist is a system prompt, which can only be the first",
                "Say it in a prompt instead: every provider makes something else of one in the middle.",
            )
        if (
            not message.text.strip()
            and not message.files
            and not message.tool_calls
            and message.role != "tool"
        ):
            raise BadInput(f"Message {number} of hist ({message.role}) is empty", "Leave it out.")
        if message.role == "user":
            found.append([message])
        elif not found:
            raise BadInput(
                f"hist begins with a message of the {message.role}'s",
                "A conversation begins with the user; put the question before the answer.",
            )
        else:
            found[-1].append(message)
    made = [Turn(first.content, tuple(rest)) for first, *rest in found]
    for number, turn in enumerate(made, 1):
        check_calls(turn, f"turn {number} of hist")
    return made


def check_calls(turn: Turn, name: str) -> None:
    """Every call is answered right after it, and nothing else is. Raises BadInput, in which the turn has this name."""
    missing: list[str] = []
    for message in (*turn.replies, None):
        if message is not None and message.role == "tool" and message.tool_call_id in missing:
            missing.remove(message.tool_call_id)
            continue
        if message is not None and message.role == "tool":
            raise BadInput(
                f"In {name} a tool's result answers no call: {message.tool_call_id!r}",
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


def message(written: Json, role: Role = "user") -> Message:
    """A message from its dict; `role` where it names none. Raises BadInput."""
    name = str(written.get("role") or role)
    if name not in ROLES:
        raise BadInput(f"A message has the role {name!r}", f"Roles are: {', '.join(ROLES)}.")
    calls = tuple(_call(call) for call in written.get("tool_calls") or ())
    return Message(
        ROLES[name],
        content(written.get("content")),
        calls,
        str(written.get("tool_call_id") or ""),
        tuple(_thoughts(written)) if name in ("assistant", "model") else (),
    )


def content(written: Any) -> Content:
    """The content of a message, as text or a list of parts; checkpoints of others are left out. Raises BadInput."""
    if written is None or isinstance(written, str):
        return written or ""
    if not isinstance(written, Sequence) or isinstance(written, bytes):
        raise BadInput(
            f"The content of a message is a {type(written).__name__}", "Give a text, or a list of parts."
        )
    return joined([part(one) for one in written])


def joined(parts: Sequence[Part]) -> Content:
    """Parts as a content: one text alone is just that text."""
    kept = tuple(one for one in parts if isinstance(one, Attachment) or one.strip())
    return kept[0] if len(kept) == 1 and isinstance(kept[0], str) else kept or ""


def part(written: Any) -> Part:
    """One part of a content, as OpenAI and litellm write it. Raises BadInput."""
    if isinstance(written, str):
        return written
    kind = written.get("type") if isinstance(written, Mapping) else type(written).__name__
    inner: Any = written.get(kind) if isinstance(written, Mapping) else None
    if kind in ("text", "refusal") and isinstance(inner, str):
        return inner
    url = inner if isinstance(inner, str) else _text(inner, "url")
    if kind == "image_url" and url:
        return _addressed(url, "image/*", detail=_text(inner, "detail"))
    if kind == "input_audio" and _text(inner, "data"):
        return Attachment(f"audio/{inner.get('format', 'wav')}", str(inner.get("data", "")))
    if kind == "file" and (_text(inner, "file_data") or _text(inner, "file_id")):
        where = str(inner.get("file_data") or "") or f"{to_wire.FILE_ID}{inner.get('file_id') or ''}"
        return _addressed(where, _text(inner, "format") or "application/pdf", _text(inner, "filename"))
    raise BadInput(
        f"A part of a message has the type {kind!r}, which is not known, or nothing in it",
        "Known are text, image_url, input_audio and file; or give bytes, a Path, an image, a figure, a dataframe.",
    )


def _text(holder: Any, name: str) -> str:
    return str(holder.get(name) or "") if isinstance(holder, Mapping) else ""


def _addressed(address: str, media: str, name: str = "", detail: str = "") -> Attachment:
    """A file by its address, which may hold the bytes themselves."""
    if address.startswith("data:"):
        head, _, data = address.removeprefix("data:").partition(",")
        return Attachment(head.partition(";")[0] or media, data, name, detail)
    return Attachment(media, address, name, detail)


def _call(written: Any) -> ToolCall:
    function: Any = _get(written, "function") or {}
    arguments = _get(function, "arguments")
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments or {}, ensure_ascii=False)
    if not _get(function, "name"):
        raise BadInput(
            "A call in a message has no name", "Write it as OpenAI does: id, and function: name, arguments."
        )
    identity = str(_get(written, "id") or "")
    seal = str((_get(written, "provider_specific_fields") or {}).get("thought_signature") or "")
    # Litellm hangs the seal of a thought on the id, where other providers would choke on it.
    identity, _, hung = identity.partition("__thought__")
    # A name that the model made up may be one that no provider takes back.
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", str(_get(function, "name")))[:64]
    return ToolCall(identity, name, parse_arguments(arguments), seal or hung)


def parse_arguments(arguments: str) -> str:
    """Arguments as a JSON object: what is none (cut off, say) as the value of one, since none can send it back."""
    try:
        if isinstance(given := json.loads(arguments or "{}"), dict):
            halved = "\\ud" in arguments.lower()  # maybe half of a character, which no request can carry
            return (
                to_wire.replace_surrogates(json.dumps(given, ensure_ascii=False))
                if halved
                else arguments or "{}"
            )
    except (ValueError, RecursionError):
        pass
    return json.dumps({UNREADABLE: arguments}, ensure_ascii=False)


UNREADABLE = "unreadable_arguments"


def _get(holder: Any, name: str) -> Any:
    """A field of a dict or of one of litellm's objects."""
    return holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name, None)


def _thoughts(written: Json) -> Iterable[Thinking]:
    """Claude's sealed blocks; else what was thought, with the seals that hang on the text."""
    blocks = written.get("thinking_blocks") or ()
    for block in blocks:
        text, seal, hidden = (str(block.get(name) or "") for name in ("thinking", "signature", "data"))
        if seal or hidden:
            yield Thinking("claude", text, seal, hidden)
        elif text:
            yield Thinking("", text)
    for item in written.get("reasoning_items") or ():
        hidden = json.dumps(dict(item), ensure_ascii=False, separators=(",", ":"))
        summary = (str(part.get("text") or "") for part in item.get("summary") or ())
        yield Thinking("openai", "\n\n".join(filter(None, summary)), encrypted=hidden)
    seals = (written.get("provider_specific_fields") or {}).get("thought_signatures") or ()
    calls = written.get("tool_calls") or ()
    on_calls = {(_get(call, "provider_specific_fields") or {}).get("thought_signature") for call in calls}
    own = [seal for seal in seals if seal not in on_calls]
    text = str(written.get("reasoning_content") or "")
    if own:
        yield Thinking("gemini", text, own[0])
        yield from (Thinking("gemini", "", seal) for seal in own[1:])
    elif text and not blocks and not written.get("reasoning_items"):
        yield Thinking("", text)
