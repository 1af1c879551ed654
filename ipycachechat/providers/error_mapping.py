"""Litellm's errors, translated at this one seam into ours: two lines, and no key in either."""

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

LONGEST, LONG = 200, 2_000  # characters of what a provider says: in a line, and where there is room
DEEP = 10  # errors behind an error
_NOT_TRUSTED = re.compile(
    r"CERTIFICATE_VERIFY_FAILED|certificate verify failed|SSLCertVerificationError", re.I
)
_NOT_CONNECTED = re.compile(
    r"connection refused|connect call failed|cannot connect|all connection attempts failed|ConnectError"
    r"|name or service not known|nodename nor servname|getaddrinfo|name resolution|network is unreachable",
    re.I,
)
_DELAY = re.compile(r'"retryDelay"\W{1,4}([\d.]+)s')
READ = 10_000  # of them that are looked at
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
# What keys look like, for those that a provider repeats in part.
_KEYS = re.compile(
    r"\b(sk|pk|rk|key|AIza|xai|gsk|r8|hf)[-_][\w*.-]{6,}|\bAIza[\w-]{10,}|(?<=Bearer )\S+|\S*\*{3}\S*", re.I
)


def masked(text: str, *keys: str) -> str:
    """The beginning of a text without any piece of a key that is known, and without what looks like one."""
    named = re.compile("KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL")
    known = [value for name, value in os.environ.items() if named.search(name.upper())]
    text = strip_known_secrets(text[:READ], os.environ, keys)
    for key in sorted({*known, *keys}, key=len, reverse=True):  # also those that are plain words
        if len(key) >= 6:
            text = text.replace(key, "…")
    return Redactor()(_KEYS.sub("…", text)).text


def provider_message(error: BaseException, *keys: str, most: int = LONGEST) -> str:
    """The provider's own words, in one line, without litellm's wrapping."""
    text = str(getattr(error, "message", "") or error)
    for found in re.finditer(r"\{.*\}", text, re.S):
        try:
            body = json.loads(found[0].encode().decode("unicode_escape") if "\\n" in found[0] else found[0])
        except ValueError:
            continue
        inner = body.get("error", body) if isinstance(body, dict) else {}
        text = str(inner.get("message", text) if isinstance(inner, dict) else inner)
    text = re.sub(r"^(litellm\.)?(\w+(Error|Exception)\b[: -]*)+", "", text.strip())
    text = re.sub(r"litellm\.|\w+Exception - |\s*Received Model Group=.*", "", text, flags=re.S)
    text = re.sub(r"\bb'(.*?)'\.?|\s*Handle with `\w+`\.", r"\1", text.replace("\\n", " "), flags=re.S)
    line = " ".join(masked(text, *keys).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def translate(
    error: BaseException, model: str, missing_keys: list[str], began: bool, *keys: str
) -> ChatError:
    """Our error for litellm's. `began`: whether some of the answer had arrived."""
    found = dropped(model) if began else _kind(error, model, missing_keys, *keys)
    if isinstance(found, ModelError):
        found.provider_message, found.retry_after = (
            provider_message(error, *keys, most=LONG),
            retry_after(error),
        )
    return found


def dropped(model: str, *, kept: bool = True) -> ConnectionLost:
    """The connection is gone; `kept`: and something that had arrived stays."""
    todo = (
        "What arrived is kept, marked as interrupted. Ask again."
        if kept
        else "The conversation is as it was."
    )
    error = ConnectionLost(f"The connection to {model} ended in the middle of the answer", todo)
    error.retryable = not kept
    return error


def given_up(model: str, seconds: float, *, began: bool) -> ChatError:
    """Nothing has come for so long."""
    if began:
        error = dropped(model)
        error.provider_message = f"nothing came for {seconds:g} s"
        return error
    return Unreachable(
        f"{model}: nothing came for {seconds:g} s",
        "Ask again: the provider may be overloaded, or the model thinks for very long.",
    )


def late(model: str, seconds: float) -> ResponseTimeout:
    """The answer has taken as long as it may."""
    return ResponseTimeout(
        f"{model}: the answer took longer than {seconds:g} s",
        "What arrived is kept, marked as interrupted; %config ChatMagics.total_timeout sets how long it may take.",
    )


def retry_after(error: BaseException) -> float | None:
    """Seconds after which the provider wants to be asked again; None: it does not say."""
    response = getattr(error, "response", None)
    held = getattr(error, "litellm_response_headers", None) or getattr(response, "headers", None) or {}
    headers = {
        str(name).lower().removeprefix("llm_provider-"): str(value) for name, value in dict(held).items()
    }
    if milliseconds := _number(headers.get("retry-after-ms", "")):
        return milliseconds / 1000
    told = headers.get("retry-after", "")
    if (seconds := _number(told)) is not None:
        return seconds
    with contextlib.suppress(TypeError, ValueError, IndexError):
        return max(0.0, (parsedate_to_datetime(told) - datetime.now(UTC)).total_seconds())
    delay = _DELAY.search(str(error))  # Gemini's, in the body
    return _number(delay[1]) if delay else None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < 1e9 else None


def _kind(error: BaseException, model: str, missing_keys: list[str], *keys: str) -> ChatError:
    """By what it is: litellm raises its InternalServerError for a refused connection and for a missing key alike."""
    text = f"{type(error).__name__} {error}"
    status = getattr(error, "status_code", None)
    words = provider_message(error, *keys)
    provider = model.partition("/")[0] if "/" in model else "the provider"
    if status in (401, 403) or "AuthenticationError" in text or _NO_KEY.search(text):
        if missing_keys:
            return KeyMissing(
                f"There is no key for {model}: {' or '.join(missing_keys)} is not in the environment",
                "Set it before Jupyter starts, or with %env, or choose another model: %chat model local",
            )
        return KeyRejected(
            f"{model}: the key was not accepted ({words})",
            f"Check the key for {provider} in the environment, then ask again.",
        )
    if "ContextWindowExceeded" in text or (status in (400, 413, 500, None) and _TOO_LONG.search(text)):
        return ContextTooLong(
            f"{model}: the conversation is longer than the model takes ({words})",
            "Take turns away (undo, reset), go on from earlier (fork), or choose a larger model.",
        )
    if "LLM Provider NOT provided" in text:
        return UnknownModel(
            f"No provider is known for the model {model!r}",
            "Write it as PROVIDER/MODEL, for example anthropic/claude-sonnet-5, or: %chat model local",
        )
    if status == 404 or "NotFoundError" in text:
        return UnknownModel(
            f"{model}: there is no such model ({words})",
            "Check its name, or choose another: %chat model NAME",
        )
    if status == 429:
        after = (getattr(error, "litellm_response_headers", None) or {}).get("retry-after")
        wait = f"Wait {masked(str(after), *keys)} s" if after else "Wait a little"
        return RateLimited(f"{model}: too many requests ({words})", f"{wait}, then ask again.")
    causes = _causes(error)
    if _NOT_TRUSTED.search(causes):
        found = Unreachable(
            f"{model}: {provider} has no certificate that this machine trusts",
            "Check the address and its certificate (SSL_CERT_FILE, a proxy of your network).",
        )
        found.retryable, found.billed = False, NOTHING_SENT
        return found
    if _NO_CONNECTION.search(text) or "APIConnectionError" in text or "Timeout" in text:
        found = Unreachable(
            f"{model}: no connection to {provider}",
            "Check the network (and proxy or base URL, if set), then ask again.",
        )
        if _NOT_CONNECTED.search(causes):
            found.billed = NOTHING_SENT
        return found
    if isinstance(status, int) and 400 <= status < 500:
        return RequestRefused(
            f"{model}: the request was refused ({words})",
            "Nothing was added to the conversation. Change what the message names and ask again.",
        )
    failed = Overloaded(f"{model}: the provider failed ({words})", "Wait a little, then ask again.")
    failed.retryable = isinstance(status, int) and status >= 500
    return failed


def _causes(error: BaseException) -> str:
    """What it says, and what lies behind it."""
    told: list[str] = []
    one: BaseException | None = error
    while one is not None and len(told) < DEEP:
        told.append(f"{type(one).__name__} {one}")
        one = one.__cause__ or one.__context__
    return "\n".join(told)


def was_not_billed(error: BaseException) -> bool:
    """Whether nothing can have been billed: the provider said no, or was not reached at all.

    Litellm's classes do not tell: a refused connection and one that ended in the middle come as the same error. Nor
    do 408, 502 and 504, after which the provider may have gone on.
    """
    import httpx

    seen: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in seen:
        if isinstance(one, httpx.HTTPStatusError):
            return one.response.status_code not in (408, 502, 504)
        if isinstance(one, httpx.HTTPError):
            return isinstance(one, httpx.ConnectError | httpx.ConnectTimeout | httpx.UnsupportedProtocol)
        seen.append(one)
        one = one.__cause__ or one.__context__
    return False
