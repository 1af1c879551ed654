"""Find `{{ expressions }}` in a cell's text and put their values in; single braces stay as they are.

Values are inserted as they are: braces in them are not evaluated.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ipycachechat.conversation.messages import Attachment, Content, Part
from ipycachechat.errors import ChatError, PromptError, TimeLimitExceeded
from ipycachechat.prompts.describe import describe, signature
from ipycachechat.prompts.expressions import parse
from ipycachechat.prompts.safe_values import Refused, Undefined
from ipycachechat.prompts.sandbox import evaluate
from ipycachechat.runtime.time_limit import run_with_time_limit
from ipycachechat.text.redaction_log import RedactionLog

OPEN, CLOSE = "{{", "}}"
MAX_EXPRESSION = 500
"""Characters."""
SECONDS = 1.0
"""Seconds that an expression may take."""
MAX_INLINE = 200
"""Characters of a one-line value that is put in place of an expression within text; a longer one goes below it."""
_LATEX_BEFORE = re.compile(r"(?:\\[A-Za-z]+|[_^])\Z")
"""Before braces without spaces: LaTeX such as `x^{{i}}` must not be filled in because there is a name `i`."""
HINT = "Nothing was sent. Fix it, or use %%chat --raw to send the braces literally."


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression between double braces, its line, and True if it is `alone` on that line."""

    source: str
    line: int
    alone: bool


def render_template(
    text: str,
    names: Mapping[str, Any],
    redact: RedactionLog,
    fit: Callable[[Mapping[str, Part]], Mapping[str, Part]] = lambda parts: parts,
) -> Content:
    """Return the text with the values of its expressions. Raises PromptError.

    `redact` masks the secrets in values; `fit` shortens the parts, by expression, if necessary.
    """
    if OPEN not in text:
        return text
    segments = parse_template(text)
    expressions: dict[str, Expression] = {}
    for segment in segments:
        if isinstance(segment, Expression):
            expressions.setdefault(segment.source, segment)
    described, strings = {}, set()  # values are described one by one, since each may take much memory
    for source, expression in expressions.items():
        tree = parse(source)
        value = _evaluate(expression, tree, names, redact)
        described[source] = _describe(source, value, redact, _secret_name(tree, redact))
        strings |= {source} if isinstance(value, str) else set()
    parts = fit(described)
    inline: list[str] = []
    below: dict[str, Part] = {}
    for segment in segments:
        if isinstance(segment, str):
            inline.append(segment)
            continue
        source, part = segment.source, parts[segment.source]
        if isinstance(part, str) and (source in strings or _fits_inline(part, segment)):
            inline.append(part)
        else:
            below[source] = part
            inline.append(f"`{source}`")
    return _with_values_below("".join(inline), below)


def parse_template(text: str) -> list[str | Expression]:
    """Return the text and its expressions, in order. Raises PromptError for an invalid expression.

    Invalid ones are text unless there are spaces inside the braces, since LaTeX has double braces, too. So are three
    braces in a row, and braces without spaces behind a LaTeX command, `_` or `^`.
    """
    segments: list[str | Expression] = []
    done = position = counted = 0
    formula = -1
    line = 1
    while (start := text.find(OPEN, position)) >= 0:
        end = _closing_braces(text, start + len(OPEN))
        position = start + len(OPEN)
        while text.startswith("{", position):
            position += 1
        if end is None or position - start != len(OPEN) or text.startswith("}", end + len(CLOSE)):
            continue
        inner = text[start + len(OPEN) : end]
        if text[start + len(OPEN)] not in " \t\n" and (
            start == formula or _LATEX_BEFORE.search(text, max(0, start - MAX_INLINE), start)
        ):
            formula = end + len(CLOSE)
            continue
        line, counted = line + text.count("\n", counted, start), start
        reason = _syntax_error(inner)
        if reason and not (inner[:1].isspace() and inner[-1:].isspace()):
            continue
        if reason:
            raise _error(f"Line {line} of the prompt has a {{{{ … }}}} that cannot be read: {reason}")
        position = end + len(CLOSE)
        alone = _is_blank(text, start, -1) and _is_blank(text, position, 1)
        segments += [text[done:start], Expression(inner.strip(), line, alone)]
        done = position
    return [*segments, text[done:]]


def _is_blank(text: str, position: int, step: int) -> bool:
    """Return True if only spaces follow up to the end (step 1) or the start (step -1) of the line."""
    position -= step < 0
    while 0 <= position < len(text) and text[position] != "\n":
        if not text[position].isspace():
            return False
        position += step
    return True


def _closing_braces(text: str, position: int) -> int | None:
    """Return where the braces close, outside of quotes and brackets; None if an expression would be too long."""
    if text.find(CLOSE, position, position + MAX_EXPRESSION + len(CLOSE)) < 0:
        return None
    depth, quote = 0, ""
    last = min(len(text), position + MAX_EXPRESSION)
    while position < last:
        character = text[position]
        if quote:
            position += character == "\\"
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif depth == 0 and text.startswith(CLOSE, position):
            return position
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
            if depth < 0:
                return None
        position += 1
    return None


def _syntax_error(source: str) -> str:
    """Return why this is not an expression; "" if it is one."""
    try:
        parse(source)
    except SyntaxError as error:
        return error.msg or "it is not an expression"
    return ""


def _evaluate(expression: Expression, tree: ast.expr, names: Mapping[str, Any], redact: RedactionLog) -> Any:
    """Return the value of an expression. Raises PromptError."""
    try:
        value = run_with_time_limit(SECONDS, lambda: evaluate(tree, names, redact))
    except Undefined as error:
        problem = f"has no value: {error}"
    except Refused as error:
        problem = f"may not be used: {error}"
    except TimeLimitExceeded:
        problem = f"took longer than {SECONDS:g} s"
    except Exception as error:  # properties of the user's objects may raise anything
        problem = f"failed: {type(error).__name__}: {error}"
    else:
        # Only files that the user has named are read, for their text or source: pasted text may name others.
        if isinstance(tree, ast.Name) and not tree.id.startswith("_"):
            return value
        if isinstance(value, type) or inspect.isroutine(value):
            return signature(value)
        return str(value) if isinstance(value, os.PathLike) else value
    raise _error(f"{{{{ {expression.source} }}}} in line {expression.line} of the prompt {problem}") from None


def _error(problem: str) -> PromptError:
    return PromptError(" ".join(problem.split())[:300], HINT)


def _secret_name(tree: ast.expr, redact: RedactionLog) -> str:
    """Return the name in an expression whose values are secrets, such as `password` in `config["password"]`; or ""."""
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and tree.func.id == "len":
        return ""
    names = {ast.Name: "id", ast.Attribute: "attr", ast.Constant: "value"}
    words = (getattr(node, names[type(node)]) for node in ast.walk(tree) if type(node) in names)
    return next(filter(redact.hides, words), "")


def _describe(source: str, value: Any, redact: RedactionLog, name: str) -> Part:
    try:
        return describe(value, redact, name)
    except ChatError as error:
        raise PromptError(f"{{{{ {source} }}}}: {error.message}"[:300], error.hint) from None


def _fits_inline(text: str, expression: Expression) -> bool:
    """Return True if the value may stand in the text: it is short, or the expression has its own line."""
    return expression.alone or (len(text) <= MAX_INLINE and "\n" not in text)


def _with_values_below(text: str, below: Mapping[str, Part]) -> Content:
    """Return the text, followed by the values that did not fit into it, and by the files."""
    texts: list[str] = [text]
    files: list[Attachment] = []
    for source, part in below.items():
        if isinstance(part, Attachment):
            files.append(part)
            texts.append(f"`{source}` is attached as {part.kind} {len(files)}.")
        else:
            texts.append(f"`{source}`:\n\n{part}")
    whole = "\n\n".join(texts)
    return (whole, *files) if files else whole
