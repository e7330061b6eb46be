"""What a file is, by its bytes. A name's extension only decides between kinds of text."""

from __future__ import annotations

import re
import zipfile
import zlib
from contextlib import suppress
from pathlib import PurePath

from mmsearch.errors import MediaError
from mmsearch.media.formats import calendars, mailbox
from mmsearch.media.formats.encodings import decode
from mmsearch.media.opened import Content, reader

_HEAD = 2**16

_IMAGES: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"II+\0", "image/tiff"),
    (b"MM\0+", "image/tiff"),
    (b"IIRO", "image/x-olympus-orf"),
    (b"IIRS", "image/x-olympus-orf"),
    (b"MMOR", "image/x-olympus-orf"),
    (b"IIU\0", "image/x-panasonic-rw2"),
    (b"FUJIFILMCCD-RAW", "image/x-fuji-raf"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "image/jp2"),
    (b"\xff\x4f\xff\x51\0", "image/jp2"),
    (b"qoif", "image/qoi"),
    (b"/* XPM */", "image/x-xpixmap"),
)
_AVIF, _HEIC = (b"avif", b"avis"), (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")

_AUDIO: tuple[tuple[bytes, str], ...] = (
    (b"fLaC", "audio/flac"),
    (b"ID3", "audio/mpeg"),
    (b"caff", "audio/x-caf"),
    (b".snd", "audio/basic"),
    (b"wvpk", "audio/x-wavpack"),
    (b"MPCK", "audio/x-musepack"),
    (b"MP+", "audio/x-musepack"),
    (b"ADIF", "audio/aac"),
    (b"#!AMR", "audio/amr"),
    (b"MAC ", "audio/x-ape"),
    (b"TTA1", "audio/x-tta"),
    (b"tBaK", "audio/x-tak"),
    (b"DSD ", "audio/x-dsf"),
    (b"FRM8", "audio/x-dff"),
    (b"\x0b\x77", "audio/ac3"),
    (b"\x7f\xfe\x80\x01", "audio/vnd.dts"),
)
# Containers that hold sound, moving pictures or both: only opening them tells.
_CONTAINERS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"OggS", "ogg"),
    (0, b"\x1aE\xdf\xa3", "matroska"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "x-ms-asf"),
    (0, b"FLV\x01", "x-flv"),
    (0, b"\0\0\x01\xba", "mpeg"),
    (0, b"\0\0\x01\xb3", "mpeg"),
    (0, b".RMF", "vnd.rn-realmedia"),
    (8, b"AVI ", "x-msvideo"),
    (4, b"ftyp", "mp4"),
    (4, b"moov", "mp4"),
    (4, b"mdat", "mp4"),
    (4, b"wide", "mp4"),
    (4, b"free", "mp4"),
    (4, b"skip", "mp4"),
    (4, b"moof", "mp4"),
)
_OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"%!PS", "PostScript is not read."),
    (b"8BPS", "Photoshop documents are not read."),
    (b"MThd", "A MIDI file holds notes, not sound."),
    (b"\x1f\x8b", "Compressed archives are not read."),
    (b"BZh", "Compressed archives are not read."),
    (b"\xfd7zXZ\0", "Compressed archives are not read."),
    (b"\x28\xb5\x2f\xfd", "Compressed archives are not read."),
    (b"7z\xbc\xaf\x27\x1c", "Compressed archives are not read."),
    (b"Rar!\x1a\x07", "Compressed archives are not read."),
    (b"SQLite format 3\0", "Databases are not read."),
    (b"\x7fELF", "Programs are not read."),
    (b"MZ", "Programs are not read."),
    (b"\xca\xfe\xba\xbe", "Programs are not read."),
    (b"\xcf\xfa\xed\xfe", "Programs are not read."),
    (b"\0asm", "Programs are not read."),
)
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_OFFICE = "application/vnd.openxmlformats-officedocument."
_OPENDOCUMENT = "application/vnd.oasis.opendocument."
# By the folder that holds the document inside the archive.
_ZIPPED = (
    ("word/", f"{_OFFICE}wordprocessingml.document"),
    ("xl/", f"{_OFFICE}spreadsheetml.sheet"),
    ("ppt/", f"{_OFFICE}presentationml.presentation"),
)
# What a zipped document says first, in a member "mimetype".
_NAMED = {
    "application/epub+zip": "application/epub+zip",
    **{
        f"{_OPENDOCUMENT}{kind}{template}": f"{_OPENDOCUMENT}{kind}"
        for kind in ("text", "spreadsheet", "presentation")
        for template in ("", "-template")
    },
}
DOCUMENTS = frozenset(
    ("application/pdf", "application/rtf", "message/rfc822", "application/mbox",
     "application/vnd.ms-outlook", "application/x-fictionbook+xml",
     *(mime for _, mime in _ZIPPED), *_NAMED.values())
)  # fmt: skip
"""The media types of documents that can be decoded."""

_MAIL_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9-]{0,60}):[ \t]?\S")
_MAIL_FIELDS = frozenset(
    ("from", "to", "subject", "date", "received", "return-path", "message-id", "mime-version",
     "delivered-to", "cc", "reply-to", "content-type", "sender")
)  # fmt: skip

_SOURCE_CODE = re.compile(
    r"\.(py|pyi|js|mjs|ts|tsx|jsx|c|h|cc|cpp|hpp|cs|java|kt|go|rs|rb|php|pl|lua|r|jl|swift|scala|"
    r"hs|ml|ex|exs|erl|clj|lisp|el|vim|sh|bash|zsh|fish|ps1|bat|sql|css|scss|less|vue|svelte|"
    r"toml|ini|cfg|conf|yaml|yml|tf|cmake|gradle|make|mk|dockerfile|proto|graphql|asm|s|f90|m|tex|"
    r"bib)$"
)
_TEXT_NAMES = {
    ".md": "text/markdown", ".markdown": "text/markdown", ".mdown": "text/markdown",
    ".rst": "text/x-rst", ".rest": "text/x-rst",
    ".csv": "text/csv", ".tsv": "text/tab-separated-values", ".tab": "text/tab-separated-values",
    ".jsonl": "application/x-ndjson", ".ndjson": "application/x-ndjson",
}  # fmt: skip
# A page begins with its own tags; other texts mention them anywhere.
_PROLOG = r"\s*(?:<!--(?:(?!-->).){0,2000}-->\s*|<\?[^>]{0,500}>\s*)*"
_HTML = re.compile(
    _PROLOG + r"(?:<!doctype\s+html|<html[\s>].*?(?:<(?:head|body|title|meta)[\s>]|</html>)|"
    r"<head>.*?</head>|<body[\s>].*?</body>)",
    re.IGNORECASE | re.DOTALL,
)
_SVG = re.compile(_PROLOG + r"(?:<!doctype\s+svg|<svg[\s>/])", re.IGNORECASE | re.DOTALL)
_FICTION_BOOK = re.compile(_PROLOG + r"<FictionBook[\s>]", re.DOTALL)
_SERVER_PAGES = (".php", ".phtml", ".asp", ".aspx", ".jsp", ".jspx", ".cgi", ".do", ".cfm")
_PORTABLE = re.compile(rb"P[1-6][ \t\r\n]+(#|\d)")


def sniff(source: Content, name: str = "") -> str:
    """The media type of a file, by its content.

    "image/...", "audio/...", the types of text (see `text.KINDS`) and DOCUMENTS can be decoded.
    Raises MediaError: unsupported (with a sentence that says what it is, where known), empty,
    missing, unreadable.
    """
    head = _head(source)
    if not head:
        raise MediaError("empty", "The file is empty.")
    name = name or ("" if isinstance(source, bytes) else source.name)
    mime = _picture(head)
    if mime is None and head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        # A byte order mark of UTF-16, which also looks like the beginning of an MPEG frame.
        mime = _text(source, head, name)
    mime = mime or _sound(head, source)
    if mime is not None:
        return mime
    mime = _document(head, source, name)
    if mime is not None:
        return mime
    _refuse_known(head)
    return _text(source, head, name) or _last_resort(source, head)


def _head(source: Content) -> bytes:
    if isinstance(source, bytes):
        return source[:_HEAD]
    try:
        with source.open("rb") as file:
            return file.read(_HEAD)
    except FileNotFoundError:
        raise MediaError("missing", "There is no such file.") from None
    except OSError as error:
        raise MediaError("unreadable", f"The file cannot be read: {error.strerror}.") from None


def _picture(head: bytes) -> str | None:
    for magic, mime in _IMAGES:
        if head.startswith(magic):
            return mime
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    # "BM" alone is any text: the header's length must be one of BMP's.
    if head[:2] == b"BM" and head[14:18] in _BMP_HEADERS:
        return "image/bmp"
    if head[:4] == b"\0\0\x01\0" and 0 < head[4] < 64 and head[5:6] == b"\0":
        return "image/x-icon"
    if _PORTABLE.match(head):
        return "image/x-portable-anymap"
    if head[4:12] == b"ftypcrx ":
        return "image/x-canon-cr3"
    if head[4:8] == b"ftyp":
        # The major brand, then (after a version) the compatible ones.
        brands = [head[8:12], *(head[at : at + 4] for at in range(16, 64, 4))]
        if any(brand in _AVIF for brand in brands):
            return "image/avif"
        if any(brand in _HEIC for brand in brands) or brands[0] in (b"mif1", b"msf1"):
            return "image/heic"
    return None


_BMP_HEADERS = {length.to_bytes(4, "little") for length in (12, 16, 40, 52, 56, 64, 108, 124)}


def _sound(head: bytes, source: Content) -> str | None:
    for magic, mime in _AUDIO:
        if head.startswith(magic):
            return mime
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return "audio/wav"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "audio/aiff"
    if head[0] == 0xFF and len(head) > 3 and _is_frame(head):
        return "audio/aac" if head[1] & 0xF6 == 0xF0 else "audio/mpeg"
    for offset, magic, mime in _CONTAINERS:
        if head[offset : offset + len(magic)] == magic:
            return _sound_or_film(source, mime)
    # MPEG transport streams: packets of 188 bytes.
    if len(head) > 376 and head[0] == head[188] == head[376] == 0x47:
        return _sound_or_film(source, "mp2t")
    return None


def _is_frame(head: bytes) -> bool:
    """Whether an MPEG audio or ADTS frame header begins here."""
    if head[1] & 0xF6 == 0xF0:  # ADTS: layer is 0; sampling rate index below 13
        return (head[2] >> 2) & 0xF < 13
    layer, rate, sampling = (head[1] >> 1) & 3, head[2] >> 4, (head[2] >> 2) & 3
    version = (head[1] >> 3) & 3
    return head[1] & 0xE0 == 0xE0 and layer != 0 and rate != 15 and sampling != 3 and version != 1


def _sound_or_film(source: Content, kind: str) -> str:
    from mmsearch.media.formats import audio

    info = audio.probe(source)
    if info.has_video:
        head = _head(source)
        if kind == "matroska":
            kind = "webm" if b"webm" in head[:80] else "x-matroska"
        elif head[4:12] == b"ftypqt  ":
            kind = "quicktime"
        return f"video/{kind}"
    if not info.has_audio:
        raise MediaError(
            "unsupported", "The file has neither sound nor moving pictures that can be decoded."
        )
    return f"audio/{kind}"


def _document(head: bytes, source: Content, name: str) -> str | None:
    if head.startswith(b"%PDF") or b"%PDF-" in head[:1024]:
        return "application/pdf"
    if head.startswith(b"{\\rtf"):
        return "application/rtf"
    if head.startswith(_OLE):
        return _compound(source)
    if head.startswith(_ZIP):
        return _zipped(head, source, name)
    return None


def _zipped(head: bytes, source: Content, name: str) -> str:
    """By the archive's list; by its beginning where that is cut off."""
    names: list[str] = []
    named = ""
    whole = False
    with (
        suppress(zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError),
        reader(source) as opened,
        zipfile.ZipFile(opened) as archive,
    ):
        whole = True
        names = archive.namelist()
        if "mimetype" in names and archive.getinfo("mimetype").file_size < 200:
            named = archive.read("mimetype").decode("latin-1").strip()
    if not named:
        stated = re.search(rb"mimetype(application/[a-z.+-]+?)PK", head[:200])
        named = stated[1].decode() if stated else ""
    if not whole:
        names = [member.decode("latin-1") for member in _MEMBER.findall(head)]
        if b"[Content_Types].xml" in head:
            names += [part for part, _ in _ZIPPED if part.encode() in head]
    if named in _NAMED:
        return _NAMED[named]
    for part, mime in _ZIPPED:
        if any(member.startswith(part) for member in names):
            return mime
    if "META-INF/container.xml" in names:
        return "application/epub+zip"
    if not whole and (len(head) < 100 or PurePath(name).suffix.lower() in _ZIPPED_NAMES):
        raise MediaError("corrupt", "The document is damaged or cut off: its end is missing.")
    raise MediaError("unsupported", "Compressed archives are not read.")


_MEMBER = re.compile(rb"PK\x03\x04.{26}([\x20-\x7e]{1,200}?\.(?:xml|rels|xhtml|opf))", re.DOTALL)
"""The name in the header of a member."""
_ZIPPED_NAMES = frozenset(
    (".docx", ".docm", ".dotx", ".xlsx", ".xlsm", ".xltx", ".pptx", ".pptm", ".potx", ".ppsx",
     ".odt", ".ods", ".odp", ".ott", ".ots", ".otp", ".epub")
)  # fmt: skip


_OLD_OFFICE = ("WordDocument", "Workbook", "Book", "PowerPoint Document")


def _compound(source: Content) -> str:
    """What a compound file ([MS-CFB]) holds: Outlook's letters and locked documents are read so."""
    import olefile

    try:
        with reader(source) as opened, olefile.OleFileIO(opened) as ole:
            names = {entry[0] for entry in ole.listdir(streams=True, storages=True)}
    except Exception:  # noqa: BLE001  # the library raises anything on a damaged file
        raise MediaError("corrupt", "The document is damaged: it cannot be opened.") from None
    if "__properties_version1.0" in names:
        return "application/vnd.ms-outlook"
    if names & {"EncryptedPackage", "EncryptionInfo", "\x06DataSpaces"}:
        raise MediaError("encrypted", "The document is protected by a password.")
    if names & set(_OLD_OFFICE):
        raise MediaError(
            "unsupported",
            "Old Microsoft Office documents are not read; save it as .docx, .xlsx or .pptx.",
        )
    raise MediaError("unsupported", "This kind of compound file is not read.")


def _refuse_known(head: bytes) -> None:
    for magic, sentence in _OTHERS:
        if head.startswith(magic) and (len(magic) > 3 or b"\0" in head[:512]):
            raise MediaError("unsupported", sentence)


def _text(source: Content, head: bytes, name: str) -> str | None:
    whole = isinstance(source, bytes) or len(head) < _HEAD
    # A character may be cut in two at the end of the head.
    decoded = decode(head, partial=not whole)
    if decoded is None:
        return None
    text = decoded.text
    extension = PurePath(name).suffix.lower()
    # Servers send pages under the names of the programs that made them.
    is_program_output = extension in _SERVER_PAGES and not re.search(r"<\?(?:php|=)|<%", text)
    is_source = _SOURCE_CODE.search(name.lower()) and not is_program_output
    if extension not in _TEXT_NAMES and not is_source:
        mail = mailbox.kind(text)
        if mail is not None:
            return mail
        if calendars.is_calendar(text):
            return "text/calendar" if "BEGIN:VCALENDAR" in text[:200].upper() else "text/vcard"
    beginning = text[:4096].lstrip()
    if extension == ".svg" or (not is_source and _SVG.match(beginning)):
        raise MediaError("unsupported", "SVG drawings are not read.")
    if extension in _TEXT_NAMES:
        return _TEXT_NAMES[extension]
    if is_source or beginning.startswith("#!"):
        return "text/x-source"
    if _FICTION_BOOK.match(beginning):
        return "application/x-fictionbook+xml"
    if extension in (".html", ".htm", ".xhtml", ".xht") or _HTML.match(beginning):
        return "text/html"
    if beginning[:1] in ("{", "[") and extension in (".json", ".geojson", ".ipynb", ""):
        return "application/json"
    if extension in (".xml", ".rss", ".atom") or beginning.startswith("<?xml"):
        return "text/xml"
    return "text/plain"


def _last_resort(source: Content, head: bytes) -> str:
    """Sound without a signature: FFmpeg must find a stream and decode a second of it."""
    from mmsearch.media.formats import audio

    if audio.plays(source):
        return "audio/mpeg" if b"\xff" in head else "audio/unknown"
    raise MediaError(
        "unsupported",
        "The file is neither a picture, a recording, a document nor text that can be read.",
    )
