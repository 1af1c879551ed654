"""The reports of %chat plan, show, why, warm and doctor, as text and as HTML."""

from __future__ import annotations

from collections.abc import Sequence

from ipycachechat.billing.pricing import Forecast
from ipycachechat.caching.breakdown import BlockRow, RequestPreview, summarize_rows
from ipycachechat.caching.miss_reasons import ADVICE, MissCause, MissReason
from ipycachechat.caching.state import ExpectedUsage
from ipycachechat.conversation.usage import Cost, Usage
from ipycachechat.engine.events import TurnResult
from ipycachechat.errors import ChatError, Interrupted, ModelError
from ipycachechat.rendering import html
from ipycachechat.rendering.format import align_columns, time_of_day, written_text
from ipycachechat.text import sanitize
from ipycachechat.text.format import count, money

NO_GUARANTEE = "This provider does not guarantee caching"
PREFIX_HEADS = ("block", "cell", "tokens", "checkpoint", "cached until")
COUNT_HEADS = ("", "read", "written", "fresh", "input")
NOTHING_ASKED = "Nothing has been asked yet"
EXCERPT = 60
"""Characters of a text that are shown around a difference."""


def plan(forecast: Forecast) -> str:
    """Return the plan of the next request, and the prefix behind it."""
    lines = _plan_sentences(forecast)
    if forecast.rows:
        lines += ["", *align_columns(PREFIX_HEADS, prefix_rows(summarize_rows(forecast.rows)))]
    return "\n".join(lines)


def plan_html(forecast: Forecast) -> str:
    """Return the same with a bar of read, written and fresh tokens."""
    return html.render(
        "plan",
        sentences=_plan_sentences(forecast),
        expected=forecast.expected,
        heads=PREFIX_HEADS,
        rows=prefix_rows(summarize_rows(forecast.rows)),
    )


def _plan_sentences(forecast: Forecast) -> list[str]:
    """Return sentences on tokens and cost of the next request, and why less is read than possible."""
    expected = forecast.expected
    about = "" if expected.exact else "≈"
    hour = f" ({expected.written_1h:,} of them for 1 h)" if expected.written_1h else ""

    def dollars(amount: float | None) -> str:
        return "unknown" if amount is None else f"{about}{money(amount)}"

    lines = [
        f"{forecast.model}: {about}{expected.input:,} tokens in = {about}{expected.read:,} cached + "
        f"{about}{expected.written:,} newly cached{hour} + {about}{expected.fresh:,} uncached",
        f"cost {dollars(forecast.cost)} without the answer; without a cache {dollars(forecast.cost_without_cache)}"
        + "".join(f"; if cached for {_lifetime(ttl)} {dollars(cost)}" for ttl, cost in forecast.lifetimes),
    ]
    if forecast.reason is not None and forecast.reason.cause is not MissCause.SILENT:
        lines.append(forecast.reason.sentence)
    return lines


def warm_result(usage: Usage, cost: Cost, until: float | None) -> str:
    """Return the bill of a request that only wrote or refreshed the cache."""
    expiry = f", cached until {time_of_day(until)}" if until is not None else ""
    tokens = (
        f"{count(usage.read)} cached + {count(usage.written)} newly cached + {count(usage.fresh)} uncached"
    )
    return f"{tokens}, {money(cost.paid)}{expiry}"


def cache_status(until: float | None, now: float, tokens: tuple[int, int] | None) -> str:
    """Return when the cache expires, and tokens that were predicted to be read and were."""
    parts = []
    if until is not None:
        parts.append(f"cached until {time_of_day(until)}" if until > now else "no longer cached")
    if tokens is not None:
        parts.append(f"predicted from cache ≈{tokens[0]:,} tokens, actual {tokens[1]:,}")
    return "; ".join(parts) or NO_GUARANTEE


def keepalive_status(refreshed: int, until: float, ended: str) -> str:
    """Return how long the cache is kept warm, or why no longer."""
    times = f"{refreshed} refresh{'es' * (refreshed != 1)}"
    if not ended:
        return f"kept warm until {time_of_day(until)} ({times} so far)"
    return f"no longer kept warm after {times}: {ended}" if refreshed else f"not kept warm: {ended}"


def contents(preview: RequestPreview) -> str:
    """Return the blocks of a request."""
    lines = [_contents_summary(preview)]
    for row, text in preview.blocks:
        lines += ["", f"--- {_block_summary(row)}", sanitize.clean(text)]
    return "\n".join(lines)


def contents_html(preview: RequestPreview) -> str:
    """Return the blocks of a request, each folded up."""
    blocks = [(_block_summary(row), text) for row, text in preview.blocks]
    return html.render("contents", summary=_contents_summary(preview), blocks=blocks)


def wire_html(wire: str) -> str:
    """Return a request as JSON, as it is handed to litellm."""
    return html.render("contents", wire=wire)


def _contents_summary(preview: RequestPreview) -> str:
    number = len(preview.blocks)
    return f"{preview.model}: {number} block{'s' * (number != 1)}, ≈{preview.tokens:,} tokens"


def _block_summary(row: BlockRow) -> str:
    label, cell, tokens, checkpoint, until = _prefix_row(row)
    parts = [label, f"cell {cell}" if cell else "", f"{tokens} tokens"]
    parts += [f"checkpoint for {checkpoint}" if checkpoint else "", f"cached until {until}" if until else ""]
    return " · ".join(filter(None, parts))


def why(result: TurnResult | None) -> str:
    """Return the expected usage of the last request, its bill, and the reason for the difference."""
    if result is None or result.turn is None:
        return NOTHING_ASKED
    table = align_columns(COUNT_HEADS, count_rows(result.turn.usage, result.expected))
    lines = [f"turn {result.number}, {result.turn.model}", *table, _verdict(result)]
    return "\n".join([*lines, *_first_difference(result.reason), *_advice(result)])


def why_html(result: TurnResult | None) -> str:
    """Return the same with a bar of read, written and fresh tokens."""
    if result is None or result.turn is None:
        return html.render("why", title=NOTHING_ASKED, explained=None)
    return html.render(
        "why",
        title=f"turn {result.number}, {result.turn.model}",
        explained=explained(result.turn.usage, result),
    )


def explained(usage: Usage, result: TurnResult) -> dict[str, object]:
    """Return the values of the template `explanation`."""
    return {
        "heads": COUNT_HEADS,
        "counts": count_rows(usage, result.expected),
        "usage": usage,
        "verdict": _verdict(result),
        "difference": _first_difference(result.reason),
        "notes": _advice(result),
    }


def failure(error: ChatError) -> str:
    """Return the error of the last prompt, in more detail than in its cell."""
    if isinstance(error, Interrupted):
        lines = ["The last prompt was stopped:"]
    else:
        lines = ["The last prompt failed:", error.message]
    lines += [error.hint, error.billed]
    if isinstance(error, ModelError):
        lines += [f"Tried {error.tries} times."] * (error.tries > 1)
        lines += [f"The provider's message: {error.provider_message}"] * bool(error.provider_message)
    return "\n".join(filter(None, lines))


def count_rows(usage: Usage, expected: ExpectedUsage | None) -> list[tuple[str, ...]]:
    """Return rows of a turn's expected usage, if known, and of its bill."""
    billed = _counts("billed", usage)
    return [billed] if expected is None else [_counts("expected", expected), billed]


def _counts(name: str, usage: ExpectedUsage | Usage) -> tuple[str, ...]:
    about = "≈" if isinstance(usage, ExpectedUsage) and not usage.exact else ""
    counts = (usage.read, usage.written, usage.fresh, usage.input)
    return name, *(about * (tokens is not None) + count(tokens) for tokens in counts)


def _verdict(result: TurnResult) -> str:
    """Return a sentence on why less was read than could have been, or that nothing was missed."""
    if result.reason is not None:
        return result.reason.sentence
    if result.turn is None or result.turn.usage.read is None:
        return "The provider did not report how many tokens were cached"
    return "Everything that could come from the cache did" if result.cache_is_promised else NO_GUARANTEE


def _advice(result: TurnResult) -> list[str]:
    """Return what the user can do about a miss, and the notes on the prompt."""
    return [*([ADVICE[result.reason.cause]] if result.reason else []), *result.notes]


def doctor(rows: Sequence[tuple[str, str, Usage, bool | None]]) -> str:
    """Return a table of rules: what each predicts, what was billed, and if they agree."""
    verdicts = {True: "ok", False: "DIFFERS", None: "open"}
    wrong = sum(agrees is False for *_, agrees in rows)
    if wrong:
        end = (
            f"{wrong} of {len(rows)} differ: please report it (this model's row in caching/provider_rules.py)"
        )
    else:
        end = "The provider charges as the rules predict."
    cells = [
        (rule, promise, count(usage.read), written_text(usage), count(usage.fresh), verdicts[agrees])
        for rule, promise, usage, agrees in rows
    ]
    return "\n".join([*align_columns(("rule", "promised", "read", "written", "fresh", ""), cells), end])


def prefix_rows(rows: Sequence[BlockRow]) -> list[tuple[str, ...]]:
    """Return the blocks of a request as rows under PREFIX_HEADS."""
    return [_prefix_row(row) for row in rows]


def _prefix_row(row: BlockRow) -> tuple[str, ...]:
    until = time_of_day(row.warm_until) if row.warm_until is not None else ""
    cell = f"{row.cells} cells" if row.cells > 1 else row.cell[:8]
    tokens = f"{'' if row.exact else '≈'}{row.tokens:,}"
    return row.label, cell, tokens, _lifetime(row.checkpoint) if row.checkpoint else "", until


def _lifetime(seconds: int) -> str:
    return f"{seconds // 3600} h" if seconds >= 3600 else f"{seconds // 60} min"


def _first_difference(reason: MissReason | None) -> list[str]:
    """Return where two versions of a block first differ: one line on the place, and one for each version."""
    if reason is None or (not reason.old_text and not reason.new_text):
        return []
    old, new = reason.old_text, reason.new_text
    pairs = enumerate(zip(old, new, strict=False))
    index = next((n for n, (before, now) in pairs if before != now), min(len(old), len(new)))
    cell = f"cell {reason.cell[:8]}, " if reason.cell else ""
    return [
        f"{cell}first difference at character {index + 1:,}:",
        f"  before {_excerpt(old, index)}",
        f"  now    {_excerpt(new, index)}",
    ]


def _excerpt(text: str, index: int) -> str:
    start = max(0, index - EXCERPT // 3)
    excerpt = " ".join(sanitize.clean(text[start : start + EXCERPT]).split())
    return f"{'…' * (start > 0)}{excerpt}{'…' * (start + EXCERPT < len(text))}" if text else "(nothing)"
