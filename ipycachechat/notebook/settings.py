"""The settings, `%config ChatMagics.NAME = …`, with their defaults and help."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics
from traitlets import Bool, Enum, Float, Int, TraitError, Unicode, validate

from ipycachechat import defaults
from ipycachechat.providers.timeouts import DEFAULT_LIMITS, RequestLimits

if TYPE_CHECKING:
    from ipycachechat.text.redaction import Redactor


class ChatSettings(Magics):
    """Settings of a kernel's chat; ChatMagics inherits them."""

    model = Unicode(
        help="PROVIDER/MODEL as litellm names it, or local; empty: by the keys in the environment"
    )
    system = Unicode(help="The system prompt of a new conversation.")
    max_tokens = Int(
        min=0,
        help=f"Maximum length of an answer; 0: the model's own limit, at most {defaults.MAX_OUTPUT_TOKENS:,}.",
    )
    ttl = Enum(
        list(defaults.TTLS),
        "auto",
        help="How long Claude keeps the cache; auto: what is cheaper for your pauses.",
    )
    think = Enum(["", *defaults.EFFORTS], "", help="Reasoning effort, for models that support it.")
    max_steps = Int(
        defaults.MAX_TOOL_STEPS,
        min=0,
        help="Rounds of tool calls in one turn, after which the model must answer.",
    )
    retries = Int(
        DEFAULT_LIMITS.retries, min=0, help="How often a request is retried after a temporary error."
    )
    timeout = Float(
        DEFAULT_LIMITS.read_timeout, min=0.1, help="Stall timeout: seconds without new text before giving up."
    )
    total_timeout = Float(
        DEFAULT_LIMITS.total_timeout, min=0, help="Seconds for a whole answer; 0: no limit."
    )
    rerun = Enum(
        ["replace", "rewind", "append"],
        "replace",
        help="What running a chat cell again does: replace its turn, also drop the later turns, or ask at the end.",
    )
    keep = Bool(True, help="Store conversations and their costs, in `store`.")
    store = Unicode(help="File for them; empty: chats.db in the user's data folder.")
    interpolate = Bool(True, help="Replace {{ … }} in prompts by values.")
    context_tokens = Int(
        100_000, min=0, help="Approximate limit of tokens for all values in one prompt; 0: no limit."
    )
    watch = Enum(
        list(defaults.WATCH_MODES),
        "off",
        help="Whether recently run cells are included with your question, and how much of them.",
    )
    redact = Bool(True, help="Mask keys, tokens and passwords in values, watched cells and tool results.")
    budget = Float(min=0, help="Dollars that this kernel may spend; 0: no budget.")
    budget_day = Float(
        min=0, help="Dollars that all notebooks may spend per day, by the store; 0: no budget."
    )
    confirm_over = Float(min=0, help="Ask before a prompt that could cost more dollars than this; 0: never.")

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self._at_load = self._values

    @property
    def _values(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ChatSettings.class_own_traits()}

    @property
    def changes(self) -> dict[str, Any]:
        """The settings that are no longer as they were when the extension was loaded."""
        return {name: value for name, value in self._values.items() if value != self._at_load[name]}

    def apply(self, changes: Mapping[str, Any]) -> None:
        """Set what was set before a reload."""
        for name, value in changes.items():
            self.set_trait(name, value)

    @validate("timeout", "total_timeout", "budget", "budget_day", "confirm_over")
    def _finite(self, proposal: Any) -> float:
        value = float(proposal["value"])
        if not math.isfinite(value):
            raise TraitError(f"{proposal['trait'].name} is {value}; give a number, or 0 for none")
        return value

    @property
    def limits(self) -> RequestLimits:
        """Timeouts and number of retries of a request."""
        return replace(
            DEFAULT_LIMITS, retries=self.retries, read_timeout=self.timeout, total_timeout=self.total_timeout
        )

    def budgets(self) -> tuple[float, float]:
        """Return the dollars that this kernel may spend, and those that all kernels may spend per day; 0: no limit."""
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
        """Return the redactor of values and tool results, or None if `redact` is off."""
        if not self.redact:
            return None
        from ipycachechat.text.redaction import Redactor  # compiling its patterns takes a moment

        return Redactor.from_environ(os.environ)

    def to_save(self) -> dict[str, Any]:
        """Return the settings that are restored when another kernel resumes the conversation."""
        return {name: getattr(self, name) for name in ("ttl", "think", "watch", "budget")}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Apply what `to_save` returned in an earlier kernel; a budget only if this kernel has none."""
        for name in ("ttl", "think", "watch", *(() if self.budget else ("budget",))):
            with suppress(TraitError):  # saved by a version with other values
                self.set_trait(name, saved.get(name, getattr(self, name)))


for _trait in ChatSettings.class_own_traits().values():
    _trait.tag(config=True)
