"""MissReason: the causes of a cache miss and their wording."""

from __future__ import annotations

from dataclasses import dataclass
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
    FORGOTTEN = "thoughts forgotten"
    TOOL_CHOICE = "tool choice changed"
    IMAGE = "an image came or went"
    SETTINGS = "another setting changed"
    MODEL = "model changed"
    KEY = "key or address changed"
    DROPPED = "dropped by the provider"
    SILENT = "not reported"


ADVICE = {
    MissCause.FIRST: "Nothing to do: from the next turn on the conversation is read.",
    MissCause.SHORT: "Nothing to do: below that size nobody caches, and little is paid.",
    MissCause.EXPIRED: "What to do: %chat ttl 1h before long pauses, or %chat warm 30m.",
    MissCause.EDITED: "What to do: edit late turns rather than early ones, or ask anew at the end.",
    MissCause.REMOVED: "What to do: %chat undo brings it back; what is before it is still read.",
    MissCause.INSERTED: "What to do: ask at the end, where nothing comes after.",
    MissCause.SYSTEM: "What to do: say it in a prompt; the system prompt comes before everything else.",
    MissCause.TOOLS: "What to do: keep the same tools, in the same order, for the whole conversation.",
    MissCause.THINKING: "What to do: choose thinking and effort once, at the start.",
    MissCause.FORGOTTEN: "Nothing to do: later models keep what they thought, and with it the cache.",
    MissCause.TOOL_CHOICE: "What to do: choose once, at the start, how tools may be called.",
    MissCause.IMAGE: "What to do: send the first image early; once there is one, others change nothing.",
    MissCause.SETTINGS: "What to do: choose settings once, at the start.",
    MissCause.MODEL: "What to do: stay with one model; going back to the one before is cheap while it is warm.",
    MissCause.KEY: "What to do: ask with the same key at the same address, while the cache is warm there.",
    MissCause.DROPPED: "Nothing to do: a cache is no promise. If it happens often, %chat doctor looks at the rules.",
    MissCause.SILENT: "Nothing to do: nobody can tell what was read.",
}
# Settings by litellm's names: the cause that a change of each is, and what people call it.
SETTINGS = {
    "thinking": (MissCause.THINKING, "thinking"),
    "reasoning_effort": (MissCause.THINKING, "effort"),
    "tool_choice": (MissCause.TOOL_CHOICE, "the tool choice"),
    "parallel_tool_calls": (MissCause.TOOL_CHOICE, "whether tools are called in parallel"),
}


@dataclass(frozen=True, slots=True)
class MissReason:
    """A cause, the tokens that were paid again because of it (None: unknown), and what else is known of it."""

    cause: MissCause
    tokens: int | None = None
    turn: int = -1
    """The turn (from 0) with the first block that differs."""
    seconds: float = 0.0
    """How long the prefix had not been used."""
    minimum: int = 0
    now_above_minimum: bool = False
    """True if the prompt has the minimum by now, and only what was sent before had not."""
    model: str = ""
    """The model before."""
    what: str = ""
    """The setting that changed; of a turn, "answer" if its prompt is as it was."""
    cell: str = ""
    """The cell of that block."""
    old_text: str = ""
    new_text: str = ""
    """The block's text, before and in this request."""

    @property
    def sentence(self) -> str:
        """The reason in one sentence, for the line under an answer."""
        return self.sentence_with("were paid")

    def sentence_with(self, paid: str) -> str:
        """The same; `paid` says when: were paid, are paid, would be paid."""
        tokens = "1 token" if self.tokens == 1 else f"{self.tokens:,} tokens" if self.tokens else ""
        cost = f": {tokens} {paid} again" if tokens else ""
        turn = f"turn {self.turn + 1}" if self.turn >= 0 else "a turn"
        change = "has another answer" if self.what == "answer" else "was edited"
        least = f"this model's minimum of {self.minimum:,} tokens"
        setting = f"{self.what or 'a setting'} changed, so no message could be read{cost}"
        return {
            MissCause.FIRST: "first request: nothing was in the cache yet",
            MissCause.SHORT: f"nothing was in the cache yet: until now the prompt was below {least}"
            if self.now_above_minimum
            else f"not cached: the prompt is below {least}",
            MissCause.EXPIRED: f"the cache had expired, {duration(self.seconds)} after its last use{cost}",
            MissCause.EDITED: f"{turn} {change}, so what follows it could not be read{cost}",
            MissCause.REMOVED: f"{turn} was removed, so what follows it could not be read{cost}",
            MissCause.INSERTED: f"{turn} is new, so what follows it could not be read{cost}",
            MissCause.SYSTEM: f"the system prompt changed, so nothing after it could be read{cost}",
            MissCause.TOOLS: f"the tools changed, so nothing could be read{cost}",
            MissCause.THINKING: setting,
            MissCause.FORGOTTEN: "this model is not shown its earlier thoughts,"
            f" so what follows could not be read{cost}",
            MissCause.TOOL_CHOICE: setting,
            MissCause.IMAGE: f"the first image came or the last one went, so no message could be read{cost}",
            MissCause.SETTINGS: setting,
            MissCause.MODEL: f"the model changed from {self.model}, and every model has a cache of its own{cost}",
            MissCause.KEY: f"the key or the address changed, and every one has a cache of its own{cost}",
            MissCause.DROPPED: f"the provider did not read what should still have been warm{cost}",
            MissCause.SILENT: "the provider does not report what it read from the cache",
        }[self.cause]


def duration(seconds: float) -> str:
    """As in "7 m 12 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} m"
    return f"{minutes} m {rest} s" if minutes else f"{rest} s"
