"""Presentations (PresentationML, ECMA-376 part 1): each slide's texts, tables, diagrams, charts,
descriptions of pictures, notes and comments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmsearch.media.formats.archive import open_archive
from mmsearch.media.formats.drawing import A, children, paragraph_text, related_texts
from mmsearch.media.formats.exif import clean
from mmsearch.media.formats.package import Package, R
from mmsearch.media.formats.sections import Section
from mmsearch.media.formats.tables import table_text
from mmsearch.media.opened import Content

P = "{http://schemas.openxmlformats.org/presentationml/2006/main}"
_TITLES = ("title", "ctrTitle")
_UNSPOKEN = ("sldNum", "hdr", "ftr", "dt", "sldImg")
"""Placeholders of a page of notes that are no notes."""
_MAX_DEPTH = 50


def pptx(source: Content, max_bytes: int) -> tuple[dict[str, Any], list[Section]]:
    """(metadata, slides) of a presentation. Raises MediaError as `open_archive`."""
    with open_archive(source, max_bytes) as archive:
        package = Package(archive)
        part = package.main("ppt/presentation.xml")
        slides = list(_slides(package, part))
        metadata = package.metadata() | {"pages": len(slides), "page_kind": "slide"}
    if package.damaged:
        metadata["warning"] = "The document is damaged; not all of its parts could be read."
    return metadata, slides


def _slides(package: Package, presentation: str) -> Iterator[Section]:
    targets = {identifier: target for identifier, _, target in package.relations(presentation)}
    listed = package.tree(presentation).iter(f"{P}sldId")
    names = dict.fromkeys(targets.get(slide.get(f"{R}id") or "", "") for slide in listed)
    for number, name in enumerate(filter(None, names), 1):
        root = package.optional_tree(name)
        if root is None:
            yield Section("", number)
            continue
        texts = list(_shapes(package, name, root.find(f"{P}cSld/{P}spTree"), 0))
        texts += _beside(package, name)
        yield Section(
            "\n\n".join(filter(None, map(str.strip, texts))), number, _title(root) or None
        )


def _title(slide: Any) -> str:
    for shape in slide.iter(f"{P}sp"):
        if _placeholder(shape) in _TITLES:
            return clean(_body(shape))
    return ""


def _placeholder(shape: Any) -> str | None:
    placeholder = shape.find(f"{P}nvSpPr/{P}nvPr/{P}ph")
    return None if placeholder is None else placeholder.get("type", "obj")


def _body(shape: Any) -> str:
    return "\n".join(paragraph_text(p) for p in shape.iter(f"{A}p"))


def _shapes(package: Package, part: str, parent: Any | None, depth: int) -> Iterator[str]:
    if parent is None or depth > _MAX_DEPTH:
        return
    for shape in children(parent):
        if shape.tag == f"{P}sp":
            yield _body(shape)
        elif shape.tag == f"{P}grpSp":
            yield from _shapes(package, part, shape, depth + 1)
        elif shape.tag == f"{P}graphicFrame":
            for table in shape.iter(f"{A}tbl"):
                yield _table(table)
            described = shape.find(f"{P}nvGraphicFramePr/{P}cNvPr")
            if described is not None and shape.find(f".//{A}tbl") is None:
                yield described.get("descr") or ""
            yield from related_texts(package, part, shape)
        elif shape.tag == f"{P}pic":
            described = shape.find(f"{P}nvPicPr/{P}cNvPr")
            yield (described.get("descr") or "") if described is not None else ""
        else:
            yield from _shapes(package, part, shape, depth + 1)


def _table(table: Any) -> str:
    return table_text(
        ["\n".join(paragraph_text(p) for p in cell.iter(f"{A}p")) for cell in row.findall(f"{A}tc")]
        for row in table.findall(f"{A}tr")
    )


def _beside(package: Package, slide: str) -> Iterator[str]:
    """Notes and comments."""
    for _, kind, target in package.relations(slide):
        if kind == "notesSlide":
            root = package.optional_tree(target)
            for shape in root.iter(f"{P}sp") if root is not None else ():
                if _placeholder(shape) not in _UNSPOKEN:
                    yield _body(shape)
        elif kind == "comments":
            root = package.optional_tree(target)
            if root is not None:
                # The first form of comments has plain text, the second one paragraphs.
                yield from (text.text or "" for text in root.iter(f"{P}text"))
                yield from (paragraph_text(p) for p in root.iter(f"{A}p"))
