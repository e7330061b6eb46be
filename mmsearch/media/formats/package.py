"""Office Open XML packages (ECMA-376 part 2): parts, what they refer to, and properties."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import Any

from mmsearch.errors import MediaError
from mmsearch.media.formats.archive import UNREADABLE, Archive, xml_tree
from mmsearch.media.formats.exif import clean

R = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_RELATIONSHIP = "{http://schemas.openxmlformats.org/package/2006/relationships}Relationship"
_DC = "{http://purl.org/dc/elements/1.1/}"
_TERMS = "{http://purl.org/dc/terms/}"
# "Strict" documents have namespaces of their own for the same elements.
_STRICT = re.compile(rb"http://purl\.oclc\.org/ooxml/(\w+)/")


class Package:
    """The parts of a document that can be read. Damaged ones are left out, and counted."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self.damaged = False

    def tree(self, name: str) -> Any:
        """The root element of a part. Raises KeyError, UNREADABLE, MediaError."""
        content = self._archive.read(name)
        return xml_tree(_STRICT.sub(rb"http://schemas.openxmlformats.org/\1/2006/", content))

    def optional_tree(self, name: str) -> Any | None:
        """The root element of a part, or None if it is missing or damaged."""
        if name not in self._archive.names:
            return None
        try:
            return self.tree(name)
        except MediaError as error:
            if error.code == "too_large":
                raise
        except UNREADABLE:
            pass
        self.damaged = True
        return None

    def content(self, name: str) -> bytes:
        """The bytes of a part; none if it is missing or damaged."""
        try:
            return self._archive.read(name)
        except UNREADABLE:
            return b""

    def relations(self, name: str) -> list[tuple[str, str, str]]:
        """(id, last word of its type, name of the part) for each part that this one refers to."""
        folder, file = posixpath.split(name)
        root = self.optional_tree(posixpath.join(folder, "_rels", f"{file}.rels"))
        return list(self._targets(root, folder)) if root is not None else []

    def _targets(self, root: Any, folder: str) -> Iterator[tuple[str, str, str]]:
        for relation in root.iter(_RELATIONSHIP):
            target = relation.get("Target") or ""
            if relation.get("TargetMode") == "External" or not target:
                continue
            path = posixpath.normpath(posixpath.join("/", folder, target)).lstrip("/")
            yield relation.get("Id") or "", (relation.get("Type") or "").rsplit("/", 1)[-1], path

    def main(self, default: str) -> str:
        """The name of the part that holds the document."""
        for _, kind, target in self.relations(""):
            if kind == "officeDocument" and target in self._archive.names:
                return target
        return default

    def metadata(self) -> dict[str, Any]:
        """title, author, description, language, created_at, as far as the document gives them."""
        core = next(
            (target for _, kind, target in self.relations("") if kind == "core-properties"),
            "docProps/core.xml",
        )
        root = self.optional_tree(core)
        metadata: dict[str, Any] = {}
        if root is None:
            return metadata
        for key, names in (
            ("title", ("title",)), ("author", ("creator",)),
            ("description", ("subject", "description")), ("language", ("language",)),
        ):  # fmt: skip
            for name in names:
                text = clean(root.findtext(f"{_DC}{name}"))
                if text:
                    metadata.setdefault(key, text)
        created = (root.findtext(f"{_TERMS}created") or "").strip()
        if re.match(r"\d{4}-\d\d-\d\dT", created):
            metadata["created_at"] = created[:10]
        return metadata
