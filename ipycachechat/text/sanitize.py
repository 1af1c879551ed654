"""Strip terminal escapes, bidirectional overrides and lone surrogates from text."""

from __future__ import annotations

import re

# Terminal escape sequences, then single control characters. Also bidirectional overrides, which make code look
# different from what runs ("Trojan Source"); ordinary Hebrew or Arabic text does not need them, and the marks
# (LRM, RLM, ALM) stay. Lone surrogates cannot be sent to the front end.
_TERMINAL = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b[\\]PX^_]|[\x90\x98\x9d-\x9f])"
    "[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\\\|\x9c)?"
    "|\x1b[ -/]*[0-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def clean(text: str) -> str:
    """Return the text without these characters, and with `\\n` as its line end."""
    return _TERMINAL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
