"""Tab completion of `%chat` and `%%chat`."""

from __future__ import annotations

from collections.abc import Sequence

from ipycachechat.notebook import commands
from ipycachechat.notebook.chat_cells import CellChat
from ipycachechat.providers import model_data


def complete(cells: CellChat, line: str, cell_options: Sequence[str]) -> list[str]:
    """Return what may come next on a line: subcommands and their arguments, or `cell_options` and models."""
    words = line.split() if line.endswith(" ") else line.split()[:-1]
    if words[-1:] in (["-m"], ["--model"]):
        return model_data.chat_models()
    if words[:1] == ["%%chat"]:
        return list(cell_options)
    if len(words) <= 1:
        return list(commands.TABLE)
    command = commands.TABLE.get(words[1])
    if command is None:
        return []
    typed, options = words[2:], [*command.options]
    values = list(command.values(cells)) if not typed or command.repeats else []
    return [word for word in (*values, *options) if word not in typed]
