"""Rich Text (RTF) by striprtf."""

from __future__ import annotations

import re

from mmsearch.errors import MediaError


def rtf(content: bytes, encoding: str = "cp1252") -> str:
    """The text of a Rich Text document. Raises MediaError corrupt."""
    from striprtf.striprtf import rtf_to_text

    # Rich Text is ASCII; what is not stands in escapes, in the code page that it names.
    source = content.decode("latin-1")
    named = re.search(r"\\ansicpg(\d{3,5})", source[:2000])
    try:
        text = rtf_to_text(
            source, encoding=f"cp{named[1]}" if named else encoding, errors="replace"
        )
    except (ValueError, IndexError, LookupError, RecursionError):
        raise MediaError("corrupt", "The document is damaged: it is no Rich Text.") from None
    return str(text).strip()
