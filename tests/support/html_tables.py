"""Tables, tags, attributes and titles of an HTML text."""

from __future__ import annotations

from html.parser import HTMLParser


class Html(HTMLParser):
    """A parsed HTML text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        """Tables; each is a list of rows, the heads first."""
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.titles: list[str] = []
        self._cell = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.titles += [value or "" for name, value in attrs if name == "title"]
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self._cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data: str) -> None:
        if self._cell:
            self.tables[-1][-1][-1] += data

    def table(self, *heads: str) -> list[dict[str, str]]:
        """Rows of the first table that has these heads, as dicts by head; empty if there is no such table."""
        for head, *rows in self.tables:
            if set(heads) <= set(head):
                return [dict(zip(head, row, strict=True)) for row in rows]
        return []
