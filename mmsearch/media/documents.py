"""Which reader takes which kind of document, apart from PDF. Runs in a worker process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mmsearch.errors import MediaError
from mmsearch.media.formats.sections import Section
from mmsearch.media.opened import Content, OpenFile
from mmsearch.media.parts import DecodeRequest


@dataclass(frozen=True, slots=True)
class File:
    """What a decoder gets."""

    source: OpenFile | bytes
    mime: str
    request: DecodeRequest
    beside: Callable[[], Sequence[OpenFile]]
    """Opens the files that go with this one: the subtitles of a film."""

    def read(self, max_bytes: int | None = None) -> bytes:
        """The whole content, or no more than one byte over `max_bytes`."""
        if isinstance(self.source, bytes):
            return self.source
        try:
            with self.source.open("rb") as file:
                return file.read(-1 if max_bytes is None else max_bytes + 1)
        except OSError as error:
            reason = f"The file cannot be read: {error.strerror}."
            raise MediaError("unreadable", reason) from None


def read_document(file: File) -> tuple[dict[str, Any], Iterator[Section]]:
    """Metadata and sections of a document. Raises MediaError, also while sections are read."""
    try:
        metadata, sections = _reader(file.mime)(file)
    except (MediaError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  # as in `_careful`
        raise _damaged(error) from None
    return metadata, _careful(sections)


def _careful(sections: Iterable[Section]) -> Iterator[Section]:
    """The libraries raise anything where a document's parts do not fit together."""
    try:
        yield from sections
    except (MediaError, MemoryError, GeneratorExit):
        raise
    except Exception as error:  # noqa: BLE001
        raise _damaged(error) from None


def _damaged(error: Exception) -> MediaError:
    detail = f"{type(error).__name__}: {error}".split("\n", 1)[0][:150]
    return MediaError("corrupt", f"The document is damaged: {detail}.")


def _reader(mime: str) -> Callable[[File], tuple[dict[str, Any], Iterable[Section]]]:
    """The reader of a document."""
    if mime in ("message/rfc822", "application/rtf", "application/x-fictionbook+xml"):
        return _whole_text
    if mime == "application/mbox":
        return _mailbox
    if mime == "application/vnd.ms-outlook":
        return _outlook_letter
    return _zipped_reader(mime)


def _whole_text(file: File) -> tuple[dict[str, Any], Iterable[Section]]:
    from mmsearch.media.formats import fictionbook, mail, rtf

    limit = file.request.max_text_bytes
    content = file.read(limit)
    if len(content) > limit:
        raise MediaError("too_large", f"The file is longer than the {limit} bytes allowed.")
    if file.mime == "application/x-fictionbook+xml":
        return fictionbook.read(content)
    text, metadata = mail.eml(content) if file.mime == "message/rfc822" else (rtf.rtf(content), {})
    return metadata, [Section(text)]


def _outlook_letter(file: File) -> tuple[dict[str, Any], Iterable[Section]]:
    from mmsearch.media.formats import outlook

    text, metadata = outlook.msg(file.source)
    return metadata, [Section(text)]


def _mailbox(file: File) -> tuple[dict[str, Any], Iterable[Section]]:
    from mmsearch.media.formats import mail

    return mail.mbox(file.source, file.request.max_text_bytes)


def _zipped_reader(mime: str) -> Callable[[File], tuple[dict[str, Any], Iterable[Section]]]:
    from mmsearch.media.formats import epub, opendocument, sheets, slides, word

    def limits(file: File) -> tuple[Content, int]:
        return file.source, file.request.max_archive_bytes

    if mime == "application/epub+zip":
        return lambda file: epub.read(*limits(file))
    if mime.startswith("application/vnd.oasis."):
        return lambda file: opendocument.read(*limits(file))
    if mime.endswith(".presentation"):
        return lambda file: slides.pptx(*limits(file))
    if mime.endswith(".sheet"):
        return lambda file: sheets.xlsx(*limits(file), file.request.max_text_bytes)
    return lambda file: word.docx(*limits(file))
