"""An answer's segments (text, thinking, tool calls) as HTML, markdown and text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from ipycachechat.conversation.messages import Message, ToolCall
from ipycachechat.rendering import markdown, markdown_split
from ipycachechat.text import sanitize
from ipycachechat.text.truncate import truncate_middle

MAX_LENGTH = 2_000
"""Characters of arguments or of a result that are shown."""
FIRST_ATTEMPT = "First attempt (connection lost)"
MAX_HEADING = 80
"""Characters of a call in its heading."""
_FOLD = 'style="margin:0.3em 0;opacity:0.85"'
_OFFER = 'style="font:12px/1.6 system-ui,sans-serif;opacity:0.7"'
_PLAIN = 'style="white-space:pre-wrap;margin:0.3em 0 0.3em 1.2em;max-height:20em;overflow:auto"'


@dataclass(frozen=True, slots=True)
class TextSegment:
    """A part of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ThinkingSegment:
    """The thinking before it."""

    text: str


@dataclass(frozen=True, slots=True)
class CallSegment:
    """A call, and its result once there is one."""

    call: ToolCall
    result: Message | None = None


@dataclass(frozen=True, slots=True)
class DiscardedText:
    """The discarded text of an answer that broke off and was retried; not part of the conversation."""

    text: str


Segment = TextSegment | ThinkingSegment | CallSegment | DiscardedText


def segments(replies: Iterable[Message]) -> list[Segment]:
    """Of a finished turn, in order."""
    replies = list(replies)
    results = {reply.tool_call_id: reply for reply in replies if reply.role == "tool"}
    found: list[Segment] = []
    for reply in replies:
        if reply.role != "assistant":
            continue
        thought = "\n\n".join(one.text for one in reply.thinking if one.text)
        found += [ThinkingSegment(thought)] if thought.strip() else []
        found += [TextSegment(reply.text)] if reply.text.strip() else []
        found += [CallSegment(call, results.get(call.id)) for call in reply.tool_calls]
    return found


def bundle(parts: Sequence[Segment], *, insert_hint: bool = False) -> dict[str, str]:
    """The mime bundle: our HTML, the markdown for converters, and plain text.

    `offer`: add a line that says how Python code is put in a cell.
    """
    source = "\n\n".join(_source(one) for one in parts)
    offered = _offer(len(python_blocks(parts))) if insert_hint else ""
    return {
        "text/html": markdown.boxed("".join(map(_html, parts)) + offered),
        "text/markdown": markdown.to_markdown(sanitize.clean(source)),
        "text/plain": to_text(parts),
    }


def response_mimebundle(text: str, notes: Sequence[str] = ()) -> dict[str, str]:
    """The mime bundle of an answer alone, with what is to be said of its prompt below it."""
    told = markdown.bundle(text)
    for note in map(sanitize.clean, notes):
        told["text/html"] += f"<div {_OFFER}>{escape(note)}</div>"
        told["text/markdown"] += f"\n\n> {markdown.to_markdown(note)}"
        told["text/plain"] += f"\n\n[{note}]"
    return told


def to_html(parts: Sequence[Segment], *, style: bool = True) -> str:
    """Safe HTML of it all, in one box."""
    return markdown.boxed("".join(map(_html, parts)), style=style)


def python_blocks(parts: Iterable[Segment]) -> list[str]:
    """The answer's code blocks that a cell can run."""
    return [
        code
        for one in parts
        if isinstance(one, TextSegment)
        for code in markdown_split.python_blocks(sanitize.clean(one.text))
    ]


def _offer(count: int) -> str:
    """How to put so many blocks of code in cells."""
    if not count:
        return ""
    which = "%chat insert copies the" if count == 1 else f"%chat insert 1 … {count} copies a"
    return f"<div {_OFFER}>{which} code block into a new cell</div>"


def streaming_html(parts: Sequence[Segment]) -> str:
    """Of an answer that goes on: its end as it is best drawn now, and without the colours that the whole has."""
    *before, last = parts
    if isinstance(last, TextSegment):
        last = TextSegment(markdown_split.growing_source(last.text))
    return to_html([*before, last], style=False)


def to_text(parts: Iterable[Segment]) -> str:
    """The answer as it came; a line for each call."""
    told = (
        one.text if isinstance(one, TextSegment) else call_line(one)
        for one in parts
        if isinstance(one, TextSegment | CallSegment)
    )
    return sanitize.clean("\n\n".join(told))


def call_line(one: CallSegment) -> str:
    """A call in one line."""
    return f"[{call_heading(one)}]"


def call_heading(one: CallSegment) -> str:
    """A call with its arguments, and what it gave, as far as they fit in a line."""
    told = f"{one.call.name}({arguments_text(one.call, MAX_HEADING)})"
    if one.result is None:
        return told
    text = " ".join(one.result.text.split())
    files = ", ".join(file.name or file.kind for file in one.result.files)
    return f"{told} → {_short(' '.join(filter(None, [text, files])), MAX_HEADING)}"


def arguments_text(call: ToolCall, max_length: int) -> str:
    """As in Python: q='x', n=3; cut to `most` characters."""
    try:
        given = json.loads(call.arguments or "{}")
        told = ", ".join(f"{name}={value!r}" for name, value in given.items())
    except (ValueError, AttributeError):
        told = call.arguments
    return _short(told, max_length)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _whole(one: CallSegment) -> str:
    """A call with its result, as far as it is shown."""
    result = truncate_middle(one.result.text, MAX_LENGTH) if one.result else "…"
    return f"{one.call.name}({arguments_text(one.call, MAX_LENGTH)})\n\n{result}"


def _html(one: Segment) -> str:
    match one:
        case TextSegment(text):
            return markdown.body(text)
        case ThinkingSegment(text):
            return _fold("thinking", sanitize.clean(text))
        case DiscardedText(text):
            return _fold(FIRST_ATTEMPT, sanitize.clean(text))
        case CallSegment():
            return _fold(sanitize.clean(call_heading(one)), sanitize.clean(_whole(one)))


def _fold(heading: str, text: str) -> str:
    summary = f'<summary style="cursor:pointer">{escape(heading)}</summary>'
    return f"<details {_FOLD}>{summary}<pre {_PLAIN}>{escape(text)}</pre></details>"


def _source(one: Segment) -> str:
    """As markdown; what is folded is quoted code, so that nothing in it is read as markdown."""
    match one:
        case TextSegment(text):
            return text
        case ThinkingSegment(text):
            return _quoted("thinking", text)
        case DiscardedText(text):
            return _quoted("broken", text)
        case CallSegment():
            return _quoted("tool", _whole(one))


def _quoted(what: str, text: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    lines = [f"{fence}{what}", *sanitize.clean(text).split("\n"), fence]
    return "\n".join(f"> {one}" for one in lines)
