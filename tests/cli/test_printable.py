"""Names of files cannot control the terminal or forge log entries."""

from __future__ import annotations

import io
import json
import logging

import pytest

from mmsearch.cli.printable import (
    PrintableConsole,
    PrintableFormatter,
    escape,
    printable,
    printable_json,
)

EVIL = "a\x1b]0;x\x07b\r\nERROR forged\u202egpj.exe\x9b2J\x7f\u2028\ud800[red]"


def is_clean(text: str) -> bool:
    return not any(c in text for c in "\x1b\x07\r\u202e\x9b\x7f\u2028\ud800")


def test_control_characters_become_escapes() -> None:
    """Letters, signs and marks of every script stay."""
    shown = printable(EVIL)
    assert is_clean(shown)
    assert "\n" not in shown
    assert r"\x1b]0;x\x07b\r\nERROR" in shown
    assert r"\u202egpj.exe\x9b2J\x7f\u2028\ud800" in shown
    assert printable("naïve 写真 👩‍👩‍👧 שלום\u200f") == "naïve 写真 👩‍👩‍👧 שלום\u200f"


def test_the_console_escapes_whatever_is_printed() -> None:
    """Markup of our own still works, line feeds of a table's cell too."""
    file = io.StringIO()
    console = PrintableConsole(file=file, width=200, color_system=None)
    console.print(f"[bold]{escape(EVIL)}[/]")
    console.print("raw \x1b[31m name\nsecond line")
    written = file.getvalue()
    assert is_clean(written)
    assert "[red]" in written
    assert written.count("\n") == 3


def test_json_decodes_to_the_same() -> None:
    """A program gets the name as it is; a terminal gets escapes."""
    text = json.dumps({"path": EVIL}, ensure_ascii=False)
    assert is_clean(printable_json(text))
    assert json.loads(printable_json(text)) == {"path": EVIL}


def test_a_log_entry_is_one_line() -> None:
    """Tracebacks keep their lines, and nothing else."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PrintableFormatter("%(levelname)s %(message)s"))
    logger = logging.getLogger("tests.printable")
    logger.propagate = False
    logger.addHandler(handler)
    logger.warning("cannot read %s", EVIL)
    assert stream.getvalue().count("\n") == 1
    try:
        raise ValueError(EVIL)
    except ValueError:
        logger.exception("broken")
    assert is_clean(stream.getvalue())
    assert "Traceback" in stream.getvalue()


def test_failures_with_such_names_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Surrogates, which file systems return for names that are not UTF-8, are no crash."""
    from mmsearch.cli.output import print_json

    print_json({"path": EVIL.replace("\ud800", "")})
    assert is_clean(capsys.readouterr().out)
