"""EndpointResolver: model name to ModelEndpoint; starts the local server if needed."""

from __future__ import annotations

from collections.abc import Callable

from ipycachechat.conversation.events import Event
from ipycachechat.defaults import LOCAL, LOCAL_MAX_OUTPUT_TOKENS, MAX_OUTPUT_TOKENS
from ipycachechat.providers.endpoint import CallerIdentity, ModelEndpoint, local_endpoint, provider_endpoint
from ipycachechat.providers.local.servers import LocalServers, ServerAddress

OFFLINE_ADDRESS = ServerAddress("", "", "", 2 * LOCAL_MAX_OUTPUT_TOKENS)
"""Stands for a local server that is not started, since only recorded replies are replayed."""


class EndpointResolver:
    """Looks models up and holds the local servers that it started."""

    def __init__(self) -> None:
        self._servers = LocalServers()

    async def resolve(
        self,
        model: str,
        api_base: str,
        api_key: str,
        identity: CallerIdentity,
        emit: Callable[[Event], None],
        *,
        offline: bool = False,
    ) -> ModelEndpoint:
        """Return the endpoint of a model, at an address and with a key if given. Raises ChatError.

        `offline`: do not start a local server; `emit` gets the progress of starting one.
        """
        if model == LOCAL or model.startswith(f"{LOCAL}:"):
            address = OFFLINE_ADDRESS if offline else await self._servers.address(model, emit)
            return local_endpoint(model, address, LOCAL_MAX_OUTPUT_TOKENS)
        return provider_endpoint(model, MAX_OUTPUT_TOKENS, api_base, api_key, identity)

    async def stop(self) -> None:
        """Stop the local servers."""
        await self._servers.stop()
