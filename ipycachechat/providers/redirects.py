"""Refuse redirects to another origin, which would take the conversation along, and often the key.

A hook of the HTTP client that litellm makes and keeps for us sees every response before a redirect is followed. Chats
of OpenAI's protocol that go through OpenAI's own client have no such hook: that client drops the key on the way to
another origin, but follows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

GUARDED = frozenset(
    "anthropic azure_ai bedrock databricks deepseek fireworks_ai gemini groq hosted_vllm mistral openrouter "
    "together_ai vertex_ai xai".split()
)
"""Providers whose requests litellm sends through an HTTP client of its own that can be given."""


class RedirectRefused(Exception):
    """The provider answered with a redirect to another origin."""

    def __init__(self, address: str) -> None:
        super().__init__(f"redirect to {address}")
        self.address = address
        """Scheme and host of the redirect's destination."""


async def refuse_redirect(response: httpx.Response) -> None:
    """Raise RedirectRefused for a redirect to another origin; one from http to https on the same host is followed."""
    if not response.has_redirect_location:
        return
    source = response.request.url
    target = source.join(response.headers["location"])
    secured = source.scheme == "http" and target.scheme == "https" and source.port is target.port is None
    if source.host != target.host or not (
        secured or (source.scheme, source.port) == (target.scheme, target.port)
    ):
        raise RedirectRefused(f"{target.scheme}://{target.netloc.decode()}")


HOOKS = {"response": [refuse_redirect]}


def guarded_client(provider: str) -> dict[str, Any]:
    """Return the option of litellm with the HTTP client for a provider; empty where none can be given.

    litellm keeps the client for the running event loop and closes it in the end.
    """
    if provider not in GUARDED:
        return {}
    from litellm.llms.custom_httpx.http_handler import get_async_httpx_client

    return {"client": get_async_httpx_client(provider, params={"event_hooks": HOOKS})}
