"""A conversation as a markdown or HTML document."""

from __future__ import annotations

from ipycachechat.conversation.messages import files_of
from ipycachechat.conversation.turns import Conversation, Turn
from ipycachechat.rendering import answer, html
from ipycachechat.rendering.format import cost_text, output_text
from ipycachechat.rendering.markdown_escape import to_markdown as escape_markdown
from ipycachechat.text.format import count


def to_markdown(conversation: Conversation) -> str:
    """Return each turn under its number; thinking and tool calls are quoted."""
    parts = ["# Conversation"]
    if conversation.system.strip():
        parts.append("\n".join(f"> {line}" for line in conversation.system.strip().splitlines()))
    for number, turn in enumerate(conversation.turns, 1):
        parts += [
            f"## {number}. You",
            escape_markdown(_prompt(turn)),
            f"### {turn.model or 'Answer'}",
            answer.bundle(answer.segments(turn.replies))["text/markdown"],
            f"*{_summary(turn)}*",
        ]
    return "\n\n".join(parts) + "\n"


def to_html(conversation: Conversation) -> str:
    """Return a page without scripts, in which nothing that a model wrote is more than text."""
    turns = [
        {
            "prompt": _prompt(turn),
            "answer": answer.to_html(answer.segments(turn.replies)),
            "summary": _summary(turn),
        }
        for turn in conversation.turns
    ]
    system = conversation.system if conversation.system.strip() else ""
    return html.render("export", system=system, turns=turns) + "\n"


def _prompt(turn: Turn) -> str:
    """Return the prompt, with the names of its attachments."""
    files = [f"[{file.kind}{f': {file.name}' if file.name else ''}]" for file in files_of(turn.prompt)]
    if cells := len(turn.cell_runs):
        files.append(f"[{cells} cell{'s' * (cells != 1)} that ran before it]")
    return "\n\n".join([turn.prompt_text, *files])


def _summary(turn: Turn) -> str:
    usage = turn.usage
    tokens = (
        f"{count(usage.read)} cached + {count(usage.written)} newly cached + {count(usage.fresh)} uncached"
    )
    state = "" if turn.status.value == "complete" else f"{turn.status.value}; "
    return f"{state}{turn.model}: {tokens}, {output_text(usage)} out, {cost_text(turn.cost)}"
