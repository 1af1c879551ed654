"""Text of %chat plan, why, show, doctor and switch."""

from __future__ import annotations

from collections.abc import Sequence

from ipycachechat.billing.forecast import Forecast
from ipycachechat.caching.breakdown import BlockRow, RequestPreview, summarize_rows
from ipycachechat.caching.miss_reasons import ADVICE, MissCause, MissReason
from ipycachechat.caching.state import ExpectedUsage
from ipycachechat.conversation.history import History
from ipycachechat.conversation.turns import Conversation, Turn
from ipycachechat.conversation.usage import Cost, Usage
from ipycachechat.engine.events import TurnResult
from ipycachechat.errors import ChatError, Interrupted, ModelError
from ipycachechat.rendering.format import align_columns, one_line, time_of_day
from ipycachechat.text import sanitize
from ipycachechat.text.format import count, money

CACHE_UNKNOWN = (
    "nobody can tell whether more could have been read: this provider promises nothing of its cache"
)
PREFIX_HEADS = ("block", "cell", "tokens", "checkpoint", "warm until")
"""Columns of the table of blocks."""
COUNT_HEADS = ("", "read", "written", "fresh", "input")
"""Columns of the table of expected and billed tokens."""
NOTHING_ASKED = "nothing has been asked yet"
BRANCH_HEADS = ("branch", "turns", "forked from", "after turn", "")
EXCERPT = 60
"""Characters of a text that are shown around a difference."""


def plan(forecast: Forecast) -> str:
    """Return the plan of the next request, and the prefix behind it."""
    lines = plan_sentences(forecast)
    if forecast.rows:
        lines += ["", *align_columns(PREFIX_HEADS, prefix_rows(summarize_rows(forecast.rows)))]
    return "\n".join(lines)


def plan_sentences(forecast: Forecast) -> list[str]:
    """Return what the next request will read, write and cost, and why less is read than possible."""
    expected = forecast.expected
    sure = "" if expected.exact else "≈"
    lines = [
        f"{forecast.model}: {sure}{expected.input:,} tokens in = {sure}{expected.read:,} read + "
        f"{sure}{expected.written:,} written{_hours(expected)} + {sure}{expected.fresh:,} fresh",
        f"cost {_about(forecast.paid, sure)} without the answer;"
        f" with no cache {_about(forecast.cost_without_cache, sure)}"
        + "".join(
            f"; all for {_lifetime(seconds)} {_about(dollars, sure)}"
            for seconds, dollars in forecast.lifetimes
        ),
    ]
    if forecast.reason is not None and forecast.reason.cause is not MissCause.SILENT:
        lines.append(forecast.reason.sentence_with("would be paid"))
    return lines


def warm_result(usage: Usage, bill: Cost, until: float | None) -> str:
    """Return the bill of a request that only wrote or refreshed the cache."""
    lasts = f", warm until {time_of_day(until)}" if until is not None else ""
    tokens = f"{count(usage.read)} read + {count(usage.written)} written + {count(usage.fresh)} fresh"
    return f"{tokens}, {money(bill.paid)}{lasts}"


def cache_status(until: float | None, now: float, tokens: tuple[int, int] | None) -> str:
    """How long the cache stays warm, and how near the predictions were."""
    told = [] if until is None else [f"warm until {time_of_day(until)}" if until > now else "no longer warm"]
    if tokens is not None:
        told.append(f"≈{tokens[0]:,} tokens foretold to be read, {tokens[1]:,} read")
    return "; ".join(told) or "this provider promises nothing of its cache"


def keepalive_status(refreshed: int, until: float, ended: str) -> str:
    """How keeping warm goes, or went."""
    times = f"{refreshed} refresh{'es' * (refreshed != 1)}"
    if not ended:
        return f"kept warm until {time_of_day(until)} ({times} so far)"
    return f"no longer kept warm after {times}: {ended}" if refreshed else f"not kept warm: {ended}"


def contents(found: RequestPreview) -> str:
    """Return the blocks of a request."""
    lines = [contents_summary(found)]
    for row, text in found.blocks:
        lines += ["", f"--- {block_summary(row)}", sanitize.clean(text)]
    return "\n".join(lines)


def contents_summary(found: RequestPreview) -> str:
    """Of a request: to whom, how many blocks and tokens."""
    number = len(found.blocks)
    return f"{found.model}: {number} block{'s' * (number != 1)}, ≈{found.tokens:,} tokens"


def block_summary(row: BlockRow) -> str:
    """Return a line about one block."""
    _, cell, tokens, checkpoint, until = _row(row)
    told = [row.label, f"cell {cell}" if cell else "", f"{tokens} tokens"]
    told += [f"checkpoint for {checkpoint}" if checkpoint else "", f"warm until {until}" if until else ""]
    return " · ".join(filter(None, told))


def why(done: TurnResult | None) -> str:
    """Return the expected usage of the last request, its bill, and the reason for the difference."""
    if done is None or done.turn is None:
        return NOTHING_ASKED
    lines = [
        f"turn {done.number}, {done.turn.model}",
        *align_columns(COUNT_HEADS, count_rows(done.turn, done.expected)),
    ]
    return "\n".join([*lines, verdict(done), *difference(done.reason), *advice(done.reason), *done.notes])


def failure(error: ChatError) -> str:
    """Return the error of the last prompt, in more detail than in its cell."""
    if isinstance(error, Interrupted):
        lines = ["the last prompt was stopped:"]
    else:
        lines = ["the last prompt failed:", error.message]
    lines += [error.hint, error.billed]
    if isinstance(error, ModelError):
        lines += [f"asked {error.tries} times"] * (error.tries > 1)
        lines += [f"in the provider's words: {error.provider_message}"] * bool(error.provider_message)
    return "\n".join(filter(None, lines))


def count_rows(turn: Turn, expected: ExpectedUsage | None) -> list[tuple[str, ...]]:
    """Return rows of a turn's expected usage, if known, and of its bill."""
    billed = _counts("billed", turn.usage)
    return [billed] if expected is None else [_counts("expected", expected), billed]


def verdict(done: TurnResult) -> str:
    """Why less was read than could have been, or that nothing was missed, in a sentence."""
    if done.reason is not None:
        return done.reason.sentence
    known = done.turn is not None and done.turn.usage.read is not None and done.cache_is_promised
    return "nothing was missed: all that could be read was read" if known else CACHE_UNKNOWN


def advice(reason: MissReason | None) -> list[str]:
    """Return what the user can do about a miss."""
    return [ADVICE[reason.cause]] if reason else []


def doctor(rows: Sequence[tuple[str, str, Usage, bool | None]]) -> str:
    """The rules, what they promise, what was billed, and whether that agrees."""
    told = {True: "ok", False: "DIFFERS", None: "open"}
    wrong = sum(agrees is False for *_, agrees in rows)
    end = (
        f"{wrong} of {len(rows)} differ: please report it (this model's row in caching/provider_rules.py)"
        if wrong
        else "The provider does as the rules say."
    )
    found = [
        (rule, promise, count(used.read), _written(used), count(used.fresh), told[agrees])
        for rule, promise, used, agrees in rows
    ]
    return "\n".join([*align_columns(("rule", "promised", "read", "written", "fresh", ""), found), end])


def _written(used: Usage) -> str:
    """Of a bill: tokens, if writing is told at all."""
    return count(used.written) if used.bills_writes else "-"


def prefix_rows(rows: Sequence[BlockRow]) -> list[tuple[str, ...]]:
    """The blocks of a request, as PREFIX names what is told of each."""
    return [_row(row) for row in rows]


def _row(row: BlockRow) -> tuple[str, ...]:
    until = time_of_day(row.warm_until) if row.warm_until is not None else ""
    cell = f"{row.cells} cells" if row.cells > 1 else row.cell[:8]
    return row.label, cell, _n(row.tokens, row.exact), _lifetime(row.checkpoint), until


def _n(tokens: int, exact: bool = False) -> str:
    return f"{'' if exact else '≈'}{tokens:,}"


def _lifetime(seconds: int | None) -> str:
    if not seconds:
        return ""
    return f"{seconds // 3600} h" if seconds >= 3600 else f"{seconds // 60} min"


def _hours(expected: ExpectedUsage) -> str:
    return f" ({expected.written_1h:,} of them for an hour)" if expected.written_1h else ""


def _about(dollars: float | None, sure: str) -> str:
    return "unknown" if dollars is None else f"{sure}{money(dollars)}"


def _counts(name: str, what: ExpectedUsage | Usage) -> tuple[str, ...]:
    sure = "≈" if isinstance(what, ExpectedUsage) and not what.exact else ""
    return name, *(
        sure * (n is not None) + count(n) for n in (what.read, what.written, what.fresh, what.input)
    )


def difference(reason: MissReason | None) -> list[str]:
    """Where two versions of a block part: a line that says where, and one for each; none where nothing is known."""
    if reason is None or (not reason.old_text and not reason.new_text):
        return []
    pairs = zip(reason.old_text, reason.new_text, strict=False)
    at = next(
        (n for n, (a, b) in enumerate(pairs) if a != b), min(len(reason.old_text), len(reason.new_text))
    )
    cell = f"cell {reason.cell[:8]}, " if reason.cell else ""
    return [f"{cell}first difference at character {at + 1:,}:"] + [
        f"  {name:<6} {_excerpt(text, at)}"
        for name, text in (("before", reason.old_text), ("now", reason.new_text))
    ]


def _excerpt(text: str, at: int) -> str:
    start = max(0, at - EXCERPT // 3)
    shown = " ".join(sanitize.clean(text[start : start + EXCERPT]).split())
    return f"{'…' * (start > 0)}{shown}{'…' * (start + EXCERPT < len(text))}" if text else "(nothing)"


def branch_tree(history: History) -> list[str]:
    """The branches as a small tree: each below the one that it was forked from."""
    lines: list[str] = []

    def add(parent: str, indent: str) -> None:
        of_it = [branch for branch in history.branches if branch.parent == parent]
        for n, branch in enumerate(of_it, 1):
            last = n == len(of_it)
            corner = ("└─ " if last else "├─ ") if parent else ""
            turns = len(history.conversation_at(branch).turns)
            since = len(history.versions[branch.forked_at].conversation.turns)
            told = f"{turns} turn{'s' * (turns != 1)}" + f", forked after turn {since}" * bool(parent)
            here = "  ← here" if branch.name == history.current_branch else ""
            lines.append(f"{indent}{corner}{branch.name}: {told}{here}")
            add(branch.name, indent + ("   " if last else "│  ") * bool(parent))

    add("", "")
    return lines


def branch_rows(history: History) -> list[tuple[str, ...]]:
    """The branches, each after the one that it was forked from, as BRANCHES names what is told of each."""
    found: list[tuple[str, ...]] = []

    def add(parent: str) -> None:
        for branch in (one for one in history.branches if one.parent == parent):
            turns = f"{len(history.conversation_at(branch).turns)}"
            since = f"{len(history.versions[branch.forked_at].conversation.turns)}" if parent else ""
            here = "← here" if branch.name == history.current_branch else ""
            found.append((branch.name, turns, parent, since, here))
            add(branch.name)

    add("")
    return found


def turn_changes(before: Conversation, after: Conversation) -> list[str]:
    """Return a line for each turn that changes."""
    was = {_id(turn): n for n, turn in enumerate(before.turns, 1)}
    now = {_id(turn): n for n, turn in enumerate(after.turns, 1)}
    lines = []
    for turn in after.all_turns:
        old, new = was.get(_id(turn)), now.get(_id(turn))
        if old == new:
            continue
        if new is None:
            told = f"turn {old} is left out, since its cell is gone"
        elif old is None:
            told = f"turn {new} is back"
        else:
            told = f"turn {old} becomes turn {new}"
        lines.append(f"  {told}: {one_line(turn.prompt_text)}")
    return lines


def _id(turn: Turn) -> tuple[object, ...]:
    """By what a turn is known again when it has been moved or detached."""
    return turn.cell, turn.asked_at, turn.digest
