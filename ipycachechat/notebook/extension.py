"""`%load_ext ipycachechat` and `%unload_ext ipycachechat`."""

from __future__ import annotations

import re
from typing import Any

from traitlets import TraitError

from ipycachechat import __version__
from ipycachechat.errors import BadInput
from ipycachechat.notebook import EXTENSION_KEY
from ipycachechat.notebook.magics import ChatMagics
from ipycachechat.text.sanitize import clean

_MAGIC_NAMES = ("%chat", "%%chat")
_TEXT_WITH_QUESTION_MARK = re.compile(r"^%chat[ \t]+(\w+[ \t]+\S.*\?)[ \t]*$")
_COMMAND_WITH_QUESTION_MARK = re.compile(r"^%chat[ \t]+(\w+)[ \t]*\?{1,2}[ \t]*$")


def load_ipython_extension(shell: Any) -> None:
    """Register the magics and print which model is in use."""
    previous = {kind: magics.get("chat") for kind, magics in shell.magics_manager.magics.items()}
    try:
        magics = ChatMagics(shell)
    except TraitError as error:
        raise BadInput(
            f"A setting of ipycachechat is wrong: {' '.join(str(error).split())}",
            "Correct it (get_ipython().config.ChatMagics, or ipython_config.py) and load again.",
        ) from None
    shell.register_magics(magics)
    shell.input_transformers_cleanup.append(keep_question_marks)
    for name in _MAGIC_NAMES:
        shell.set_hook("complete_command", magics.complete, str_key=name)
    shell.meta[EXTENSION_KEY] = (magics, previous)
    version = ".".join(__version__.split(".")[:2])
    replaced = f" It replaces the %%chat of {_package(previous)}." if any(previous.values()) else ""
    lines = [
        f"ipycachechat {version}: model {magics.session.model_in_use()}. "
        f"Start a cell with %%chat; %chat help lists the rest.{replaced}",
        magics.session.find_stored(),
    ]
    print(*map(clean, filter(None, lines)), sep="\n")  # noqa: T201


def unload_ipython_extension(shell: Any) -> None:
    """Remove everything but the conversation and what was set, in case the extension is loaded again."""
    if EXTENSION_KEY not in shell.meta:
        return
    magics, previous = shell.meta.pop(EXTENSION_KEY)
    magics.session.close()
    shell.input_transformers_cleanup.remove(keep_question_marks)
    for kind, function in previous.items():
        registered = shell.magics_manager.magics[kind]
        if function is not None:
            registered["chat"] = function
        else:
            registered.pop("chat", None)
    shell.magics_manager.registry.pop(type(magics).__name__, None)
    if magics in shell.configurables:
        shell.configurables.remove(magics)
    for name in _MAGIC_NAMES:
        shell.strdispatchers["complete_command"].strs.pop(name, None)


def _package(previous: dict[str, Any]) -> str:
    """Return the package of the `%chat` magic that was registered before."""
    function = next(function for function in previous.values() if function is not None)
    return str(getattr(function, "__module__", "") or "another package").partition(".")[0]


def keep_question_marks(lines: list[str]) -> list[str]:
    """Keep IPython from taking `%chat plan why?` for its own help; `%chat plan?` becomes `%chat help plan`.

    Such lines are rewritten as function calls, if the cell holds only magics and comments.
    """
    if lines and lines[0].startswith("%%"):
        return lines  # the text of another magic
    if not all(line.startswith("%") or line.startswith("#") or not line.strip() for line in lines):
        return lines  # the line may be in the middle of a string
    return [_without_question_mark(line) for line in lines]


def _without_question_mark(line: str) -> str:
    if text := _TEXT_WITH_QUESTION_MARK.match(line):
        return f"get_ipython().run_line_magic('chat', {text[1]!r})\n"
    if command := _COMMAND_WITH_QUESTION_MARK.match(line):
        return f"get_ipython().run_line_magic('chat', 'help {command[1]}')\n"
    return line
