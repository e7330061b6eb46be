"""Letters and mailboxes: every letter, and every part of one that is text."""

from __future__ import annotations

import base64
import mailbox
from email.message import EmailMessage
from pathlib import Path

import pytest

from mmsearch.media.detect import sniff
from mmsearch.media.formats import mail
from mmsearch.media.parts import DecodeRequest, PagePart, TextPart
from mmsearch.media.sandbox.pool import Sandbox

HEAD = (
    b"Subject: Birds\nFrom: Ada <ada@example.org>\nTo: bob@example.org\n"
    b"Date: Mon, 05 Feb 2024 09:00:00 +0100\nMIME-Version: 1.0\n"
)


def a_letter(subject: str, body: str, day: int, *, encoding: str = "7bit") -> EmailMessage:
    letter = EmailMessage()
    letter["Subject"], letter["From"], letter["To"] = subject, "ada@example.org", "b@example.org"
    letter["Date"] = f"Mon, {day:02} Feb 2024 09:00:00 +0100"
    letter.set_content(body, cte=encoding)
    return letter


def text_of(*parts: bytes) -> str:
    return mail.eml(HEAD + b"".join(parts))[0]


# ------------------------------------------------------------------ mailboxes


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable", "8bit"])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_every_letter_of_a_mailbox(
    sandbox: Sandbox, tmp_path: Path, encoding: str, line_end: bytes
) -> None:
    """Each is a section with its own title, sender and date, whatever it is encoded in."""
    path = tmp_path / "Inbox"
    box = mailbox.mbox(path)
    for day, bird in enumerate(("Heron", "Ibis", "Störche"), 5):
        box.add(a_letter(f"About {bird}", f"{bird} für alle.\n", day, encoding=encoding))
    box.close()
    path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", line_end))
    letters = list(sandbox.decode(DecodeRequest(path=str(path))))
    assert all(isinstance(part, PagePart) for part in letters)
    pages = [part for part in letters if isinstance(part, PagePart)]
    assert [page.title for page in pages] == ["About Heron", "About Ibis", "About Störche"]
    assert [page.about["sent_at"][:10] for page in pages] == [
        "2024-02-05", "2024-02-06", "2024-02-07",
    ]  # fmt: skip
    assert pages[0].mime == "application/mbox"
    assert pages[0].metadata["page_kind"] == "message"
    for page, bird in zip(pages, ("Heron", "Ibis", "Störche"), strict=True):
        assert page.about["author"] == "ada@example.org"
        assert f"{bird} für alle." in page.text


@pytest.mark.parametrize(
    "separator",
    [
        b"From ada@example.org Mon Feb  5 09:00:00 2024",
        b"From - Mon Feb 05 09:00:00 2024",
        b"From 1790000000000000000@xxx Mon Feb 05 08:00:00 +0000 2024",
        b"From MAILER-DAEMON Mon Feb  5 09:00:00 2024",
        b"From ",
    ],
)
def test_separators_that_programs_write(sandbox: Sandbox, separator: bytes) -> None:
    content = b"".join(b"%s\n%s\n%s\n\n" % (separator, HEAD, body) for body in (b"one", b"two"))
    pages = list(sandbox.decode(DecodeRequest(content=content)))
    assert [page.text.split("\n\n")[-1] for page in pages if isinstance(page, PagePart)] == [
        "one", "two",
    ]  # fmt: skip


def test_sentences_that_begin_with_from(sandbox: Sandbox) -> None:
    """They end no letter, quoted or not; quoted ones lose their mark."""
    body = b"From the hills: a view.\n\nFrom here at 9:00 in 2024 we go on.\n\n>From far away.\n"
    content = b"From a@b Mon Feb  5 09:00:00 2024\n" + HEAD + b"\n" + body
    (part,) = sandbox.decode(DecodeRequest(content=content))
    assert isinstance(part, TextPart), "one letter is no numbered section"
    assert part.metadata["title"] == "Birds"
    assert part.text.endswith("From here at 9:00 in 2024 we go on.\n\nFrom far away.")


def test_a_mailbox_that_is_longer_than_allowed(sandbox: Sandbox) -> None:
    """The first letters are read, and a warning says that there are more."""
    letter = b"From a@b Mon Feb  5 09:00:00 2024\n" + HEAD + b"\n" + b"bird " * 100 + b"\n\n"
    pages = list(sandbox.decode(DecodeRequest(content=letter * 5, max_text_bytes=1500)))
    assert len(pages) == 2
    assert pages[-1].metadata["warning"] == "Only the first 2 letters were read."


# ------------------------------------------------------------------ parts


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("text/enriched", b"<bold>Kormoran</bold> body\n", "Kormoran body"),
        ("text/markdown", b"Kormoran **body**\n", "Kormoran **body**"),
        ("text/rtf", b"{\\rtf1 Kormoran {\\b body}}", "Kormoran body"),
        ("text/html", b"<p>Kor&shy;moran<br>body</p><script>no</script>", "Kormoran\nbody"),
        ("text/calendar", (b"BEGIN:VCALENDAR\nBEGIN:VEVENT\nSUMMARY:Council\nLOCATION:Room Alba\n"
         b" tros\nEND:VEVENT\nEND:VCALENDAR\n"), "Location: Room Albatros"),
        ("text/x-unknown", b"Kormoran body", "Kormoran body"),
    ],
)  # fmt: skip
def test_kinds_of_text(kind: str, body: bytes, words: str) -> None:
    text = text_of(b"Content-Type: %s\n\n" % kind.encode(), body)
    assert words in text
    assert "<" not in text.partition("\n\n")[2]


def test_a_plain_form_that_says_less_than_the_page() -> None:
    """Some programs write only that a better program is needed."""
    letter = EmailMessage()
    letter["Subject"], letter["From"], letter["Date"] = "S", "a@b", "Mon, 05 Feb 2024 09:00 +0100"
    letter.set_content("This message needs a viewer of HTML.")
    letter.add_alternative("<p>The great <b>albatross sale</b> begins.</p>", subtype="html")
    text, _ = mail.eml(bytes(letter))
    assert "albatross sale" in text


def test_an_invitation_beside_its_text() -> None:
    letter = EmailMessage()
    letter["Subject"], letter["From"] = "S", "a@b"
    letter.set_content("You are invited.")
    letter.add_alternative("<p>You are invited.</p>", subtype="html")
    letter.add_alternative(
        "BEGIN:VCALENDAR\nBEGIN:VEVENT\nSUMMARY:Council\nLOCATION:Raum Albatros\n"
        "DTSTART;TZID=Europe/Berlin:20240304T140000\nEND:VEVENT\nEND:VCALENDAR\n",
        subtype="calendar",
    )
    text, _ = mail.eml(bytes(letter))
    assert text.count("You are invited.") == 1
    assert "Start: 2024-03-04 14:00 Europe/Berlin" in text
    assert "Location: Raum Albatros" in text


@pytest.mark.parametrize("encoded", [False, True])
def test_an_attached_letter(encoded: bool) -> None:
    """With who wrote it, when and what about; also where it is encoded against the rules."""
    inner = b"Subject: Puffin figures\nFrom: Dora <d@example.org>\n\nInner words.\n"
    body = base64.encodebytes(inner) if encoded else inner
    text = text_of(
        b"Content-Type: multipart/mixed; boundary=x\n\n--x\n\nSee below.\n--x\n"
        b"Content-Type: message/rfc822\n",
        b"Content-Transfer-Encoding: base64\n\n" if encoded else b"\n",
        body,
        b"\n--x--\n",
    )
    assert "Subject: Puffin figures\nFrom: Dora <d@example.org>\n\nInner words." in text


def test_a_delivery_report() -> None:
    text = text_of(
        b"Content-Type: multipart/report; report-type=delivery-status; boundary=x\n\n",
        b"--x\n\nCould not deliver.\n--x\nContent-Type: message/delivery-status\n\n",
        b"Reporting-MTA: dns; mx.example.org\n\nFinal-Recipient: rfc822; gone@example.org\n",
        b"Diagnostic-Code: smtp; 550 mailbox pelican unknown\n\n--x\n",
        b"Content-Type: text/rfc822-headers\n\nSubject: The lost letter\n--x--\n",
    )
    for words in ("Could not deliver.", "gone@example.org", "pelican unknown", "The lost letter"):
        assert words in text


def test_attached_texts_are_shown_as_they_are_read() -> None:
    letter = EmailMessage()
    letter["Subject"], letter["From"] = "S", "a@b"
    letter.set_content("See page.")
    letter.add_attachment("<html><body><p>Kormoran</p></body></html>", subtype="html",
                          filename="page.html")  # fmt: skip
    letter.add_attachment(b"name;price\nkettle;4\n", maintype="application",
                          subtype="octet-stream", filename="list.csv")  # fmt: skip
    text, metadata = mail.eml(bytes(letter))
    assert "<html" not in text
    assert "Kormoran" in text
    assert metadata["attachments"] == ["page.html", "list.csv"]


@pytest.mark.parametrize(
    ("declared", "body"),
    [
        ("us-ascii", "Schöne Grüße vom Albatros".encode()),
        ("iso-8859-1", "Schöne Grüße vom Albatros".encode()),
        ("utf-8", "Schöne Grüße vom Albatros".encode("cp1252")),
        ("x-unknown", "Schöne Grüße vom Albatros".encode("cp1252")),
        ("iso-8859-1", "Schöne Grüße vom Albatros".encode("cp1252")),
    ],
)
def test_a_wrong_charset(declared: str, body: bytes) -> None:
    text = text_of(b"Content-Type: text/plain; charset=%s\n\n" % declared.encode(), body)
    assert text.endswith("Schöne Grüße vom Albatros")


def test_headers_with_bytes_that_are_not_allowed() -> None:
    content = "Subject: Grüße aus Köln\nFrom: a@b\nTo: c@d\n\nHello.\n".encode("cp1252")
    assert mail.eml(content)[1]["title"] == "Grüße aus Köln"


def test_apple_mail() -> None:
    letter = HEAD + b"\nHello.\n"
    content = b"%d\n%s<?xml version='1.0'?><plist></plist>" % (len(letter), letter)
    assert sniff(content, "1.emlx") == "message/rfc822"
    text, metadata = mail.eml(content)
    assert metadata["title"] == "Birds"
    assert text.endswith("Hello.")
