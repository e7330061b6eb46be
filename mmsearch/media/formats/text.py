"""Written files: bytes to one readable text.

The text that comes out is what offsets (`char_start`, `char_end`) count in. It depends on the
bytes and the media type alone: decoded (see `encodings`), newlines made "\\n", and then

- plain, reStructuredText, XML, source code: as it stands;
- Markdown: as it stands, its front matter as "name: value" lines;
- HTML: what a reader sees, blocks on lines of their own, empty lines between paragraphs;
- JSON, JSON Lines: one "name: value" a line, an empty line between records; notebooks: their cells;
- CSV, TSV: one row a paragraph, "column: value; column: value" where there is a header;
- calendars and contacts: one entry a paragraph.

What no one reads (pictures and other files in base64) is left out.
"""

from __future__ import annotations

import re
from typing import Any

from mmsearch.errors import MediaError
from mmsearch.media.formats.encodings import decode

KINDS = (
    "text/plain", "text/markdown", "text/x-rst", "text/xml", "text/x-source", "text/html",
    "text/csv", "text/tab-separated-values", "text/calendar", "text/vcard", "application/json",
    "application/x-ndjson",
)  # fmt: skip
"""The media types that `read` knows."""

_DATA_URI = re.compile(r"data:[\w/.+-]{0,80}(?:;[\w=.-]{1,80})*;base64,[A-Za-z0-9+/=_%-]*")
_UUENCODED = re.compile(
    r"^begin [0-7]{3,4} .*\n(?:[M][ -`]{60}\n)+(?:[ -`]*\n){0,3}end$", re.MULTILINE
)
_ENCODED_LINES = re.compile(
    r"(?:^[ \t>]*[A-Za-z0-9+/]{56,}={0,2}[ \t]*\n){3,}(?:[ \t>]*[A-Za-z0-9+/]+={0,2}[ \t]*$)?",
    re.MULTILINE,
)
_LONG_RUN = re.compile(r"[A-Za-z0-9+/=_\\-]{200,}")
_ONE_SIGN = re.compile(r"([^\w\s])\1{199,}")


def read(content: bytes, mime: str, max_bytes: int) -> tuple[str, dict[str, Any]]:
    """(text, metadata) of a written file of one of `KINDS`.

    Metadata: encoding, and where known title, description, language, warning; of front matter
    also date, author, tags. Raises MediaError: too_large, empty, corrupt.
    """
    if len(content) > max_bytes:
        raise MediaError(
            "too_large", f"The text has {len(content)} bytes: more than the {max_bytes} allowed."
        )
    decoded = decode(content)
    if decoded is None:
        raise MediaError("corrupt", "The text cannot be decoded in any encoding.")
    metadata: dict[str, Any] = {"encoding": decoded.encoding}
    if decoded.damaged:
        metadata["warning"] = "Some bytes fit no encoding and were replaced."
    text, about = _readable(decoded.text, mime)
    text = without_encoded_files(text)
    if not text.strip():
        raise MediaError("empty", "The file holds no text.")
    return text, metadata | about


def _readable(text: str, mime: str) -> tuple[str, dict[str, Any]]:
    if mime == "text/html":
        from mmsearch.media.formats.html import visible_text

        return visible_text(text)
    if mime in ("application/json", "application/x-ndjson"):
        from mmsearch.media.formats.records import readable_json

        return readable_json(text), {}
    if mime in ("text/csv", "text/tab-separated-values"):
        from mmsearch.media.formats.tables import readable_csv

        return readable_csv(text, "\t" if mime.endswith("tab-separated-values") else None), {}
    if mime == "text/markdown":
        from mmsearch.media.formats import markdown

        return markdown.read(text)
    if mime in ("text/calendar", "text/vcard"):
        from mmsearch.media.formats import calendars

        return calendars.read(text)
    return text, {}


def without_encoded_files(text: str) -> str:
    """`text` without files that are written in letters: data URIs, base64, uuencode, and runs of
    letters and digits that are longer than any word."""
    text = _DATA_URI.sub(" ", text)
    text = _ENCODED_LINES.sub("\n", text)
    text = _UUENCODED.sub("", text)
    text = _LONG_RUN.sub(" ", text)
    shorter = _ONE_SIGN.sub(" ", text)
    return shorter if shorter.strip() else text
