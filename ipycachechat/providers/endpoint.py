"""ModelEndpoint: a model, its rules, price, limits, address and cache scope; EndpointResolver finds it by name."""

from __future__ import annotations

import hmac
import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from ipycachechat.billing.cost_bound import BillingTerms
from ipycachechat.billing.pricing import FREE, Price, Rates
from ipycachechat.caching.provider_rules import rules_for
from ipycachechat.caching.rules import CacheRules
from ipycachechat.conversation.events import Event
from ipycachechat.conversation.model_view import ModelView
from ipycachechat.defaults import LOCAL, LOCAL_MAX_OUTPUT_TOKENS, MAX_OUTPUT_TOKENS
from ipycachechat.errors import UnknownModel
from ipycachechat.providers import model_data
from ipycachechat.providers.error_mapping import translate
from ipycachechat.providers.litellm_import import load_gpt_tokenizer
from ipycachechat.providers.local.servers import LocalServers, ServerAddress

Json = dict[str, Any]
OFFLINE_ADDRESS = ServerAddress("", "", "", 2 * LOCAL_MAX_OUTPUT_TOKENS)
"""Address of a local server that is not started, since only recorded replies are replayed."""


@dataclass(frozen=True, slots=True)
class CallerIdentity:
    """The identity under which requests are sent. A resumed conversation keeps it, so that it is still cached."""

    name: str = field(default_factory=lambda: f"ipycachechat-{secrets.token_hex(8)}")
    """Key by which OpenAI routes all requests to one machine."""
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    """Secret of the fingerprints of API keys, so that they reveal nothing about the keys."""


PROCESS_IDENTITY = CallerIdentity()
"""Default identity of all requests of this process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEndpoint:
    """A model, and what is known about it before the first request."""

    model: str
    """Name that the user gave."""
    litellm_model: str
    """Name that litellm takes."""
    rules: CacheRules
    price: Price
    max_output_tokens: int | None
    min_cacheable_tokens: int
    """Tokens below which nothing is cached."""
    cache_scope: tuple[str, ...] = field(repr=False)
    """Provider, model, and a fingerprint of address and key: requests with the same scope share a cache."""
    options: Json = field(default_factory=dict, repr=False)
    """Options of litellm: address and key, if they are not the provider's own, and the cache key."""
    view: ModelView = ModelView()
    supports_thinking: bool | None = None
    """True if the model takes a reasoning effort; None: unknown."""
    supports_tools: bool | None = None
    """True if the model can call tools; None: unknown."""
    max_input_tokens: int | None = None
    """Size of the context; None: unknown."""

    @property
    def terms(self) -> BillingTerms:
        """The terms by which a request is billed."""
        return BillingTerms(
            "/".join(self.cache_scope[:2]), self.price, self.rules.writes, self.max_input_tokens
        )


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


def provider_endpoint(
    model: str, limit: int, api_base: str = "", api_key: str = "", identity: CallerIdentity = PROCESS_IDENTITY
) -> ModelEndpoint:
    """Return the endpoint of a provider's model. Raises UnknownModel. `limit`: maximum of an answer, in tokens."""
    import litellm

    options = {key: value for key, value in (("api_base", api_base), ("api_key", api_key)) if value}
    try:
        name, provider, _, _ = litellm.get_llm_provider(model, **options)
    except Exception as error:
        raise translate(error, model) from None
    if not name.strip():
        raise UnknownModel(f"{model!r} names a provider but no model", "Write it as PROVIDER/MODEL.")
    if provider in ("openai", "azure"):
        load_gpt_tokenizer()
    record = model_data.model_record(litellm.model_cost, provider, name)
    rules, price = rules_for(provider, name), model_data.price_of(record)
    if rules.one_hour_if_priced and price.rates.write_1h is None:
        rules = replace(rules, lifetimes=rules.lifetimes[:1], writes=rules.writes[:1])
    rules = _with_prices(rules, price.rates)
    if provider == "openai" and not record:
        # Another server with OpenAI's protocol, which may refuse extensions.
        rules = replace(rules, marker="", max_checkpoints=0, cache_key="")
    return ModelEndpoint(
        model=model,
        litellm_model=model,
        rules=rules,
        price=price,
        max_output_tokens=model_data.max_output_tokens(record, limit),
        min_cacheable_tokens=int(
            record.get("prompt_cache_min_tokens") or rules.min_cacheable_tokens(name) or 0
        ),
        cache_scope=cache_scope_of(provider, name, *options.values(), secret=identity.secret),
        options=_cache_key_option(rules.cache_key, identity.name) | options,
        view=ModelView(
            rules.thinking_format, rules.drops_earlier_thinking(name), model_data.accepted_files(record)
        ),
        supports_thinking=model_data.supports(record, "supports_reasoning"),
        supports_tools=model_data.supports(record, "supports_function_calling"),
        max_input_tokens=model_data.max_input_tokens(record),
    )


def _with_prices(rules: CacheRules, rates: Rates) -> CacheRules:
    """Return the rules with the model's own cost multiples, where its prices are known."""
    if not rates.input:
        return rules
    prices = (rates.write, rates.write_1h)
    writes = [
        price / rates.input if price else usual for price, usual in zip(prices, rules.writes, strict=False)
    ]
    reads = rules.reads if rates.read is None else rates.read / rates.input
    return replace(rules, reads=reads, writes=tuple(writes))


def _cache_key_option(cache_key: str, name: str) -> Json:
    """Return the option of litellm that carries the caller's name, `PARAMETER` or `PARAMETER.FIELD`, if any does."""
    parameter, _, inner = cache_key.partition(".")
    return {parameter: {inner: name} if inner else name} if parameter else {}


# Prefixes of the environment variables with an address or a key, where they differ from the provider's name.
PREFIXES = {"bedrock": ("AWS", "BEDROCK"), "gemini": ("GEMINI", "GOOGLE"), "vertex": ("VERTEX", "GOOGLE")}
SETTINGS = re.compile("KEY|TOKEN|BASE|URL|ENDPOINT|REGION|LOCATION|PROJECT|PROFILE|ROLE|ORGANIZATION")
# The credentials of an AWS session change every hour, but not the account.
SESSION_CREDENTIALS = re.compile("AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN)")


def cache_scope_of(
    provider: str, name: str, *options: str, secret: bytes = PROCESS_IDENTITY.secret
) -> tuple[str, ...]:
    """Return the cache scope, with a fingerprint of the options and of the provider's environment variables."""
    family = provider.partition("_")[0]
    prefixes = PREFIXES.get(family, (family.upper(),))
    variables = sorted((n, v) for n, v in os.environ.items() if n.startswith(prefixes) and SETTINGS.search(n))
    if "AWS_SESSION_TOKEN" in os.environ:
        variables = [(n, v) for n, v in variables if not SESSION_CREDENTIALS.fullmatch(n)]
    settings = "\0".join([*options, *(f"{n}={v}" for n, v in variables)])
    return provider, name, hmac.new(secret, settings.encode("utf-8", "replace"), "sha256").hexdigest()


def local_endpoint(model: str, address: ServerAddress, limit: int) -> ModelEndpoint:
    """Return the endpoint of a local model, which speaks OpenAI's protocol and costs nothing."""
    return ModelEndpoint(
        model=model,
        litellm_model=f"openai/{address.name}",
        rules=rules_for("llama.cpp", address.name),
        price=FREE,
        max_output_tokens=min(limit, address.n_ctx // 2),
        min_cacheable_tokens=0,
        cache_scope=("llama.cpp", address.name, address.api_base),
        options={"api_base": address.api_base, "api_key": address.api_key},
        view=ModelView(accepted_files=frozenset()),
        supports_thinking=False,
    )
