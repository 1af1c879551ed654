"""Set up this kernel's chat."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ipycachechat import defaults
from ipycachechat.errors import OverBudget
from ipycachechat.notebook.commands._common import fail, print_lines, short, unquoted
from ipycachechat.rendering.format import budgets

if TYPE_CHECKING:
    from ipycachechat.notebook.magics import ChatMagics


def model(magics: ChatMagics, name: str) -> None:
    """The model, or another from now on."""
    if name:
        magics.model = unquoted(name)
    print_lines(f"model: {magics.model_in_use()}")


def system(magics: ChatMagics, text: str) -> None:
    """The system prompt, or another from now on."""
    dialogue = magics.session.chat
    if text:
        dialogue.set_system(unquoted(text))
    now = dialogue.history.current.system
    print_lines(f"system: {short(now, 100) if text else now}" if now else "no system prompt")


def tools(magics: ChatMagics, line: str) -> None:
    """The functions that the model may call, or others from now on."""
    if line:
        magics.tools.set(line)
    print_lines(magics.tools.told)


def budget(magics: ChatMagics, line: str) -> None:
    """What this kernel, or with `--day` all of them in a day, may spend: told, or from now on."""
    words = line.split()
    name = "budget_day" if "--day" in words else "budget"
    rest = [word for word in words if word != "--day"]
    if rest:
        limit = 0.0 if rest == ["off"] else _dollars(line, rest)
        setattr(magics, name, limit)
    session = magics.session
    kept = session.chat.client.budgets
    whole, day = kept.limits()
    of_day: float | None = None
    if day:
        try:
            of_day = session.recorder.spent(session.now)
        except OverBudget as error:
            print_lines(error.message)
    print_lines(*budgets(kept.state, whole, day, of_day))


def _dollars(line: str, words: list[str]) -> float:
    try:
        limit = float(" ".join(words).removeprefix("$").replace(",", ""))
    except ValueError:
        limit = 0.0
    if not 0 < limit < math.inf:
        fail(f"%chat budget {line}: a budget is a number of dollars, as in 2.00; off ends it")
    return limit


def watch(magics: ChatMagics, what: str) -> None:
    """What goes along of the cells that run, or what from now on."""
    if what and what not in defaults.WATCH:
        fail(f"%chat watch {what}: one can watch {', '.join(defaults.WATCH)}")
    magics.watch = what or magics.watch
    print_lines(f"watch: {magics.watch}")


def ttl(magics: ChatMagics, lifetime: str) -> None:
    """How long the cache is to live, or another lifetime from now on."""
    if lifetime and lifetime not in defaults.TTLS:
        fail(f"%chat ttl {lifetime}: a lifetime is auto, 5m or 1h")
    magics.ttl = lifetime or magics.ttl
    print_lines(f"lifetime: {magics.ttl}")
