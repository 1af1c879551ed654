"""ModelEndpoint: a model, its rules, price, limits, address and cache scope."""

from __future__ import annotations

import hmac
import os
import re
import secrets
from dataclasses import dataclass, field, replace
from typing import Any

from ipycachechat.billing.cost_bound import BillingTerms
from ipycachechat.billing.pricing import FREE, Price, Rates
from ipycachechat.caching.provider_rules import rules_for
from ipycachechat.caching.rules import CacheRules
from ipycachechat.conversation.model_view import ModelView
from ipycachechat.errors import UnknownModel
from ipycachechat.providers import model_data
from ipycachechat.providers.error_mapping import translate
from ipycachechat.providers.litellm_import import load_gpt_tokenizer
from ipycachechat.providers.local.servers import ServerAddress

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class CallerIdentity:
    """The identity under which requests are sent. A resumed conversation keeps it, so that it is still cached."""

    name: str = field(default_factory=lambda: f"ipycachechat-{secrets.token_hex(8)}")
    """Under which OpenAI sends all requests to one machine."""
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    """By which fingerprints are made of keys, so that they tell nothing about them."""


PROCESS_IDENTITY = CallerIdentity()
"""Of this process, which asks as one unless told otherwise."""


@dataclass(frozen=True, slots=True)
class ModelEndpoint:
    """A model and all that is known of it before it is asked."""

    model: str
    """As the user named it."""
    litellm_model: str
    """As litellm takes it."""
    rules: CacheRules
    price: Price
    max_output_tokens: int | None
    min_cacheable_tokens: int
    """Tokens below which nothing is cached."""
    cache_scope: tuple[str, ...] = field(repr=False)
    """Provider, model, address and key: what shares a cache. The key only as a fingerprint."""
    options: Json = field(default_factory=dict, repr=False)
    """Where and with which key, if not the provider's own."""
    view: ModelView = ModelView()
    supports_thinking: bool | None = None
    """True if it can be told how much to think; None: unknown."""
    supports_tools: bool | None = None
    """True if it can call tools; None: unknown."""
    max_input_tokens: int | None = None
    """Tokens that it reads at most; None: unknown."""

    @property
    def terms(self) -> BillingTerms:
        """By which a request to it is billed."""
        return BillingTerms(
            "/".join(self.cache_scope[:2]), self.price, self.rules.writes, self.max_input_tokens
        )


def provider_endpoint(
    model: str, limit: int, api_base: str = "", api_key: str = "", who: CallerIdentity = PROCESS_IDENTITY
) -> ModelEndpoint:
    """Look a model up, at an address and with a key if given. Raises UnknownModel."""
    import litellm

    given = {"api_base": api_base, "api_key": api_key}
    own = {name: value for name, value in given.items() if value}
    try:
        name, provider, _, _ = litellm.get_llm_provider(model, **own)
    except Exception as error:
        raise translate(error, model) from None
    if not name.strip():
        raise UnknownModel(f"{model!r} names a provider but no model", "Write it as PROVIDER/MODEL.")
    if provider in ("openai", "azure"):
        load_gpt_tokenizer()
    record = model_data.model_record(litellm.model_cost, provider, name)
    by, price = rules_for(provider, name), model_data.price_of(record)
    if by.one_hour_if_priced and price.rates.write_1h is None:
        by = replace(by, lifetimes=by.lifetimes[:1], writes=by.writes[:1])
    by = _priced(by, price.rates)
    # "openai" also names whoever speaks its protocol, and may refuse what it does not know.
    its_own = provider != "openai" or bool(record)
    if not its_own:
        by = replace(by, marker="", checkpoints=0, cache_key="")
    return ModelEndpoint(
        model,
        model,
        by,
        price,
        model_data.max_output_tokens(record, limit),
        int(record.get("prompt_cache_min_tokens") or by.min_cacheable_tokens(name) or 0),
        cache_scope_of(provider, name, *own.values(), secret=who.secret),
        _carrying(by.cache_key, who.name) | own,
        ModelView(by.thinking_format, by.forgetful(name), model_data.accepted_files(record)),
        model_data.supports(record, "supports_reasoning"),
        model_data.supports(record, "supports_function_calling"),
        model_data.max_input_tokens(record),
    )


def _priced(by: CacheRules, rates: Rates) -> CacheRules:
    """The rules with the model's own prices, where they are known."""
    if not rates.input:
        return by
    paid = (rates.write, rates.write_1h)
    writes = [rate / rates.input if rate else known for rate, known in zip(paid, by.writes, strict=False)]
    reads = by.reads if rates.read is None else rates.read / rates.input
    return replace(by, reads=reads, writes=tuple(writes))


def _carrying(cache_key: str, name: str) -> Json:
    """The parameter of litellm's that carries the name of who asks, if any does."""
    parameter, _, inner = cache_key.partition(".")
    return {parameter: {inner: name} if inner else name} if parameter else {}


# Environment variables that name an address or a key, by how they begin; where not as the provider's name does.
CLOUDS = {"bedrock": ("AWS", "BEDROCK"), "gemini": ("GEMINI", "GOOGLE"), "vertex": ("VERTEX", "GOOGLE")}
PLACES = "KEY|TOKEN|BASE|URL|ENDPOINT|REGION|LOCATION|PROJECT|PROFILE|ROLE|ORGANIZATION"
# A session's credentials change by the hour, and the account behind them does not.
PASSING = re.compile("AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN)")


def cache_scope_of(
    provider: str, name: str, *given: str, secret: bytes = PROCESS_IDENTITY.secret
) -> tuple[str, ...]:
    """Return the cache scope: the provider's address and key as given, and as its environment variables say."""
    family = provider.partition("_")[0]
    begins = CLOUDS.get(family, (family.upper(),))
    own = sorted((n, v) for n, v in os.environ.items() if n.startswith(begins) and re.search(PLACES, n))
    if "AWS_SESSION_TOKEN" in os.environ:
        own = [(n, v) for n, v in own if not PASSING.fullmatch(n)]
    settings = "\0".join([*given, *(f"{n}={value}" for n, value in own)])
    return provider, name, hmac.new(secret, settings.encode("utf-8", "replace"), "sha256").hexdigest()


def local_endpoint(model: str, address: ServerAddress, limit: int) -> ModelEndpoint:
    """The model on this machine, which speaks OpenAI's protocol and costs nothing."""
    options = {"api_base": address.api_base, "api_key": address.api_key}
    wire = f"openai/{address.name}"
    by = rules_for("llama.cpp", address.name)
    where = ("llama.cpp", address.name, address.api_base)
    eyes = ModelView(accepted_files=frozenset())
    most = min(limit, address.n_ctx // 2)
    return ModelEndpoint(model, wire, by, FREE, most, 0, where, options, eyes, supports_thinking=False)
