"""Settings of this kernel's chat: model, system prompt, tools, lifetime, watched cells, budget."""

from __future__ import annotations

import math

from ipycachechat import defaults
from ipycachechat.errors import OverBudget
from ipycachechat.notebook.chat_cells import CellChat
from ipycachechat.notebook.commands._common import fail, print_lines, unquoted
from ipycachechat.rendering.format import budget_lines, one_line


def model(cells: CellChat, name: str) -> None:
    """Show the model, or change it."""
    if name:
        cells.settings.model = unquoted(name)
    print_lines(f"model: {cells.model_in_use()}")


def system(cells: CellChat, text: str) -> None:
    """Show the system prompt, or change it."""
    if text:
        cells.chat.versions.set_system(unquoted(text))
    now = cells.chat.history.current.system
    print_lines(f"system: {one_line(now, 100) if text else now}" if now else "no system prompt")


def tools(cells: CellChat, names: str) -> None:
    """Show the functions that the model may call, or change them."""
    if names:
        cells.tools.set(names)
    print_lines(cells.tools.summary)


def budget(cells: CellChat, line: str) -> None:
    """Show what this kernel, or with `--day` all kernels in a day, may spend, or change it."""
    words = line.split()
    name = "budget_day" if "--day" in words else "budget"
    rest = [word for word in words if word != "--day"]
    if rest:
        cells.settings.set_trait(name, 0.0 if rest == ["off"] else _dollars(line, rest))
    whole, day = cells.settings.budgets()
    spent_today: float | None = None
    if day:
        try:
            spent_today = cells.session.recorder.spent(cells.now)
        except OverBudget as error:
            print_lines(error.message)
    print_lines(*budget_lines(cells.chat.client.budgets.state, whole, day, spent_today))


def _dollars(line: str, words: list[str]) -> float:
    try:
        limit = float(" ".join(words).removeprefix("$").replace(",", ""))
    except ValueError:
        limit = 0.0
    if not 0 < limit < math.inf:
        fail(f"%chat budget {line}: a budget is a number of dollars, such as 2.00; off removes it")
    return limit


def watch(cells: CellChat, what: str) -> None:
    """Show what of recently run cells is included with a question, or change it."""
    if what and what not in defaults.WATCH_MODES:
        fail(f"%chat watch {what}: choose {', '.join(defaults.WATCH_MODES)}")
    cells.settings.watch = what or cells.settings.watch
    print_lines(f"watch: {cells.settings.watch}")


def ttl(cells: CellChat, lifetime: str) -> None:
    """Show how long the provider is to keep the cache, or change it."""
    if lifetime and lifetime not in defaults.TTLS:
        fail(f"%chat ttl {lifetime}: a lifetime is auto, 5m or 1h")
    cells.settings.ttl = lifetime or cells.settings.ttl
    print_lines(f"lifetime: {cells.settings.ttl}")
