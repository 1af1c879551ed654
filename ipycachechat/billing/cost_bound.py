"""The most that a request can cost, before it is sent, and what it counts as afterwards.

What a bill has told of the prompt counts exactly. The rest is estimated, with a margin, since a tokenizer that is not
the provider's own may count too few; images and files are as large as the provider takes them. All input costs what is
dearest, fresh or written, since a cache may have lost everything. The answer is as long as `max_tokens` allows.
"""

from __future__ import annotations

import json
import re
import zlib
from base64 import b64decode
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import ceil

from ipycachechat.billing.pricing import Price, cost
from ipycachechat.caching.prefix import FILE_TOKENS, PrefixChain, RequestOptions
from ipycachechat.caching.state import CacheState
from ipycachechat.conversation.messages import Attachment
from ipycachechat.conversation.usage import Usage

MARGIN = 2.0
"""Times what is estimated: newer Claude models count up to 1.35 times what older ones do, and any tokenizer may take
signs, code and rare scripts apart more finely than the one at hand."""
AROUND = 8
"""Tokens that a provider puts around a block: role, separators."""
UNSEEN = 1_000
"""Tokens that a provider adds to a request: how tools are called, say (platform.claude.com, tool use: up to 804)."""

# Tokens of the largest image, by provider and model.
# platform.claude.com/docs/en/build-with-claude/vision: 4,784 on the models with the highest resolution;
# ai.google.dev/gemini-api/docs/media-resolution: 2,240; developers.openai.com/api/docs/guides/images-vision: 10,000
# patches, 1.2 tokens each on some models; GPT-4o mini counts most of all, 2,833 and 5,667 for each of 8 tiles.
IMAGES = (("*claude*", 4_784), ("*gemini-3*", 2_240), ("*gpt-5*", 12_000), ("*", 48_169))
PAGE = 3_000
"""Tokens of a PDF page's text at most (platform.claude.com/docs/en/build-with-claude/pdf-support); it is seen, too."""

# What is sent along and changes nothing of what a token costs. Others may: searching, priority, predicted text.
PLAIN = frozenset(
    "temperature top_p top_k min_p seed stop user logprobs top_logprobs logit_bias presence_penalty frequency_penalty"
    " reasoning_effort thinking verbosity tool_choice parallel_tool_calls response_format timeout drop_params".split()
)


@dataclass(frozen=True, slots=True)
class CostBound:
    """The most that a request can cost; None is unknown, and `unknown` says why."""

    tokens: int | None
    """Sent."""
    output: int | None
    paid_in: float | None
    paid_out: float | None
    unknown: str = ""
    more: bool = False
    """True if it may be billed for what is no token of it."""

    @property
    def dollars(self) -> float | None:
        """In all."""
        known = self.paid_in is not None and self.paid_out is not None and not self.more
        return (self.paid_in or 0.0) + (self.paid_out or 0.0) if known else None


@dataclass(frozen=True, slots=True)
class BillingTerms:
    """How a provider bills a request: prices, cache-write multiples of the input price, and the model's limits."""

    model: str
    """As its provider names it."""
    price: Price
    writes: tuple[float, ...] = ()
    context: int | None = None
    """Tokens that the model reads at most; None: unknown."""

    @property
    def image(self) -> int:
        """Tokens of the largest image."""
        return next(tokens for pattern, tokens in IMAGES if fnmatchcase(self.model.lower(), pattern))

    def max_rates(self, tokens: int | None) -> tuple[float | None, float | None]:
        """Dollars for a token sent, and for one answered, in a request of so many (None: any number)."""
        tiers = [self.price.rates, *(r for size, r in self.price.above if tokens is None or tokens > size)]
        sent = [rates.input * max([1.0, *self.writes]) for rates in tiers if rates.input is not None]
        written = [one for rates in tiers for one in (rates.write, rates.write_1h) if one is not None]
        said = [rates.output for rates in tiers if rates.output is not None]
        thought = [rates.thinking for rates in tiers if rates.thinking is not None]
        return (max([*sent, *written]) if sent else None, max([*said, *thought]) if said else None)


def cost_bound(
    chain: PrefixChain, state: CacheState, terms: BillingTerms, max_tokens: int | None
) -> CostBound:
    """The most that the request can cost."""
    tokens = _tokens(chain, state, terms)
    rate_in, rate_out = terms.max_rates(tokens)
    if rate_in == rate_out == 0:
        return CostBound(tokens, max_tokens, 0.0, 0.0)
    paid_in = None if tokens is None or rate_in is None else tokens * rate_in
    paid_out = None if max_tokens is None or rate_out is None else max_tokens * rate_out
    other = _billed_besides(chain.options)
    why = {
        "its price is unknown": rate_in is None or rate_out is None,
        "how long its answer may be is unknown (max_tokens)": max_tokens is None,
        "how many tokens a file has is unknown": tokens is None,
        f"{', '.join(other)} may cost something": bool(other),
    }
    return CostBound(
        tokens, max_tokens, paid_in, paid_out, next((one for one in why if why[one]), ""), bool(other)
    )


def _tokens(chain: PrefixChain, state: CacheState, terms: BillingTerms) -> int | None:
    """Of all that is sent, at most; None: unknown."""
    prefixes = chain.prefixes
    known = next((n for n in range(len(prefixes) - 1, -1, -1) if prefixes[n].digest in state.known), -1)
    before, size = (
        (state.known[prefixes[known].digest], prefixes[known].size) if known >= 0 else (UNSEEN, 0.0)
    )
    rest = prefixes[known + 1 :]
    if not rest:
        return before
    margin = 1.0 if state.exact else MARGIN * max(1.0, state.ratio)
    total = before + ceil((rest[-1].size - size) * margin) + AROUND * len(rest)
    total += sum(len(value) for name, value in chain.options.options if name == "response_format")
    first = max(0, rest[0].message)
    for one in chain.messages[first:] if rest[-1].message >= 0 else ():
        for file in one.message.files:
            tokens = _file(file, terms)
            if tokens is None:
                return None if terms.context is None else max(total, terms.context)
            total += ceil(max(0.0, tokens - FILE_TOKENS))
    return total


def _file(file: Attachment, terms: BillingTerms) -> int | None:
    """Tokens of a file, at most; None: unknown."""
    if file.kind == "image":
        return terms.image
    if file.kind == "PDF" and not file.is_address:
        try:
            found = pages(b64decode(file.data))
        except ValueError:  # no base64
            return None
        return None if found is None else found * (terms.image + PAGE)
    if file.media_type.startswith("text/") and not file.is_address:
        return len(file.data)  # a token is a byte at least
    return None


def pages(pdf: bytes) -> int | None:
    """Pages of a PDF, the most that any of its objects tells of; None where none does."""
    found = [pdf]
    for stream in re.finditer(rb"/ObjStm.{0,400}?stream\r?\n(.*?)endstream", pdf, re.S):
        try:
            found.append(zlib.decompressobj().decompress(stream[1], 1 << 24))
        except zlib.error:  # packed in another way
            return None
    single = sum(len(re.findall(rb"/Type\s*/Page\b", one)) for one in found)
    counts = [int(n) for one in found for n in re.findall(rb"/Count\s+(\d{1,6})\b", one)]
    return max([single, *counts]) or None


def _billed_besides(settings: RequestOptions) -> list[str]:
    """Return the names of options that may be billed other than by tokens, or at another price."""
    found = [name for name, _ in settings.options if name not in PLAIN]
    kinds = {str(json.loads(tool).get("type", "function")) for tool in settings.tools}
    return [*found, *sorted(kinds - {"function", "custom"})]


@dataclass(frozen=True, slots=True)
class BudgetCharge:
    """The amount that a request counts against the budget, in dollars."""

    dollars: float = 0.0
    exact: bool = True
    """True if that is its bill; else it is as much as the bill can be."""
    unknown: bool = False
    """True if it may have cost more, by an unknown amount."""


def budget_charge(usage: Usage, bound: CostBound, terms: BillingTerms, *, whole: bool) -> BudgetCharge:
    """Return what a request counts against the budget: its bill, and the bound for what the bill leaves open.

    `whole`: whether the answer came to its end. The usage of one that broke off says less than was billed.
    """
    told = usage if whole else replace(usage, output=None, thinking=None)
    if (paid := cost(told, terms.price).paid) is not None:
        return BudgetCharge(paid, unknown=bound.more)
    rate_in, rate_out = terms.max_rates(told.input)
    prompt = cost(replace(told, output=0, thinking=None), terms.price).paid
    if prompt is None and told.input is not None and rate_in is not None:
        prompt = told.input * rate_in
    prompt = bound.paid_in if prompt is None else prompt
    answer = bound.paid_out if told.output is None or rate_out is None else told.output * rate_out
    unknown = bound.more or prompt is None or answer is None
    return BudgetCharge((prompt or 0.0) + (answer or 0.0), exact=False, unknown=unknown)
