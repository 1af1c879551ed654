"""The errors that users see, each in two lines: what happened, and what to do.

ChatError
├── BadInput           the user typed something that cannot be done
│   └── PromptError    a `{{ expression }}` in the prompt has no value
├── OverBudget         it could cost more than may be spent, or an unknown amount
├── ModelError         the model's side said no, or nothing
│   ├── KeyMissing     no key in the environment
│   ├── KeyRejected    401, 403
│   ├── UnknownModel   404, or no such provider
│   ├── ContextTooLong the conversation does not fit
│   ├── RequestRefused any other 4xx
│   ├── RateLimited    429
│   ├── Overloaded     5xx
│   ├── Unreachable    no connection
│   ├── Dropped        the connection ended in the middle of the answer
│   │   └── TooLate    the answer took longer than it may
│   ├── EmptyAnswer    the model finished and had said nothing
│   └── BadAnswer      the answer is not of the form that was asked for
├── LocalModelError    the model on this machine could not be had, or started
└── Interrupted        the user pressed stop
"""

from __future__ import annotations

NOT_BILLED = "Nothing is billed for it."
NOTHING_SENT = "Nothing was sent."
BILLING_UNKNOWN = "Nobody tells whether it is billed."
ARRIVED = "What arrived is billed."
AT_LEAST = "What was told of the bill by then is a lower bound."


class ChatError(Exception):
    """An error shown to the user in two lines; IPython shows no traceback for it."""

    billed = ""
    """Sentence on whether the request is billed; empty if none was sent."""

    def __init__(self, what: str, todo: str = "") -> None:
        super().__init__(what, todo)
        self.message = what
        self.hint = todo

    def __str__(self) -> str:
        second = " ".join(filter(None, (self.hint, self.billed)))
        return f"{self.message}\n{second}" if second else self.message

    def _render_traceback_(self) -> list[str]:
        """IPython's protocol for an exception that decides its own traceback: a list of lines."""
        return str(self).splitlines()


class TimeLimitExceeded(BaseException):
    """Foreign code took too long. Not an Exception, so that `except Exception` does not swallow it."""


class BadInput(ChatError):
    """The user's input is not valid."""


class PromptError(BadInput):
    """A `{{ expression }}` in the prompt has no value; nothing was sent."""


class OverBudget(ChatError):
    """A request that could cost more than may be spent, or that the user did not want; it was not sent."""


class ModelError(ChatError):
    """The model's side said no, or nothing."""

    billed = NOT_BILLED
    retryable = False
    """True if the error may be temporary, so that the same request is worth a retry."""
    retry_after: float | None = None
    """Seconds until the provider accepts a retry; None if it does not say."""
    provider_message: str = ""
    """The provider's message, without keys."""
    tries: int = 1
    """Number of attempts."""


class KeyMissing(ModelError):
    """No key for this provider is in the environment; nothing was sent."""

    billed = NOTHING_SENT


class KeyRejected(ModelError):
    """The provider does not accept the key (401, 403)."""


class UnknownModel(ModelError):
    """The provider has no such model (404), or no provider goes by that name."""


class ContextTooLong(ModelError):
    """The conversation and the prompt are more than the model takes."""


class RequestRefused(ModelError):
    """The provider found the request wrong (any other 4xx)."""


class RateLimited(ModelError):
    """Too many requests or tokens for now (429)."""

    retryable = True


class Overloaded(ModelError):
    """The provider failed (5xx)."""

    retryable = True


class Unreachable(ModelError):
    """No connection to the provider, or one on which nothing came."""

    billed = BILLING_UNKNOWN
    retryable = True


class ConnectionLost(ModelError):
    """The connection ended in the middle of the answer."""

    billed = ARRIVED


class ResponseTimeout(ConnectionLost):
    """The answer took longer than it may; what arrived is kept."""


class EmptyAnswer(ModelError):
    """The model finished and had said nothing, which no later request could carry."""

    billed = "It is billed all the same."


class BadAnswer(ModelError):
    """The answer is not of the form that was asked for."""

    billed = "It is billed all the same."


class LocalModelError(ChatError):
    """The model on this machine could not be had, or could not be started."""


class Interrupted(ChatError):
    """The user pressed stop; told in one line, since it is no surprise."""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.message, self.hint, self.billed)))
