"""Decide which addresses become links, and turn images into links."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from markdown_it.rules_core import StateCore
    from markdown_it.token import Token

_LINK = re.compile(
    r"https?://(?P<host>[a-z0-9_][a-z0-9._-]*|\[[0-9a-f:.]+\])(:(?P<port>\d{1,5}))?(?=[/?#]|$)|mailto:[^/]|#.",
    re.IGNORECASE | re.ASCII,
)
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")


def is_safe_address(address: str) -> bool:
    """Return True if an address may become a link.

    Relative addresses may not: JupyterLab makes them addresses of its own server, with the user's token. It treats "#"
    alone, and what browsers cannot parse ("http://[h/", "http://h:99999/"), as relative, too.
    """
    link = _LINK.match(address)
    if link is None or link["host"] is None:
        return link is not None
    return int(link["port"] or 0) < 65536 and _is_host(link["host"])


def _is_host(name: str) -> bool:
    """Return True if browsers can parse a host name: one that ends in a number must be an IP address."""
    numeric = name.startswith("[") or name.rstrip(".").rpartition(".")[2][:1].isdigit()
    try:
        ip_address(name.strip("[]")) if numeric else name.encode().decode("idna")
    except ValueError:
        return False
    return True


def restrict_links(state: StateCore) -> None:
    """Turn images into links, open links in a new tab without a referrer, and keep only known attributes."""
    from markdown_it.token import Token

    before = None
    for block in state.tokens:
        # The start of a numbered list and the alignment of a table cell come from the parser.
        block.attrs = {name: value for name, value in block.attrs.items() if name in ("start", "style")}
        mixed = before is not None and _RIGHT_TO_LEFT.search(block.content)
        if before is not None and mixed:
            before.attrs["dir"] = "auto"
        if before is not None and before.type in ("td_open", "th_open"):
            before.attrs.setdefault("style", f"text-align:{_text_align(before, block.content)}")
        before = block if block.nesting == 1 else None
        if not block.children:
            continue
        addresses: list[str] = []
        children: list[Token] = []
        for token in block.children:
            if token.type == "link_open":
                addresses.append(str(token.attrs["href"]))
                token = _link_open(addresses[-1])
            elif token.type == "link_close":
                address = addresses.pop()
                # The parser accepts an empty address, which would be that of the page.
                token = token if is_safe_address(address) else Token("text", "", 0, content=f"]({address})")
            elif token.type == "image":
                address = str(token.attrs["src"])
                alt = _alt(token.children or ())
                text = Token("text", "", 0, content=f"[image: {alt}]" if alt else "[image]")
                target = Token("text", "", 0, content=f" ({_destination(address)})")
                if addresses or not is_safe_address(address):
                    children += (text, target)
                else:
                    children += (_link_open(address), text, Token("link_close", "a", -1), target)
                continue
            else:
                token.attrs = {"dir": "ltr"} if mixed and token.type == "code_inline" else {}
            children.append(token)
        block.children = children


def _text_align(cell: Token, text: str) -> str:
    """Return the alignment of a cell if the table gives none: front ends would align it right, for numbers.

    Not "start", which the sanitizer of an untrusted notebook removes.
    """
    if cell.type == "th_open":
        return "center"
    letter = next(filter(str.isalpha, text), "")
    return "right" if _RIGHT_TO_LEFT.match(letter) else "left"


def _link_open(address: str) -> Token:
    from markdown_it.token import Token

    if not is_safe_address(address):
        return Token("text", "", 0, content="[")
    new_tab = {} if address.startswith("#") else {"rel": "noopener noreferrer", "target": "_blank"}
    return Token("link_open", "a", 1, attrs={"href": address, **new_tab})


def _destination(address: str) -> str:
    """Return host and path of an address, short enough for a line."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return address[:60]
    destination = parts.netloc + parts.path + ("?…" if parts.query else "")
    return destination if len(destination) <= 60 else destination[:59] + "…"


def _alt(tokens: Sequence[Token]) -> str:
    return "".join(_alt(token.children or ()) if token.type == "image" else token.content for token in tokens)
