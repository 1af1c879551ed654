"""MissReason: the causes of a cache miss and their wording."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from enum import Enum


class MissCause(Enum):
    """The cause of a cache miss."""

    FIRST = "first request"
    SHORT = "below the minimum"
    EXPIRED = "expired"
    EDITED = "turn edited"
    REMOVED = "turn removed"
    INSERTED = "turn inserted"
    SYSTEM = "system prompt changed"
    TOOLS = "tools changed"
    THINKING = "thinking or effort changed"
    FORGOTTEN = "earlier thinking not sent"
    TOOL_CHOICE = "tool choice changed"
    IMAGE = "first image added or last one removed"
    SETTINGS = "another setting changed"
    MODEL = "model changed"
    KEY = "key or address changed"
    DROPPED = "dropped by the provider"
    SILENT = "not reported"


ADVICE = {
    MissCause.FIRST: "Nothing to do: the next turn will read the conversation from the cache.",
    MissCause.SHORT: "Nothing to do: prompts this short are not cached, and they cost little.",
    MissCause.EXPIRED: "What to do: %chat ttl 1h before long pauses, or %chat warm 30m.",
    MissCause.EDITED: "What to do: edit late turns rather than early ones, or ask again at the end.",
    MissCause.REMOVED: "What to do: %chat undo restores it; what comes before it is still cached.",
    MissCause.INSERTED: "What to do: ask at the end, where no turn follows.",
    MissCause.SYSTEM: "What to do: write it into a prompt; the system prompt comes before everything else.",
    MissCause.TOOLS: "What to do: keep the same tools, in the same order, for the whole conversation.",
    MissCause.THINKING: "What to do: choose --think once, at the start.",
    MissCause.FORGOTTEN: "Nothing to do: newer models keep their thinking, and with it the cache.",
    MissCause.TOOL_CHOICE: "What to do: choose once, at the start, how tools may be called.",
    MissCause.IMAGE: "What to do: send the first image early; more images change nothing.",
    MissCause.SETTINGS: "What to do: choose settings once, at the start.",
    MissCause.MODEL: "What to do: stay with one model; switching back is cheap while it is still cached there.",
    MissCause.KEY: "What to do: use the same key and address while the conversation is cached there.",
    MissCause.DROPPED: "Nothing to do: caching is not guaranteed. If it happens often, %chat doctor checks the rules.",
    MissCause.SILENT: "Nothing to do: how much was read is unknown.",
}
# Options by litellm's names: the cause if one of them changes, and its name on the screen.
SETTINGS = {
    "thinking": (MissCause.THINKING, "--think"),
    "reasoning_effort": (MissCause.THINKING, "--think"),
    "tool_choice": (MissCause.TOOL_CHOICE, "the tool choice"),
    "parallel_tool_calls": (MissCause.TOOL_CHOICE, "parallel tool calls"),
}


@dataclass(frozen=True, slots=True)
class MissReason:
    """The cause of a miss, the tokens charged again because of it (None: unknown), and its details."""

    cause: MissCause
    tokens: int | None = None
    _: KW_ONLY
    turn: int = -1
    """The turn (from 0) with the first block that differs."""
    seconds: float = 0.0
    """Seconds for which the prefix had not been used."""
    minimum: int = 0
    now_above_minimum: bool = False
    """True if only the earlier request was below the minimum."""
    model: str = ""
    """The model of the earlier request."""
    what: str = ""
    """The setting that changed; of a turn, "answer" if its prompt is unchanged."""
    cell: str = ""
    """The cell of the first block that differs."""
    old_text: str = ""
    new_text: str = ""
    """That block's text in the earlier request and in this one."""

    @property
    def sentence(self) -> str:
        """The reason in one sentence, for the line under an answer."""
        tokens = "1 token" if self.tokens == 1 else f"{self.tokens or 0:,} tokens"
        cost = f" ({tokens} charged again)" if self.tokens else ""
        turn = f"Turn {self.turn + 1}" if self.turn >= 0 else "A turn"
        change = "has another answer" if self.what == "answer" else "was edited"
        mismatch = f"so what follows it no longer matches the cache{cost}"
        minimum = f"this model's minimum of {self.minimum:,} tokens"
        setting = f"Changing {self.what or 'a setting'} discarded the cached messages{cost}"
        return {
            MissCause.FIRST: "First request, so nothing was cached yet",
            MissCause.SHORT: f"Nothing was cached yet: until now the prompt was below {minimum}"
            if self.now_above_minimum
            else f"Not cached: the prompt is below {minimum}",
            MissCause.EXPIRED: f"The cache expired after {duration(self.seconds)} without use{cost}",
            MissCause.EDITED: f"{turn} {change}, {mismatch}",
            MissCause.REMOVED: f"{turn} was removed, {mismatch}",
            MissCause.INSERTED: f"{turn} is new, {mismatch}",
            MissCause.SYSTEM: f"The system prompt changed, {mismatch}",
            MissCause.TOOLS: f"The tools changed, so nothing matches the cache{cost}",
            MissCause.THINKING: setting,
            MissCause.FORGOTTEN: f"The thinking of {turn.lower()} is no longer sent to this model, {mismatch}",
            MissCause.TOOL_CHOICE: setting,
            MissCause.IMAGE: "Adding the first image or removing the last one"
            f" discarded the cached messages{cost}",
            MissCause.SETTINGS: setting,
            MissCause.MODEL: f"The model changed from {self.model}, and each model has its own cache{cost}",
            MissCause.KEY: f"The key or address changed, and each has its own cache{cost}",
            MissCause.DROPPED: f"The provider did not read what should still have been cached{cost}",
            MissCause.SILENT: "The provider does not report how much it read from the cache",
        }[self.cause]


def duration(seconds: float) -> str:
    """Return a duration such as "7 m 12 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} m"
    return f"{minutes} m {rest} s" if minutes else f"{rest} s"
