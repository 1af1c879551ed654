"""`{{ expression }}` in a cell's text, replaced by the value's text; single braces are left alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ipycachechat.core.errors import PromptError

# Jinja2's other delimiters, switched off: nobody types these.
_NEVER = ("\x00{%", "%}\x00", "\x00{#", "#}\x00")


def fill(text: str, names: Mapping[str, Any]) -> str:
    """The text with its expressions evaluated in Jinja2's sandbox. Raises PromptError."""
    if "{{" not in text:
        return text
    from jinja2 import StrictUndefined, TemplateSyntaxError, UndefinedError
    from jinja2.exceptions import SecurityError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        block_start_string=_NEVER[0],
        block_end_string=_NEVER[1],
        comment_start_string=_NEVER[2],
        comment_end_string=_NEVER[3],
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    try:
        return environment.from_string(text).render(dict(names))
    except TemplateSyntaxError as error:
        what = f"Line {error.lineno} of the prompt has a {{{{ … }}}} that cannot be read: {error.message}"
    except UndefinedError as error:
        what = f"A {{{{ … }}}} in the prompt has no value: {error.message}"
    except SecurityError as error:
        what = f"A {{{{ … }}}} in the prompt may not be used: {error}"
    except Exception as error:  # the person's own objects may raise anything
        what = f"A {{{{ … }}}} in the prompt failed: {type(error).__name__}: {error}"
    raise PromptError(
        " ".join(what.split())[:300],
        'Nothing was sent. Correct it; to send braces as they are, write {{ "{{" }}.',
    ) from None
