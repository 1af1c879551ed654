"""Strip terminal escapes, bidirectional overrides and lone surrogates from text."""

from __future__ import annotations

import re

# What a terminal would act on: whole escape sequences, then single control characters. Also the overrides of
# writing direction, which make code read otherwise than it runs ("Trojan Source"); honest Hebrew or Arabic
# needs none of them, and the marks (LRM, RLM, ALM) stay. Lone surrogates cannot be sent to the front end.
_TERMINAL = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b[\\]PX^_]|[\x90\x98\x9d-\x9f])"
    "[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\\\|\x9c)?"
    "|\x1b[ -/]*[0-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def clean(source: str) -> str:
    """The text without what a terminal acts on, and with plain line ends."""
    return _TERMINAL.sub("", source.replace("\r\n", "\n").replace("\r", "\n"))
