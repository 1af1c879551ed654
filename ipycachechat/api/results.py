"""Responses and plans as they are returned to Python."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from ipycachechat.billing.pricing import Forecast
from ipycachechat.engine.events import TurnResult

if TYPE_CHECKING:
    from ipycachechat.providers.response import Response


class DisplayText(str):
    """A text of several lines that is displayed as it is, without quotes."""

    def __repr__(self) -> str:
        return str(self)


class Plan(Forecast):
    """The predicted tokens and cost of a prompt, displayed as by `%chat plan`."""

    @classmethod
    def from_forecast(cls, forecast: Forecast) -> Self:
        """Return the same forecast with this display."""
        return cls(**{field.name: getattr(forecast, field.name) for field in fields(forecast)})

    def __repr__(self) -> str:
        from ipycachechat.rendering import reports

        return reports.plan(self)


def response_of(result: TurnResult) -> Response:
    """Return the response, ready for display. Raises the error of the turn if it failed."""
    from ipycachechat.rendering import answer

    raise_error(result)
    response: Any = result.response
    displayed: Response = response.shown_by(partial(answer.response_mimebundle, notes=result.notes))
    return displayed


def answer_text(result: TurnResult) -> str:
    """Return the text of the answer. Raises the error of the turn if it failed."""
    raise_error(result)
    return result.turn.answer_text if result.turn else ""


def raise_error(result: TurnResult) -> None:
    """Raise the error of a turn that failed."""
    if result.error is not None:
        raise result.error from None
