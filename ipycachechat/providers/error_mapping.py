"""litellm's errors to ours: two lines, without any key in the text."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from ipycachechat.errors import (
    NOTHING_SENT,
    UNCHANGED,
    ConnectionLost,
    ContextTooLong,
    EmptyAnswer,
    KeyMissing,
    KeyRejected,
    ModelError,
    Overloaded,
    RateLimited,
    RequestRefused,
    ResponseTimeout,
    UnknownModel,
    Unreachable,
)
from ipycachechat.providers.redirects import RedirectRefused
from ipycachechat.text.redaction import Redactor, strip_known_secrets

MAX_LINE, MAX_TEXT = 200, 2_000
"""Maximum characters of a provider's message: in an error, and in `%chat why`."""
MAX_INPUT = 10_000
"""Maximum characters of a message that are read."""
MAX_CAUSES = 20
# In litellm's errors and their causes, of which it keeps little but the text:
_UNTRUSTED_CERTIFICATE = re.compile(
    r"(?i)certificate_verify_failed|certificate verify failed|SSLCertVerificationError"
)
_NEVER_CONNECTED = re.compile(
    r"(?i)connection refused|connect call failed|cannot connect|all connection attempts failed|ConnectError"
    r"|name or service not known|nodename nor servname|getaddrinfo|name resolution|network is unreachable"
)
_CONNECTION_FAILED = re.compile(
    r"(?i)connection refused|connection error|cannot connect|connect call failed|name or service not known"
    r"|nodename nor servname|network is unreachable|getaddrinfo|server disconnected|connection reset"
    r"|connecterror|temporary failure in name"
)
_TOO_LONG = re.compile(
    r"(?i)context.{0,20}(length|window|size)|prompt is too long|too many tokens|maximum context"
    r"|input token count.{0,40}exceeds|exceed_context_size"
)
_NO_KEY = re.compile(r"(?i)missing credentials|missing .{0,20}api.?key|api.?key.{0,40}(must be set|not set)")
_RETRY_DELAY = re.compile(r'"retryDelay"\W{1,4}([\d.]+)s')
# Text that looks like a key or a part of one, as providers repeat it.
_KEYS = re.compile(
    r"(?i)\b(sk|pk|rk|key|AIza|xai|gsk|r8|hf)[-_][\w*.-]{6,}|\bAIza[\w-]{10,}|(?<=Bearer )\S+|\S*\*{3}\S*"
)

SENTENCES: dict[type[ModelError], tuple[str, str]] = {
    KeyMissing: (
        "There is no key for {model}: {keys} is not in the environment",
        "Set it before Jupyter starts, or with %env, or use %chat model local.",
    ),
    KeyRejected: (
        "{model}: the key was rejected ({message})",
        "Check the key for {provider} in the environment, then try again.",
    ),
    ContextTooLong: (
        "{model}: the conversation is too long for the model ({message})",
        "Remove turns (undo, reset), continue from an earlier one (fork), or choose a model with a larger context.",
    ),
    UnknownModel: (
        "{model}: unknown model ({message})",
        "Check its name, or choose another one with %chat model NAME.",
    ),
    RateLimited: ("{model}: too many requests ({message})", "{wait}, then try again."),
    Unreachable: (
        "{model}: no connection to {provider}",
        "Check the network (and proxy or base URL, if set), then try again.",
    ),
    RequestRefused: (
        "{model}: the request was refused ({message})",
        f"{UNCHANGED} Correct what the message names, then try again.",
    ),
    Overloaded: ("{model}: the provider failed ({message})", "Wait a moment, then try again."),
}
"""Both lines of each error: the event, and a hint."""
OVERLOADED = ("{model}: the provider is overloaded ({message})", "Wait a moment, then try again.")
UNKNOWN_PROVIDER = (
    "No provider is known for the model {model!r}",
    "Write it as PROVIDER/MODEL, for example anthropic/claude-sonnet-5, or use %chat model local.",
)
UNTRUSTED_CERTIFICATE = (
    "{model}: the certificate of {provider} is not trusted by this machine",
    "Check the address and its certificate (SSL_CERT_FILE, a proxy of your network).",
)


def masked(text: str, key: str = "") -> str:
    """Return the start of a text without keys: neither parts of known ones nor anything that looks like one."""
    secret_name = re.compile("KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL")
    secrets = {value for name, value in os.environ.items() if secret_name.search(name.upper())}
    text = strip_known_secrets(text[:MAX_INPUT], os.environ, [key])
    for secret in sorted({*secrets, key}, key=len, reverse=True):  # also those that are plain words
        if len(secret) >= 6:
            text = text.replace(secret, "…")
    return Redactor()(_KEYS.sub("…", text)).text


def provider_message(error: BaseException, key: str = "", max_chars: int = MAX_LINE) -> str:
    """Return the provider's message in one line, without litellm's wrapping and without keys."""
    text = str(getattr(error, "message", "") or error)
    for match in re.finditer(r"\{.*\}", text, re.S):
        try:
            body = json.loads(match[0].encode().decode("unicode_escape") if "\\n" in match[0] else match[0])
        except ValueError:
            continue
        inner = body.get("error", body) if isinstance(body, dict) else {}
        text = str(inner.get("message", text) if isinstance(inner, dict) else inner)
    text = re.sub(r"^(litellm\.)?(\w+(Error|Exception)\b[: -]*)+", "", text.strip())
    text = re.sub(r"litellm\.|\w+Exception - |\s*Received Model Group=.*", "", text, flags=re.S)
    text = re.sub(r"\bb'(.*?)'\.?|\s*Handle with `\w+`\.", r"\1", text.replace("\\n", " "), flags=re.S)
    line = " ".join(masked(text, key).split())
    return line if len(line) <= max_chars else line[: max_chars - 1] + "…"


def connection_lost(model: str, *, kept: bool = True, **details: Any) -> ConnectionLost:
    """Return the error for a connection that ended early; `kept`: a partial answer is kept."""
    hint = "The partial answer is kept; rerun the cell to retry." if kept else UNCHANGED
    message = f"The connection to {model} ended in the middle of the answer"
    return ConnectionLost(message, hint, retryable=not kept, **details)


def stalled(model: str, seconds: float, *, answering: bool) -> ModelError:
    """Return the error for a provider that has sent nothing for `seconds`."""
    silence = f"no response for {seconds:g} s"
    if answering:
        return connection_lost(model, provider_message=silence)
    return Unreachable(
        f"{model}: {silence}", "Try again: the provider may be overloaded, or the model is still thinking."
    )


def response_timeout(model: str, seconds: float) -> ResponseTimeout:
    """Return the error for an answer that took longer than `total_timeout`."""
    return ResponseTimeout(
        f"{model}: the answer took longer than {seconds:g} s",
        "The partial answer is kept; %config ChatMagics.total_timeout sets the limit.",
    )


def empty_answer(model: str, finish: str) -> EmptyAnswer:
    """Return the error for an answer without text and tool calls; `finish`: the provider's finish reason."""
    return EmptyAnswer(
        f"{model} returned an empty answer (finish reason: {finish or 'none'})",
        f"{UNCHANGED} Change the prompt, or allow a longer answer (max-tokens).",
    )


def retry_after(error: BaseException) -> float | None:
    """Return the seconds to wait before a retry, as the provider asked; None if it did not."""
    response = getattr(error, "response", None)
    raw = getattr(error, "litellm_response_headers", None) or getattr(response, "headers", None) or {}
    headers = {
        str(name).lower().removeprefix("llm_provider-"): str(value) for name, value in dict(raw).items()
    }
    if milliseconds := _number(headers.get("retry-after-ms", "")):
        return milliseconds / 1000
    header = headers.get("retry-after", "")
    if (seconds := _number(header)) is not None:
        return seconds
    with contextlib.suppress(TypeError, ValueError, IndexError):
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    delay = _RETRY_DELAY.search(str(error))  # Gemini sends it in the body
    return _number(delay[1]) if delay else None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < 1e9 else None


def translate(
    error: BaseException,
    model: str,
    missing_keys: Sequence[str] = (),
    key: str = "",
    *,
    answering: bool = False,
) -> ModelError:
    """Return our error for litellm's.

    `missing_keys`: environment variables that could hold the key, if none is set. `key`: the key given for this
    request. `answering`: part of the answer has arrived.
    """
    seconds = retry_after(error)
    long_message = provider_message(error, key, MAX_TEXT)
    fields: dict[str, Any] = {"provider_message": long_message, "retry_after": seconds}
    if answering:
        return connection_lost(model, **fields)
    if redirect := next((cause for cause in _chain(error) if isinstance(cause, RedirectRefused)), None):
        return RequestRefused(
            f"{model}: the provider answered with a redirect to {redirect.address}, which was not followed",
            f"{UNCHANGED} If that address is the right one, set it as the provider's base URL.",
            **fields,
        )
    text = f"{type(error).__name__} {error}"
    causes = "\n".join(f"{type(cause).__name__} {cause}" for cause in _chain(error))
    status = getattr(error, "status_code", None)
    kind = _kind(text, causes, status, key_is_missing=bool(missing_keys))
    sentences = SENTENCES[kind]
    if kind is UnknownModel and "LLM Provider NOT provided" in text:
        sentences = UNKNOWN_PROVIDER
    elif kind is Unreachable and _UNTRUSTED_CERTIFICATE.search(causes):
        sentences = UNTRUSTED_CERTIFICATE
        fields |= {"billed": NOTHING_SENT, "retryable": False}
    elif kind is Unreachable and _NEVER_CONNECTED.search(causes):
        fields["billed"] = NOTHING_SENT
    elif kind is Overloaded:
        # litellm's own status may be 500.
        responses = (getattr(cause, "response", None) for cause in _chain(error))
        statuses = {status, *(getattr(response, "status_code", None) for response in responses)}
        sentences = OVERLOADED if statuses & {503, 529} else sentences
        fields["retryable"] = isinstance(status, int) and status >= 500
    values = {
        "model": model,
        "provider": model.partition("/")[0] if "/" in model else "the provider",
        "message": provider_message(error, key),
        "keys": " or ".join(missing_keys),
        "wait": "Wait a moment" if seconds is None else f"Wait {math.ceil(seconds)} s",
    }
    message, hint = (sentence.format_map(values) for sentence in sentences)
    return kind(message, hint, **fields)


def _kind(text: str, causes: str, status: Any, *, key_is_missing: bool) -> type[ModelError]:
    """Return our class of error, by status and text: litellm raises InternalServerError even for a missing key."""
    if status in (401, 403) or "AuthenticationError" in text or _NO_KEY.search(text):
        return KeyMissing if key_is_missing else KeyRejected
    if "ContextWindowExceeded" in text or (status in (400, 413, 500, None) and _TOO_LONG.search(text)):
        return ContextTooLong
    if status == 404 or "LLM Provider NOT provided" in text or "NotFoundError" in text:
        return UnknownModel
    if status == 429:
        return RateLimited
    failed = _CONNECTION_FAILED.search(text) or "APIConnectionError" in text or "Timeout" in text
    if failed or _UNTRUSTED_CERTIFICATE.search(causes):
        return Unreachable
    return RequestRefused if isinstance(status, int) and 400 <= status < 500 else Overloaded


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and the errors that caused it."""
    cause: BaseException | None = error
    for _ in range(MAX_CAUSES):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__ or cause.__context__


def was_not_billed(error: BaseException) -> bool:
    """Return True if nothing can have been billed: the provider refused, or could not be reached.

    litellm's classes do not show it: a refused connection and one that was lost raise the same error. After 408, 502
    and 504 the provider may still have answered.
    """
    import httpx

    for cause in _chain(error):
        if isinstance(cause, RedirectRefused):
            return True
        if isinstance(cause, httpx.HTTPStatusError):
            return cause.response.status_code not in (408, 502, 504)
        if isinstance(cause, httpx.HTTPError):
            return isinstance(cause, httpx.ConnectError | httpx.ConnectTimeout | httpx.UnsupportedProtocol)
    return False
