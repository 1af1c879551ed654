"""Tab completion of `%chat` and `%%chat`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from ipycachechat import defaults
from ipycachechat.notebook import commands

OPTIONS = ("-m", "--system", "--max-tokens", "--think", "--out", "--raw", "--append", "--here", "--confirm")


def complete(line: str, names: Mapping[str, Any], branches: Sequence[str]) -> list[str]:
    """What can come next in a line: of `%chat` its subcommands, of `%%chat` its options, then models.

    `names`: the kernel's, of which functions can be tools. `branches`: those of its conversation.
    """
    words = line.split() if line.endswith(" ") else line.split()[:-1]
    whole = words[:1] == ["%%chat"]
    if words[-1:] in (["-m"], ["--model"]) or (words[1:] in (["model"], ["doctor"]) and not whole):
        from ipycachechat.providers.model_data import chat_models

        return chat_models()
    if whole:
        return list(OPTIONS)
    if words[1:2] == ["tools"]:
        functions = (name for name, value in names.items() if inspect.isfunction(value))
        return [*functions, "--ask", "off"]
    if words[1:2] == ["budget"]:
        return [one for one in ("off", "--day") if one not in words]
    if words[1:] in (["ttl"], ["watch"]):
        return list(defaults.TTLS if words[1] == "ttl" else defaults.WATCH)
    if words[1:] == ["switch"]:
        return list(branches)
    return list(commands.COMMANDS) if len(words) == 1 else []
