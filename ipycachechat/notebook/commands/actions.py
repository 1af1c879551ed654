"""Keep the cache warm, check the caching rules, correct a cell, put code into one."""

from __future__ import annotations

import re

from ipycachechat.notebook import frontend
from ipycachechat.notebook.chat_cells import CellChat
from ipycachechat.notebook.commands._common import fail, print_lines, unquoted
from ipycachechat.rendering import answer, reports
from ipycachechat.text.format import money

LONGEST = 24 * 3600
"""Seconds that the cache may be kept warm."""
FIX = "{{ err }}\n\nSay in a sentence what is wrong. Then give the whole cell, corrected, as one block of Python."


def warm(cells: CellChat, time: str) -> None:
    """Write the conversation to the cache now; with a time, keep it warm for so long."""
    session, request = cells.session, cells.next_request("")
    if time == "off":
        session.keep_warm(request, 0)
        return print_lines("no longer kept warm")
    seconds = _seconds(time) if time else 0.0
    record = session.runner.wait(lambda emit: cells.chat.warm(request, emit))
    print_lines(reports.warm_result(record.usage, record.cost, record.warm_until))
    if seconds and record.warm_until is not None and record.warm_until > cells.now + seconds:
        print_lines(f"it stays warm for {time} by itself")
    elif seconds:
        session.keep_warm(request, seconds)
        print_lines(f"kept warm for {time}, while that is cheaper (%chat shows how it goes; %chat warm off)")


def doctor(cells: CellChat, name: str) -> None:
    """Check our caching rules against what the provider charges; shows the cost, and asks first."""
    model, chat, runner = unquoted(name) or cells.model_in_use(), cells.chat, cells.session.runner
    requests, tokens, dollars = runner.wait(lambda emit: chat.examination(model, emit))
    price = "unknown" if dollars is None else f"at most {money(dollars)}"
    if not frontend.stdin_available(cells.shell):
        fail(f"%chat doctor would send {requests} requests to {model}, and this run cannot ask you")
    question = f"{requests} requests of {tokens:,} tokens in all to {model}, price {price}. Send them? [y/N] "
    if not frontend.confirm(question):
        return print_lines("Cancelled; nothing was sent")
    checks = runner.wait(lambda emit: chat.examine(model, emit))
    print_lines(reports.doctor([(c.rule, c.promise, c.usage, c.agrees) for c in checks]))


def fix(cells: CellChat, more: str) -> None:
    """Ask for the cell that failed last, corrected, and put that below for the user to run."""
    failure = cells.session.lookups.failure
    if failure is None:
        fail("%chat fix: no cell has failed yet", "Run one that does; chats do not count.")
    placement = cells.placement()
    prompt = cells.prompt(f"{FIX}\n\n{more}".strip(), placement, names={"err": failure})
    result = cells.session.ask(cells.request_for_cell(prompt, placement))
    blocks = answer.python_blocks(answer.segments(result.turn.replies)) if result.turn else []
    if blocks:
        cells.shell.set_next_input(blocks[0].rstrip())


def insert(cells: CellChat, which: str) -> None:
    """Put a block of the last answer's Python code in a new cell below."""
    result, turns = cells.chat.answer(), cells.chat.history.current.turns
    last = result.turn.replies if result and result.turn else ()
    replies = next(
        (turn.replies for turn in turns if turn.replies is last), turns[-1].replies if turns else ()
    )
    blocks = answer.python_blocks(answer.segments(replies))
    if not blocks:
        fail(f"%chat insert {which}: the last answer has no Python code")
    if not (which or "1").isdecimal() or not 1 <= int(which or 1) <= len(blocks):
        there = "is one block" if len(blocks) == 1 else f"are {len(blocks)} blocks"
        fail(f"%chat insert {which}: there {there} of Python code in the last answer")
    cells.shell.set_next_input(blocks[int(which or 1) - 1].rstrip())


def _seconds(time: str) -> float:
    """Return the seconds of "90s", "30m" or "2h"; a bare number is minutes. Raises BadInput."""
    match = re.fullmatch(r"(\d{1,5})(s|m|min|h)?", time.replace(" ", ""))
    seconds = int(match[1]) * {"s": 1, "h": 3600}.get(match[2] or "", 60) if match else 0
    if not 0 < seconds <= LONGEST:
        fail(f"%chat warm {time}: this is not a time; write 30m or 2h, at most a day")
    return float(seconds)
