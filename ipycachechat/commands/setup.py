"""Set up this kernel's chat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipycachechat.commands.words import say, short, unquoted, wrong
from ipycachechat.core import defaults

if TYPE_CHECKING:
    from ipycachechat.magics import ChatMagics


def model(magics: ChatMagics, name: str) -> None:
    """The model, or another from now on."""
    if name:
        magics.model = unquoted(name)
    say(f"model: {magics.model_in_use()}")


def system(magics: ChatMagics, text: str) -> None:
    """The system prompt, or another from now on."""
    dialogue = magics.session.dialogue
    if text:
        dialogue.set_system(unquoted(text))
    now = dialogue.history.now.system
    say(f"system: {short(now, 100) if text else now}" if now else "no system prompt")


def tools(magics: ChatMagics, line: str) -> None:
    """The functions that the model may call, or others from now on."""
    if line:
        magics.tools.set(line)
    say(magics.tools.told)


def watch(magics: ChatMagics, what: str) -> None:
    """What goes along of the cells that run, or what from now on."""
    if what and what not in defaults.WATCH:
        wrong(f"%chat watch {what}: one can watch {', '.join(defaults.WATCH)}")
    magics.watch = what or magics.watch
    say(f"watch: {magics.watch}")


def ttl(magics: ChatMagics, lifetime: str) -> None:
    """How long the cache is to live, or another lifetime from now on."""
    if lifetime and lifetime not in defaults.TTLS:
        wrong(f"%chat ttl {lifetime}: a lifetime is auto, 5m or 1h")
    magics.ttl = lifetime or magics.ttl
    say(f"lifetime: {magics.ttl}")
