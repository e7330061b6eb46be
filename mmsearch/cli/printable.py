"""Text for terminals and logs, without characters that control them.

File names, metadata and passages come from others. Shown as they are, an escape sequence in a name
could rewrite the screen, a line feed could forge a log entry, and a right-to-left override could
show another name.
"""

from __future__ import annotations

import logging
import re
from typing import Any

from rich import markup
from rich.console import Console
from rich.text import Text

_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)


def printable(text: str, *, keep: str = "") -> str:
    r"""The text with control characters as escapes: ESC as `\x1b`. Those of `keep` stay."""
    return _CONTROL.sub(lambda match: _escaped(match[0], keep), text)


def _escaped(character: str, keep: str) -> str:
    if character in keep:
        return character
    names = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
    code = ord(character)
    return names.get(character) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def printable_json(text: str) -> str:
    """JSON text that decodes to the same, with control characters as its own escapes."""
    return _CONTROL.sub(
        lambda match: match[0] if match[0] == "\n" else f"\\u{ord(match[0]):04x}", text
    )


class PrintableFormatter(logging.Formatter):
    """A log formatter whose entries hold no control character but the line feeds of tracebacks."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        record.message = printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: object) -> str:  # noqa: N802
        return printable(super().formatException(ei), keep="\n\t")  # type: ignore[arg-type]


def escape(text: str) -> str:
    """For rich's markup: nothing in the text is markup, and it stays on its line."""
    return markup.escape(printable(text))


class PrintableConsole(Console):
    """rich's console. Whatever is printed as a string keeps no control character but line feeds."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text, keep="\n"), **options)
