"""Names of variables, fields and columns that hold secrets."""

from __future__ import annotations

import re

# Environment variables: their values are long and random, or are left alone. Not MAX_TOKENS or TOKENIZERS_PARALLELISM.
_VARIABLE = re.compile(
    r"(?:^|[^A-Z])(?:KEY|AUTH|PASS|PWD|PAT|DSN|CREDS?|COOKIE)(?![A-Z])|PASSW(?:OR)?D|PASSPHRASE|SECRET"
    r"|API_?KEY|CREDENTIAL|TOKEN(?!IZ|S(?![A-Z]))|CONN(?:ECTION)?_?STR"
)
# Variables that hold something about a secret, such as its path.
_VARIABLE_OF_METADATA = re.compile(
    r"_(?:URL|URI|PATH|FILE|DIR|NAME|TYPE|METHOD|MODE|PROVIDER|ENDPOINT|HOST|PORT|USER|USERNAME|EMAIL|SOCK|TTL"
    r"|EXPIRY|ALGORITHM|LENGTH|SIZE|REGION|VERSION)$"
)
# Fields and columns: whatever they hold is a secret. So not `token` or `key`, which are words of other subjects, too.
_KEYS = (
    "access account api app auth client consumer deploy encryption host license master private secret service "
    "shared signing ssh storage subscription webhook"
)
_TOKENS = (
    "access api app auth bearer bot csrf device github hf id jwt oauth personal refresh security session "
    "user xsrf"
)
_FIELD = re.compile(
    r"(?!(?:has|have|is|n|no|num|count|needs|with)_)(?:|.*_)"
    r"(?:pass_?(?:word|wd|phrase|code)|pwd|secret|credential|conn(?:ection)?_?str(?:ing)?"
    rf"|(?:{_KEYS.replace(' ', '|')})_?key|(?:{_TOKENS.replace(' ', '|')})_?token|key_data)s?"
    r"(?:_(?:key|value|text|plain|hash|base64|b64|old|new|current))?_?\d*"
)
_PART = re.compile(r"pass|pwd|secret|credential|str|key|token", re.I)  # of every such name
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_NOT_LETTERS = re.compile(r"[^a-z0-9]+")
MAX_NAME_LENGTH = 80


def is_secret_variable(name: str) -> bool:
    """Return True for the name of an environment variable that may hold a secret."""
    upper = name.upper()
    return bool(_VARIABLE.search(upper)) and not _VARIABLE_OF_METADATA.search(upper)


def secret_field(name: object) -> str:
    """Return the name of a field or column whose values are secrets, in small letters; "" for another name.

    `password`, `apiKey`, `Client Secret` and `aws_secret_access_key` are; `token`, `key` and `password_length` are not.
    Of a tuple, as a table with several headers has it, each part counts.
    """
    if isinstance(name, tuple):
        return next(filter(None, map(secret_field, name)), "")
    if not isinstance(name, str) or len(name) > MAX_NAME_LENGTH or not _PART.search(name):
        return ""
    words = _NOT_LETTERS.sub("_", _CAMEL.sub("_", str.__str__(name)).lower()).strip("_")
    return words if _FIELD.fullmatch(words) else ""
