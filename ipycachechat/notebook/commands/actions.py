"""Keep the cache warm, check the caching rules, correct a cell, put code into a new one."""

from __future__ import annotations

import re

from ipycachechat.notebook import frontend
from ipycachechat.notebook.chat_cells import CellChat
from ipycachechat.notebook.commands._common import fail, print_lines, unquoted
from ipycachechat.rendering import answer, reports
from ipycachechat.text.format import money, plural
from ipycachechat.text.sanitize import clean

MAX_WARM_SECONDS = 24 * 3600
FIX_PROMPT = """{{ err }}

Say in a sentence what is wrong. Then give the whole cell, corrected, as one block of Python."""


def warm(cell_chat: CellChat, duration: str) -> None:
    """Write the conversation to the cache now; with a time, keep it cached that long while that is cheaper."""
    session, request = cell_chat.session, cell_chat.next_request("")
    if duration == "off":
        session.keep_warm(request, 0)
        return print_lines("The cache is no longer kept warm")
    seconds = _seconds(duration) if duration else 0.0
    record = session.runner.wait(lambda emit: cell_chat.chat.warm(request, emit))
    print_lines(reports.warm_result(record.usage, record.cost, record.warm_until))
    if seconds and record.warm_until is not None and record.warm_until > cell_chat.now + seconds:
        print_lines(f"It stays cached for {duration} without further requests")
    elif seconds:
        session.keep_warm(request, seconds)
        print_lines(
            f"Keeping it cached for {duration} while that is cheaper (%chat shows the state; %chat warm off stops)"
        )


def doctor(cell_chat: CellChat, name: str) -> None:
    """Check our caching rules against what the provider charges; shows the cost, and asks first."""
    model, chat, runner = unquoted(name) or cell_chat.model_in_use(), cell_chat.chat, cell_chat.session.runner
    count, tokens, dollars = runner.wait(lambda emit: chat.doctor_cost(model, emit))
    cost = "price unknown" if dollars is None else f"at most {money(dollars)}"
    requests = plural(count, "request")
    if not frontend.stdin_available(cell_chat.shell):
        fail(
            f"%chat doctor would send {requests} to {model}, and this run cannot ask you",
            "Run it in a cell by hand.",
        )
    if not frontend.confirm(f"Send {requests} to {model} ({tokens:,} tokens in all, {cost})? [y/N] "):
        return print_lines("Cancelled; nothing was sent")
    checks = runner.wait(lambda emit: chat.examine(model, emit))
    print_lines(reports.doctor([(check.rule, check.promise, check.usage, check.agrees) for check in checks]))


def fix(cell_chat: CellChat, more: str) -> None:
    """Ask what is wrong in the cell that failed last; the corrected cell is put below, for you to run."""
    error = cell_chat.session.lookups.last_error
    if error is None:
        fail("%chat fix: no cell has failed yet", "Run a cell that fails first; chat cells do not count.")
    placement = cell_chat.placement()
    prompt = cell_chat.prompt(f"{FIX_PROMPT}\n\n{more}".strip(), placement, names={"err": error})
    result = cell_chat.session.ask(cell_chat.request_for_cell(prompt, placement))
    blocks = answer.python_blocks(answer.segments(result.turn.replies)) if result.turn else []
    if blocks:
        cell_chat.shell.set_next_input(clean(blocks[0]).rstrip())


def insert(cell_chat: CellChat, argument: str) -> None:
    """Copy block N (default: the first) of the last answer's Python code into a new cell."""
    result, turns = cell_chat.chat.answer(), cell_chat.chat.history.current.turns
    last = result.turn.replies if result and result.turn else ()
    replies = next(
        (turn.replies for turn in turns if turn.replies is last), turns[-1].replies if turns else ()
    )
    blocks = answer.python_blocks(answer.segments(replies))
    if not blocks:
        fail(f"%chat insert {argument}: the last answer has no Python code", "It copies code blocks only.")
    if not (argument or "1").isdecimal() or not 1 <= int(argument or 1) <= len(blocks):
        fail(
            f"%chat insert {argument}: the last answer has {plural(len(blocks), 'block')} of Python code",
            "Give the block's number, from 1.",
        )
    cell_chat.shell.set_next_input(clean(blocks[int(argument or 1) - 1]).rstrip())


def _seconds(duration: str) -> float:
    """Return the seconds of "90s", "30m" or "2h"; a bare number is minutes. Raises BadInput."""
    match = re.fullmatch(r"(\d{1,5})(s|m|min|h)?", duration.replace(" ", ""))
    seconds = int(match[1]) * {"s": 1, "h": 3600}.get(match[2] or "", 60) if match else 0
    if not 0 < seconds <= MAX_WARM_SECONDS:
        fail(f"%chat warm {duration}: this is not a duration", "Write 30m or 2h, for example; at most a day.")
    return float(seconds)
