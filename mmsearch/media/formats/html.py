"""What a reader sees of an HTML page, as text.

libxml2's parser, which closes what authors leave open, without a tree: a page of a million
unclosed tags costs one pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lxml import etree

from mmsearch.media.formats.encodings import without_invisible

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
_READINGS = frozenset(("rt", "rp", "rtc"))
"""How ideographs are read aloud, beside them: no part of the words."""
# Elements without content, written as in XML: an HTML parser would take what follows for theirs.
_CLOSED = re.compile(
    r"<(script|style|title|textarea|iframe|noscript|template|svg|math|object|select|canvas|audio|"
    r"video|datalist)\b([^<>]*)/>",
    re.IGNORECASE,
)
_CHUNK = 2**16
_SPACE = re.compile(r"[ \t\n\r\f\v\u00a0]+")
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_DESCRIPTIONS = ("description", "og:description")


def visible_text(page: str) -> tuple[str, dict[str, Any]]:
    """(text, metadata) of a page; metadata: title, description, language where given."""
    page = _CLOSED.sub(r"<\1\2></\1>", page)
    lower = page.lower()
    reader = _Reader(
        _UNSEEN - set(_never_closed(lower)),
        # The parser reports ends that authors left out: "<li>one<li>two".
        frozenset(tag for tag in _LINE | _PARAGRAPH if f"</{tag}" in lower),
    )
    # `huge_tree`: pages nest deeper than libxml2 allows by default. Memory is bounded elsewhere.
    parser = etree.HTMLParser(
        target=reader, encoding="utf-8", no_network=True, huge_tree=True, recover=True
    )
    content = page.replace("\0", " ").encode("utf-8", "replace")
    for start in range(0, len(content), _CHUNK):
        parser.feed(content[start : start + _CHUNK])
    # Nothing but space is no document to libxml2.
    parser.feed(b"<!-- -->")
    parser.close()
    return reader.text(), reader.metadata()


def _never_closed(lower: str) -> Iterator[str]:
    """Elements that would hide the rest of the page, since their end is missing."""
    for tag in _UNSEEN - {"head", "script", "style"}:
        if lower.count(f"<{tag}") > lower.count(f"</{tag}"):
            yield tag


class _Reader:
    """What the parser calls; see `lxml.etree.HTMLParser`."""

    def __init__(self, unseen: frozenset[str], closed: frozenset[str]) -> None:
        self._hidden_tags = unseen
        self._closed_tags = closed
        self._parts: list[str] = []
        # Elements that are open inside of something unseen, and that itself.
        self._unseen = 0
        self._unseen_tag = ""
        self._in_title = False
        self._reading = False
        self._preformatted = 0
        self._title: list[str] = []
        self._metadata: dict[str, str] = {}

    def start(self, tag: str, attrs: dict[str, str]) -> None:
        if tag == "title" and not self._title and (not self._unseen or self._unseen_tag == "head"):
            self._in_title = True
        elif tag == "meta":
            name = (attrs.get("name") or attrs.get("property") or "").lower()
            if name in _DESCRIPTIONS and attrs.get("content"):
                self._metadata.setdefault("description", attrs["content"])
        elif tag == "html" and attrs.get("lang"):
            self._metadata.setdefault("language", attrs["lang"])
        if self._unseen:
            self._unseen += 1
            return
        hidden = "hidden" in attrs or _HIDDEN.search(attrs.get("style", ""))
        if tag in self._hidden_tags or tag == "title" or (hidden and tag not in _VOID):
            self._unseen, self._unseen_tag = 1, tag
            return
        if tag in _READINGS or tag in ("rb", "ruby"):
            self._reading = tag in _READINGS
        self._preformatted += tag == "pre"
        self._break(tag)
        if tag == "img" and attrs.get("alt"):
            self._parts.append(f" {attrs['alt']} ")

    def end(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        if self._unseen:
            self._unseen -= 1
            return
        if tag in _READINGS or tag == "ruby":
            self._reading = False
        if tag == "pre" and self._preformatted:
            self._preformatted -= 1
        if tag in self._closed_tags:
            self._break(tag)
        if tag in ("td", "th"):
            self._parts.append(" ")

    def data(self, data: str) -> None:
        if self._in_title:
            self._title.append(data)
        elif not self._unseen and not self._reading:
            self._parts.append(data if self._preformatted else _SPACE.sub(" ", data))

    def close(self) -> None:
        """Called by the parser at the end."""

    def _break(self, tag: str) -> None:
        if tag in _PARAGRAPH:
            self._parts.append("\n\n")
        elif tag in _LINE:
            self._parts.append("\n")

    def text(self) -> str:
        lines = [_SPACE.sub(" ", line).strip() for line in "".join(self._parts).split("\n")]
        return re.sub(r"\n{3,}", "\n\n", without_invisible("\n".join(lines))).strip()

    def metadata(self) -> dict[str, Any]:
        metadata = dict(self._metadata, title="".join(self._title))
        cleaned = {name: _SPACE.sub(" ", value).strip()[:500] for name, value in metadata.items()}
        return {name: value for name, value in cleaned.items() if value}
