"""The errors that users see, each in two lines: what happened, and what to do."""

from __future__ import annotations

import copy
from typing import Self

from ipycachechat.text.sanitize import clean

NOT_BILLED = "You were not charged."
LAST_NOT_BILLED = "The request that failed was not charged."
NOTHING_SENT = "Nothing was sent."
UNCHANGED = "The conversation is unchanged."
BILLING_UNKNOWN = "It is unknown whether this is billed."
ARRIVED = "The part that arrived is billed."
AT_LEAST = "The usage reported so far is a lower bound."
BILLED = "The answer is billed."


class ChatError(Exception):
    """An error shown to the user in two lines; IPython shows no traceback for it."""

    billed = ""
    """Sentence on whether the request is billed; empty if none was sent."""

    def __init__(self, message: str, hint: str = "", *, billed: str | None = None) -> None:
        """`message`: what happened. `hint`: what to do. `billed`: None for the sentence of the class."""
        message, hint = clean(message), clean(hint)  # providers, files and names can hold anything
        super().__init__(message, hint)
        self.message, self.hint = message, hint
        if billed is not None:
            self.billed = billed

    def with_billing(self, billed: str) -> Self:
        """Return a copy with another sentence on billing."""
        error = copy.copy(self)
        error.billed = billed
        return error

    def with_hint(self, hint: str) -> Self:
        """Return a copy with another hint."""
        error = copy.copy(self)
        error.hint = hint
        return error

    def __str__(self) -> str:
        second = " ".join(filter(None, (self.hint, self.billed)))
        return f"{self.message}\n{second}" if second else self.message

    def _render_traceback_(self) -> list[str]:
        """IPython's protocol for an exception that formats its own traceback: a list of lines."""
        return str(self).splitlines()


class TimeLimitExceeded(BaseException):
    """Code of the user or of a library took too long. `except Exception` does not catch it."""


class BadInput(ChatError):
    """The input is not valid."""


class PromptError(BadInput):
    """A `{{ expression }}` in the prompt has no value; nothing was sent."""


class OverBudget(ChatError):
    """The request could cost more than is left of the budget, or the user cancelled it; it was not sent."""


class ModelError(ChatError):
    """The provider refused, failed, or did not answer."""

    billed = NOT_BILLED
    retryable = False
    """True if the error may be temporary, so that the same request is worth a retry."""

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        billed: str | None = None,
        retryable: bool | None = None,
        retry_after: float | None = None,
        provider_message: str = "",
    ) -> None:
        """`retryable`: None for the value of the class.

        `retry_after`: seconds until the provider accepts a retry; None if it does not say.
        `provider_message`: the provider's own message, without keys.
        """
        super().__init__(message, hint, billed=billed)
        if retryable is not None:
            self.retryable = retryable
        self.retry_after, self.provider_message = retry_after, clean(provider_message)
        self.tries = 1
        """Number of times that the request was sent."""

    def with_tries(self, tries: int) -> Self:
        """Return a copy with the number of times that the request was sent."""
        error = copy.copy(self)
        error.tries = tries
        return error


class KeyMissing(ModelError):
    """There is no key for the provider in the environment; nothing was sent."""

    billed = NOTHING_SENT


class KeyRejected(ModelError):
    """The provider does not accept the key (401, 403)."""


class UnknownModel(ModelError):
    """The provider has no such model (404), or the provider is unknown."""


class ContextTooLong(ModelError):
    """The conversation and the prompt do not fit into the model's context."""


class RequestRefused(ModelError):
    """The provider refused the request as invalid (any other 4xx)."""


class RateLimited(ModelError):
    """Too many requests or tokens per minute (429)."""

    retryable = True


class Overloaded(ModelError):
    """The provider failed (5xx)."""

    retryable = True


class Unreachable(ModelError):
    """There is no connection to the provider, or nothing arrived on it."""

    billed = BILLING_UNKNOWN
    retryable = True


class ConnectionLost(ModelError):
    """The connection ended in the middle of the answer."""

    billed = ARRIVED


class ResponseTimeout(ConnectionLost):
    """The answer took longer than `total_timeout`; the partial answer is kept."""


class EmptyAnswer(ModelError):
    """The answer has neither text nor tool calls, so that no later request could include it."""

    billed = BILLED


class BadAnswer(ModelError):
    """The answer does not match the requested type."""

    billed = BILLED


class LocalModelError(ChatError):
    """The local model could not be downloaded or started."""


class Interrupted(ChatError):
    """The user stopped the request; shown in one line, since the user expects it."""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.message, self.hint, self.billed)))
