"""Litellm's errors, translated at this one seam into ours: two lines, and no key in either."""

from __future__ import annotations

import json
import os
import re

from ipycachechat.core.errors import (
    ChatError,
    ContextTooLong,
    Dropped,
    KeyMissing,
    KeyRejected,
    Overloaded,
    RateLimited,
    RequestRefused,
    UnknownModel,
    Unreachable,
)

LONGEST = 200  # characters of what a provider says
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
    """The text with every key that the environment holds, or that looks like one, cut out."""
    named = re.compile("KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL")
    known = [value for name, value in os.environ.items() if named.search(name.upper())]
    for key in sorted({*known, *keys}, key=len, reverse=True):
        if len(key) >= 6:
            text = text.replace(key, "…")
    return _KEYS.sub("…", text)


def said(error: BaseException, *keys: str) -> str:
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
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def translate(
    error: BaseException, model: str, missing_keys: list[str], began: bool, *keys: str
) -> ChatError:
    """Our error for litellm's. `began`: whether some of the answer had arrived."""
    text = f"{type(error).__name__} {error}"
    status = getattr(error, "status_code", None)
    words = said(error, *keys)
    provider = model.partition("/")[0] if "/" in model else "the provider"
    if began:
        return Dropped(
            f"The connection to {model} ended in the middle of the answer",
            "What arrived is kept, marked as interrupted. Ask again.",
        )
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
        wait = f"Wait {after} s" if after else "Wait a little"
        return RateLimited(f"{model}: too many requests ({words})", f"{wait}, then ask again.")
    if _NO_CONNECTION.search(text) or "APIConnectionError" in text or "Timeout" in text:
        return Unreachable(
            f"{model}: no connection to {provider}",
            "Check the network (and proxy or base URL, if set), then ask again.",
        )
    if isinstance(status, int) and 400 <= status < 500:
        return RequestRefused(
            f"{model}: the request was refused ({words})",
            "Nothing was added to the conversation. Change what the message names and ask again.",
        )
    return Overloaded(f"{model}: the provider failed ({words})", "Wait a little, then ask again.")
