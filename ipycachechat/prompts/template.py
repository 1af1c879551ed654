"""Find `{{ expressions }}` in a cell's text and put their values in; single braces stay as they are.

Values are inserted, and not read again: braces in them are no expressions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ipycachechat.conversation.messages import Attachment, Content, Part
from ipycachechat.errors import ChatError, PromptError

OPEN, CLOSE = "{{", "}}"
LONGEST = 500
"""Letters of an expression."""
INLINE = 200
"""Letters: what is told of a value in one line that is no longer stands in the place of the expression."""
_IN_A_FORMULA = re.compile(r"(?:\\[A-Za-z]+|[_^])\Z")
"""Before braces without blanks: LaTeX's are not to become a number because there is a name `i`."""
RAW = 'Nothing was sent. Correct it; %%chat --raw sends braces as they are, as does {{ "{{" }}.'


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression between double braces, and its position: `alone` on its line, or within text."""

    source: str
    line: int
    alone: bool


def render_template(
    text: str,
    names: Mapping[str, Any],
    describe: Callable[[Any], Part],
    fit: Callable[[Mapping[str, Part]], Mapping[str, Part]] = lambda told: told,
) -> Content:
    """The text with the values of its expressions. Raises PromptError.

    `describe` tells of a value; `fit` makes what is told of all of them, by their sources, shorter if need be.
    """
    if OPEN not in text:
        return text
    found = parse_template(text)
    expressions: dict[str, Expression] = {}
    for one in found:
        if isinstance(one, Expression):
            expressions.setdefault(one.source, one)
    values = {source: _value(one, names) for source, one in expressions.items()}
    told = fit({source: _described(expressions[source], value, describe) for source, value in values.items()})
    written: list[str] = []
    below: dict[str, Part] = {}
    for piece in found:
        if isinstance(piece, str):
            written.append(piece)
            continue
        part = told[piece.source]
        if isinstance(part, str) and (isinstance(values[piece.source], str) or _fits(part, piece)):
            written.append(part)
        else:
            below[piece.source] = part
            written.append(f"`{piece.source}`")
    return _content("".join(written), below)


def parse_template(text: str) -> list[str | Expression]:
    """The text and its expressions, in order. Raises PromptError for one that cannot be read.

    Braces in which no expression can stand are text, unless they are set off by blanks: LaTeX has them, too. So are
    three in a row, and those without blanks behind a command of LaTeX, or a sign of its.
    """
    found: list[str | Expression] = []
    done = at = counted = 0
    formula = -1
    line = 1
    while (begin := text.find(OPEN, at)) >= 0:
        end = _end(text, begin + len(OPEN))
        run = _run(text, begin)
        at = begin + run
        if end is None or run != len(OPEN) or text.startswith("}", end + len(CLOSE)):
            continue
        inner = text[begin + len(OPEN) : end]
        if text[begin + len(OPEN)] not in " \t\n" and (
            begin == formula or _IN_A_FORMULA.search(text, max(0, begin - INLINE), begin)
        ):
            formula = end + len(CLOSE)
            continue
        line, counted = line + text.count("\n", counted, begin), begin
        why = _unreadable(inner)
        if why and not (inner[:1].isspace() and inner[-1:].isspace()):
            continue
        if why:
            what = f"Line {line} of the prompt has a {{{{ … }}}} that cannot be read: {why}"
            raise PromptError(" ".join(what.split())[:300], RAW)
        at = end + len(CLOSE)
        alone = _is_blank(text, begin, -1) and _is_blank(text, at, 1)
        found += [text[done:begin], Expression(inner.strip(), line, alone)]
        done = at
    return [*found, text[done:]]


def _is_blank(text: str, at: int, step: int) -> bool:
    """Return True if from there to the end, or the beginning, of its line there are blanks alone."""
    at -= step < 0
    while 0 <= at < len(text) and text[at] != "\n":
        if not text[at].isspace():
            return False
        at += step
    return True


def _run(text: str, at: int) -> int:
    """How many braces open there in a row."""
    end = at
    while text.startswith("{", end):
        end += 1
    return end - at


def _end(text: str, at: int) -> int | None:
    """Where the braces close, outside of quotes and brackets; None if they do not soon."""
    if text.find(CLOSE, at, at + LONGEST + len(CLOSE)) < 0:
        return None
    depth, quote = 0, ""
    last = min(len(text), at + LONGEST)
    while at < last:
        sign = text[at]
        if quote:
            at += sign == "\\"
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        elif depth == 0 and text.startswith(CLOSE, at):
            return at
        elif sign in "([{":
            depth += 1
        elif sign in ")]}":
            depth -= 1
            if depth < 0:
                return None
        at += 1
    return None


@lru_cache(1_000)
def _unreadable(inner: str) -> str:
    """Why it is no expression; "" if it is one."""
    from jinja2 import TemplateSyntaxError

    from ipycachechat.prompts.sandbox import environment

    try:
        environment().compile_expression(inner, undefined_to_none=False)
    except TemplateSyntaxError as error:
        return error.message or "it is no expression"
    except (RecursionError, MemoryError, SyntaxError):  # of Python's own compiler
        return "it is too deep"
    return ""


def _value(one: Expression, names: Mapping[str, Any]) -> Any:
    """Raises PromptError."""
    from jinja2 import Undefined, UndefinedError
    from jinja2.exceptions import SecurityError

    from ipycachechat.prompts.sandbox import environment

    known = {
        name: value
        for name, value in names.items()
        if not (name[:2] == name[-2:] == "__" and name.strip("_"))
    }
    try:
        value = environment().compile_expression(one.source, undefined_to_none=False)(known)
        if isinstance(value, Undefined):
            value._fail_with_undefined_error()
        return value
    except UndefinedError as error:
        what = f"{{{{ {one.source} }}}} in line {one.line} of the prompt has no value: {error.message}"
    except SecurityError as error:
        what = f"{{{{ {one.source} }}}} in line {one.line} of the prompt may not be used: {error}"
    except Exception as error:  # the user's own objects may raise anything
        what = (
            f"{{{{ {one.source} }}}} in line {one.line} of the prompt failed: {type(error).__name__}: {error}"
        )
    raise PromptError(" ".join(what.split())[:300], RAW) from None


def _described(one: Expression, value: Any, describe: Callable[[Any], Part]) -> Part:
    try:
        return describe(value)
    except ChatError as error:
        raise PromptError(f"{{{{ {one.source} }}}}: {error.message}"[:300], error.hint) from None


def _fits(told: str, one: Expression) -> bool:
    """Return True if it can stand in the text: a line, or as much as it likes in a place of its own."""
    return one.alone or (len(told) <= INLINE and "\n" not in told)


def _content(text: str, below: Mapping[str, Part]) -> Content:
    """The text, and below it what did not fit in; files behind all of it."""
    texts, files = [text], []
    for source, told in below.items():
        if isinstance(told, Attachment):
            files.append(told)
            texts.append(f"`{source}` is the {told.kind} {len(files)} that goes with this.")
        else:
            texts.append(f"`{source}`:\n\n{told}")
    whole = "\n\n".join(texts)
    return (whole, *files) if files else whole
