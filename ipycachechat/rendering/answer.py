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
"""Longest arguments or result that are shown, in characters."""
FIRST_ATTEMPT = "First attempt (connection lost)"
MAX_HEADING = 80
"""Longest arguments or result in a heading, in characters."""
_FOLD = 'style="margin:0.3em 0;opacity:0.85"'
_NOTE = 'style="font:12px/1.6 system-ui,sans-serif;opacity:0.7"'
_PLAIN = 'style="white-space:pre-wrap;margin:0.3em 0 0.3em 1.2em;max-height:20em;overflow:auto"'


@dataclass(frozen=True, slots=True)
class TextSegment:
    """Text of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ThinkingSegment:
    """Thinking, which is folded up."""

    text: str


@dataclass(frozen=True, slots=True)
class CallSegment:
    """A tool call, and its result once there is one."""

    call: ToolCall
    result: Message | None = None


@dataclass(frozen=True, slots=True)
class DiscardedText:
    """Text of an answer that broke off and was retried; not part of the conversation."""

    text: str


Segment = TextSegment | ThinkingSegment | CallSegment | DiscardedText


def segments(replies: Iterable[Message]) -> list[Segment]:
    """Return the segments of a finished turn, in order."""
    replies = list(replies)
    results = {reply.tool_call_id: reply for reply in replies if reply.role == "tool"}
    parts: list[Segment] = []
    for reply in replies:
        if reply.role != "assistant":
            continue
        thinking = "\n\n".join(thinking.text for thinking in reply.thinking if thinking.text)
        parts += [ThinkingSegment(thinking)] if thinking.strip() else []
        parts += [TextSegment(reply.text)] if reply.text.strip() else []
        parts += [CallSegment(call, results.get(call.id)) for call in reply.tool_calls]
    return parts


def bundle(parts: Sequence[Segment], *, insert_hint: bool = False) -> dict[str, str]:
    """Return the mime bundle: our HTML, the markdown for converters, and plain text.

    `insert_hint`: add a line that says how Python code is copied into a cell.
    """
    source = "\n\n".join(map(_source, parts))
    hint = _insert_hint(len(python_blocks(parts))) if insert_hint else ""
    return {
        "text/html": markdown.boxed("".join(map(_html, parts)) + hint),
        "text/markdown": markdown.to_markdown(sanitize.clean(source)),
        "text/plain": to_text(parts),
    }


def response_mimebundle(text: str, notes: Sequence[str] = ()) -> dict[str, str]:
    """Return the mime bundle of an answer, with notes on its prompt below."""
    data = markdown.bundle(text)
    for note in map(sanitize.clean, notes):
        data["text/html"] += f"<div {_NOTE}>{escape(note)}</div>"
        data["text/markdown"] += f"\n\n> {markdown.to_markdown(note)}"
        data["text/plain"] += f"\n\n[{note}]"
    return data


def to_html(parts: Sequence[Segment], *, style: bool = True) -> str:
    """Return safe HTML of all segments, in one box."""
    return markdown.boxed("".join(map(_html, parts)), style=style)


def python_blocks(parts: Iterable[Segment]) -> list[str]:
    """Return the answer's code blocks that a cell can run."""
    texts = [sanitize.clean(part.text) for part in parts if isinstance(part, TextSegment)]
    return [code for text in texts for code in markdown_split.python_blocks(text)]


def _insert_hint(count: int) -> str:
    if not count:
        return ""
    which = "%chat insert copies the" if count == 1 else f"%chat insert 1 … {count} copies a"
    return f"<div {_NOTE}>{which} code block into a new cell</div>"


def streaming_html(parts: Sequence[Segment]) -> str:
    """Return HTML of an unfinished answer, without colours; unfinished maths at its end is shown as code."""
    *before, last = parts
    if isinstance(last, TextSegment):
        last = TextSegment(markdown_split.growing_source(last.text))
    return to_html([*before, last], style=False)


def to_text(parts: Iterable[Segment]) -> str:
    """Return the text of the answer, with a line for each call."""
    texts = (
        part.text if isinstance(part, TextSegment) else call_line(part)
        for part in parts
        if isinstance(part, TextSegment | CallSegment)
    )
    return sanitize.clean("\n\n".join(texts))


def call_line(part: CallSegment) -> str:
    """Return a call in one line."""
    return f"[{call_heading(part)}]"


def call_heading(part: CallSegment) -> str:
    """Return a call with its arguments and its result, cut to fit in a line."""
    call = f"{part.call.name}({arguments_text(part.call, MAX_HEADING)})"
    if part.result is None:
        return call
    text = " ".join(part.result.text.split())
    files = ", ".join(file.name or file.kind for file in part.result.files)
    return f"{call} → {_cut(' '.join(filter(None, [text, files])), MAX_HEADING)}"


def arguments_text(call: ToolCall, max_length: int) -> str:
    """Return the arguments as in Python, "q='x', n=3", cut to a length."""
    try:
        arguments = json.loads(call.arguments or "{}")
        text = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    except (ValueError, AttributeError):
        text = call.arguments
    return _cut(text, max_length)


def _cut(text: str, max_length: int) -> str:
    return text if len(text) <= max_length else f"{text[: max_length - 1]}…"


def _call_and_result(part: CallSegment) -> str:
    result = truncate_middle(part.result.text, MAX_LENGTH) if part.result else "…"
    return f"{part.call.name}({arguments_text(part.call, MAX_LENGTH)})\n\n{result}"


def _html(part: Segment) -> str:
    match part:
        case TextSegment(text):
            return markdown.body(text)
        case ThinkingSegment(text):
            return _fold("thinking", text)
        case DiscardedText(text):
            return _fold(FIRST_ATTEMPT, text)
        case CallSegment():
            return _fold(call_heading(part), _call_and_result(part))


def _fold(heading: str, text: str) -> str:
    heading, text = escape(sanitize.clean(heading)), escape(sanitize.clean(text))
    summary = f'<summary style="cursor:pointer">{heading}</summary>'
    return f"<details {_FOLD}>{summary}<pre {_PLAIN}>{text}</pre></details>"


def _source(part: Segment) -> str:
    """Return markdown; folded text is quoted code, so that nothing in it is read as markdown."""
    match part:
        case TextSegment(text):
            return text
        case ThinkingSegment(text):
            return _quoted("thinking", text)
        case DiscardedText(text):
            return _quoted("broken", text)
        case CallSegment():
            return _quoted("tool", _call_and_result(part))


def _quoted(language: str, text: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    lines = [f"{fence}{language}", *sanitize.clean(text).split("\n"), fence]
    return "\n".join(f"> {line}" for line in lines)
