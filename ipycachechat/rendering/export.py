"""A conversation as a markdown or HTML document."""

from __future__ import annotations

from html import escape

from ipycachechat.conversation.messages import files_of
from ipycachechat.conversation.turns import Conversation, Turn
from ipycachechat.rendering import answer
from ipycachechat.rendering.format import cost_text, output_text
from ipycachechat.rendering.markdown_escape import to_markdown as to_md
from ipycachechat.text import sanitize
from ipycachechat.text.format import count

_PAGE = "font:15px/1.6 system-ui,sans-serif;max-width:52em;margin:2em auto;padding:0 1em"
_PROMPT = "white-space:pre-wrap;border-left:3px solid #2b7bba;padding-left:0.8em;margin:1.5em 0 0.8em"
_LINE = "font-size:12px;opacity:0.7;margin:0.3em 0"


def to_markdown(conversation: Conversation) -> str:
    """Each turn under its number; what was thought and which tools were called is quoted."""
    told = ["# Conversation"]
    if conversation.system.strip():
        told.append("\n".join(f"> {line}" for line in conversation.system.strip().splitlines()))
    for number, turn in enumerate(conversation.turns, 1):
        source = answer.bundle(answer.segments(turn.replies))["text/markdown"]
        told += [
            f"## {number}. You",
            to_md(_asked(turn)),
            f"### {turn.model or 'Answer'}",
            source,
            f"*{_numbers(turn)}*",
        ]
    return "\n\n".join(told) + "\n"


def to_html(conversation: Conversation) -> str:
    """A page with no script, in which nothing that a model wrote is more than text."""
    told = []
    if conversation.system.strip():
        system = f'<div style="{_PROMPT}">{_text(conversation.system)}</div>'
        told.append(f"<details><summary>system</summary>{system}</details>")
    for turn in conversation.turns:
        shown = answer.to_html(answer.segments(turn.replies))
        numbers = f'<div class="mathjax_ignore" style="{_LINE}">{escape(_numbers(turn))}</div>'
        told.append(f'<section><div style="{_PROMPT}">{_text(_asked(turn))}</div>{shown}{numbers}</section>')
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Conversation</title>'
    )
    policy = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    return f'<!DOCTYPE html>\n<html><head>{head}{policy}</head><body style="{_PAGE}">{"".join(told)}</body></html>\n'


def _asked(turn: Turn) -> str:
    """The prompt, with what was attached to it named."""
    files = [f"[{file.kind}{f': {file.name}' if file.name else ''}]" for file in files_of(turn.prompt)]
    if cells := len(turn.cell_runs):
        files.append(f"[{cells} cell{'s' * (cells != 1)} that ran before it]")
    return "\n\n".join([turn.prompt_text, *files])


def _text(text: str) -> str:
    return escape(sanitize.clean(text))


def _numbers(turn: Turn) -> str:
    usage = turn.usage
    tokens = f"{count(usage.read)} read + {count(usage.written)} written + {count(usage.fresh)} fresh"
    state = "" if turn.status.value == "complete" else f"{turn.status.value}; "
    return f"{state}{turn.model}: {tokens}, {output_text(usage)} answered, {cost_text(turn.cost)}"
