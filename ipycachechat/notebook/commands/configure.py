"""Settings of this kernel's chat: model, system prompt, tools, lifetime, watched cells, budget."""

from __future__ import annotations

import math

from ipycachechat import defaults
from ipycachechat.errors import OverBudget
from ipycachechat.notebook.chat_cells import CellChat
from ipycachechat.notebook.commands._common import fail, print_lines, split_flag, unquoted
from ipycachechat.rendering.format import budget_lines, one_line


def model(cell_chat: CellChat, name: str) -> None:
    """Show or change the model: PROVIDER/MODEL, local, or local:PATH.gguf ("": by the keys in the environment)."""
    if name:
        cell_chat.settings.model = unquoted(name)
    print_lines(f"Model: {cell_chat.model_in_use()}")


def system(cell_chat: CellChat, text: str) -> None:
    """Show or change the system prompt ("": none)."""
    if text:
        cell_chat.chat.versions.set_system(unquoted(text))
    current = cell_chat.chat.history.current.system
    print_lines(
        f"System prompt: {one_line(current, 100) if text else current}" if current else "No system prompt"
    )


def tools(cell_chat: CellChat, names: str) -> None:
    """Show or change the functions that the model may call; off: none.

    --ask: ask before each call; --no-ask: do not ask.
    """
    if names:
        cell_chat.tools.set(names)
    print_lines(cell_chat.tools.summary)


def budget(cell_chat: CellChat, argument: str) -> None:
    """Show what is spent and left, or limit this kernel's total spending in dollars; off: no limit.

    A request that could exceed the limit is not sent (%%chat --confirm asks you instead). --day: limit the spending
    of all notebooks per day.
    """
    amount, per_day = split_flag(argument, "--day")
    if amount:
        limit = 0.0 if amount == "off" else _dollars(amount)
        cell_chat.settings.set_trait("budget_day" if per_day else "budget", limit)
    kernel_limit, day_limit = cell_chat.settings.budgets()
    spent_today: float | None = None
    if day_limit:
        try:
            spent_today = cell_chat.session.recorder.spent(cell_chat.now)
        except OverBudget as error:
            print_lines(error.message)
    print_lines(*budget_lines(cell_chat.chat.client.budgets.state, kernel_limit, day_limit, spent_today))


def _dollars(amount: str) -> float:
    try:
        limit = float(amount.removeprefix("$").replace(",", ""))
    except ValueError:
        limit = 0.0
    if not 0 < limit < math.inf:
        fail(
            f"%chat budget {amount}: this is not an amount",
            "A budget is a number of dollars, such as 2.00; off removes it.",
        )
    return limit


def watch(cell_chat: CellChat, mode: str) -> None:
    """Show or change whether recently run cells are included with your question.

    WHAT: off, code, code+output or code+output+images.
    """
    if mode and mode not in defaults.WATCH_MODES:
        fail(f"%chat watch {mode}: there is no such mode", f"Choose {', '.join(defaults.WATCH_MODES)}.")
    cell_chat.settings.watch = mode = mode or cell_chat.settings.watch
    print_lines(f"Include recently run cells: {mode}")


def ttl(cell_chat: CellChat, lifetime: str) -> None:
    """Show or change how long the provider keeps the cache: auto, 5m or 1h."""
    if lifetime and lifetime not in defaults.TTLS:
        fail(f"%chat ttl {lifetime}: this is not a lifetime", f"Choose {', '.join(defaults.TTLS)}.")
    cell_chat.settings.ttl = lifetime or cell_chat.settings.ttl
    print_lines(f"Cache lifetime: {cell_chat.settings.ttl}")
