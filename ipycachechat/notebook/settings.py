"""The settings that a person can make, `%config ChatMagics.NAME = …`, each with its default and its help."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from IPython.core.magic import Magics
from traitlets import Bool, Enum, Float, Int, Unicode

from ipycachechat import defaults
from ipycachechat.providers.timeouts import LIMITS, RequestLimits

if TYPE_CHECKING:
    from ipycachechat.text.redaction import Redactor


class ChatSettings(Magics):
    """What holds for all chats of a kernel until it is set otherwise."""

    model = Unicode("", help="PROVIDER/MODEL as litellm names it, or local; empty: by the keys set").tag(
        config=True
    )
    system = Unicode("", help="The system prompt of a new conversation.").tag(config=True)
    max_tokens = Int(
        0, min=0, help=f"Longest answer; 0: the model's own limit, at most {defaults.MOST_TOKENS:,}."
    ).tag(config=True)
    ttl = Enum(
        list(defaults.TTLS),
        "auto",
        help="How long Claude's cache is asked to live; auto: whichever is cheaper by your pauses.",
    ).tag(config=True)
    think = Enum(
        ["", *defaults.EFFORTS], "", help="How much to think before each answer, for models that can."
    ).tag(config=True)
    max_steps = Int(
        defaults.MOST_STEPS, min=0, help="Rounds of tool calls in one turn; then the model is told to answer."
    ).tag(config=True)
    retries = Int(
        LIMITS.retries, min=0, help="How often the same is asked again after an error that may go away."
    ).tag(config=True)
    timeout = Float(
        LIMITS.read_timeout,
        min=0.1,
        help="Seconds in which nothing comes of an answer that has begun: it is given up.",
    ).tag(config=True)
    total_timeout = Float(
        LIMITS.total_timeout, min=0, help="Seconds for all of an answer; 0: as long as it takes."
    ).tag(config=True)
    rerun = Enum(
        ["replace", "rewind", "append"],
        "replace",
        help="What a chat cell that is run again does: replace its turn, go back to before it, or ask at the end.",
    ).tag(config=True)
    keep = Bool(True, help="Keep conversations and what they cost over restarts, in `store`.").tag(
        config=True
    )
    store = Unicode("", help="The file for it; empty: chats.db in the user's data folder.").tag(config=True)
    interpolate = Bool(True, help="Put the values of {{ … }} into prompts.").tag(config=True)
    context_tokens = Int(
        100_000, min=0, help="Tokens that the values in one prompt may take, about; 0: as many as they do."
    ).tag(config=True)
    watch = Enum(
        list(defaults.WATCH),
        "off",
        help="What goes along of the cells that have run since the last chat, in front of the prompt.",
    ).tag(config=True)
    redact = Bool(
        True,
        help="Mask keys, tokens and passwords in what is sent of the kernel: values, and what tools return.",
    ).tag(config=True)
    budget = Float(0.0, min=0.0, help="Dollars that this kernel's chats may cost; 0: no budget.").tag(
        config=True
    )
    budget_day = Float(
        0.0,
        min=0.0,
        help="Dollars that all notebooks' chats may cost in a day, by what is kept; 0: no budget.",
    ).tag(config=True)
    confirm_over = Float(
        0.0, min=0.0, help="Ask before a prompt that can cost more dollars than this; 0: never."
    ).tag(config=True)

    @property
    def limits(self) -> RequestLimits:
        """How long a request may take, and how often it is tried."""
        return replace(
            LIMITS, retries=self.retries, read_timeout=self.timeout, total_timeout=self.total_timeout
        )

    def store_file(self) -> Path | None:
        """Where conversations are kept; None where they are not to be."""
        if not self.keep:
            return None
        if self.store.strip():
            return Path(self.store.strip()).expanduser().absolute()
        from platformdirs import user_data_path

        return user_data_path("ipycachechat", appauthor=False) / "chats.db"

    def mask(self) -> Redactor | None:
        """What takes secrets out of values and results; None where that is switched off."""
        if not self.redact:
            return None
        from ipycachechat.text.redaction import Redactor

        return Redactor.of(os.environ)
