"""What a reader sees of an HTML page, as text.

The standard library's tokenizer rather than a tree: a page of a million unclosed tags costs
one pass and no depth.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

_UNSEEN = frozenset(
    ("script", "style", "template", "noscript", "head", "svg", "math", "object", "iframe", "select",
     "datalist", "canvas", "audio", "video")
)  # fmt: skip
_VOID = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track",
     "wbr")
)  # fmt: skip
_LINE = frozenset(
    ("br", "li", "tr", "dt", "dd", "option", "figcaption", "caption", "summary", "div", "hr",
     "thead", "tbody", "legend", "label", "button")
)  # fmt: skip
_PARAGRAPH = frozenset(
    ("p", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "pre", "ul", "ol", "dl", "table",
     "section", "article", "header", "footer", "nav", "aside", "main", "figure", "form", "address",
     "fieldset", "details", "body")
)  # fmt: skip
_SPACE = re.compile(r"[ \t\n\r\f\v\u00a0]+")
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_DESCRIPTIONS = ("description", "og:description")


def visible_text(page: str) -> tuple[str, dict[str, Any]]:
    """(text, metadata) of a page; metadata: title, description, language where given."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    return reader.text(), reader.metadata()


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._parts: list[str] = []
        # Inside of something unseen: its tag, and how many of the same are open.
        self._unseen: str | None = None
        self._depth = 0
        self._in_title = False
        self._preformatted = 0
        self._title: list[str] = []
        self._found: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "title" and not self._title and self._unseen in (None, "head"):
            self._in_title = True
        elif tag == "meta":
            name = (values.get("name") or values.get("property") or "").lower()
            if name in _DESCRIPTIONS and values.get("content"):
                self._found.setdefault("description", values["content"] or "")
        elif tag == "html" and values.get("lang"):
            self._found.setdefault("language", values["lang"] or "")
        elif tag == "body" and self._unseen == "head":
            self._unseen = None  # a head that was never closed
        if self._unseen is not None:
            self._depth += tag == self._unseen
            return
        hidden = "hidden" in values or _HIDDEN.search(values.get("style") or "")
        if tag in _UNSEEN or (hidden and tag not in _VOID):
            self._unseen, self._depth = tag, 1
            return
        self._preformatted += tag == "pre"
        self._break(tag)
        if tag == "img" and values.get("alt"):
            self._parts.append(f" {values['alt']} ")

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        if self._unseen is not None:
            if tag == self._unseen:
                self._depth -= 1
                if self._depth == 0:
                    self._unseen = None
            return
        if tag == "pre" and self._preformatted:
            self._preformatted -= 1
        self._break(tag)
        if tag in ("td", "th"):
            self._parts.append(" ")

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self._title.append(data)
        elif self._unseen is None:
            self._parts.append(data if self._preformatted else _SPACE.sub(" ", data))

    def _break(self, tag: str) -> None:
        if tag in _PARAGRAPH:
            self._parts.append("\n\n")
        elif tag in _LINE:
            self._parts.append("\n")

    def text(self) -> str:
        lines = [_SPACE.sub(" ", line).strip() for line in "".join(self._parts).split("\n")]
        return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()

    def metadata(self) -> dict[str, Any]:
        found = dict(self._found, title="".join(self._title))
        cleaned = {name: _SPACE.sub(" ", value).strip()[:500] for name, value in found.items()}
        return {name: value for name, value in cleaned.items() if value}
