"""The reports of %chat plan, why and switch as static HTML."""

from __future__ import annotations

from ipycachechat.billing.forecast import Forecast
from ipycachechat.caching.breakdown import RequestPreview, summarize_rows
from ipycachechat.conversation.history import History
from ipycachechat.engine.events import TurnResult
from ipycachechat.rendering import html, reports


def plan(forecast: Forecast) -> str:
    """Return the plan of the next request, and the prefix behind it."""
    told = [html.line(sentence) for sentence in reports.plan_sentences(forecast)]
    rows = reports.prefix_rows(summarize_rows(forecast.rows))
    prefix = [html.table(reports.PREFIX_HEADS, rows, name="Prefix")] if rows else []
    bar = html.bar(forecast.expected)
    return html.panel("plan", *told, bar, html.legend() if bar else "", *prefix)


def contents(found: RequestPreview) -> str:
    """Return the blocks of a request, each folded up."""
    told = [html.line(reports.contents_summary(found))]
    for row, text in found.blocks:
        told.append(html.details(reports.block_summary(row), html.preformatted(text.split("\n"))))
    return html.panel("contents", *told)


def request_json(text: str) -> str:
    """A request as it is handed over."""
    return html.panel("contents", html.preformatted(text.split("\n")))


def why(done: TurnResult | None) -> str:
    """Return the expected usage of a request, its bill, and the reason for the difference."""
    if done is None or done.turn is None:
        return html.panel("why", html.line(reports.NOTHING_ASKED))
    return html.panel(
        "why", html.title(f"turn {done.number}, {done.turn.model}"), reason(done, html.legend())
    )


def reason(done: TurnResult, legend: str = "") -> str:
    """The same, without saying which turn it is; `legend` where none of the bar's colours stands elsewhere."""
    if done.turn is None:
        return ""
    bar = html.bar(done.turn.usage)
    told = [
        html.table(reports.COUNT_HEADS, reports.count_rows(done.turn, done.expected)),
        bar,
        legend if bar else "",
    ]
    told.append(html.line(reports.verdict(done)))
    if difference := reports.difference(done.reason):
        told += [html.line(difference[0]), html.preformatted([text.strip() for text in difference[1:]])]
    return "".join([*told, *map(html.line, (*reports.advice(done.reason), *done.notes))])


def branches(history: History) -> str:
    """The branches, and from where each was forked."""
    return html.panel("branches", html.table(reports.BRANCH_HEADS, reports.branch_rows(history)))
