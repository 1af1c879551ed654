"""litellm's errors become errors of two lines without any key."""

from __future__ import annotations

import pytest

from ipycachechat import errors
from ipycachechat.providers.error_mapping import masked, translate


class Foreign(Exception):
    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status_code = status


@pytest.mark.parametrize(
    ("message", "status", "kind"),
    [
        ("litellm.AuthenticationError: no", 401, errors.KeyRejected),
        ("litellm.PermissionDeniedError: no", 403, errors.KeyRejected),
        ("NotFoundError: no model", 404, errors.UnknownModel),
        ("LLM Provider NOT provided. You passed x", 400, errors.UnknownModel),
        ("prompt is too long: 300000 tokens > 200000 maximum", 400, errors.ContextTooLong),
        ("maximum context length is 8192 tokens", 400, errors.ContextTooLong),
        ("slow down", 429, errors.RateLimited),
        ("Connection refused", 500, errors.Unreachable),
        ("strange", 422, errors.RequestRefused),
        ("overloaded", 529, errors.Overloaded),
    ],
)
def test_status_and_text_give_the_kind_of_error(message: str, status: int, kind: type[Exception]) -> None:
    error = translate(Foreign(message, status), "anthropic/x")
    assert type(error) is kind
    assert len(str(error).splitlines()) == 2


def test_an_error_within_the_answer_is_a_lost_connection() -> None:
    assert isinstance(translate(Foreign("x", 500), "a/b", answering=True), errors.ConnectionLost)


def test_the_variable_of_a_missing_key_is_named() -> None:
    error = translate(Foreign("Missing credentials", 500), "openai/x", ["OPENAI_API_KEY"])
    assert isinstance(error, errors.KeyMissing)
    assert "OPENAI_API_KEY" in error.message


@pytest.mark.parametrize(
    "secret",
    [
        "plainsecret-of-my-company",
        "sk-ant-api03-abcdefghijkl",
        "AIzaSyA1234567890abcdef",
        "sk-proj-ab**********cdef",
    ],
)
def test_no_key_appears_in_the_error(monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    monkeypatch.setenv("SOME_PROVIDER_API_KEY", "plainsecret-of-my-company")
    body = '{"error": {"message": "Incorrect API key provided: ' + secret + '. See the page"}}'
    for status in (400, 401, 404, 429, 500):
        error = str(translate(Foreign(f"OpenAIException - {body}", status), "openai/x"))
        assert secret not in error
        assert "Incorrect API key provided" in error
    assert secret not in masked(f"Bearer {secret}")


def test_litellms_wrapping_is_removed() -> None:
    wrapped = "litellm.InternalServerError: AnthropicException - b'500 Trouble\\n\\nagain'. Handle with `X`."
    assert "(500 Trouble again)" in translate(Foreign(wrapped, 500), "anthropic/x").message


def test_a_long_message_of_the_provider_is_cut() -> None:
    error = translate(Foreign("words " * 500, 422), "openai/x")
    assert len(error.message) < 300
