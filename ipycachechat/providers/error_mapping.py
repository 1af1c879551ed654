"""litellm's errors to ours: two lines, without any key in the text."""

from __future__ import annotations

import contextlib
import json
import os
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from ipycachechat.errors import (
    NOTHING_SENT,
    ChatError,
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
from ipycachechat.text.redaction import Redactor, strip_known_secrets

MAX_LINE, MAX_TEXT = 200, 2_000
"""Maximum characters of a provider's message: in an error, and in `%chat why`."""
MAX_INPUT = 10_000
"""Characters of a message that are read."""
MAX_CAUSES = 10
_NOT_TRUSTED = re.compile(
    r"CERTIFICATE_VERIFY_FAILED|certificate verify failed|SSLCertVerificationError", re.I
)
_NOT_CONNECTED = re.compile(
    r"connection refused|connect call failed|cannot connect|all connection attempts failed|ConnectError"
    r"|name or service not known|nodename nor servname|getaddrinfo|name resolution|network is unreachable",
    re.I,
)
_DELAY = re.compile(r'"retryDelay"\W{1,4}([\d.]+)s')
_NO_CONNECTION = re.compile(
    r"connection refused|connection error|cannot connect|connect call failed|name or service not known"
    r"|nodename nor servname|network is unreachable|getaddrinfo|server disconnected|connection reset"
    r"|connecterror|temporary failure in name",
    re.I,
)
_TOO_LONG = re.compile(
    r"context.{0,20}(length|window|size)|prompt is too long|too many tokens|maximum context"
    r"|input token count.{0,40}exceeds|exceed_context_size",
    re.I,
)
_NO_KEY = re.compile(
    r"missing credentials|missing .{0,20}api.?key|api.?key.{0,40}(must be set|not set)", re.I
)
# The form of keys, for those that a provider repeats in part.
_KEYS = re.compile(
    r"\b(sk|pk|rk|key|AIza|xai|gsk|r8|hf)[-_][\w*.-]{6,}|\bAIza[\w-]{10,}|(?<=Bearer )\S+|\S*\*{3}\S*", re.I
)


def masked(text: str, *keys: str) -> str:
    """Return the start of a text without keys: neither parts of known ones nor anything that looks like one."""
    named = re.compile("KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL")
    known = [value for name, value in os.environ.items() if named.search(name.upper())]
    text = strip_known_secrets(text[:MAX_INPUT], os.environ, keys)
    for key in sorted({*known, *keys}, key=len, reverse=True):  # also those that are plain words
        if len(key) >= 6:
            text = text.replace(key, "…")
    return Redactor()(_KEYS.sub("…", text)).text


def provider_message(error: BaseException, *keys: str, max_chars: int = MAX_LINE) -> str:
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
    line = " ".join(masked(text, *keys).split())
    return line if len(line) <= max_chars else line[: max_chars - 1] + "…"


def translate(
    error: BaseException, model: str, missing_keys: list[str], answering: bool, *keys: str
) -> ChatError:
    """Return our error for litellm's. `answering`: part of the answer has arrived."""
    result = connection_lost(model) if answering else _classify(error, model, missing_keys, *keys)
    if isinstance(result, ModelError):
        result.provider_message = provider_message(error, *keys, max_chars=MAX_TEXT)
        result.retry_after = retry_after(error)
    return result


def connection_lost(model: str, *, kept: bool = True) -> ConnectionLost:
    """Return the error for a connection that ended early; `kept`: a partial answer is kept."""
    todo = (
        "The partial answer is kept, marked as interrupted. Ask again."
        if kept
        else "The conversation is unchanged."
    )
    error = ConnectionLost(f"The connection to {model} ended in the middle of the answer", todo)
    error.retryable = not kept
    return error


def stalled(model: str, seconds: float, *, answering: bool) -> ModelError:
    """Return the error for a provider that has sent nothing for `seconds`."""
    if answering:
        error = connection_lost(model)
        error.provider_message = f"no response for {seconds:g} s"
        return error
    return Unreachable(
        f"{model}: no response for {seconds:g} s",
        "Ask again: the provider may be overloaded, or the model needs very long to think.",
    )


def response_timeout(model: str, seconds: float) -> ResponseTimeout:
    """Return the error for an answer that took longer than `total_timeout`."""
    return ResponseTimeout(
        f"{model}: the answer took longer than {seconds:g} s",
        "The partial answer is kept, marked as interrupted; %config ChatMagics.total_timeout sets the limit.",
    )


def empty_answer(model: str, finish: str) -> EmptyAnswer:
    """Return the error for an answer without text and tool calls; `finish`: the provider's finish reason."""
    return EmptyAnswer(
        f"{model} returned an empty answer (finish reason: {finish or 'none'})",
        "The conversation is unchanged. Change the prompt, or allow a longer answer (max-tokens).",
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
    delay = _DELAY.search(str(error))  # Gemini sends it in the body
    return _number(delay[1]) if delay else None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < 1e9 else None


def _classify(error: BaseException, model: str, missing_keys: list[str], *keys: str) -> ChatError:
    """Return our error by status and text: litellm raises InternalServerError even for a missing key."""
    text = f"{type(error).__name__} {error}"
    status = getattr(error, "status_code", None)
    message = provider_message(error, *keys)
    provider = model.partition("/")[0] if "/" in model else "the provider"
    if status in (401, 403) or "AuthenticationError" in text or _NO_KEY.search(text):
        if missing_keys:
            return KeyMissing(
                f"There is no key for {model}: {' or '.join(missing_keys)} is not in the environment",
                "Set it before Jupyter starts, or with %env, or choose another model: %chat model local",
            )
        return KeyRejected(
            f"{model}: the key was rejected ({message})",
            f"Check the key for {provider} in the environment, then ask again.",
        )
    if "ContextWindowExceeded" in text or (status in (400, 413, 500, None) and _TOO_LONG.search(text)):
        return ContextTooLong(
            f"{model}: the conversation is too long for the model ({message})",
            "Remove turns (undo, reset), continue from an earlier one (fork), or choose a model with a larger context.",
        )
    if "LLM Provider NOT provided" in text:
        return UnknownModel(
            f"No provider is known for the model {model!r}",
            "Write it as PROVIDER/MODEL, for example anthropic/claude-sonnet-5, or: %chat model local",
        )
    if status == 404 or "NotFoundError" in text:
        return UnknownModel(
            f"{model}: unknown model ({message})", "Check its name, or choose another: %chat model NAME"
        )
    if status == 429:
        after = (getattr(error, "litellm_response_headers", None) or {}).get("retry-after")
        wait = f"Wait {masked(str(after), *keys)} s" if after else "Wait a moment"
        return RateLimited(f"{model}: too many requests ({message})", f"{wait}, then ask again.")
    causes = _causes(error)
    if _NOT_TRUSTED.search(causes):
        failure = Unreachable(
            f"{model}: the certificate of {provider} is not trusted by this machine",
            "Check the address and its certificate (SSL_CERT_FILE, a proxy of your network).",
        )
        failure.retryable, failure.billed = False, NOTHING_SENT
        return failure
    if _NO_CONNECTION.search(text) or "APIConnectionError" in text or "Timeout" in text:
        failure = Unreachable(
            f"{model}: no connection to {provider}",
            "Check the network (and proxy or base URL, if set), then ask again.",
        )
        if _NOT_CONNECTED.search(causes):
            failure.billed = NOTHING_SENT
        return failure
    if isinstance(status, int) and 400 <= status < 500:
        return RequestRefused(
            f"{model}: the request was refused ({message})",
            "The conversation is unchanged. Correct what the message names and ask again.",
        )
    overloaded = Overloaded(f"{model}: the provider failed ({message})", "Wait a moment, then ask again.")
    overloaded.retryable = isinstance(status, int) and status >= 500
    return overloaded


def _causes(error: BaseException) -> str:
    """Return the texts of an error and of the errors that caused it."""
    texts: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(texts) < MAX_CAUSES:
        texts.append(f"{type(cause).__name__} {cause}")
        cause = cause.__cause__ or cause.__context__
    return "\n".join(texts)


def was_not_billed(error: BaseException) -> bool:
    """Return True if nothing can have been billed: the provider refused, or could not be reached.

    litellm's classes do not show it: a refused connection and one that was lost raise the same error. After 408, 502
    and 504 the provider may still have answered.
    """
    import httpx

    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        if isinstance(cause, httpx.HTTPStatusError):
            return cause.response.status_code not in (408, 502, 504)
        if isinstance(cause, httpx.HTTPError):
            return isinstance(cause, httpx.ConnectError | httpx.ConnectTimeout | httpx.UnsupportedProtocol)
        seen.append(cause)
        cause = cause.__cause__ or cause.__context__
    return False
