"""E-books (EPUB 2 and 3, W3C): the chapters of the spine, in reading order, as text."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

from mmsearch.errors import MediaError
from mmsearch.media.formats.archive import UNREADABLE, Archive, open_archive, xml_tree
from mmsearch.media.formats.encodings import decode
from mmsearch.media.formats.exif import clean
from mmsearch.media.formats.html import visible_text
from mmsearch.media.formats.sections import Section
from mmsearch.media.opened import Content

_CONTAINER = "{urn:oasis:names:tc:opendocument:xmlns:container}"
_OPF = "{http://www.idpf.org/2007/opf}"
_DC = "{http://purl.org/dc/elements/1.1/}"
_TAGS = {"title": "title", "creator": "author", "language": "language",
         "description": "description", "publisher": "publisher", "date": "date"}  # fmt: skip


def read(source: Content, max_bytes: int) -> tuple[dict[str, Any], list[Section]]:
    """(metadata, chapters). Raises MediaError as `open_archive`."""
    with open_archive(source, max_bytes) as archive:
        protected = "META-INF/rights.xml" in archive.names
        package_path = _package_path(archive)
        package = xml_tree(archive.read(package_path))
        metadata = _metadata(package)
        sections = list(_chapters(archive, package, posixpath.dirname(package_path)))
    if not any(section.text.strip() for section in sections):
        if protected:
            raise MediaError("encrypted", "The e-book is protected against being read.")
        raise MediaError("empty", "The e-book holds no text.")
    return metadata | {"pages": len(sections), "page_kind": "chapter"}, sections


def _package_path(archive: Archive) -> str:
    container = xml_tree(archive.read("META-INF/container.xml"))
    root = container.find(f".//{_CONTAINER}rootfile")
    path = root.get("full-path") if root is not None else None
    if not path:
        raise MediaError("corrupt", "The e-book is damaged: it does not say what is in it.")
    return str(path)


def _metadata(package: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    for name, key in _TAGS.items():
        element = package.find(f".//{_DC}{name}")
        text = clean(element.text) if element is not None else ""
        if text:
            metadata[key] = text
    return metadata


def _chapters(archive: Archive, package: Any, folder: str) -> Iterator[Section]:
    hrefs = {
        item.get("id"): item.get("href")
        for item in package.iter(f"{_OPF}item")
        if "html" in (item.get("media-type") or "")
    }
    number = 0
    seen: set[str] = set()
    for reference in package.iter(f"{_OPF}itemref"):
        href = hrefs.get(reference.get("idref"))
        if not href:
            continue
        # Names in the archive, never paths of this machine.
        name = posixpath.normpath(posixpath.join(folder, unquote(href)))
        if name in seen:  # EPUB 3.3, 5.7.2: once each
            continue
        seen.add(name)
        content = None
        with suppress(*UNREADABLE):
            content = archive.read(name)
        decoded = decode(content) if content else None
        if decoded is None:
            continue
        number += 1
        text, about = visible_text(decoded.text)
        yield Section(text, number, about.get("title"))
