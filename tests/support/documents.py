"""Small documents, made from scratch."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont


def a_pdf(pages: Sequence[str], *, size: tuple[int, int] = (612, 792), extra: str = "") -> bytes:
    """A PDF whose pages hold the given lines, from the top, in 24-point Helvetica."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>"
        % (b" ".join(b"%d 0 R" % (4 + 2 * n) for n in range(len(pages))), len(pages)),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, page in enumerate(pages):
        shown = "".join(f"({line}) Tj 0 -30 Td " for line in page.split("\n"))
        content = f"BT /F1 24 Tf 72 {size[1] - 96} Td {shown}ET".encode("latin-1")
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {size[0]} {size[1]}] {extra}"
            f"/Resources << /Font << /F1 3 0 R >> >> /Contents {5 + 2 * number} 0 R >>".encode()
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content))
    return pdf_of(objects)


def a_scan(lines: Sequence[str], size: tuple[int, int] = (850, 1100)) -> bytes:
    """A PDF of one page that is nothing but a picture of the lines."""
    buffer = io.BytesIO()
    a_picture_of(lines, size).save(buffer, "PDF", resolution=100.0)
    return buffer.getvalue()


def a_picture_of(
    lines: Sequence[str], size: tuple[int, int] = (640, 240), *, ground: str = "white"
) -> Image.Image:
    """Lines of print, as on a screen."""
    picture = Image.new("RGB", size, ground)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=28)
    for number, line in enumerate(lines):
        draw.text((30, 40 + 50 * number), line, fill="black", font=font)
    return picture


def zipped(members: Mapping[str, str | bytes]) -> bytes:
    """An archive; the first member is stored, as "mimetype" must be."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            stored = zipfile.ZIP_STORED if name == "mimetype" else zipfile.ZIP_DEFLATED
            archive.writestr(name, content, stored)
    return buffer.getvalue()


def an_opendocument(kind: str, body: str) -> bytes:
    """An OpenDocument file of `kind` (text, spreadsheet, presentation) with this body in XML."""
    names = "".join(
        f' xmlns:{prefix}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for prefix, name in (
            ("office", "office"), ("text", "text"), ("table", "table"), ("draw", "drawing"),
        )
    )  # fmt: skip
    content = (
        f"<office:document-content{names}><office:body><office:{kind}>{body}"
        f"</office:{kind}></office:body></office:document-content>"
    )
    return zipped(
        {
            "mimetype": f"application/vnd.oasis.opendocument.{kind}",
            "content.xml": content,
        }
    )


def an_epub(chapters: Sequence[tuple[str, str]]) -> bytes:
    """An e-book of (title, body in XHTML) chapters."""
    items = "".join(
        f'<item id="c{n}" href="text/c{n}.xhtml" media-type="application/xhtml+xml"/>'
        for n in range(len(chapters))
    )
    spine = "".join(f'<itemref idref="c{n}"/>' for n in range(len(chapters)))
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf" version="3.0">'
        '<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">'
        "<dc:title>A small book</dc:title><dc:creator>Ada</dc:creator></metadata>"
        f"<manifest>{items}</manifest><spine>{spine}</spine></package>"
    )
    container = (
        '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0">'
        '<rootfiles><rootfile full-path="OPS/book.opf"/></rootfiles></container>'
    )
    return zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": container,
            "OPS/book.opf": package,
        }
        | {
            f"OPS/text/c{n}.xhtml": (
                f"<html><head><title>{title}</title></head><body>{body}</body></html>"
            )
            for n, (title, body) in enumerate(chapters)
        }
    )


def pdf_of(objects: Sequence[bytes]) -> bytes:
    """A PDF of these objects, numbered from 1; the first one is its catalogue."""
    made = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, content in enumerate(objects, 1):
        offsets.append(len(made))
        made += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start = len(made)
    made += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    made += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    made += b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        start,
    )
    return bytes(made)


def a_word_package(body: str, parts: Mapping[str, str] | None = None) -> bytes:
    """A Word document with this body in XML, and further parts by their relation's name
    ("footnotes", "header", ...)."""
    namespaces = (
        'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" '
        'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships" '
        'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math" '
        'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
    )
    kinds = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    relations = "".join(
        f'<Relationship Id="r{n}" Type="{kinds}/{kind}" Target="{kind}.xml"/>'
        for n, kind in enumerate(parts or {})
    )
    about = 'xmlns="http://schemas.openxmlformats.org/package/2006/relationships"'
    return zipped(
        {
            "[Content_Types].xml": "<Types/>",
            "_rels/.rels": f"<Relationships {about}><Relationship Id='d' "
            f"Type='{kinds}/officeDocument' Target='word/document.xml'/></Relationships>",
            "word/document.xml": f"<w:document {namespaces}><w:body>{body}</w:body></w:document>",
            "word/_rels/document.xml.rels": f"<Relationships {about}>{relations}</Relationships>",
        }
        | {
            f"word/{kind}.xml": f"<w:part {namespaces}>{content}</w:part>"
            for kind, content in (parts or {}).items()
        }
    )
