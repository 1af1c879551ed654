"""The settings, `%config ChatMagics.NAME = …`, each with its default and its help."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics
from traitlets import Bool, Enum, Float, Int, TraitError, Unicode

from ipycachechat import defaults
from ipycachechat.providers.timeouts import DEFAULT_LIMITS, RequestLimits

if TYPE_CHECKING:
    from ipycachechat.text.redaction import Redactor


class ChatSettings(Magics):
    """Settings of all chats of a kernel."""

    model = Unicode(
        "", help="PROVIDER/MODEL as litellm names it, or local; empty: by the keys in the environment"
    ).tag(config=True)
    system = Unicode("", help="The system prompt of a new conversation.").tag(config=True)
    max_tokens = Int(
        0, min=0, help=f"Longest answer; 0: the model's own limit, at most {defaults.MAX_OUTPUT_TOKENS:,}."
    ).tag(config=True)
    ttl = Enum(
        list(defaults.TTLS),
        "auto",
        help="How long Claude keeps the cache; auto: whichever is cheaper for your pauses.",
    ).tag(config=True)
    think = Enum(["", *defaults.EFFORTS], "", help="Reasoning effort, for models that support it.").tag(
        config=True
    )
    max_steps = Int(
        defaults.MAX_TOOL_STEPS,
        min=0,
        help="Rounds of tool calls in one turn, after which the model must answer.",
    ).tag(config=True)
    retries = Int(
        DEFAULT_LIMITS.retries, min=0, help="How often a request is retried after a temporary error."
    ).tag(config=True)
    timeout = Float(
        DEFAULT_LIMITS.read_timeout, min=0.1, help="Stall timeout: seconds without new text before giving up."
    ).tag(config=True)
    total_timeout = Float(
        DEFAULT_LIMITS.total_timeout, min=0, help="Seconds for a whole answer; 0: no limit."
    ).tag(config=True)
    rerun = Enum(
        ["replace", "rewind", "append"],
        "replace",
        help="What running a chat cell again does: replace its turn, also drop the later turns, or ask at the end.",
    ).tag(config=True)
    keep = Bool(True, help="Store conversations and their costs, in `store`.").tag(config=True)
    store = Unicode("", help="File for them; empty: chats.db in the user's data folder.").tag(config=True)
    interpolate = Bool(True, help="Replace {{ … }} in prompts by values.").tag(config=True)
    context_tokens = Int(
        100_000, min=0, help="Approximate limit of tokens for all values in one prompt; 0: no limit."
    ).tag(config=True)
    watch = Enum(
        list(defaults.WATCH_MODES),
        "off",
        help="Whether recently run cells are included with your question, and how much of them.",
    ).tag(config=True)
    redact = Bool(
        True, help="Mask keys, tokens and passwords in values, watched cells and tool results."
    ).tag(config=True)
    budget = Float(0.0, min=0.0, help="Dollars that this kernel may spend; 0: no budget.").tag(config=True)
    budget_day = Float(
        0.0, min=0.0, help="Dollars that all notebooks may spend in a day, by the store; 0: no budget."
    ).tag(config=True)
    confirm_over = Float(
        0.0, min=0.0, help="Ask before a prompt that could cost more dollars than this; 0: never."
    ).tag(config=True)

    @property
    def limits(self) -> RequestLimits:
        """Timeouts and number of retries of a request."""
        return replace(
            DEFAULT_LIMITS, retries=self.retries, read_timeout=self.timeout, total_timeout=self.total_timeout
        )

    def budgets(self) -> tuple[float, float]:
        """Return the dollars that this kernel may spend, and all kernels in a day; 0: no budget."""
        return float(self.budget), float(self.budget_day)

    def store_file(self) -> Path | None:
        """Return the path of the store, or None if `keep` is off."""
        if not self.keep:
            return None
        if self.store.strip():
            return Path(self.store.strip()).expanduser().absolute()
        from platformdirs import user_data_path

        return user_data_path("ipycachechat", appauthor=False) / "chats.db"

    def redactor(self) -> Redactor | None:
        """Return what masks secrets in values and tool results, or None if `redact` is off."""
        if not self.redact:
            return None
        from ipycachechat.text.redaction import Redactor  # its patterns take a moment to compile

        return Redactor.from_environ(os.environ)

    def to_save(self) -> dict[str, Any]:
        """Return the settings that hold again when the conversation is resumed in another kernel."""
        return {name: getattr(self, name) for name in ("ttl", "think", "watch", "budget")}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Set what `to_save` returned in an earlier kernel; a budget only if this kernel has none."""
        for name in ("ttl", "think", "watch", *(() if self.budget else ("budget",))):
            with suppress(TraitError):  # saved by another version, which had other values
                self.set_trait(name, saved.get(name, getattr(self, name)))
