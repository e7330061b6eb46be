"""FictionBook (.fb2), an e-book in one XML file: its chapters as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmsearch.errors import MediaError
from mmsearch.media.formats.archive import xml_tree
from mmsearch.media.formats.encodings import decode
from mmsearch.media.formats.exif import clean
from mmsearch.media.formats.sections import Section

_PARAGRAPHS = frozenset(("p", "v", "subtitle", "text-author", "td", "th"))


def read(content: bytes) -> tuple[dict[str, Any], list[Section]]:
    """(metadata, chapters). Raises MediaError corrupt, empty."""
    decoded = decode(content)
    if decoded is None:
        raise MediaError("corrupt", "The e-book is damaged: it is no text.")
    # The declared encoding is used up.
    root = xml_tree(decoded.text.partition("?>")[2].encode() or decoded.text.encode())
    bodies = [child for child in root if _name(child) == "body"]
    sections = [
        Section(text, number, title)
        for number, (title, text) in enumerate(filter(any, map(_chapter, _chapters(bodies))), 1)
    ]
    if not sections:
        raise MediaError("empty", "The e-book holds no text.")
    return _metadata(root) | {"pages": len(sections), "page_kind": "chapter"}, sections


def _chapters(bodies: list[Any]) -> Iterator[Any]:
    for body in bodies:
        sections = [child for child in body if _name(child) == "section"]
        yield from sections or [body]


def _chapter(section: Any) -> tuple[str | None, str]:
    title = next((child for child in section if _name(child) == "title"), None)
    name = " ".join("".join(title.itertext()).split()) if title is not None else ""
    texts = (
        " ".join("".join(element.itertext()).split())
        for element in section.iter()
        if _name(element) in _PARAGRAPHS
    )
    return name[:500] or None, "\n\n".join(filter(None, texts))


def _metadata(root: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    info = next((element for element in root.iter() if _name(element) == "title-info"), None)
    for element in info if info is not None else ():
        text = clean(" ".join(" ".join(element.itertext()).split()))
        key = {"book-title": "title", "author": "author", "lang": "language", "date": "date",
               "annotation": "description"}.get(_name(element))  # fmt: skip
        if key and text:
            metadata.setdefault(key, text[:500])
    return metadata


def _name(element: Any) -> str:
    return element.tag.rsplit("}", 1)[-1] if isinstance(element.tag, str) else ""
