"""Litellm behind one seam: a request goes in, text comes out as it arrives, and at the end the bill."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ipycachechat.core.cache import Rules, Ttl, rules
from ipycachechat.core.errors import Dropped, EmptyAnswer, UnknownModel
from ipycachechat.core.usage import FREE, NOTHING_REPORTED, Price, Usage
from ipycachechat.model import prices
from ipycachechat.model.failures import translate
from ipycachechat.model.local import Address

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """A model and all that is known of it before it is asked."""

    model: str
    """As the person named it."""
    wire: str
    """As litellm takes it."""
    rules: Rules
    price: Price
    most_tokens: int | None
    options: Json = field(default_factory=dict, repr=False)
    """Where and with which key, if not the provider's own."""


def target(model: str, limit: int) -> Target:
    """Look a model up. Raises UnknownModel."""
    import litellm

    try:
        name, provider, _, _ = litellm.get_llm_provider(model)
    except Exception as error:
        raise translate(error, model, [], False) from None
    if not name.strip():
        raise UnknownModel(f"{model!r} names a provider but no model", "Write it as PROVIDER/MODEL.")
    record = prices.entry(litellm.model_cost, provider, name)
    return Target(
        model, model, rules(provider, name), prices.price(record), prices.most_tokens(record, limit)
    )


def local_target(model: str, address: Address, limit: int) -> Target:
    """The model on this machine, which speaks OpenAI's protocol and costs nothing."""
    options = {"api_base": address.api_base, "api_key": address.api_key}
    wire = f"openai/{address.name}"
    return Target(
        model, wire, rules("llama.cpp", address.name), FREE, min(limit, address.n_ctx // 2), options
    )


class Exchange:
    """One request and what has come back of it so far."""

    def __init__(self, target: Target, messages: list[Json], max_tokens: int | None, ttl: Ttl) -> None:
        self.target = target
        self.text = ""
        self.finish = ""
        self._messages = messages
        self._max_tokens = max_tokens
        self._ttl = ttl
        self._stream: Any = None
        self._usage: Any = None

    async def run(self, arrived: Callable[[str], None]) -> None:
        """Ask, and tell each piece of text as it arrives. Raises ModelError; cancelling closes the connection."""
        import litellm

        try:
            self._stream = await litellm.acompletion(
                model=self.target.wire,
                messages=self._messages,
                stream=True,
                stream_options={"include_usage": True},
                num_retries=0,
                max_retries=0,
                **({"max_tokens": self._max_tokens} if self._max_tokens else {}),
                **self.target.options,
            )
            async for chunk in self._stream:
                self._take(chunk, arrived)
        except Exception as error:
            raise translate(
                error, self.target.model, self._missing(error), bool(self.text), self._key
            ) from None
        finally:
            await self._close()
        if not self.text.strip():
            raise EmptyAnswer(
                f"{self.target.model} finished ({self.finish or 'no reason given'}) and had said nothing",
                "The conversation is as it was. Change the prompt, or give it more --max-tokens.",
            )
        # A connection that ends too early looks like an end: litellm makes up a reason to finish.
        if self._stream.received_finish_reason is None and self.target.rules.provider != "gemini":
            raise Dropped(
                f"The connection to {self.target.model} ended in the middle of the answer",
                "What arrived is kept, marked as interrupted. Run the cell again to ask again.",
            )

    def _take(self, chunk: Any, arrived: Callable[[str], None]) -> None:
        self._usage = getattr(chunk, "usage", None) or self._usage
        if not chunk.choices:
            return
        choice = chunk.choices[0]
        self.finish = choice.finish_reason or self.finish
        if text := choice.delta.content:
            self.text += text
            arrived(text)

    @property
    def usage(self) -> Usage:
        """The tokens as far as they are known; of an answer that broke off, those of its beginning."""
        if self._usage is not None:
            return usage(self._usage, self.target.rules, self._ttl)
        for chunk in getattr(self._stream, "chunks", None) or ():
            if raw := getattr(chunk, "usage", None):
                return usage(raw, self.target.rules, self._ttl, finished=False)
        return NOTHING_REPORTED

    @property
    def _key(self) -> str:
        return str(self.target.options.get("api_key", ""))

    def _missing(self, error: BaseException) -> list[str]:
        """The environment variables that would hold this model's key, if none of them is set."""
        import litellm

        with contextlib.suppress(Exception):
            found = litellm.validate_environment(self.target.wire, api_key=self._key or None)
            if not found["keys_in_environment"]:
                return [name for name in found["missing_keys"] if not os.environ.get(name)]
        return []

    async def _close(self) -> None:
        """Litellm's `aclose` leaves Anthropic's connection open, so the response itself is closed."""
        response = getattr(getattr(self._stream, "completion_stream", None), "streaming_response", None)
        for closable in (response, self._stream):
            if closable is not None:
                with contextlib.suppress(Exception):
                    await closable.aclose()


def usage(raw: Any, by: Rules, ttl: Ttl, *, finished: bool = True) -> Usage:
    """Litellm's usage as ours. What is not there is unknown, unless the provider's protocol leaves out zeros."""
    sent, answered = getattr(raw, "prompt_tokens", None), getattr(raw, "completion_tokens", None)
    if not sent:
        return NOTHING_REPORTED
    details = getattr(raw, "prompt_tokens_details", None)
    nothing = 0 if by.silent_zero else None
    read = _count(details, "cached_tokens", nothing)
    written = _count(details, "cache_creation_tokens", nothing) if by.bills_writes else 0
    split = getattr(details, "cache_creation_token_details", None)
    longer = ttl == "1h" and by.asked == "explicit"
    written_1h = _count(split, "ephemeral_1h_input_tokens", written if longer else 0)
    if read is not None and written is not None and read + written > sent:
        read = written = written_1h = None  # counts that contradict each other tell nothing
    return Usage(
        sent,
        read,
        written,
        written_1h or 0,
        answered if finished else None,
        _count(getattr(raw, "completion_tokens_details", None), "reasoning_tokens", None),
        by.bills_writes,
    )


def _count(holder: Any, name: str, otherwise: int | None) -> int | None:
    value = getattr(holder, name, None)
    return otherwise if value is None else int(value)
