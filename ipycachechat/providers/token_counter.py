"""Token estimates before anything is billed, by litellm's tokenizer.

It is not the provider's own, but it tells numbers and code from prose; how far it is off, the first bill tells.
"""

from __future__ import annotations

from ipycachechat.caching.prefix import estimate_tokens

PIECE_LENGTH = 4096
"""Characters at a time: the tokenizer takes the square of the time for one long word, as of a picture in base64."""


def count_tokens(text: str) -> float:
    """Tokens of a text, about."""
    try:
        from litellm.litellm_core_utils.default_encoding import encoding
    except ImportError:  # it is no public part of litellm, and may go
        return estimate_tokens(text)
    pieces = (text[start : start + PIECE_LENGTH] for start in range(0, len(text), PIECE_LENGTH))
    return float(sum(len(encoding.encode(piece, disallowed_special=())) for piece in pieces))
