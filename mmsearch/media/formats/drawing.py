"""What Word documents, slides and sheets have in common: formulas, text in shapes, diagrams,
charts (DrawingML and Office Math, ECMA-376 part 1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmsearch.media.formats.package import Package, R

A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_C = "{http://schemas.openxmlformats.org/drawingml/2006/chart}"
_DGM = "{http://schemas.openxmlformats.org/drawingml/2006/diagram}"
# What stands between the parts of a formula.
_BETWEEN = {f"{M}den": "/", f"{M}sup": "^", f"{M}sub": "_"}
_MAX_POINTS = 1000


def children(element: Any) -> Iterator[Any]:
    """The child elements; of alternatives for several programs only one."""
    for child in element:
        if child.tag != f"{MC}AlternateContent":
            if isinstance(child.tag, str):
                yield child
            continue
        choices = child.findall(f"{MC}Choice")
        chosen = next((c for c in choices if _has_text(c)), None)
        if chosen is None:
            chosen = child.find(f"{MC}Fallback")
        if chosen is None:
            chosen = choices[0] if choices else None
        if chosen is not None:
            yield from children(chosen)


def _has_text(element: Any) -> bool:
    return any(
        isinstance(node.tag, str) and node.tag.endswith("}t") and (node.text or "").strip()
        for node in element.iter()
    )


def formula(element: Any) -> str:
    """A formula in one line: "a^2/b"."""
    parts: list[str] = []
    for node in element.iter():
        if node.tag in _BETWEEN and parts:
            parts.append(_BETWEEN[node.tag])
        elif node.tag == f"{M}radPr":
            parts.append("√")
        elif node.tag == f"{M}t":
            parts.append(node.text or "")
    return "".join(parts)


def paragraph_text(paragraph: Any) -> str:
    """The text of a paragraph in a shape (`a:p`)."""
    parts: list[str] = []

    def walk(element: Any) -> None:
        for child in children(element):
            if child.tag == f"{A}t":
                parts.append(child.text or "")
            elif child.tag in (f"{A}br", f"{A}tab"):
                parts.append("\n" if child.tag.endswith("br") else "\t")
            elif child.tag in (f"{M}oMath", f"{M}oMathPara"):
                parts.append(formula(child))
            else:
                walk(child)

    walk(paragraph)
    # A vertical tab is a line break within a paragraph.
    return "".join(parts).replace("\v", "\n")


def shape_texts(element: Any) -> Iterator[str]:
    """The text of each body of text in a drawing."""
    for body in element.iter():
        if isinstance(body.tag, str) and body.tag.endswith("}txBody"):
            text = "\n".join(paragraph_text(p) for p in body.iter(f"{A}p")).strip()
            if text:
                yield text


def related_texts(package: Package, part: str, element: Any) -> Iterator[str]:
    """The texts of the diagrams and charts that `element`, of this part, shows."""
    wanted = {
        node.get(attribute)
        for node in element.iter(f"{_DGM}relIds", f"{_C}chart")
        for attribute in (f"{R}dm", f"{R}id")
    } - {None}  # fmt: skip
    if not wanted:
        return
    for identifier, _, target in package.relations(part):
        if identifier in wanted:
            root = package.optional_tree(target)
            if root is not None:
                yield _chart(root) if root.tag == f"{_C}chartSpace" else _diagram(root)


def _diagram(root: Any) -> str:
    lines = (paragraph_text(paragraph).strip() for paragraph in root.iter(f"{A}p"))
    return "\n".join(filter(None, lines))


def _chart(root: Any) -> str:
    """Titles, names of the categories and of the series."""
    titles = [
        " ".join("".join(paragraph_text(p) for p in title.iter(f"{A}p")).split())
        for title in root.iter(f"{_C}title")
    ]
    names: list[str] = []
    for category in root.iter(f"{_C}cat"):
        values = [v.text or "" for v in category.iter(f"{_C}v")][:_MAX_POINTS]
        names.append(", ".join(values))
    series = [
        " ".join(v.text or "" for v in text.iter(f"{_C}v"))
        for each in root.iter(f"{_C}ser")
        for text in each.findall(f"{_C}tx")
    ]
    return "\n".join(dict.fromkeys(filter(None, (*titles, *names, *series))))
