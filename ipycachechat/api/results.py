"""Responses and plans as they are returned to Python."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any

from ipycachechat.billing.pricing import Forecast
from ipycachechat.engine.events import TurnResult

if TYPE_CHECKING:
    from ipycachechat.providers.response import Response


class DisplayText(str):
    """A text of several lines that is shown as such."""

    def __repr__(self) -> str:
        return str(self)


class Plan(Forecast):
    """The predicted tokens and cost of a prompt, displayed as by `%chat plan`."""

    def __repr__(self) -> str:
        from ipycachechat.rendering import reports

        return reports.plan(self)


def answered(done: TurnResult) -> Response:
    """Return the answer, ready for display. Raises the error of the turn, if it failed."""
    if done.error is not None:
        raise done.error from None
    return shown(done)


def or_error(found: TurnResult | Exception) -> Response | Exception:
    if isinstance(found, Exception):
        return found
    return found.error or shown(found)


def said(done: TurnResult) -> str:
    """The text of the answer. Raises what went wrong."""
    if done.error is not None:
        raise done.error from None
    return done.turn.answer_text if done.turn else ""


def shown(done: TurnResult) -> Response:
    from ipycachechat.rendering import answer

    response: Any = done.response
    shown: Response = response.shown_by(partial(answer.response_mimebundle, notes=done.notes))
    return shown


def planned(forecast: Forecast) -> Plan:
    return Plan(**{one.name: getattr(forecast, one.name) for one in fields(forecast)})
