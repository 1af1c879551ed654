"""The most that a request can cost, before it is sent.

What an earlier bill says about the prompt counts exactly. The rest is estimated with a margin, since another tokenizer
than the provider's may count too few; images and files count as the largest that the provider accepts. All input
counts at the highest price, fresh or written, since a cache may have lost everything. The answer counts with
`max_tokens`.
"""

from __future__ import annotations

import json
import re
import zlib
from base64 import b64decode
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import ceil

from ipycachechat.billing.pricing import Price
from ipycachechat.caching.prefix import FILE_TOKENS, PrefixChain, RequestOptions
from ipycachechat.caching.state import CacheState
from ipycachechat.conversation.messages import Attachment

MARGIN = 2.0
"""Factor on estimated tokens: newer Claude models count up to 1.35 times what older ones do, and any tokenizer may
split signs, code and rare scripts more finely than ours."""
BLOCK_OVERHEAD = 8
"""Tokens that a provider adds around a block: role, separators."""
REQUEST_OVERHEAD = 1_000
"""Tokens that a provider adds to a request, such as how tools are called (platform.claude.com, tool use: up to 804)."""

# Tokens of the largest image, by provider and model.
# platform.claude.com/docs/en/build-with-claude/vision: 4,784 on the models with the highest resolution;
# ai.google.dev/gemini-api/docs/media-resolution: 2,240; developers.openai.com/api/docs/guides/images-vision: 10,000
# patches, 1.2 tokens each on some models; GPT-4o mini counts most of all, 2,833 and 5,667 for each of 8 tiles.
IMAGE_TOKENS = (("*claude*", 4_784), ("*gemini-3*", 2_240), ("*gpt-5*", 12_000), ("*", 48_169))
PAGE_TOKENS = 3_000
"""Most tokens of a PDF page's text (platform.claude.com/docs/en/build-with-claude/pdf-support); its image is added."""

# Options that do not change what a token costs. Others may: web search, priority, predicted output.
FREE_OPTIONS = frozenset(
    "temperature top_p top_k min_p seed stop user logprobs top_logprobs logit_bias presence_penalty frequency_penalty"
    " reasoning_effort thinking verbosity tool_choice parallel_tool_calls response_format timeout drop_params".split()
)


@dataclass(frozen=True, slots=True)
class CostBound:
    """The most that a request can cost; None is unknown, and `unknown` says why."""

    tokens: int | None
    """Input tokens."""
    output: int | None
    """Output tokens."""
    paid_in: float | None
    paid_out: float | None
    unknown: str = ""
    more: bool = False
    """True if something other than tokens may be billed."""

    @property
    def dollars(self) -> float | None:
        """Dollars in total."""
        known = self.paid_in is not None and self.paid_out is not None and not self.more
        return (self.paid_in or 0.0) + (self.paid_out or 0.0) if known else None


@dataclass(frozen=True, slots=True)
class BillingTerms:
    """How a provider bills a request: prices, cache-write multiples of the input price, and the model's limits."""

    model: str
    """Provider and model as the provider names it."""
    price: Price
    writes: tuple[float, ...] = ()
    context: int | None = None
    """Context window in tokens; None: unknown."""

    @property
    def image(self) -> int:
        """Tokens of the largest image."""
        return next(tokens for pattern, tokens in IMAGE_TOKENS if fnmatchcase(self.model.lower(), pattern))

    def max_rates(self, tokens: int | None) -> tuple[float | None, float | None]:
        """Return the highest dollars per input and per output token; `tokens` of input, None: any number."""
        tiers = [self.price.rates, *(r for size, r in self.price.above if tokens is None or tokens > size)]
        fresh = [rates.input * max([1.0, *self.writes]) for rates in tiers if rates.input is not None]
        written = [rate for rates in tiers for rate in (rates.write, rates.write_1h) if rate is not None]
        output = [rates.output for rates in tiers if rates.output is not None]
        thinking = [rates.thinking for rates in tiers if rates.thinking is not None]
        return (max([*fresh, *written]) if fresh else None, max([*output, *thinking]) if output else None)


def cost_bound(
    chain: PrefixChain, state: CacheState, terms: BillingTerms, max_tokens: int | None
) -> CostBound:
    """Return the most that the request can cost."""
    tokens = _max_input(chain, state, terms)
    input_rate, output_rate = terms.max_rates(tokens)
    if input_rate == output_rate == 0:
        return CostBound(tokens, max_tokens, 0.0, 0.0)
    paid_in = None if tokens is None or input_rate is None else tokens * input_rate
    paid_out = None if max_tokens is None or output_rate is None else max_tokens * output_rate
    billed_options = _billed_options(chain.options)
    reasons = {
        "its price is unknown": input_rate is None or output_rate is None,
        "how long its answer may be is unknown (max_tokens)": max_tokens is None,
        "how many tokens a file has is unknown": tokens is None,
        f"{', '.join(billed_options)} may cost something": bool(billed_options),
    }
    unknown = next((reason for reason, applies in reasons.items() if applies), "")
    return CostBound(tokens, max_tokens, paid_in, paid_out, unknown, bool(billed_options))


def _max_input(chain: PrefixChain, state: CacheState, terms: BillingTerms) -> int | None:
    """Return the most input tokens that the request can have; None: unknown."""
    prefixes, sizes = chain.prefixes, state.billed_sizes
    billed = next((n for n in range(len(prefixes) - 1, -1, -1) if prefixes[n].digest in sizes), -1)
    total, size = (
        (sizes[prefixes[billed].digest], prefixes[billed].size) if billed >= 0 else (REQUEST_OVERHEAD, 0.0)
    )
    rest = prefixes[billed + 1 :]
    if not rest:
        return total
    margin = 1.0 if state.exact else MARGIN * max(1.0, state.estimate_ratio)
    total += ceil((rest[-1].size - size) * margin) + BLOCK_OVERHEAD * len(rest)
    total += sum(len(value) for name, value in chain.options.options if name == "response_format")
    first = max(0, rest[0].message)
    for item in chain.messages[first:] if rest[-1].message >= 0 else ():
        for file in item.message.files:
            tokens = _max_file_tokens(file, terms)
            if tokens is None:
                return None if terms.context is None else max(total, terms.context)
            total += ceil(max(0.0, tokens - FILE_TOKENS))
    return total


def _max_file_tokens(file: Attachment, terms: BillingTerms) -> int | None:
    if file.kind == "image":
        return terms.image
    if file.kind == "PDF" and not file.is_address:
        try:
            count = pdf_pages(b64decode(file.data))
        except ValueError:  # not base64
            return None
        return None if count is None else count * (terms.image + PAGE_TOKENS)
    if file.media_type.startswith("text/") and not file.is_address:
        return len(file.data)  # a token has at least one byte
    return None


def pdf_pages(pdf: bytes) -> int | None:
    """Return the most pages of a PDF that any of its objects mentions; None if none does."""
    objects = [pdf]
    for stream in re.finditer(rb"/ObjStm.{0,400}?stream\r?\n(.*?)endstream", pdf, re.S):
        try:
            objects.append(zlib.decompressobj().decompress(stream[1], 1 << 24))
        except zlib.error:  # another compression
            return None
    single = sum(len(re.findall(rb"/Type\s*/Page\b", text)) for text in objects)
    counts = [int(n) for text in objects for n in re.findall(rb"/Count\s+(\d{1,6})\b", text)]
    return max([single, *counts]) or None


def _billed_options(options: RequestOptions) -> list[str]:
    """Return the names of options that may be billed other than by tokens, or at another price."""
    names = [name for name, _ in options.options if name not in FREE_OPTIONS]
    kinds = {str(json.loads(tool).get("type", "function")) for tool in options.tools}
    return [*names, *sorted(kinds - {"function", "custom"})]
