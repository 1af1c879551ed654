"""Do: keep the cache warm, check the rules, help."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from ipycachechat.notebook import frontend
from ipycachechat.notebook.commands import HELP
from ipycachechat.notebook.commands._common import fail, print_lines, unquoted
from ipycachechat.rendering import answer, reports
from ipycachechat.text.format import money

if TYPE_CHECKING:
    from ipycachechat.notebook.magics import ChatMagics

LONGEST = 24 * 3600
FIX = "{{ err }}\n\nSay in a sentence what is wrong. Then give the whole cell, corrected, as one block of Python."


def warm(magics: ChatMagics, time: str) -> None:
    """Write the conversation to the cache now; with a time, keep it warm for so long."""
    session, ask = magics.session, magics.next_request("")
    if time == "off":
        session.keep_warm(ask, 0)
        return print_lines("no longer kept warm")
    seconds = _seconds(time) if time else 0.0
    booked = session.wait(lambda tell: session.chat.warm(ask, tell))
    print_lines(reports.warmed(booked.usage, booked.cost, booked.warm_until))
    if seconds and booked.warm_until is not None and booked.warm_until > session.now + seconds:
        print_lines(f"it stays warm for {time} by itself")
    elif seconds:
        session.keep_warm(ask, seconds)
        print_lines(f"kept warm for {time}, while that is cheaper (%chat: how it goes; %chat warm off)")


def doctor(magics: ChatMagics, name: str) -> None:
    """Hold the rules for a model against its bills; says what it costs, and asks."""
    model, session = unquoted(name) or magics.model_in_use(), magics.session
    requests, tokens, dollars = session.wait(lambda tell: session.chat.examination(model, tell))
    price = "unknown" if dollars is None else f"at most {money(dollars)}"
    if not frontend.stdin_available(magics.shell):
        fail(f"%chat doctor would send {requests} requests to {model}, and nobody is there to be asked")
    question = f"{requests} requests of {tokens:,} tokens in all to {model}, price {price}. Send them? [y/N] "
    if not frontend.confirm(question):
        return print_lines("nothing was sent")
    found = session.wait(lambda tell: session.chat.examine(model, tell))
    print_lines(reports.doctor([(c.rule, c.promise, c.usage, c.agrees) for c in found]))


def fix(magics: ChatMagics, more: str) -> None:
    """Ask for the cell that failed last, corrected, and put that below for the person to run."""
    failure = magics.session.earlier.failure
    if failure is None:
        fail("%chat fix: no cell has failed yet", "Run one that does; chats do not count.")
    place = magics.place()
    asked = magics.prompt(f"{FIX}\n\n{more}".strip(), place, names={"err": failure})
    ask = replace(magics.request_for_cell(asked), placement=place, approve_tool_call=magics.allow())
    done = magics.session.ask(ask)
    found = answer.python(answer.segments(done.turn.replies)) if done.turn else []
    if found:
        magics.session.shell.set_next_input(found[0].rstrip())


def insert(magics: ChatMagics, which: str) -> None:
    """Put a block of the last answer's Python code in a new cell below."""
    dialogue = magics.session.chat
    done, turns = dialogue.answer(), dialogue.history.current.turns
    told = done.turn.replies if done and done.turn else ()
    replies = next((one.replies for one in turns if one.replies is told), turns[-1].replies if turns else ())
    found = answer.python(answer.segments(replies))
    if not found:
        fail(f"%chat insert {which}: the last answer has no Python code")
    if not (which or "1").isdecimal() or not 1 <= int(which or 1) <= len(found):
        there = "is one block" if len(found) == 1 else f"are {len(found)} blocks"
        fail(f"%chat insert {which}: there {there} of Python code in the last answer")
    magics.session.shell.set_next_input(found[int(which or 1) - 1].rstrip())


def help(magics: ChatMagics, _: str) -> None:
    """What there is."""
    print_lines(HELP)


def _seconds(time: str) -> float:
    """Of "90s", "30m" or "2h"; a bare number is minutes."""
    found = re.fullmatch(r"(\d{1,5})(s|m|min|h)?", time.replace(" ", ""))
    seconds = int(found[1]) * {"s": 1, "h": 3600}.get(found[2] or "", 60) if found else 0
    if not 0 < seconds <= LONGEST:
        fail(f"%chat warm {time}: this is no time; write it as 30m or 2h, a day at most")
    return float(seconds)
