"""The loopback server's tokenizer: deterministic, fast, and the same for all providers.

A token is a run of at most 12 word characters or one other visible character, together with the white
space before it; white space at the end of a text is one token more. So `count("a b, c") == 4`. An image
or a document given by source is `IMAGE` tokens whatever its size. A block costs what its parts cost:
there is no overhead per message, so a test can add up a bill by hand with `count`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

IMAGE = 1500
_PIECE = re.compile(r"\s*(?:\w{1,12}|[^\w\s])|\s+")


@lru_cache(maxsize=4096)
def count(text: str) -> int:
    """Number of tokens of a text."""
    return len(_PIECE.findall(text))


def split_tokens(text: str) -> list[str]:
    """The tokens of a text; joined they are the text again."""
    return _PIECE.findall(text)


def words(n: int, word: str = "word") -> str:
    """A text of exactly n tokens, for tests that need a prompt of a known size."""
    return " ".join([word] * n)


def canonical(value: object) -> str:
    """JSON without white space, keys in their given order: order is part of a prompt, spacing is not."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def count_json(value: object) -> int:
    """Tokens of a value as its canonical JSON."""
    return count(canonical(value))


def count_parts(content: str | Sequence[Mapping[str, Any]] | None) -> int:
    """Tokens of a message's content, in the form of any of the three providers."""
    if content is None:
        return 0
    if isinstance(content, str):
        return count(content)
    return sum(count_part(part) for part in content)


def count_part(part: Mapping[str, Any]) -> int:
    """Tokens of one content block or part."""
    kind = part.get("type")
    if kind in ("image", "image_url", "input_audio", "file") or "inlineData" in part or "fileData" in part:
        return IMAGE
    if kind == "document":
        source = part.get("source", {})
        return count(source["data"]) if source.get("type") == "text" else IMAGE
    if kind == "thinking":
        return count(part["thinking"])
    if kind == "redacted_thinking":
        return count(part["data"])
    if kind == "tool_use":
        return count(part["name"]) + count_json(part["input"])
    if kind == "tool_result":
        return count_parts(part.get("content"))
    if kind == "refusal":
        return count(part["refusal"])
    if "functionCall" in part:
        return count(part["functionCall"]["name"]) + count_json(part["functionCall"].get("args", {}))
    if "functionResponse" in part:
        return count_json(part["functionResponse"].get("response", {}))
    if "text" in part:
        return count(part["text"])
    return count_json(part)
